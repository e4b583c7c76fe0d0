// The insides of PipeReader and PipeWriter, for Client, which makes them.

#ifndef WAITQ_CLIENT_PIPE_STREAMS_H_
#define WAITQ_CLIENT_PIPE_STREAMS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "client/client_impl.h"
#include "client/pipe_reader.h"
#include "client/pipe_writer.h"
#include "client/session/machine.h"
#include "client/types.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {

// `machine` must outlive the result. Waits until the server has opened the
// handle.
absl::StatusOr<std::unique_ptr<PipeReader>> OpenPipeReader(
    SessionMachine& machine, const std::string& name,
    const OpenReaderOptions& options, std::stop_token stop);

absl::StatusOr<std::unique_ptr<PipeWriter>> OpenPipeWriter(
    SessionMachine& machine, const std::string& name,
    const OpenWriterOptions& options, std::stop_token stop);

// Whether one write can carry that: EMSGSIZE. The server says so too, but to a
// session only by its end.
absl::Status CheckWriteSize(const std::string& name, std::string_view data);

// The error of a handle's call, which names no pipe, with the pipe's name.
absl::Status OfPipe(absl::Status status, const std::string& name);

// What the program sees of these results.
absl::StatusOr<ReadResult> ReadRead(v1::Result& result);
absl::StatusOr<WriteResult> ReadWrite(v1::Result& result);

// The bytes of a v1::Operation: a read or a write that says nothing else. Of a
// handle, or of the pipe of that name; the other is 0, or empty.
std::string EncodePlainRead(uint64_t handle, std::string_view name,
                            uint64_t max_bytes);
std::string EncodePlainWrite(uint64_t handle, std::string_view name,
                             std::string_view data);

// Whether the options say nothing of how to sleep.
template <class Options>
bool SleepsPlainly(const Options& options) {
  return !options.timeout && !options.nonblock &&
         options.sleep == Sleep::kInterruptible;
}

// A handle of a session.
struct OpenedPipe {
  uint64_t session = 0;
  uint64_t handle = 0;
  uint64_t offset = 0;
  uint64_t incarnation = 0;
  PipeMode mode = PipeMode::kStream;
};
absl::StatusOr<OpenedPipe> OpenPipe(SessionMachine& machine,
                                    const std::string& name, bool write,
                                    const std::optional<PipeOptions>& options,
                                    const std::stop_token& stop);
// Does not wait.
void ClosePipe(SessionMachine& machine, const OpenedPipe& pipe, bool broken);

// A handle's call, one at a time, which is under way while the program does
// something else. It may be left alone: a handle that dies in a callback must
// not wait for its end.
//
// Thread safety: one thread at a time.
template <class T>
class PendingCall {
 public:
  explicit PendingCall(SessionMachine* machine) : machine_(*machine) {}
  ~PendingCall() { Abandon(); }
  PendingCall(const PendingCall&) = delete;
  PendingCall& operator=(const PendingCall&) = delete;

  bool is_pending() const { return call_ != nullptr; }

  void Start(Plan plan, ResultReader<T> read) {
    call_ = std::make_shared<Shared>();
    ticket_ =
        StartPlan<T>(machine_, std::move(plan), read,
                     [machine = &machine_, call = call_](
                         absl::StatusOr<T> result, SessionReceipt receipt) {
                       bool abandoned;
                       {
                         absl::MutexLock lock(&call->mu);
                         abandoned = call->abandoned;
                         call->result = std::move(result);
                         call->receipt = receipt;
                         call->ended = true;
                       }
                       if (abandoned) machine->Settle(receipt, /*taken=*/false);
                       return false;  // the program has not got it yet
                     });
  }

  // Waits for the end; `stop` cancels. `receipt`: of what the program has with
  // that.
  absl::StatusOr<T> Await(const std::stop_token& stop,
                          SessionReceipt& receipt) {
    const std::shared_ptr<Shared> call = std::move(call_);
    const std::stop_callback on_stop(
        stop, [this, ticket = ticket_] { machine_.Cancel(ticket); });
    absl::MutexLock lock(&call->mu);
    call->mu.Await(absl::Condition(&call->ended));
    receipt = call->receipt;
    return std::move(call->result);
  }

  // It is to end. What it took, and nobody asks for, is others'.
  void Abandon() {
    const std::shared_ptr<Shared> call = std::move(call_);
    if (call == nullptr) return;
    SessionReceipt receipt;
    {
      absl::MutexLock lock(&call->mu);
      call->abandoned = true;
      receipt = call->receipt;  // none, if it has not ended
    }
    machine_.Settle(receipt, /*taken=*/false);
    machine_.Cancel(ticket_);
  }

 private:
  struct Shared {
    absl::Mutex mu;
    bool ended ABSL_GUARDED_BY(mu) = false;
    bool abandoned ABSL_GUARDED_BY(mu) = false;
    absl::StatusOr<T> result ABSL_GUARDED_BY(mu) = absl::UnknownError("");
    SessionReceipt receipt ABSL_GUARDED_BY(mu);
  };

  SessionMachine& machine_;
  std::shared_ptr<Shared> call_;  // nullptr: none is under way
  uint64_t ticket_ = 0;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_PIPE_STREAMS_H_
