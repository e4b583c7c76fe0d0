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

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/pipe_reader.h"
#include "client/pipe_writer.h"
#include "client/types.h"

namespace waitq {

inline constexpr char kDefaultServer[] = "127.0.0.1:7411";

struct ClientOptions {
  // HOST:PORT, [IPV6]:PORT or unix:PATH.
  std::string server = kDefaultServer;
  // Who this is, as shown by `waitq ps`: at most 128 bytes. Not verified.
  std::string caller = {};
};

// One program's way to a server.
//
// Thread safety: any thread may call any method at any time.
// Ownership: readers and writers must be gone before their client is.
// Blocking: every method waits for the server's answer. Those that sleep there
//   may take as long as their `timeout` says, without one for ever; sleepers
//   cost this process a thread each.
// Stopping: a request to stop the token ends any call with CANCELLED. What it
//   would have taken was not taken, unless the answer was already on its way.
// Connections: two, made when first needed. Calls that take (Wait, Await, Read)
//   have one to themselves, so that what would wake them never queues behind
//   them. A server that is not there is an error at once, not a wait.
// Errors: the codes that proto/waitq/v1 lists for each method; client/error.h
//   tells the errno's name, the object and the limit. UNAVAILABLE without
//   OutcomeUnknown(): there was no server. Nothing is ever repeated by itself.
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

  // Changes the word, if asked to, and wakes those whose condition holds.
  absl::StatusOr<WakeResult> WakeUp(const std::string& name,
                                    const WakeOptions& options = {},
                                    std::stop_token stop = {});

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

  // Whether there was one to take; never sleeps.
  absl::StatusOr<bool> TryWait(const std::string& name,
                               std::stop_token stop = {});

  // Something is done: `nr` times, 1 or more; or for good, until Reinit.
  absl::StatusOr<CompleteResult> Complete(const std::string& name,
                                          uint32_t nr = 1,
                                          std::stop_token stop = {});
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

  // Sleeps until something can be done with the pipe. Takes nothing, so what it
  // saw may be gone by now.
  absl::StatusOr<PollResult> Poll(const std::string& name,
                                  const PollOptions& options,
                                  std::stop_token stop = {});

  // Handles, as of an open file. They are open when these return.
  absl::StatusOr<std::unique_ptr<PipeReader>> OpenReader(
      const std::string& name, const OpenReaderOptions& options = {},
      std::stop_token stop = {});
  absl::StatusOr<std::unique_ptr<PipeWriter>> OpenWriter(
      const std::string& name, const OpenWriterOptions& options = {},
      std::stop_token stop = {});

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

  explicit Client(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_CLIENT_H_
