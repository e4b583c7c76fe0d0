// A session, as its client sees it: operations that outlive their connection.
//
//            Submit()              hello answered
//   NONE ───────────► CONNECTING ─────────────────► ATTACHED
//    ▲                   ▲  │ no server, and           │ connection lost
//    │                   │  │ no session yet:          ▼
//    │                   │  │ operations fail       WAITING ─► CONNECTING ─►
//    ... │                   │  ▼                          │
//    └───────────────────┴─ the session is over: the server says so, or nothing
//                           was answered for 0.9 of its grace
//
// What a server refuses because it drains has taken nothing there: it is begun
// anew on the server that comes in its place.
//
// The machine knows no network and no thread: a SessionLink carries its
// messages and tells it the time. So tests run it on simulated ones. The other
// end is server/engine/session.h; docs/session.md describes both.

#ifndef WAITQ_CLIENT_SESSION_MACHINE_H_
#define WAITQ_CLIENT_SESSION_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/session/acknowledgements.h"
#include "client/session/link.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {

// A result that an application may have taken.
struct SessionReceipt {
  uint64_t session = 0;  // 0: there is nothing to take
  uint64_t number = 0;
  bool urgent = false;  // somebody may wait for it to be taken
};

struct SessionOptions {
  std::string caller = {};
  // Asked for; the server decides.
  absl::Duration grace = absl::Seconds(30);
  // For error messages.
  std::string server = {};
};

// Thread safety: any thread may call any method.
// Lifetime: the link must outlive it; when it dies, nobody may call it and no
//   operation may be under way.
class SessionMachine {
 public:
  // Is told the end of an operation, once, with no lock held: on the thread
  // that brings it; if that is just telling another's, after that one. Only
  // what is submitted by a callback after Close() is never told. An error:
  // `result` is nullptr. True: the application has taken it; false: it says so
  // later, by Settle().
  using Done = absl::AnyInvocable<bool(
      const absl::Status& status, v1::Result* result, SessionReceipt receipt)>;

  struct Submission {
    std::optional<v1::Operation> operation = {};
    // Instead: its bytes.
    std::string encoded = {};
    Done done;
    // After this the operation ends here, whatever became of it there.
    // InfiniteDuration(): never.
    absl::Duration give_up_after = absl::InfiniteDuration();
    // If the session is lost, it is begun anew with what is left of its time:
    // it cannot happen twice, or what it took was given back.
    bool restartable = false;
    // Only in this session (SessionReceipt::session): it names a handle of it.
    // 0: in any.
    uint64_t session = 0;
    // It sleeps until somebody does something: others may go before it, where
    // the server takes no more.
    bool sleeper = false;
  };

  SessionMachine(SessionLink* link, SessionOptions options);
  ~SessionMachine();
  SessionMachine(const SessionMachine&) = delete;
  SessionMachine& operator=(const SessionMachine&) = delete;

  // Starts an operation; returns what Cancel() and Signal() name it by.
  // `done` may be called before this returns.
  uint64_t Submit(Submission submission) ABSL_LOCKS_EXCLUDED(mu_);

  // The operation is to end, having consumed nothing: CANCELLED (ECANCELED),
  // unless it ends in another way before that. Without a connection, at once.
  // Does nothing if it has ended.
  void Cancel(uint64_t ticket) ABSL_LOCKS_EXCLUDED(mu_);

  // The application has taken a result, or nobody will.
  void Settle(SessionReceipt receipt, bool taken = true)
      ABSL_LOCKS_EXCLUDED(mu_);

  // `lost` is to be told, once and as Done is, when that session is over for
  // this client, with why: the server has ended it, or nothing was answered for
  // 0.9 of its grace, and so before the server gives to others what it had; or
  // Close() was called. If it is over already, before this returns. Returns
  // what Unwatch() names it by: then it is not told, unless that is under way.
  using Lost = absl::AnyInvocable<void(const absl::Status& why)>;
  uint64_t Watch(uint64_t session, Lost lost) ABSL_LOCKS_EXCLUDED(mu_);
  void Unwatch(uint64_t watch) ABSL_LOCKS_EXCLUDED(mu_);

  // No more operations: those under way end with CANCELLED, and the server is
  // told what was taken and that the session is over. If the connection is lost
  // before that, on another one. IsOver() when the server knows; or there is no
  // session, and none that a hello may have made; or it has ended by itself,
  // 0.9 of its grace later at the latest.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);
  bool IsOver() const ABSL_LOCKS_EXCLUDED(mu_);
  // Waits for that, until then at most by the wall clock. Then it gives up: the
  // session is over for this machine.
  void AwaitOver(absl::Time at_most) ABSL_LOCKS_EXCLUDED(mu_);

  // --- From the link ---------------------------------------------------------

  void OnMessage(uint64_t connection, v1::SessionResponse& message)
      ABSL_LOCKS_EXCLUDED(mu_);
  void OnWritten(uint64_t connection) ABSL_LOCKS_EXCLUDED(mu_);
  // It has ended. The status is the server's (client/error.h: with a reason),
  // or the network's. `sent`: whether the server may have been reached.
  void OnClosed(uint64_t connection, const absl::Status& status, bool sent)
      ABSL_LOCKS_EXCLUDED(mu_);
  void OnTimer() ABSL_LOCKS_EXCLUDED(mu_);

  // Whether the calling thread is just telling the end of an operation of this:
  // should it wait for another, nobody would tell it.
  bool IsTelling() const;

  // For tests and tools.
  size_t operations() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return operations_.size() + waiting_.size() + drained_.size();
  }
  // The session that it counts itself in; "" without one.
  std::string token() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return token_;
  }

 private:
  enum class State { kNone, kConnecting, kAttached, kWaiting, kClosed };

  struct Operation {
    std::string bytes;  // a v1::Operation
    Done done;          // nullptr: nobody wants its result any more
    uint64_t ticket = 0;
    absl::Time started;
    absl::Time give_up = absl::InfiniteFuture();
    bool restartable = false;
    bool sleeper = false;
    bool cancelled = false;
    uint64_t session = 0;
    uint64_t epoch = 0;  // of the server that had it before; 0: none
  };
  // One that a server has refused because it drains. It ends with that status
  // where its own time is over before another server comes.
  struct Drained {
    Operation operation;
    absl::Time give_up;  // the operation's own: until then is less
    absl::Status status;
  };
  // What a ticket stands for, now.
  struct Found {
    Operation* operation = nullptr;  // nullptr: it has ended
    uint64_t number = 0;             // 0: it has none yet
    const absl::Status* drained = nullptr;
  };
  using Operations = absl::flat_hash_map<uint64_t, std::unique_ptr<Operation>>;
  // Whom to tell what, when the lock is released.
  struct Telling {
    Done done;
    absl::Status status;
    v1::Result* result = nullptr;
    SessionReceipt receipt;
  };
  struct Teller;
  static thread_local Teller* teller_;  // what this thread is telling
  struct Later {
    std::vector<Telling> tellings;
    std::optional<uint64_t> disconnect;
    std::optional<uint64_t> connect;
    std::optional<std::string> write;
    uint64_t connection = 0;
    std::optional<absl::Time> timer;
  };

  void Do(Later&& later) ABSL_LOCKS_EXCLUDED(mu_);

  // Operations.
  void NumberLocked(Operation&& operation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Its result has come.
  void EraseLocked(Operations::iterator operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GiveUpAtLocked(Operation& operation, absl::Time when)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Found FindLocked(uint64_t ticket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Its end, here: nobody waits for its result any more.
  void TellLocked(Operation& operation, absl::Status status, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // It is told, or about to be: what else points to it.
  void ForgetLocked(const Operation& operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsSentLocked(uint64_t number) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return number != 0 && number <= ever_sent_;
  }
  // It waits for room.
  void KeepWaitingLocked(Operation operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Those that waited for room go on.
  void AdmitWaitingLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // It waits for the next server, if that is why it has failed: as long as it
  // has time.
  bool KeepDrainedLocked(Operation& operation, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // There is another server, perhaps: with what is left of their time.
  void BeginDrainedAnewLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AnyUnderWayLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !operations_.empty() || !waiting_.empty() || !drained_.empty();
  }
  bool IsFullForLocked(bool sleeper) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CancelLocked(uint64_t ticket, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The server is not to do it, or to end it. One that has no number is gone
  // with that.
  void DropLocked(uint64_t number, Operation& operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SettleLocked(const SessionReceipt& receipt, bool taken)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // The connection.
  void ConnectLocked(Later& later) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SendLocked(Later& later) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string MakeMessageLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AnythingToSendLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnHelloLocked(const v1::SessionResponse::Hello& hello, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnResultsLocked(v1::SessionResponse& message, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // There is a session; or a hello was sent, and its answer is on its way or
  // was lost, so that the server may have one: with what was sent at once
  // asleep in it, and maybe with a lock.
  bool MayHaveSessionLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !token_.empty() || asked_before_ ||
           (state_ == State::kConnecting && !hello_due_ &&
            link_.MayHaveArrived(connection_));
  }
  // Who closes says so to a session that he knows, or behind the hello that
  // may have made it.
  bool IsGoodbyeDueLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return closing_ && (state_ == State::kAttached || token_.empty());
  }
  // A hello had no answer: whether to ask again for that session. Not for
  // longer than such a one lives.
  bool AskAgainLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The connection is lost: another is made, not before `at_least` is over.
  void WaitLocked(absl::Duration at_least = absl::ZeroDuration())
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The session is over: what was sent ends with `status`, unless `restart`
  // and it can be begun anew; what names a handle of it and was not, with
  // `unsent`.
  void LoseLocked(const absl::Status& status, const absl::Status& unsent,
                  bool restart, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // There is no session, and none comes of this try. `unknown`: but what was
  // sent may have been done.
  void FailAllLocked(const absl::Status& status, bool unknown, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The same, but for those that a server has refused because it drained.
  void FailOthersLocked(const absl::Status& status, bool unknown, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The last server drained, and no other was there just now.
  void AwaitServerLocked(const absl::Status& status, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetSessionLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void TellLoss(Lost lost, const absl::Status& why, Later& later);
  // The session is over.
  void TellWatchesLocked(const absl::Status& why, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnClosedLocked(const absl::Status& status, bool sent, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Time.
  void ArmLocked(Later& later) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Time NextWorkLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Time LeaseEndLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetGraceLocked(absl::Duration grace) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Nothing was answered for too long: the session counts as over.
  void ExpireLocked(Later& later) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GiveUpLocked(absl::Time now, Later& later)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  SessionLink& link_;
  const SessionOptions options_;
  // Which tells this session from others: see Hello.
  uint64_t program_ ABSL_GUARDED_BY(mu_);

  mutable absl::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kNone;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  bool end_sent_ ABSL_GUARDED_BY(mu_) = false;

  uint64_t connection_ ABSL_GUARDED_BY(mu_) = 0;  // the last one
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool hello_due_ ABSL_GUARDED_BY(mu_) = false;
  // No operations before the hello is answered: another server may be there.
  bool hold_operations_ ABSL_GUARDED_BY(mu_) = false;
  // A hello without a token was sent, and had no answer; and how that ended.
  bool asked_before_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status no_answer_ ABSL_GUARDED_BY(mu_);
  absl::Time ask_again_until_ ABSL_GUARDED_BY(mu_);
  absl::Time connected_ ABSL_GUARDED_BY(mu_);
  absl::Time retry_at_ ABSL_GUARDED_BY(mu_);
  absl::Duration backoff_ ABSL_GUARDED_BY(mu_);
  // The last server drained, and no other has answered yet: there is no room
  // before one does. Until then, who comes now waits for it, too.
  bool between_servers_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time patience_end_ ABSL_GUARDED_BY(mu_);

  // The session. Tickets are numbers with the base of their session, so that
  // they are never used twice.
  uint64_t session_ ABSL_GUARDED_BY(mu_) = 1;   // how manieth it is
  absl::Status last_end_ ABSL_GUARDED_BY(mu_);  // what its handles are told
  uint64_t base_ ABSL_GUARDED_BY(mu_) = 0;
  std::string token_ ABSL_GUARDED_BY(mu_);
  uint64_t epoch_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Duration lease_ ABSL_GUARDED_BY(mu_);        // 0.9 of its grace
  absl::Duration answer_time_ ABSL_GUARDED_BY(mu_);  // of a server that is well
  uint64_t operations_max_ ABSL_GUARDED_BY(mu_) = 1000;
  uint64_t last_number_ ABSL_GUARDED_BY(mu_) = 0;  // given to an operation
  uint64_t sent_number_ ABSL_GUARDED_BY(mu_) = 0;  // on this connection
  uint64_t ever_sent_ ABSL_GUARDED_BY(mu_) = 0;    // on any
  uint64_t results_received_ ABSL_GUARDED_BY(mu_) = 0;
  Acknowledgements acknowledgements_ ABSL_GUARDED_BY(mu_);
  absl::Time acknowledge_at_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  std::deque<uint64_t> cancels_ ABSL_GUARDED_BY(mu_);  // numbers, unsaid
  size_t numbers_max_ ABSL_GUARDED_BY(mu_) = 8192;     // in one message
  uint64_t unsettled_ ABSL_GUARDED_BY(mu_) = 0;        // results

  // Heartbeats: of the last one that was sent, and of the last answered.
  uint64_t heartbeat_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time heartbeat_sent_ ABSL_GUARDED_BY(mu_);
  bool heartbeat_due_ ABSL_GUARDED_BY(mu_) = false;
  bool heartbeat_answered_ ABSL_GUARDED_BY(mu_) = true;
  absl::Time lease_from_ ABSL_GUARDED_BY(mu_);

  // By number. And those that have none yet, for which there is no room: the
  // sleepers last, each in their order, which is that of their tickets.
  Operations operations_ ABSL_GUARDED_BY(mu_);
  // Of those that have ended, a few, for the next ones: a message ends and
  // begins hundreds at a time, more than the allocator has at hand.
  std::vector<std::unique_ptr<Operation>> spare_ ABSL_GUARDED_BY(mu_);
  std::map<std::pair<bool, uint64_t>, Operation> waiting_ ABSL_GUARDED_BY(mu_);
  uint64_t last_waiting_ ABSL_GUARDED_BY(mu_) = 0;
  // By ticket: in the order in which they were asked for.
  std::map<uint64_t, Drained> drained_ ABSL_GUARDED_BY(mu_);
  // Tickets of those that have another number than they began with.
  absl::flat_hash_map<uint64_t, uint64_t> numbers_ ABSL_GUARDED_BY(mu_);
  // When operations end here at the latest, by ticket.
  absl::btree_set<std::pair<absl::Time, uint64_t>> give_ups_
      ABSL_GUARDED_BY(mu_);
  absl::Time timer_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();

  // Of this session; in the order in which they came.
  absl::btree_map<uint64_t, Lost> watches_ ABSL_GUARDED_BY(mu_);
  uint64_t last_watch_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_SESSION_MACHINE_H_
