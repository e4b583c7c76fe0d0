#include "load/host_group.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "client/types.h"

namespace waitq::load {
namespace {

// No wake ever makes it true.
constexpr Condition kNever = Condition::Equal(-1);

constexpr size_t kPartBytes = 256 << 10;
constexpr absl::Duration kWatchEvery = absl::Seconds(1);
constexpr absl::Duration kHurry = absl::Seconds(2);

PipeOptions ReportsPipe() {
  return {.capacity_bytes = 4 << 20,
          .atomic_max_bytes = 1 << 20,
          .mode = PipeMode::kPacket,
          .profile = PipeProfile::kQueue};
}

bool WasRemoved(const absl::Status& status) {
  return ErrorReason(status) == "EIDRM";
}

}  // namespace

HostGroup::HostGroup(Client& client, HostGroupOptions options)
    : client_(client), options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<HostGroup>> HostGroup::Join(
    Client& client, const HostGroupOptions& options, std::stop_token stop) {
  auto group = std::unique_ptr<HostGroup>(new HostGroup(client, options));
  HostGroup* self = group.get();
  group->on_stop_.emplace(
      std::move(stop), [self] { self->End(absl::CancelledError("stopped")); });
  for (;;) {
    const absl::StatusOr<bool> joined = group->TryToJoin();
    if (!joined.ok()) {
      // Not ours to remove.
      if (absl::IsAlreadyExists(joined.status())) group->left_ = true;
      return joined.status();
    }
    if (*joined) break;
  }
  group->watcher_ = std::jthread(
      [self](std::stop_token done) { self->Watch(std::move(done)); });
  return group;
}

absl::StatusOr<bool> HostGroup::TryToJoin() {
  SleepOnAlive();
  // The session does one after the other: who is counted here is asleep there.
  absl::StatusOr<int64_t> nothing = Add(Alive(), 0);
  if (!nothing.ok()) return nothing.status();
  const absl::StatusOr<ObjectInfo> alive = client_.Stat(Alive(), stop());
  if (absl::IsNotFound(alive.status())) return false;
  if (!alive.ok()) return alive.status();
  epoch_ = alive->incarnation;

  const absl::StatusOr<int64_t> places = Add(Name("hosts"), 1);
  if (!places.ok()) return places.status();
  const absl::StatusOr<uint64_t> sleepers = CountAlive(stop());
  if (!sleepers.ok()) return sleepers.status();
  const auto hosts = static_cast<uint64_t>(options_.hosts);
  // Somebody took a place and is gone, and the run is not one that goes on:
  // that would have all its hosts, and us.
  if (static_cast<uint64_t>(*places) > *sleepers && *sleepers <= hosts) {
    const absl::Status removed = RemoveObjects(stop());
    if (!removed.ok()) return removed;
    return false;
  }
  if (*places > options_.hosts) {
    return GiveBack(absl::AlreadyExistsError(absl::StrCat(
        "the run '", options_.run, "' has its ", options_.hosts,
        options_.hosts == 1 ? " host" : " hosts",
        " already (who was killed counts until its grace is over; --run gives "
        "this one another name)")));
  }
  host_ = options_.host >= 0 ? options_.host : static_cast<int>(*places) - 1;
  const absl::StatusOr<WaitResult> seat =
      client_.Wait(Name(absl::StrCat("seat/", host_)),
                   {.condition = Condition::Equal(0),
                    .then = Action::Set(1),
                    .nonblock = true},
                   stop());
  if (!seat.ok()) return seat.status();
  if (seat->outcome != Outcome::kDone) {
    return GiveBack(absl::AlreadyExistsError(
        absl::StrCat("the run '", options_.run, "' has a host ", host_,
                     " already (all hosts give --host, or none)")));
  }
  const std::stop_callback on_stop(
      stop(), [removed = removed_]() mutable { removed.request_stop(); });
  const absl::Status all_here = BarrierUntil("joined", removed_.get_token());
  if (stop_.stop_requested()) return absl::CancelledError("stopped");
  // Another one has cleared away what we wait at.
  if (WasRemoved(all_here) || removed_.stop_requested()) return false;
  if (!all_here.ok()) return all_here;
  complete_ = true;
  return true;
}

// The place first: with fewer asleep than there are places, the run would look
// like one whose hosts have died.
absl::Status HostGroup::GiveBack(const absl::Status& error) {
  (void)Add(Name("hosts"), -1);
  left_ = true;
  client_.Cancel(alive_);
  return error;
}

void HostGroup::SleepOnAlive() {
  if (alive_ != 0) client_.Cancel(alive_);
  removed_ = std::stop_source();
  alive_ = client_.Wait(
      Alive(), {.condition = kNever},
      [this, removed = removed_](absl::StatusOr<WaitResult> result) mutable {
        if (absl::IsCancelled(result.status())) return;
        removed.request_stop();
        if (left_ || !complete_) return;
        End(WasRemoved(result.status())
                ? absl::AbortedError("another host has ended the run")
                : result.status());
      });
}

HostGroup::~HostGroup() {
  on_stop_.reset();
  no_more_watching_.Notify();
  watcher_.request_stop();
  if (watcher_.joinable()) watcher_.join();
  if (!left_.exchange(true)) {
    // Whoever stops the program does not want to wait for a server that is
    // away.
    std::stop_source hurry;
    absl::Notification removed;
    std::jthread timer([&] {
      if (!removed.WaitForNotificationWithTimeout(kHurry)) hurry.request_stop();
    });
    (void)RemoveObjects(hurry.get_token());
    removed.Notify();
  }
  client_.Cancel(alive_);
}

absl::Status HostGroup::why() const {
  absl::MutexLock lock(&mu_);
  return why_;
}

void HostGroup::End(const absl::Status& why) {
  {
    absl::MutexLock lock(&mu_);
    if (!why_.ok()) return;
    why_ = why;
  }
  stop_.request_stop();
}

std::string HostGroup::Alive() const {
  return absl::StrCat(options_.run, "/alive");
}

std::string HostGroup::Name(const std::string& name) const {
  return absl::StrCat(options_.run, "/", epoch_, "/", name);
}

absl::StatusOr<int64_t> HostGroup::Add(const std::string& name, int64_t n) {
  const absl::StatusOr<WakeResult> result =
      client_.WakeUp(name, {.update = Action::Add(n), .all = true}, stop());
  if (!result.ok()) return result.status();
  return result->value;
}

absl::Status HostGroup::AwaitAtLeast(const std::string& name, int64_t n,
                                     std::stop_token stop) {
  return client_
      .Wait(name, {.condition = Condition{Condition::Test::kGreaterOrEqual, n}},
            std::move(stop))
      .status();
}

absl::Status HostGroup::Barrier(const std::string& point) {
  return BarrierUntil(point, stop());
}

absl::Status HostGroup::BarrierUntil(const std::string& point,
                                     std::stop_token stop) {
  const std::string name = Name("at/" + point);
  const absl::StatusOr<int64_t> here = Add(name, 1);
  if (!here.ok()) return here.status();
  // The last one does not have to ask.
  if (*here >= options_.hosts) return absl::OkStatus();
  return AwaitAtLeast(name, options_.hosts, std::move(stop));
}

absl::StatusOr<uint64_t> HostGroup::CountAlive(std::stop_token stop) {
  const absl::StatusOr<ObjectInfo> alive =
      client_.Stat(Alive(), std::move(stop));
  if (absl::IsNotFound(alive.status())) return 0;
  if (!alive.ok()) return alive.status();
  return alive->incarnation == epoch_ ? alive->sleepers : 0;
}

bool HostGroup::OutcomeIsKnown(std::stop_token stop) {
  const absl::StatusOr<GetResult> outcome =
      client_.Get(Name("outcome"), std::move(stop));
  return outcome.ok() && outcome->value != 0;
}

void HostGroup::Watch(std::stop_token stop) {
  const auto hosts = static_cast<uint64_t>(options_.hosts);
  int missed = 0;
  while (!no_more_watching_.WaitForNotificationWithTimeout(kWatchEvery)) {
    const absl::StatusOr<uint64_t> alive = CountAlive(stop);
    // Who cannot ask knows nothing; and after the end hosts may leave.
    if (!alive.ok() || *alive >= hosts || OutcomeIsKnown(stop)) {
      missed = 0;
    } else if (++missed == 2) {
      // Twice: a sleep may be on its way into a new session.
      return End(absl::AbortedError(
          absl::StrCat("only ", *alive, " of ", hosts, " hosts are left")));
    }
  }
}

absl::Status HostGroup::SendReport(const HostReport& report) {
  const std::string bytes = report.SerializeAsString();
  const size_t parts =
      std::max<size_t>(1, (bytes.size() + kPartBytes - 1) / kPartBytes);
  for (size_t i = 0; i < parts; ++i) {
    ReportPart part;
    part.set_host(host_);
    part.set_part(i);
    part.set_parts(parts);
    part.set_data(bytes.substr(i * kPartBytes, kPartBytes));
    const absl::Status written =
        client_
            .Write(Name("reports"), part.SerializeAsString(),
                   {.pipe = ReportsPipe()}, stop())
            .status();
    if (!written.ok()) return written;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<HostReport>> HostGroup::GatherReports() {
  std::vector<std::string> bytes(options_.hosts);
  std::vector<HostReport> reports;
  while (reports.size() + 1 < static_cast<size_t>(options_.hosts)) {
    const absl::StatusOr<ReadResult> read = client_.Read(
        Name("reports"), {.max_bytes = 2 * kPartBytes, .pipe = ReportsPipe()},
        stop());
    if (!read.ok()) return read.status();
    ReportPart part;
    if (!part.ParseFromString(read->data) || part.host() >= bytes.size()) {
      return absl::DataLossError("a damaged report");
    }
    // A host's parts come in their order, as it writes one after the other.
    std::string& whole = bytes[part.host()];
    whole += part.data();
    if (part.part() + 1 < part.parts()) continue;
    HostReport report;
    if (!report.ParseFromString(whole)) {
      return absl::DataLossError("a damaged report");
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

absl::Status HostGroup::TellOutcome(bool good) {
  return client_
      .WakeUp(Name("outcome"),
              {.update = Action::Set(good ? 1 : 2), .all = true}, stop())
      .status();
}

absl::StatusOr<bool> HostGroup::AwaitOutcome() {
  const absl::StatusOr<WaitResult> outcome = client_.Wait(
      Name("outcome"), {.condition = Condition{Condition::Test::kNotEqual, 0}},
      stop());
  if (!outcome.ok()) return outcome.status();
  return outcome->value_after == 1;
}

absl::Status HostGroup::Leave() {
  if (host_ != 0) {
    left_ = true;
    const absl::StatusOr<int64_t> left = Add(Name("left"), 1);
    client_.Cancel(alive_);
    return left.status();
  }
  const absl::Status all_left =
      AwaitAtLeast(Name("left"), options_.hosts - 1, stop());
  left_ = true;
  // A new run of the same name may have been faster than we.
  if (!all_left.ok() && !WasRemoved(all_left)) return all_left;
  return RemoveObjects(stop());
}

absl::Status HostGroup::RemoveObjects(std::stop_token stop) {
  const absl::StatusOr<std::vector<ObjectInfo>> objects =
      client_.List(absl::StrCat(options_.run, "/"), stop);
  if (!objects.ok()) return objects.status();
  absl::Status first;
  for (const ObjectInfo& object : *objects) {
    const absl::Status removed =
        client_.Remove(object.name, /*force=*/true, stop).status();
    if (!removed.ok() && !absl::IsNotFound(removed)) first.Update(removed);
  }
  return first;
}

}  // namespace waitq::load
