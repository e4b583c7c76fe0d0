// The engine: named objects and the operations on them, for any transport.
//
// Knows nothing of gRPC or sockets. Time comes from a Timers; results go to the
// Home of each operation. Everything that can race is in here and in core, so
// that TSan and simulated time can get at it.

#ifndef WAITQ_SERVER_ENGINE_ENGINE_H_
#define WAITQ_SERVER_ENGINE_ENGINE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/timers.h"
#include "server/engine/any_of.h"
#include "server/engine/caller_info.h"
#include "server/engine/completion_object.h"
#include "server/engine/limits.h"
#include "server/engine/object.h"
#include "server/engine/object_table.h"
#include "server/engine/operation.h"
#include "server/engine/pipe_object.h"
#include "server/engine/repeats.h"
#include "server/engine/session_table.h"
#include "server/engine/wait_queue_object.h"

namespace waitq::engine {

// What Create is asked for; absent values are the defaults.
struct PipeOptionsRequest {
  std::optional<uint64_t> capacity_bytes = std::nullopt;
  std::optional<uint64_t> atomic_max_bytes = std::nullopt;
  std::optional<PipeMode> mode = std::nullopt;  // kStream
  std::optional<PipeProfile> profile =
      std::nullopt;  // kFifo, kQueue of packets

  bool operator==(const PipeOptionsRequest&) const = default;
};
struct CreateOptions {
  ObjectKind kind = ObjectKind::kWaitQueue;
  PipeOptionsRequest pipe;  // for a pipe
};

struct ObjectStat {
  std::string name;
  ObjectKind kind;
  uint64_t incarnation;
  uint64_t generation;
  bool created;
  uint64_t sleepers;
  std::variant<WordResult, CompletionObject::Result, PipeStat> state;
};

// A page of a list: at most `size` entries behind `after`.
struct Page {
  size_t size = 1000;
  std::string after;  // "" for the first page
};

// Which sleepers to list.
struct TaskFilter {
  absl::string_view object = "";  // on this one; "" for all
  absl::string_view caller = "";  // of callers of this name; "" for all
  uint64_t after = 0;             // with ids above this one
};

// Whether one call may wait for so many: EINVAL if not.
absl::Status CheckAlternatives(size_t alternatives);

// Thread safety: any thread may call any method.
// Blocking: never, but for short locks.
// Errors: of error.h, each with the object's name. Any method that takes a name
//   may return EINVAL (a bad name), ENXIO (another kind of object) and, if it
//   makes objects, ENOSPC.
// Lifetime: must outlive its operations and handles; at its end it ends all
//   sleeps with Ending::kRemoved.
class Engine {
 public:
  // `timers` must outlive the engine. Generations begin above
  // `first_generation`.
  Engine(const Limits& limits, Timers* timers, uint64_t first_generation);
  ~Engine();

  const Limits& limits() const { return shared_.limits; }
  absl::Time Now() const { return shared_.Now(); }
  Timers& timers() { return shared_.timers; }
  bool draining() const { return shared_.draining; }

  // Calls that may be sent again.
  RepeatTable& repeats() { return repeats_; }
  SessionTable& sessions() { return sessions_; }
  // Which server this is: another number after a restart.
  uint64_t epoch() const { return epoch_; }

  // Who calls: what the operations of one caller are made with.
  std::shared_ptr<CallerInfo> FindCaller(absl::string_view peer,
                                         absl::string_view name) {
    return callers_.Find(peer, name);
  }

  // --- Operations that may sleep. OK: kEnded or kAsleep; see Started. --------

  absl::StatusOr<Started> Wait(absl::string_view name, Ref<WaitOperation> op,
                               const SleepOptions& options);
  absl::StatusOr<Started> Wait(absl::string_view name,
                               Ref<CompletionOperation> op,
                               const SleepOptions& options);
  // Of a pipe by name.
  // The pipe is made with `pipe` if it is not there. If it is it keeps its own
  // capacity; EEXIST if its mode or profile is not the one that `pipe` names.
  absl::StatusOr<Started> Read(absl::string_view name, Ref<ReadOperation> op,
                               const SleepOptions& options,
                               const PipeOptionsRequest& pipe = {});
  absl::StatusOr<Started> Write(absl::string_view name, Ref<WriteOperation> op,
                                const SleepOptions& options,
                                const PipeOptionsRequest& pipe = {});
  absl::StatusOr<Started> Poll(absl::string_view name, Ref<PollOperation> op,
                               const SleepOptions& options);
  // Any of several of these, whose success takes something: one call, ended by
  // one of them. EINVAL: there are none, or more than kAlternativesMax.
  absl::StatusOr<Started> WaitAny(AnyOf& any_of,
                                  std::vector<AnyOf::Alternative> alternatives,
                                  const SleepOptions& options);
  // Whether the pipe may come to what the read asks for: EINVAL if not.
  static absl::Status CheckServes(const PipeObject& pipe,
                                  const ReadOperation& op);
  // Of the pipe of an open handle: `op` was made with it, and the pipe serves
  // it.
  Started Read(PipeReader& reader, Ref<ReadOperation> op,
               const SleepOptions& options);
  Started Write(PipeWriter& writer, Ref<WriteOperation> op,
                const SleepOptions& options);

  // The pipe of that name, as Read() and Write() find it: for who uses it
  // several times on end, and looks it up again when it is gone
  // (Started::kGone).
  absl::StatusOr<Ref<PipeObject>> FindOrMakePipe(
      absl::string_view name, const PipeOptionsRequest& request);

  // The caller of an operation that is, or was, asleep has gone. It ends, with
  // nothing consumed, unless it is uninterruptible or has ended already.
  void CallerGone(Operation& op) {
    op.object().OnEvent(op, Event::kCallerGone);
  }
  // A signal to such an operation's task.
  void Signal(Operation& op, int signal) {
    op.object().OnEvent(op, Event::kSignal, signal);
  }

  // --- Operations that do not sleep ------------------------------------------

  absl::StatusOr<WakeResult> WakeUp(absl::string_view name,
                                    const WakeOptions& options);
  absl::StatusOr<WordResult> Store(absl::string_view name, int64_t value);
  // ENOENT if there is no such object. So for Done().
  absl::StatusOr<WordResult> Get(absl::string_view name);

  absl::StatusOr<CompletionObject::Result> Complete(absl::string_view name,
                                                    uint32_t nr);
  absl::StatusOr<CompletionObject::Result> Reinit(absl::string_view name);
  absl::StatusOr<bool> TryWait(absl::string_view name);
  absl::StatusOr<bool> Done(absl::string_view name);

  // Handles. `options`: as Read()'s and Write()'s `pipe`. `watch`: stands by
  // the handle, to be told of what ends it; to be ended, as if its caller had
  // gone, when the handle is closed. It counts as a sleeper in the limits.
  // nullptr is returned if it was refused: its ending says why. EIDRM: the pipe
  // was removed at this moment.
  absl::StatusOr<std::unique_ptr<PipeReader>> OpenReader(
      absl::string_view name, const PipeOptionsRequest& options,
      const Ref<HandleOperation>& watch = {});
  absl::StatusOr<std::unique_ptr<PipeWriter>> OpenWriter(
      absl::string_view name, const PipeOptionsRequest& options,
      const Ref<HandleOperation>& watch = {});

  // What the read with that id holds of the pipe (ReadOperation::HoldFor): the
  // bytes below `up_to`, or all, are gone for good; or all is put back. ESTALE:
  // it holds nothing (any more), or nothing up to there; nothing has changed.
  absl::Status Accept(absl::string_view name, uint64_t hold_id,
                      std::optional<uint64_t> up_to);
  absl::Status Release(absl::string_view name, uint64_t hold_id);

  // True if it made the object. EEXIST: it is there with other options.
  absl::StatusOr<bool> Create(absl::string_view name,
                              const CreateOptions& options);
  absl::StatusOr<ObjectStat> Stat(absl::string_view name);
  // Ends who sleeps on it; returns how many. ENOENT; EBUSY while writers have
  // it open, readers hold bytes of it, or grants of it are out, unless `force`.
  absl::StatusOr<uint64_t> Remove(absl::string_view name, bool force);

  // Objects by name, behind the name `page.after`.
  std::vector<ObjectStat> List(absl::string_view prefix, const Page& page);
  // Sleepers by id, `size` of them at most, and with the last of them those
  // that it is an alternative to.
  std::vector<TaskInfo> ListTasks(const TaskFilter& filter, size_t size);
  // Sends SIGINT, SIGTERM or SIGKILL to a sleeper; true if that has ended it.
  // ESRCH: none of this id. Looks at sleepers one by one.
  absl::StatusOr<bool> SignalTask(uint64_t id, int signal);

  // --- The end ---------------------------------------------------------------

  // From now on writes and new sleeps are refused; who sleeps is ended, with
  // success if its condition holds. Reads of what is there go on.
  void Drain();
  // After Drain(), when readers have had their time: ends all that is left.
  void Stop();
  // The last part of that: ends all sessions. What was granted to one of them
  // is not given to another any more, who might hear of that first.
  void EndSessions();
  // The pipes that are not empty, with what is unread or held of each.
  std::vector<std::pair<std::string, uint64_t>> UnreadPipes();

  // What waits for its caller as if it slept, and counts as that: of the limits
  // of sleepers, its own and those of all. Not longer than the engine and
  // `caller`.
  std::unique_ptr<Charge> SleepersCharge(CallerInfo& caller) {
    return std::make_unique<Charge>(&shared_.sleepers, &caller.sleepers());
  }

  // For the keeper of the house: operations asleep, and slept ones ended since
  // the start.
  uint64_t asleep() const { return shared_.asleep; }
  uint64_t ended() const { return shared_.ended; }
  // Bytes kept, of pipes, of writes that sleep and of answers; and those of
  // answers that are not sent.
  uint64_t bytes() const {
    return shared_.pipe_bytes.used() + shared_.bytes_asleep.used() +
           shared_.bytes_unsent.used() + shared_.kept_bytes.used();
  }
  uint64_t bytes_unsent() const { return shared_.bytes_unsent.used(); }
  // What is in use of each limit that all share.
  std::array<const Budget*, 7> budgets() const {
    return {&shared_.objects,      &shared_.sleepers,     &shared_.pipe_bytes,
            &shared_.bytes_asleep, &shared_.bytes_unsent, &shared_.kept_answers,
            &shared_.kept_bytes};
  }
  // The generation of the last change.
  uint64_t generation() const { return shared_.generation; }

 private:
  // The T of that name, made if it is not there. It may be removed at any
  // moment: its user is told so, and looks again.
  template <class T, class Make>
  absl::StatusOr<Ref<T>> FindOrMake(absl::string_view name, Make make);
  template <class T>
  absl::StatusOr<Ref<T>> FindOrMake(absl::string_view name);
  template <class T>
  absl::StatusOr<Ref<T>> Find(absl::string_view name);
  // `find`: looks the object up again, should it be removed in between.
  template <class Lookup>
  absl::StatusOr<Started> Start(Lookup find, const Ref<Operation>& op,
                                const SleepOptions& options);
  // `open`: opens an end of a pipe that is there; nothing if it was removed.
  template <class Handle, class Open>
  absl::StatusOr<std::unique_ptr<Handle>> OpenHandle(
      absl::string_view name, const PipeOptionsRequest& options,
      const Ref<HandleOperation>& watch, Open open);
  absl::StatusOr<PipeOptions> Resolve(absl::string_view name,
                                      const PipeOptionsRequest& request);

  Shared shared_;
  const uint64_t epoch_;
  CallerTable callers_{&shared_.limits};
  RepeatTable repeats_{&shared_};  // before the objects: their end tells it
  ObjectTable table_{&shared_};
  SessionTable sessions_{this};  // their ends use the objects
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_ENGINE_H_
