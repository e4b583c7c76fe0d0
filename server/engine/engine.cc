#include "server/engine/engine.h"

#include <algorithm>
#include <cerrno>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/error.h"

namespace waitq::engine {
namespace {

absl::Status WrongKind(const Object& object, ObjectKind wanted) {
  return MakeError(
      ENXIO,
      absl::StrCat(object.name(), ": is a ", KindName(object.kind()),
                   ", not a ", KindName(wanted)),
      {{"object", object.name()}});
}

absl::Status NoSuchObject(absl::string_view name) {
  return MakeError(ENOENT, absl::StrCat(name, ": there is no such object"),
                   {{"object", std::string(name)}});
}

absl::Status WasRemoved(absl::string_view name) {
  return MakeError(EIDRM, absl::StrCat(name, ": was removed"),
                   {{"object", std::string(name)}});
}

absl::Status OtherOptions(absl::string_view name) {
  return MakeError(EEXIST, absl::StrCat(name, ": is there with other options"),
                   {{"object", std::string(name)}});
}

// An object was removed while it was being used: its user looks it up again.
bool IsGone(const absl::Status& status) {
  return status.code() == absl::StatusCode::kAborted;
}

}  // namespace

absl::Status CheckAlternatives(size_t alternatives) {
  if (alternatives > 0 && alternatives <= kAlternativesMax) {
    return absl::OkStatus();
  }
  return MakeError(EINVAL,
                   absl::StrCat(alternatives, " alternatives: it is 1 to ",
                                kAlternativesMax),
                   {{"limit", "alternatives"}});
}

Engine::Engine(const Limits& limits, Timers* timers, uint64_t first_generation)
    : shared_(limits, timers, first_generation), epoch_(first_generation + 1) {
  shared_.expire = [this](Object& object) {
    table_.Remove(object, RemoveIf::kExpired);
  };
}

Engine::~Engine() { EndSessions(); }

// --- Finding and making ------------------------------------------------------

template <class T, class Make>
absl::StatusOr<Ref<T>> Engine::FindOrMake(absl::string_view name, Make make) {
  // As a rule it is there, and then its name is a good one.
  if (Ref<Object> object = table_.Find(name)) {
    if (object->kind() != T::kKind) return WrongKind(*object, T::kKind);
    return Ref<T>::Adopt(static_cast<T*>(object.Release()));
  }
  if (absl::Status status = CheckName(name); !status.ok()) return status;
  absl::StatusOr<Ref<Object>> object = table_.FindOrMake(
      name,
      [&](std::string made) -> Ref<Object> { return make(std::move(made)); });
  if (!object.ok()) return object.status();
  if ((*object)->kind() != T::kKind) return WrongKind(**object, T::kKind);
  return Ref<T>::Adopt(static_cast<T*>(object->Release()));
}

template <class T>
absl::StatusOr<Ref<T>> Engine::FindOrMake(absl::string_view name) {
  return FindOrMake<T>(name, [this](std::string made) {
    return MakeRef<T>(&shared_, std::move(made), /*created=*/false);
  });
}

template <class T>
absl::StatusOr<Ref<T>> Engine::Find(absl::string_view name) {
  if (absl::Status status = CheckName(name); !status.ok()) return status;
  Ref<Object> object = table_.Find(name);
  if (!object) return NoSuchObject(name);
  if (object->kind() != T::kKind) return WrongKind(*object, T::kKind);
  return Ref<T>::Adopt(static_cast<T*>(object.Release()));
}

absl::StatusOr<PipeOptions> Engine::Resolve(absl::string_view name,
                                            const PipeOptionsRequest& request) {
  const auto refuse = [&](absl::string_view why, absl::string_view limit) {
    return MakeError(
        EINVAL, absl::StrCat(name, ": ", why),
        {{"object", std::string(name)}, {"limit", std::string(limit)}});
  };
  PipeOptions options;
  options.mode = request.mode.value_or(PipeMode::kStream);
  const bool packets = options.mode == PipeMode::kPacket;
  options.profile = request.profile.value_or(packets ? PipeProfile::kQueue
                                                     : PipeProfile::kFifo);
  const bool ring = options.profile == PipeProfile::kScull;
  if (packets && ring) {
    return refuse("a scull pipe is a stream, not of packets", "profile");
  }
  options.capacity_bytes = request.capacity_bytes.value_or(
      std::min(options.capacity_bytes, limits().pipe_bytes));
  // What one byte needs.
  const uint64_t least = packets ? PipeState::kPacketCost + 1 : ring ? 2 : 1;
  if (options.capacity_bytes < least ||
      options.capacity_bytes > limits().pipe_bytes) {
    return refuse(absl::StrCat("a pipe of ", options.capacity_bytes,
                               " bytes: the capacity is ", least, " to ",
                               limits().pipe_bytes, " bytes"),
                  "pipe-bytes");
  }
  options.atomic_max_bytes = request.atomic_max_bytes.value_or(
      std::min(options.atomic_max_bytes, options.capacity_bytes));
  if (options.atomic_max_bytes < 1 ||
      options.atomic_max_bytes > options.capacity_bytes) {
    return refuse(absl::StrCat("atomic_max of ", options.atomic_max_bytes,
                               " bytes: it is 1 to the capacity, ",
                               options.capacity_bytes, " bytes"),
                  "capacity");
  }
  return options;
}

// --- Operations that may sleep -----------------------------------------------

template <class Lookup>
absl::StatusOr<Started> Engine::Start(Lookup find, const Ref<Operation>& op,
                                      const SleepOptions& options) {
  for (;;) {
    auto object = find();
    if (!object.ok()) return object.status();
    const Started started = (*object)->Start(op, options);
    if (started != Started::kGone) return started;
  }
}

absl::StatusOr<Started> Engine::Wait(absl::string_view name,
                                     Ref<WaitOperation> op,
                                     const SleepOptions& options) {
  return Start([&] { return FindOrMake<WaitQueueObject>(name); }, op, options);
}

absl::StatusOr<Started> Engine::Wait(absl::string_view name,
                                     Ref<CompletionOperation> op,
                                     const SleepOptions& options) {
  return Start([&] { return FindOrMake<CompletionObject>(name); }, op, options);
}

absl::Status Engine::CheckServes(const PipeObject& pipe,
                                 const ReadOperation& op) {
  if (op.holds() && !op.until_taken() &&
      pipe.options().profile == PipeProfile::kScull) {
    return MakeError(EINVAL,
                     absl::StrCat(pipe.name(), ": a scull pipe knows no holds"),
                     {{"object", pipe.name()}});
  }
  if (!pipe.CanEverServe(op)) {
    return MakeError(EINVAL,
                     absl::StrCat(pipe.name(),
                                  ": min_bytes is more than this pipe ever "
                                  "gives"),
                     {{"object", pipe.name()}, {"limit", "capacity"}});
  }
  return absl::OkStatus();
}

absl::StatusOr<Started> Engine::Read(absl::string_view name,
                                     Ref<ReadOperation> op,
                                     const SleepOptions& options,
                                     const PipeOptionsRequest& request) {
  const auto find = [&]() -> absl::StatusOr<Ref<PipeObject>> {
    auto pipe = FindOrMakePipe(name, request);
    if (!pipe.ok()) return pipe;
    const absl::Status served = CheckServes(**pipe, *op);
    if (served.ok()) return pipe;
    (*pipe)->NoteIdle();  // it may have been made for this
    return served;
  };
  return Start(find, op, options);
}

absl::StatusOr<Started> Engine::Write(absl::string_view name,
                                      Ref<WriteOperation> op,
                                      const SleepOptions& options,
                                      const PipeOptionsRequest& pipe) {
  return Start([&] { return FindOrMakePipe(name, pipe); }, op, options);
}

absl::StatusOr<Started> Engine::Poll(absl::string_view name,
                                     Ref<PollOperation> op,
                                     const SleepOptions& options) {
  return Start([&] { return FindOrMakePipe(name, {}); }, op, options);
}

absl::StatusOr<Started> Engine::WaitAny(
    AnyOf& any_of, std::vector<AnyOf::Alternative> alternatives,
    const SleepOptions& options) {
  const absl::Status status = CheckAlternatives(alternatives.size());
  if (!status.ok()) return status;
  return any_of.Start(shared_, std::move(alternatives), options);
}

Started Engine::Read(PipeReader& reader, Ref<ReadOperation> op,
                     const SleepOptions& options) {
  return reader.pipe().Start(std::move(op), options);
}

Started Engine::Write(PipeWriter& writer, Ref<WriteOperation> op,
                      const SleepOptions& options) {
  return writer.pipe().Start(std::move(op), options);
}

// --- Operations that do not sleep --------------------------------------------

absl::StatusOr<WakeResult> Engine::WakeUp(absl::string_view name,
                                          const WakeOptions& options) {
  for (;;) {
    // Who gives back a grant makes no object that never had one.
    auto queue = options.grant == 0 ? FindOrMake<WaitQueueObject>(name)
                                    : Find<WaitQueueObject>(name);
    if (absl::IsNotFound(queue.status())) {
      return NoSuchGrant(std::string(name), options.grant);
    }
    if (!queue.ok()) return queue.status();
    WakeResult result;
    const absl::Status status = (*queue)->WakeUp(options, result);
    if (status.ok()) return result;
    if (!IsGone(status)) return status;
  }
}

absl::StatusOr<WordResult> Engine::Store(absl::string_view name,
                                         int64_t value) {
  for (;;) {
    auto queue = FindOrMake<WaitQueueObject>(name);
    if (!queue.ok()) return queue.status();
    WordResult result;
    if ((*queue)->Store(value, result).ok()) return result;
  }
}

absl::StatusOr<WordResult> Engine::Get(absl::string_view name) {
  auto queue = Find<WaitQueueObject>(name);
  if (!queue.ok()) return queue.status();
  return (*queue)->Get();
}

absl::StatusOr<CompletionObject::Result> Engine::Complete(
    absl::string_view name, uint32_t nr) {
  for (;;) {
    auto completion = FindOrMake<CompletionObject>(name);
    if (!completion.ok()) return completion.status();
    CompletionObject::Result result;
    if ((*completion)->Complete(nr, result).ok()) return result;
  }
}

absl::StatusOr<CompletionObject::Result> Engine::Reinit(
    absl::string_view name) {
  for (;;) {
    auto completion = FindOrMake<CompletionObject>(name);
    if (!completion.ok()) return completion.status();
    CompletionObject::Result result;
    if ((*completion)->Reinit(result).ok()) return result;
  }
}

absl::StatusOr<bool> Engine::TryWait(absl::string_view name) {
  for (;;) {
    auto completion = FindOrMake<CompletionObject>(name);
    if (!completion.ok()) return completion.status();
    bool taken;
    if ((*completion)->TryWait(taken).ok()) return taken;
  }
}

absl::StatusOr<bool> Engine::Done(absl::string_view name) {
  auto completion = Find<CompletionObject>(name);
  if (!completion.ok()) return completion.status();
  return (*completion)->done() > 0;
}

template <class Handle, class Open>
absl::StatusOr<std::unique_ptr<Handle>> Engine::OpenHandle(
    absl::string_view name, const PipeOptionsRequest& request,
    const Ref<HandleOperation>& watch, Open open) {
  for (;;) {
    auto pipe = FindOrMakePipe(name, request);
    if (!pipe.ok()) return pipe.status();
    // First the watch, which may be refused: a handle that was open for a
    // moment would have ended a file.
    if (watch) {
      const Started started = (*pipe)->Start(watch, {});
      if (started == Started::kGone) continue;
      if (started == Started::kEnded) return nullptr;
    }
    if (std::unique_ptr<Handle> handle = open(**pipe)) return handle;
    // Removed since then; the watch, which was told so, cannot start again.
    if (watch) return WasRemoved(name);
  }
}

absl::StatusOr<std::unique_ptr<PipeReader>> Engine::OpenReader(
    absl::string_view name, const PipeOptionsRequest& request,
    const Ref<HandleOperation>& watch) {
  return OpenHandle<PipeReader>(
      name, request, watch, [](PipeObject& pipe) { return pipe.OpenReader(); });
}

absl::StatusOr<std::unique_ptr<PipeWriter>> Engine::OpenWriter(
    absl::string_view name, const PipeOptionsRequest& request,
    const Ref<HandleOperation>& watch) {
  if (shared_.draining) {
    return MakeError(ESHUTDOWN,
                     absl::StrCat(name,
                                  ": the server drains, and takes no "
                                  "writers"),
                     {{"object", std::string(name)}});
  }
  return OpenHandle<PipeWriter>(
      name, request, watch, [](PipeObject& pipe) { return pipe.OpenWriter(); });
}

namespace {

absl::Status NoSuchHold(absl::string_view name, uint64_t hold_id) {
  return MakeError(
      ESTALE,
      absl::StrCat(name, ": ", hold_id, " holds no such bytes (any more)"),
      {{"object", std::string(name)}});
}

}  // namespace

absl::Status Engine::Accept(absl::string_view name, uint64_t hold_id,
                            std::optional<uint64_t> up_to) {
  auto pipe = Find<PipeObject>(name);
  if (!pipe.ok()) return pipe.status();
  if (!(*pipe)->Accept(hold_id, up_to)) return NoSuchHold(name, hold_id);
  return absl::OkStatus();
}

absl::Status Engine::Release(absl::string_view name, uint64_t hold_id) {
  auto pipe = Find<PipeObject>(name);
  if (!pipe.ok()) return pipe.status();
  if (!(*pipe)->Release(hold_id)) return NoSuchHold(name, hold_id);
  return absl::OkStatus();
}

absl::StatusOr<Ref<PipeObject>> Engine::FindOrMakePipe(
    absl::string_view name, const PipeOptionsRequest& request) {
  if (request == PipeOptionsRequest()) {
    if (Ref<Object> object = table_.Find(name);
        object && object->kind() == ObjectKind::kPipe) {
      return Ref<PipeObject>::Adopt(static_cast<PipeObject*>(object.Release()));
    }
  }
  const absl::StatusOr<PipeOptions> options = Resolve(name, request);
  if (!options.ok()) return options.status();
  auto pipe = FindOrMake<PipeObject>(name, [&](std::string made) {
    return MakeRef<PipeObject>(&shared_, std::move(made), /*created=*/false,
                               *options);
  });
  if (!pipe.ok()) return pipe;
  // Who counts on packets must not be given a stream. (Another capacity does no
  // harm.)
  const PipeOptions& own = (*pipe)->options();
  if (own.mode != request.mode.value_or(own.mode) ||
      own.profile != request.profile.value_or(own.profile)) {
    return OtherOptions(name);
  }
  return pipe;
}

// --- Objects as such ---------------------------------------------------------

absl::StatusOr<bool> Engine::Create(absl::string_view name,
                                    const CreateOptions& request) {
  if (absl::Status status = CheckName(name); !status.ok()) return status;
  PipeOptions options;
  if (request.kind == ObjectKind::kPipe) {
    absl::StatusOr<PipeOptions> resolved = Resolve(name, request.pipe);
    if (!resolved.ok()) return resolved.status();
    options = *resolved;
  }
  bool made_it = false;
  const auto make = [&](std::string made) -> Ref<Object> {
    made_it = true;
    switch (request.kind) {
      case ObjectKind::kCompletion:
        return MakeRef<CompletionObject>(&shared_, std::move(made), true);
      case ObjectKind::kPipe:
        return MakeRef<PipeObject>(&shared_, std::move(made), true, options);
      case ObjectKind::kWaitQueue:
        break;
    }
    return MakeRef<WaitQueueObject>(&shared_, std::move(made), true);
  };
  // Under the table's lock, for the race with the object's expiry: what was
  // there before stays from now on.
  const auto found = [&](Object& object) -> absl::Status {
    if (object.kind() != request.kind) return WrongKind(object, request.kind);
    if (request.kind == ObjectKind::kPipe &&
        static_cast<PipeObject&>(object).options() != options) {
      return OtherOptions(name);
    }
    object.MarkCreated();
    return absl::OkStatus();
  };
  absl::StatusOr<Ref<Object>> object = table_.FindOrMake(name, make, found);
  if (!object.ok()) return object.status();
  return made_it;
}

namespace {

ObjectStat StatOf(Object& object) {
  ObjectStat stat{.name = object.name(),
                  .kind = object.kind(),
                  .incarnation = object.incarnation(),
                  .generation = 0,
                  .created = object.created(),
                  .sleepers = object.sleepers(),
                  .state = {}};
  switch (object.kind()) {
    case ObjectKind::kWaitQueue: {
      const WordResult word = static_cast<WaitQueueObject&>(object).Get();
      stat.generation = word.generation;
      stat.state = word;
      break;
    }
    case ObjectKind::kCompletion: {
      auto& completion = static_cast<CompletionObject&>(object);
      stat.generation = completion.generation();
      stat.state = CompletionObject::Result{0, completion.done(), 0};
      break;
    }
    case ObjectKind::kPipe: {
      const PipeStat pipe = static_cast<PipeObject&>(object).Stat();
      stat.generation = pipe.generation;
      stat.state = pipe;
      break;
    }
  }
  return stat;
}

}  // namespace

absl::StatusOr<ObjectStat> Engine::Stat(absl::string_view name) {
  if (absl::Status status = CheckName(name); !status.ok()) return status;
  const Ref<Object> object = table_.Find(name);
  if (!object) return NoSuchObject(name);
  return StatOf(*object);
}

absl::StatusOr<uint64_t> Engine::Remove(absl::string_view name, bool force) {
  if (absl::Status status = CheckName(name); !status.ok()) return status;
  const Ref<Object> object = table_.Find(name);
  if (!object) return NoSuchObject(name);
  if (!table_.Remove(*object, force ? RemoveIf::kAlways : RemoveIf::kNotBusy)) {
    if (object->removed()) return NoSuchObject(name);
    return MakeError(EBUSY,
                     absl::StrCat(name,
                                  ": writers have it open, readers hold bytes "
                                  "of it, or grants of it are out; force "
                                  "removes it all the same"),
                     {{"object", std::string(name)}});
  }
  return object->EndAll(Event::kRemove);
}

std::vector<ObjectStat> Engine::List(absl::string_view prefix,
                                     const Page& page) {
  std::vector<Ref<Object>> objects = table_.All(prefix);
  std::erase_if(objects, [&](const Ref<Object>& object) {
    return object->name() <= page.after;
  });
  const size_t size = std::min(page.size, objects.size());
  std::partial_sort(objects.begin(), objects.begin() + size, objects.end(),
                    [](const Ref<Object>& a, const Ref<Object>& b) {
                      return a->name() < b->name();
                    });
  objects.resize(size);
  std::vector<ObjectStat> stats;
  stats.reserve(size);
  for (const Ref<Object>& object : objects) stats.push_back(StatOf(*object));
  return stats;
}

absl::StatusOr<bool> Engine::SignalTask(uint64_t id, int signal) {
  for (const Ref<Object>& object : table_.All()) {
    if (Ref<Operation> op = object->FindSleeper(id)) {
      if (object->OnEvent(*op, Event::kSignal, signal)) return true;
      // Asleep still: it does not listen to this signal. Otherwise something
      // else has ended it between the look and the signal.
      if (object->FindSleeper(id)) return false;
      break;
    }
  }
  return MakeError(ESRCH, absl::StrCat("no call with id ", id, " is asleep"));
}

std::vector<TaskInfo> Engine::ListTasks(const TaskFilter& filter, size_t size) {
  std::vector<Ref<Object>> objects;
  if (filter.object.empty()) {
    objects = table_.All();
  } else if (Ref<Object> object = table_.Find(filter.object)) {
    objects.push_back(std::move(object));
  }
  // First the ids of all, of which the page needs the smallest; then only
  // those of the page are looked at in full.
  struct Sleeper {
    uint64_t id;
    Object* object;
  };
  std::vector<Sleeper> sleepers;
  for (const Ref<Object>& object : objects) {
    object->ForEachSleeper([&](Operation& op) {
      if (op.id() <= filter.after) return;
      if (!filter.caller.empty() && op.caller_info().name() != filter.caller) {
        return;
      }
      sleepers.push_back({op.id(), object.get()});
    });
  }
  size = std::min(size, sleepers.size());
  std::partial_sort(
      sleepers.begin(), sleepers.begin() + size, sleepers.end(),
      [](const Sleeper& a, const Sleeper& b) { return a.id < b.id; });
  // The alternatives of one call, which have one id, are on one page.
  const auto behind = std::partition(
      sleepers.begin() + size, sleepers.end(), [&](const Sleeper& sleeper) {
        return size > 0 && sleeper.id == sleepers[size - 1].id;
      });
  sleepers.erase(behind, sleepers.end());

  std::vector<uint64_t> ids;
  for (const Sleeper& sleeper : sleepers) ids.push_back(sleeper.id);
  std::sort(sleepers.begin(), sleepers.end(),
            [](const Sleeper& a, const Sleeper& b) {
              return std::less<>()(a.object, b.object);
            });
  std::vector<TaskInfo> infos;
  Object* described = nullptr;
  for (const Sleeper& sleeper : sleepers) {
    if (sleeper.object == described) continue;
    described = sleeper.object;
    described->DescribeSleepers(ids, infos);
  }
  std::sort(
      infos.begin(), infos.end(), [](const TaskInfo& a, const TaskInfo& b) {
        return std::tie(a.id, a.alternative) < std::tie(b.id, b.alternative);
      });
  return infos;
}

// --- The end -----------------------------------------------------------------

void Engine::Drain() {
  // First the flag, then the walk: who comes to an object after the walk has
  // been there finds the flag set, under the same lock.
  shared_.draining = true;
  for (const Ref<Object>& object : table_.All()) {
    object->EndAll(Event::kDrain);
  }
}

void Engine::Stop() {
  Drain();
  for (const Ref<Object>& object : table_.All()) {
    object->EndAll(Event::kStop);
  }
  EndSessions();
}

void Engine::EndSessions() {
  shared_.stopping = true;
  sessions_.EndAll(MakeError(ESHUTDOWN, "the server stops"));
}

std::vector<std::pair<std::string, uint64_t>> Engine::UnreadPipes() {
  std::vector<std::pair<std::string, uint64_t>> unread;
  for (const Ref<Object>& object : table_.All()) {
    if (object->kind() != ObjectKind::kPipe) continue;
    const PipeStat stat = static_cast<PipeObject&>(*object).Stat();
    const uint64_t bytes = stat.unread_bytes + stat.held_bytes;
    if (bytes > 0) unread.emplace_back(object->name(), bytes);
  }
  return unread;
}

}  // namespace waitq::engine
