// A session: operations in number, which outlive the connection that they came
// by.
//
//            Attach()            the stream ends
//   new ───────────► ATTACHED ◄──────────────────► DETACHED
//                        │         Attach()            │
//                        │ nothing heard for `grace`   │
//                        ├─────────────────────────────┘
//                        ▼                 or the client says that it is over
//                     EXPIRED: operations end, what is not taken is given back,
//                              writers break
//
// The transport decodes and encodes, and knows what a stream is; this knows
// numbers, places and time. docs/session.md has the whole machine.

#ifndef WAITQ_SERVER_ENGINE_SESSION_H_
#define WAITQ_SERVER_ENGINE_SESSION_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/mutex.h"
#include "core/timers.h"
#include "server/engine/caller_info.h"
#include "server/engine/kept_results.h"
#include "server/engine/object.h"
#include "server/engine/operation.h"
#include "server/engine/pipe_object.h"
#include "server/engine/ref.h"

namespace waitq::engine {

class Engine;
class SessionTable;
struct PipeOptionsRequest;

// The stream that a session is attached to. All of these return at once; any
// thread may call them, with no lock held.
class SessionTransport : public RefCounted {
 public:
  // There is something to send, and nothing is being sent: the transport, which
  // the session calls by that number, calls Session::Take() until there is
  // nothing more.
  virtual void Kick(uint64_t stream) = 0;
  // The stream is to end so. Once; Take() gives nothing any more.
  virtual void Close(const absl::Status& status) = 0;
  // Calls `done`, on the stream's thread, when all that has come in so far was
  // handled.
  virtual void Probe(std::function<void()> done) = 0;
};

// What the session's next message has to say.
struct SessionMessage {
  // The first one of a stream: how many operations the session has had.
  std::optional<uint64_t> operations_received;
  uint64_t first_result = 0;
  std::vector<SessionResult> results;
  uint64_t bytes = 0;  // of them, about
  // The last one that came and is not answered; 0: none.
  uint64_t heartbeat = 0;
};

// Thread safety: any thread may call any method, but those marked SERIAL only
//   within Run().
// Lock order: no other lock is taken under the session's.
// Lifetime: counted; it holds on to itself while it has operations.
class Session final : public RefCounted, private Home, private Timer {
 public:
  // `engine` and `table` outlive it.
  Session(Engine* engine, SessionTable* table, std::string token,
          std::shared_ptr<CallerInfo> caller_info, absl::Duration grace);

  const std::string& token() const { return token_; }
  absl::Duration grace() const { return grace_; }
  // What its operations are made with. They have no caller: their home keeps
  // their results. Their tag is TagOf().
  Home* home() { return this; }
  const std::shared_ptr<CallerInfo>& caller_info() const {
    return caller_info_;
  }

  // Does what is given to it one after another, on the thread of whoever came
  // first: so that what a stream brings and the session's end do not meet.
  void Run(std::function<void()> action) ABSL_LOCKS_EXCLUDED(mu_);

  // --- Streams, SERIAL -------------------------------------------------------

  // Attaches a stream, in place of the one that it may have; returns what the
  // stream is called here. `results_received`: the number of the last result
  // that the client has; those behind it are sent again. 0: the session is
  // over, or the stream is older than the one that it has (ESTALE).
  struct Resume {
    uint64_t results_received = 0;
    // Which program's, and how manieth of its streams it is; 0: not known.
    uint64_t program = 0;
    uint64_t attempt = 0;
  };
  uint64_t Attach(Ref<SessionTransport> transport, const std::string& peer,
                  const Resume& resume) ABSL_LOCKS_EXCLUDED(mu_);
  // That stream has ended.
  void Detach(uint64_t stream) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether what that stream brings still counts. If so the session has heard
  // from its client.
  bool Hear(uint64_t stream) ABSL_LOCKS_EXCLUDED(mu_);

  // --- What a message brings, SERIAL -----------------------------------------

  // The results of these numbers are the application's; or nobody's, and what
  // they gave is given back. EINVAL: they were never sent.
  absl::Status TakenUpTo(uint64_t number) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Taken(uint64_t number) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Returned(uint64_t number) ABSL_LOCKS_EXCLUDED(mu_);

  // The operation of that number has come. kNew: it is to be started;
  // kRefused: it would be one too many, and has its result; kOverrun: its
  // client has long ignored that; kGap: others should have come before.
  enum class Received { kNew, kKnown, kRefused, kOverrun, kGap };
  Received Receive(uint64_t number, uint8_t method) ABSL_LOCKS_EXCLUDED(mu_);

  static uint64_t TagOf(uint64_t number, uint8_t method) {
    return uint64_t{method} << 56 | number;
  }
  // The new operation never slept, and this is its result. Of an open, see
  // Open().
  void Answer(uint64_t number, uint8_t method, KeptAnswer answer)
      ABSL_LOCKS_EXCLUDED(mu_);
  void Answer(uint64_t number, uint8_t method, Ref<Operation> ended)
      ABSL_LOCKS_EXCLUDED(mu_);
  // It sleeps, or has ended since. `handle`: of this one, or 0.
  void Sleep(Ref<Operation> operation, uint64_t handle)
      ABSL_LOCKS_EXCLUDED(mu_);

  // The operation is to end, as if its caller had gone; or is sent a signal.
  void Cancel(uint64_t number) ABSL_LOCKS_EXCLUDED(mu_);
  void Signal(uint64_t number, int signal) ABSL_LOCKS_EXCLUDED(mu_);

  // While a message is served its results wait for each other. SERIAL.
  void Cork() ABSL_LOCKS_EXCLUDED(mu_);
  void Uncork() ABSL_LOCKS_EXCLUDED(mu_);

  // To be answered with the next message.
  void Heartbeat(uint64_t number) ABSL_LOCKS_EXCLUDED(mu_);

  // --- Handles, SERIAL -------------------------------------------------------

  // Opens a pipe; the handle is the number of the operation that asks for it.
  // Should the handle end by itself, its watch is a second result of `method`.
  absl::Status OpenReader(uint64_t number, uint8_t method,
                          absl::string_view name,
                          const PipeOptionsRequest& options)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status OpenWriter(uint64_t number, uint8_t method,
                          absl::string_view name,
                          const PipeOptionsRequest& options)
      ABSL_LOCKS_EXCLUDED(mu_);
  // An operation of it is asleep: EBUSY or, `when_idle`, it is closed when that
  // has ended. EBADF: no such handle.
  absl::Status CloseHandle(uint64_t handle, bool broken, bool when_idle)
      ABSL_LOCKS_EXCLUDED(mu_);
  // nullptr: no such handle. The handle stays until what is SERIAL has ended,
  // and for as long as an operation of it is asleep.
  PipeReader* FindReader(uint64_t handle) ABSL_LOCKS_EXCLUDED(mu_);
  PipeWriter* FindWriter(uint64_t handle) ABSL_LOCKS_EXCLUDED(mu_);
  // An operation of this session may have something of this object by its own
  // number, a hold or a grant: the session's end gives it back.
  void NoteHolds(Ref<Object> object) ABSL_LOCKS_EXCLUDED(mu_);

  // --- The end ---------------------------------------------------------------

  // The session is over: its stream ends with `status`. SERIAL.
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // --- For the transport -----------------------------------------------------

  // What is to be sent next on that stream: results up to `max_bytes`, or one.
  // False: nothing; Kick() comes when there is. One thread at a time.
  bool Take(uint64_t stream, uint64_t max_bytes, SessionMessage& message)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Whether it has a stream, and results that this has not taken.
  bool HasUnsent() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    return transport_ && sent_ < results_.last();
  }

 private:
  struct Handle {
    std::unique_ptr<PipeReader> reader;
    std::unique_ptr<PipeWriter> writer;
    Ref<HandleOperation> watch;
    bool answered = false;  // its open
    uint64_t asleep = 0;    // operations of it
    bool closing = false;   // when those have ended; nobody finds it any more
    bool clean = false;     // then
  };
  // What is to be done when the lock is released.
  struct Later {
    Ref<SessionTransport> kick;
    uint64_t stream = 0;
    std::vector<SessionResult> give_back;
    std::vector<Handle> close;
    std::vector<Ref<RefCounted>> watched;  // of watches that have ended
    bool drop_self = false;
  };

  // Home
  void Deliver(DoneList done) override ABSL_LOCKS_EXCLUDED(mu_);

  void EndedLocked(Ref<Operation> operation, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddResultLocked(SessionResult result, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void KickLocked(Later& later) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AnythingToSendLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether anything can be handed over may have changed.
  void UpdateAwayLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The operation is over and was of this handle.
  void LeaveHandleLocked(uint64_t operation, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(Later&& later) ABSL_LOCKS_EXCLUDED(mu_);
  // Nobody will use the handle that this operation has opened, if it has.
  void CloseUnusedLocked(uint64_t number, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseNow(Handle handle);
  // If it is back, and something was passed by while it was away.
  void RetestPassedBy() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status CheckSentLocked(uint64_t number) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // These results are the application's.
  void Tell(const std::vector<SessionResult>& taken);
  absl::Status AddHandle(uint64_t number, absl::Status opened, Handle handle)
      ABSL_LOCKS_EXCLUDED(mu_);
  Ref<HandleOperation> MakeWatch(uint64_t number, uint8_t method, bool writes);

  // Time. A timer is armed for as long as the session lives.
  static void OnTimer(Timer& timer);
  void ArmTimer(absl::Time when);
  void CancelTimer();
  void LookAtTime() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Time ExpiryLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The end, in two steps: nobody can use it any more; what it has left is
  // ended, at most so many at a time. True: there is more.
  void BeginEnd(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  bool EndSome(size_t most) ABSL_LOCKS_EXCLUDED(mu_);

  Engine& engine_;
  SessionTable& table_;
  const std::string token_;
  const std::shared_ptr<CallerInfo> caller_info_;
  const absl::Duration grace_;

  mutable Mutex mu_;
  // Run(): what is to be done next, while something is done.
  bool running_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<std::function<void()>> actions_ ABSL_GUARDED_BY(mu_);

  bool over_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t last_stream_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t program_ ABSL_GUARDED_BY(mu_) = 0;  // of that stream
  uint64_t attempt_ ABSL_GUARDED_BY(mu_) = 0;
  Ref<SessionTransport> transport_ ABSL_GUARDED_BY(mu_);  // if attached
  bool idle_ ABSL_GUARDED_BY(mu_) = false;  // the transport sends nothing
  bool corked_ ABSL_GUARDED_BY(mu_) = false;
  bool hello_due_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t heartbeat_due_ ABSL_GUARDED_BY(mu_) = 0;

  absl::Time heard_ ABSL_GUARDED_BY(mu_);
  absl::Duration stall_when_heard_ ABSL_GUARDED_BY(mu_);
  // Since it was heard: the stream was asked for what it has, and has said.
  bool probed_ ABSL_GUARDED_BY(mu_) = false;
  bool probe_answered_ ABSL_GUARDED_BY(mu_) = false;

  uint64_t received_ ABSL_GUARDED_BY(mu_) = 0;  // operations
  // So many of them, since one was not, or one of its results was taken.
  uint64_t refused_ ABSL_GUARDED_BY(mu_) = 0;
  KeptResults results_ ABSL_GUARDED_BY(mu_);
  uint64_t sent_ ABSL_GUARDED_BY(mu_) = 0;       // results, on this stream
  uint64_t ever_sent_ ABSL_GUARDED_BY(mu_) = 0;  // on any
  // Those asleep, watches aside. The session has a reference to itself while
  // there are any.
  struct ByNumber {
    using is_transparent = void;
    static uint64_t NumberOf(const Ref<Operation>& op) {
      return op->tag() & kNumberMask;
    }
    static uint64_t NumberOf(uint64_t number) { return number; }
    size_t operator()(const auto& key) const {
      return absl::HashOf(NumberOf(key));
    }
    bool operator()(const auto& a, const auto& b) const {
      return NumberOf(a) == NumberOf(b);
    }
  };
  absl::flat_hash_set<Ref<Operation>, ByNumber, ByNumber> asleep_
      ABSL_GUARDED_BY(mu_);

  absl::flat_hash_map<uint64_t, Handle> handles_ ABSL_GUARDED_BY(mu_);
  // By operation that is asleep.
  absl::flat_hash_map<uint64_t, uint64_t> handle_of_ ABSL_GUARDED_BY(mu_);
  struct ByAddress {
    size_t operator()(const Ref<Object>& object) const {
      return absl::HashOf(object.get());
    }
    bool operator()(const Ref<Object>& a, const Ref<Object>& b) const {
      return a.get() == b.get();
    }
  };
  absl::flat_hash_set<Ref<Object>, ByAddress, ByAddress> holding_
      ABSL_GUARDED_BY(mu_);
  // How many there were when it was last looked.
  size_t holding_last_ ABSL_GUARDED_BY(mu_) = 8;

  // SERIAL, when it is over: what is to be ended still.
  std::vector<Ref<Operation>> ending_;
  std::vector<SessionResult> ending_results_;

  // Of an operation's tag.
  static constexpr uint64_t kNumberMask = (uint64_t{1} << 55) - 1;
  static constexpr uint64_t kEnded = uint64_t{1} << 55;
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_SESSION_H_
