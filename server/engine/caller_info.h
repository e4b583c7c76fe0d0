// Who calls, and how much of the limits it uses.

#ifndef WAITQ_SERVER_ENGINE_CALLER_INFO_H_
#define WAITQ_SERVER_ENGINE_CALLER_INFO_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "core/mutex.h"
#include "server/engine/limits.h"

namespace waitq::engine {

// A caller is the address that it calls from and the name that it gives itself:
// so each TCP connection is at least one. All operations of a caller share one
// of these.
//
// Thread safety: all of it.
class CallerInfo {
 public:
  CallerInfo(std::string peer, std::string name, const Limits& limits)
      : CallerInfo(std::move(peer), std::move(name), "sleepers-per-caller",
                   limits.sleepers_per_caller, limits) {}
  // A session, whose operations are counted by itself.
  static std::shared_ptr<CallerInfo> OfSession(std::string peer,
                                               std::string name,
                                               const Limits& limits);

  std::string peer() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    return peer_;
  }
  // It goes on from another address.
  void set_peer(std::string peer) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    peer_ = std::move(peer);
  }
  const std::string& name() const { return name_; }

  // Of its calls asleep and streams open; of the bytes kept for them.
  Budget& sleepers() { return sleepers_; }
  Budget& bytes() { return bytes_; }

  // Nothing may be handed to it: its session has no stream, or keeps too many
  // results. Its operations that would take something are passed by.
  void set_away(bool away) { away_.store(away); }
  bool away() const { return away_.load(std::memory_order_relaxed); }
  // For a walk, under the lock of its object, which has come to an operation
  // that would take: whether it is to be passed by. If so that is noted.
  bool PassBy() {
    if (!away()) return false;
    // The race with set_away(false) and then TakePassedBy(), on another
    // thread: either that finds the note, or this finds that it is back. (All
    // four are sequentially consistent.)
    passed_by_.store(true);
    return away_.load();
  }
  // After set_away(false): whether any was passed by since this was asked last.
  // If so all of them have to be tested again.
  bool TakePassedBy() { return passed_by_.exchange(false); }

 private:
  CallerInfo(std::string peer, std::string name, const char* limit,
             uint64_t sleepers_max, const Limits& limits)
      : peer_(std::move(peer)),
        name_(std::move(name)),
        sleepers_(limit, sleepers_max),
        bytes_("bytes-per-caller", limits.bytes_per_caller) {}

  mutable Mutex mu_;
  std::string peer_ ABSL_GUARDED_BY(mu_);
  const std::string name_;
  Budget sleepers_;
  Budget bytes_;
  std::atomic<bool> away_{false};
  std::atomic<bool> passed_by_{false};
};

// The callers that have an operation.
//
// Thread safety: any thread may call Find(). Must outlive what it returns.
class CallerTable {
 public:
  explicit CallerTable(const Limits* limits) : limits_(*limits) {}
  CallerTable(const CallerTable&) = delete;
  CallerTable& operator=(const CallerTable&) = delete;

  // The caller of that address and name. It is forgotten when nobody has it any
  // more.
  std::shared_ptr<CallerInfo> Find(absl::string_view peer,
                                   absl::string_view name);

 private:
  // By address and name.
  using Key = std::pair<std::string, std::string>;
  struct Shard {
    Mutex mu;
    absl::flat_hash_map<Key, std::weak_ptr<CallerInfo>> callers
        ABSL_GUARDED_BY(mu);
  };

  // As many as keep the threads of a large machine apart.
  static constexpr size_t kShards = 32;

  Shard& ShardOf(const Key& key);
  // Nobody has it any more.
  void Forget(CallerInfo* info);

  const Limits& limits_;
  std::array<Shard, kShards> shards_;
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_CALLER_INFO_H_
