// All sessions of an engine, by their tokens; and how much of the time nobody
// can be blamed for.

#ifndef WAITQ_SERVER_ENGINE_SESSION_TABLE_H_
#define WAITQ_SERVER_ENGINE_SESSION_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/mutex.h"
#include "core/timers.h"
#include "server/engine/ref.h"
#include "server/engine/session.h"

namespace waitq::engine {

// Thread safety: any thread may call any method.
// Lock order: a leaf.
class SessionTable : private Timer {
 public:
  // `engine` must outlive this.
  explicit SessionTable(Engine* engine);
  // All sessions are ended before.
  ~SessionTable();
  SessionTable(const SessionTable&) = delete;
  SessionTable& operator=(const SessionTable&) = delete;

  // Which program asks for a session, and with how manieth of its streams; 0:
  // not known. `again`: it has asked before, and had no answer.
  struct Origin {
    uint64_t program = 0;
    uint64_t attempt = 0;
    bool again = false;
  };
  // A new session, without a stream yet. ENOSPC: `sessions`. (Also while the
  // server drains: readers may come to empty the pipes.) If it is asked for
  // again, the one that was made then, if any: what came with it is not to be
  // done twice. ESTALE: a later stream of that program has one, or had.
  absl::StatusOr<Ref<Session>> Make(const std::string& peer,
                                    const std::string& caller,
                                    absl::Duration grace, const Origin& origin);
  absl::StatusOr<Ref<Session>> Make(const std::string& peer,
                                    const std::string& caller,
                                    absl::Duration grace) {
    return Make(peer, caller, grace, Origin());
  }
  // EOWNERDEAD: it was another server's. ESTALE: there is none (any more).
  absl::StatusOr<Ref<Session>> Find(const std::string& token,
                                    uint64_t server_epoch);
  void Forget(const Session& session);

  // Ends all sessions, with this status for their streams.
  void EndAll(const absl::Status& status);

  size_t size() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    return sessions_.size();
  }

  // How many have a stream, and results that were not sent on it.
  size_t unsent() const ABSL_LOCKS_EXCLUDED(mu_);

  // How long this process has stood still, in all: stopped, or without a
  // processor. Clients that spoke in that time were not heard.
  absl::Duration Stalled() const ABSL_LOCKS_EXCLUDED(stall_mu_) {
    MutexLock lock(&stall_mu_);
    return stalled_;
  }
  // Looks whether it has just done so. To be called before anybody is taken
  // for silent; and when somebody is heard, who is not to be given that time.
  void NoteStall() ABSL_LOCKS_EXCLUDED(stall_mu_);

 private:
  struct Entry {
    Ref<Session> session;
    uint64_t number = 0;  // as they were made
    Origin origin;
  };

  // The last one of that program, or nothing.
  const Entry* FindLocked(const Origin& origin) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The one that is to be gone on with; nothing: a new one is to be made.
  absl::StatusOr<Ref<Session>> AskedForLocked(const Origin& origin) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Its program's streams of before that one may be on their way still.
  void NoteOverLocked(const Origin& origin) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  static void OnTimer(Timer& timer);

  Engine& engine_;

  mutable Mutex mu_;
  absl::flat_hash_map<std::string, Entry> sessions_ ABSL_GUARDED_BY(mu_);
  // Their tokens, by program.
  absl::flat_hash_map<uint64_t, std::string> programs_ ABSL_GUARDED_BY(mu_);
  // Of those that were asked for again and are over, the last few: with which
  // stream, by program; and these in the order of their ends.
  absl::flat_hash_map<uint64_t, uint64_t> over_ ABSL_GUARDED_BY(mu_);
  std::deque<uint64_t> over_order_ ABSL_GUARDED_BY(mu_);
  uint64_t made_ ABSL_GUARDED_BY(mu_) = 0;

  // Its own: asked for under a session's lock.
  mutable Mutex stall_mu_;
  absl::Duration stalled_ ABSL_GUARDED_BY(stall_mu_);
  // When it is to be looked next.
  absl::Time due_ ABSL_GUARDED_BY(stall_mu_);
  bool ticking_ ABSL_GUARDED_BY(stall_mu_) = false;
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_SESSION_TABLE_H_
