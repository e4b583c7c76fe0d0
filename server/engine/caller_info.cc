#include "server/engine/caller_info.h"

#include <algorithm>
#include <cstdint>

#include "absl/hash/hash.h"

namespace waitq::engine {

std::shared_ptr<CallerInfo> CallerInfo::OfSession(std::string peer,
                                                  std::string name,
                                                  const Limits& limits) {
  // Its streams are not its sleepers' number, which bounds other callers. Its
  // operations are counted by the session before they come here: beside them
  // there is room for as many handles.
  const uint64_t most = limits.operations_per_session;
  return std::shared_ptr<CallerInfo>(
      new CallerInfo(std::move(peer), std::move(name), "operations-per-session",
                     most + std::min(most, UINT64_MAX - most), limits));
}

CallerTable::Shard& CallerTable::ShardOf(const Key& key) {
  // Other bits than the map's own.
  return shards_[(absl::HashOf(key) >> 40) % kShards];
}

std::shared_ptr<CallerInfo> CallerTable::Find(absl::string_view peer,
                                              absl::string_view name) {
  Key key(peer, name);
  Shard& shard = ShardOf(key);
  MutexLock lock(&shard.mu);
  std::weak_ptr<CallerInfo>& entry = shard.callers[key];
  if (auto known = entry.lock()) return known;
  std::shared_ptr<CallerInfo> made(
      new CallerInfo(key.first, key.second, limits_),
      [this](CallerInfo* info) { Forget(info); });
  entry = made;
  return made;
}

void CallerTable::Forget(CallerInfo* info) {
  const Key key(info->peer(), info->name());
  Shard& shard = ShardOf(key);
  {
    MutexLock lock(&shard.mu);
    // The race with Find(), which may have made it anew since the last
    // reference to this one went.
    const auto it = shard.callers.find(key);
    if (it != shard.callers.end() && it->second.expired()) {
      shard.callers.erase(it);
    }
  }
  delete info;
}

}  // namespace waitq::engine
