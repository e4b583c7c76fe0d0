// Who calls, and how much of the limits it uses.

#ifndef WAITQ_SERVER_ENGINE_CALLER_INFO_H_
#define WAITQ_SERVER_ENGINE_CALLER_INFO_H_

#include <array>
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
      : peer_(std::move(peer)),
        name_(std::move(name)),
        sleepers_("sleepers-per-caller", limits.sleepers_per_caller),
        bytes_("bytes-per-caller", limits.bytes_per_caller) {}

  const std::string& peer() const { return peer_; }
  const std::string& name() const { return name_; }

  // Of its calls asleep and streams open; of the bytes kept for them.
  Budget& sleepers() { return sleepers_; }
  Budget& bytes() { return bytes_; }

 private:
  const std::string peer_;
  const std::string name_;
  Budget sleepers_;
  Budget bytes_;
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
