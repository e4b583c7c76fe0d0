// The objects by their names.

#ifndef WAITQ_SERVER_ENGINE_OBJECT_TABLE_H_
#define WAITQ_SERVER_ENGINE_OBJECT_TABLE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/mutex.h"
#include "server/engine/object.h"
#include "server/engine/ref.h"

namespace waitq::engine {

// INVALID_ARGUMENT unless it is 1 to 255 bytes of [A-Za-z0-9._/-].
absl::Status CheckName(absl::string_view name);

// Thread safety: any thread may call any method.
// Lock order: a shard's lock, then an object's. Never two shards at once.
class ObjectTable {
 public:
  // `shared` must outlive the table and all objects.
  explicit ObjectTable(Shared* shared) : shared_(*shared) {}
  // Takes out all objects, ending who sleeps on them.
  ~ObjectTable();

  // The object of that name, or nullptr.
  Ref<Object> Find(absl::string_view name);

  // The object of that name, made by `make` if there is none. ENOSPC at the
  // limit of objects. `found` sees one that was there, while it cannot go.
  absl::StatusOr<Ref<Object>> FindOrMake(
      absl::string_view name, absl::FunctionRef<Ref<Object>(std::string)> make,
      absl::FunctionRef<absl::Status(Object&)> found = [](Object&) {
        return absl::OkStatus();
      });

  // Takes the object out, if `condition` allows. Later users of the name find
  // no object, or another one; who has this one still gets Started::kGone.
  bool Remove(Object& object, RemoveIf condition);

  // All objects whose names begin with `prefix`, in no order.
  std::vector<Ref<Object>> All(absl::string_view prefix = "");

 private:
  struct Shard {
    Mutex mu;
    absl::flat_hash_map<std::string, Ref<Object>> objects ABSL_GUARDED_BY(mu);
  };
  Shard& ShardOf(absl::string_view name);

  Shared& shared_;
  // Enough that threads seldom meet in one.
  std::array<Shard, 32> shards_;
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_OBJECT_TABLE_H_
