#include "server/engine/object_table.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/engine/error.h"
#include "server/engine/limits.h"

namespace waitq::engine {
namespace {

bool IsNameByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
         c == '_' || c == '/' || c == '-';
}

// Names come from strangers: shown in full only if they may be shown.
std::string Printable(absl::string_view name) {
  constexpr size_t kShownBytes = 40;
  std::string shown = absl::CHexEscape(name.substr(0, kShownBytes));
  if (name.size() > kShownBytes) absl::StrAppend(&shown, "...");
  return shown;
}

}  // namespace

absl::Status CheckName(absl::string_view name) {
  if (!name.empty() && name.size() <= kNameBytesMax &&
      std::all_of(name.begin(), name.end(), IsNameByte)) {
    return absl::OkStatus();
  }
  return MakeError(EINVAL,
                   absl::StrCat("bad name \"", Printable(name), "\" of ",
                                name.size(), " bytes: a name is 1 to ",
                                kNameBytesMax, " bytes of [A-Za-z0-9._/-]"),
                   {{"object", Printable(name)}, {"limit", "name-bytes"}});
}

ObjectTable::~ObjectTable() {
  for (Ref<Object>& object : All()) {
    Remove(*object, RemoveIf::kAlways);
    object->EndAll(Event::kRemove);
  }
}

ObjectTable::Shard& ObjectTable::ShardOf(absl::string_view name) {
  return shards_[absl::Hash<absl::string_view>()(name) % shards_.size()];
}

Ref<Object> ObjectTable::Find(absl::string_view name) {
  Shard& shard = ShardOf(name);
  MutexLock lock(&shard.mu);
  const auto it = shard.objects.find(name);
  return it == shard.objects.end() ? nullptr : it->second;
}

absl::StatusOr<Ref<Object>> ObjectTable::FindOrMake(
    absl::string_view name, absl::FunctionRef<Ref<Object>(std::string)> make,
    absl::FunctionRef<absl::Status(Object&)> found) {
  Shard& shard = ShardOf(name);
  MutexLock lock(&shard.mu);
  const auto it = shard.objects.find(name);
  if (it != shard.objects.end()) {
    if (absl::Status status = found(*it->second); !status.ok()) return status;
    return it->second;
  }
  if (!shared_.objects.Take(1)) {
    return MakeError(
        ENOSPC,
        absl::StrCat(name, ": there are ", shared_.objects.limit(),
                     " objects, the limit"),
        {{"object", std::string(name)}, {"limit", shared_.objects.name()}});
  }
  Ref<Object> made = make(std::string(name));
  shard.objects.emplace(made->name(), made);
  return made;
}

bool ObjectTable::Remove(Object& object, RemoveIf condition) {
  Shard& shard = ShardOf(object.name());
  Ref<Object> removed;  // destroyed after the lock is released
  MutexLock lock(&shard.mu);
  const auto it = shard.objects.find(object.name());
  if (it == shard.objects.end() || it->second.get() != &object) return false;
  if (!object.MarkRemoved(condition)) return false;
  removed = std::move(it->second);
  shard.objects.erase(it);
  shared_.objects.Return(1);
  return true;
}

std::vector<Ref<Object>> ObjectTable::All(absl::string_view prefix) {
  std::vector<Ref<Object>> all;
  for (Shard& shard : shards_) {
    MutexLock lock(&shard.mu);
    for (const auto& [name, object] : shard.objects) {
      if (absl::StartsWith(name, prefix)) all.push_back(object);
    }
  }
  return all;
}

}  // namespace waitq::engine
