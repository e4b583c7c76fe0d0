// The client library: Linux's sleeping and waking between machines.
//
//   auto client = waitq::Client::Create({.server = "127.0.0.1:7411"});
//   // Sleep until somebody sets the flag; take it down in the same step.
//   auto result = (*client)->Wait("flag", {.condition = Condition::Equal(1),
//                                          .then = Action::Set(0)});
//   // Elsewhere:
//   (*client)->WakeUp("flag", {.update = Action::Set(1)});

#ifndef WAITQ_CLIENT_CLIENT_H_
#define WAITQ_CLIENT_CLIENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/grant.h"
#include "client/pipe_reader.h"
#include "client/pipe_writer.h"
#include "client/types.h"
#include "client/wait_any.h"

namespace waitq {

inline constexpr char kDefaultServer[] = "127.0.0.1:7411";

struct ClientOptions {
  // HOST:PORT, [IPV6]:PORT or unix:PATH.
  std::string server = kDefaultServer;
  // Who this is, as shown by `waitq ps`: at most 128 bytes. Not verified.
  std::string caller = {};
  // How long the server keeps what this client has under way when it does not
  // hear from it: calls that sleep, open pipes, results on their way. 100 ms to
  // a day.
  absl::Duration grace = absl::Seconds(30);
};

// Is told the result of a call, once.
template <class T>
using Callback = absl::AnyInvocable<void(absl::StatusOr<T> result)>;

// A call that was started with a callback, for Client::Cancel().
using CallId = uint64_t;

// One program's way to a server: a session (docs/session.md), which is made at
// the first call and outlives its connection.
//
// Thread safety: any thread may call any method at any time. One client is
//   enough for a program.
// Ownership: readers and writers must be gone before their client is, and
//   grants should be. Its
//   destruction ends the session: calls under way end with CANCELLED. Calls
//   that their callbacks begin then are not begun, and their callbacks never
//   called. It takes up to two seconds if the connection is lost just then and
//   the server is to be told what was taken.
// Blocking: a method without a callback waits for the server's answer. Those
//   that sleep there may take as long as their `timeout` says, without one for
//   ever. A method with a callback never waits, and is done when that was
//   called: on the client's thread, or within the call, Cancel() or destructor
//   that ends it (if that is within a callback: after it), with no lock of the
//   client's held. A callback may start calls and cancel them; while it runs
//   all others of the client wait, so it must not wait for a call itself, nor
//   destroy the client: that ends the program.
// Sleepers cost no thread: 100,000 calls with callbacks are a few megabytes.
// Order: calls of one thread arrive in the order in which they are made. Where
//   the server takes no more of a session, those that wake go before those that
//   sleep.
// Stopping: a request to stop the token, or Cancel(), ends a call with
//   CANCELLED. What it would have taken is not taken, or given back.
// Connection lost: calls go on when it is found again, their places in line
//   kept, each done once. After 0.9 of `grace` without it the session is given
//   up: what cannot happen twice (waits for a condition that take nothing,
//   reads, completions) is begun anew with what is left of its time; the rest
//   ends with ABORTED (ESTALE), also a wait without a condition, whose wake may
//   have come. If the server was restarted all that was sent ends with ABORTED
//   (EOWNERDEAD). Both are OutcomeUnknown(). A server that is not there at the
//   first call is an error at once: UNAVAILABLE, and not OutcomeUnknown().
// Server replaced: what a draining server refuses has taken nothing, and is
//   begun anew on the next server at that address, with what is left of its
//   time; without a timeout it waits for one for ever. UNAVAILABLE (ESHUTDOWN),
//   not done: none came in that time; or the call is not to sleep; or it is of
//   a PipeReader or PipeWriter, which is over.
// Taken: what a call took is the program's when it returns, or its callback
//   does; should the program die before that, it is given to somebody else.
// Errors: the codes that proto/waitq/v1 lists for each method; client/error.h
//   tells the errno's name, the object and the limit. Stat, List, Tasks and
//   Signal are calls of their own, on a connection of their own.
class Client {
 public:
  // INVALID_ARGUMENT: `options` are malformed. Does not connect.
  static absl::StatusOr<std::unique_ptr<Client>> Create(
      const ClientOptions& options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // --- wait queues ----------------------------------------------------------

  // Sleeps until the condition holds, then changes the word in the same step.
  absl::StatusOr<WaitResult> Wait(const std::string& name,
                                  const WaitOptions& options = {},
                                  std::stop_token stop = {});
  CallId Wait(const std::string& name, const WaitOptions& options,
              Callback<WaitResult> done);

  // A Wait whose success, a change of the word by `then`, is undone when the
  // grant is given back, or with the session: a lock, a permit (client/lock.h,
  // client/semaphore.h). Not held if it timed out or would block: result() says
  // which. If the session is lost while it sleeps, it is begun anew, if `undo`
  // is the default.
  absl::StatusOr<Grant> Acquire(const std::string& name,
                                const WaitOptions& options,
                                const Undo& undo = {},
                                std::stop_token stop = {});
  CallId Acquire(const std::string& name, const WaitOptions& options,
                 const Undo& undo, Callback<Grant> done);

  // Changes the word, if asked to, and wakes those whose condition holds.
  absl::StatusOr<WakeResult> WakeUp(const std::string& name,
                                    const WakeOptions& options = {},
                                    std::stop_token stop = {});
  CallId WakeUp(const std::string& name, const WakeOptions& options,
                Callback<WakeResult> done);

  // NOT_FOUND (ENOENT): nobody has used the queue yet.
  absl::StatusOr<GetResult> Get(const std::string& name,
                                std::stop_token stop = {});

  // Changes the word and wakes nobody.
  absl::StatusOr<StoreResult> Store(const std::string& name, int64_t value,
                                    std::stop_token stop = {});

  // --- completions ----------------------------------------------------------

  // Sleeps until something is done, and takes it.
  absl::StatusOr<AwaitResult> Await(const std::string& name,
                                    const AwaitOptions& options = {},
                                    std::stop_token stop = {});
  CallId Await(const std::string& name, const AwaitOptions& options,
               Callback<AwaitResult> done);

  // Whether there was one to take; never sleeps.
  absl::StatusOr<bool> TryWait(const std::string& name,
                               std::stop_token stop = {});

  // Something is done: `nr` times, 1 or more; or for good, until Reinit.
  absl::StatusOr<CompleteResult> Complete(const std::string& name,
                                          uint32_t nr = 1,
                                          std::stop_token stop = {});
  CallId Complete(const std::string& name, uint32_t nr,
                  Callback<CompleteResult> done);
  absl::StatusOr<CompleteResult> CompleteAll(const std::string& name,
                                             std::stop_token stop = {});

  // Forgets what is done. Returns the new generation.
  absl::StatusOr<uint64_t> Reinit(const std::string& name,
                                  std::stop_token stop = {});

  // Whether an Await would return at once.
  absl::StatusOr<bool> Done(const std::string& name, std::stop_token stop = {});

  // --- pipes ----------------------------------------------------------------

  // Takes what is there, and sleeps only while nothing is.
  absl::StatusOr<ReadResult> Read(const std::string& name,
                                  const ReadOptions& options = {},
                                  std::stop_token stop = {});
  CallId Read(const std::string& name, const ReadOptions& options,
              Callback<ReadResult> done);

  // What a Read with `hold` took is gone for good: all of it, or what stands
  // below `up_to_offset`. Or it is put back for others. FAILED_PRECONDITION
  // (ESTALE): it is not held any more, and nothing has changed.
  absl::Status Accept(const std::string& name, uint64_t hold_id,
                      std::optional<uint64_t> up_to_offset = {},
                      std::stop_token stop = {});
  absl::Status Release(const std::string& name, uint64_t hold_id,
                       std::stop_token stop = {});

  // Appends `data`, 4 MiB at most, and sleeps while it does not fit.
  absl::StatusOr<WriteResult> Write(const std::string& name,
                                    std::string_view data,
                                    const WriteOptions& options = {},
                                    std::stop_token stop = {});
  CallId Write(const std::string& name, std::string_view data,
               const WriteOptions& options, Callback<WriteResult> done);

  // Sleeps until something can be done with the pipe. Takes nothing, so what it
  // saw may be gone by now.
  absl::StatusOr<PollResult> Poll(const std::string& name,
                                  const PollOptions& options,
                                  std::stop_token stop = {});
  CallId Poll(const std::string& name, const PollOptions& options,
              Callback<PollResult> done);

  // Handles, as of an open file. They are open when these return.
  absl::StatusOr<std::unique_ptr<PipeReader>> OpenReader(
      const std::string& name, const OpenReaderOptions& options = {},
      std::stop_token stop = {});
  absl::StatusOr<std::unique_ptr<PipeWriter>> OpenWriter(
      const std::string& name, const OpenWriterOptions& options = {},
      std::stop_token stop = {});

  // --- any of several objects -----------------------------------------------

  // Sleeps until one of these holds, and takes from that one only: 1 to 64, of
  // any kinds, in the order in which they are tested. If one of the objects is
  // removed that is the end of it. If the session is lost while it sleeps it is
  // begun anew, if each of the alternatives would be by itself.
  absl::StatusOr<WaitAnyResult> WaitAny(
      const std::vector<Alternative>& alternatives,
      const WaitAnyOptions& options = {}, std::stop_token stop = {});
  CallId WaitAny(const std::vector<Alternative>& alternatives,
                 const WaitAnyOptions& options, Callback<WaitAnyResult> done);

  // --- calls with callbacks -------------------------------------------------

  // The call is to end. Does nothing if it has ended.
  void Cancel(CallId call);

  // --- objects and tasks ----------------------------------------------------

  // Make an object that stays until Remove.
  // ALREADY_EXISTS (EEXIST): it is there with other options.
  absl::StatusOr<CreateResult> CreateWaitQueue(const std::string& name,
                                               std::stop_token stop = {});
  absl::StatusOr<CreateResult> CreateCompletion(const std::string& name,
                                                std::stop_token stop = {});
  absl::StatusOr<CreateResult> CreatePipe(const std::string& name,
                                          const PipeOptions& options = {},
                                          std::stop_token stop = {});

  absl::StatusOr<ObjectInfo> Stat(const std::string& name,
                                  std::stop_token stop = {});

  // All whose names begin with `prefix`, in order of their names.
  absl::StatusOr<std::vector<ObjectInfo>> List(const std::string& prefix = "",
                                               std::stop_token stop = {});

  // Returns how many sleepers ended with EIDRM. FAILED_PRECONDITION (EBUSY):
  // writer handles are open, and no `force`.
  absl::StatusOr<uint64_t> Remove(const std::string& name, bool force = false,
                                  std::stop_token stop = {});

  // Who sleeps: on `object`, or everywhere if it is "". In order of arrival.
  absl::StatusOr<std::vector<TaskInfo>> Tasks(const std::string& object = "",
                                              std::stop_token stop = {});

  // Sends a signal to the sleeping call of that id (TaskInfo::id). True if its
  // sleep is over; false if its state does not admit the signal. NOT_FOUND
  // (ESRCH): no such call sleeps.
  absl::StatusOr<bool> Signal(uint64_t id, TaskSignal signal,
                              std::stop_token stop = {});

 private:
  struct Impl;

  friend class ClientMaker;  // client_impl.h

  explicit Client(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_CLIENT_H_
