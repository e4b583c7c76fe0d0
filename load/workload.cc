#include "load/workload.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/error.h"

namespace waitq::load {
namespace {

// Several at once.
class Mixed final : public Workload {
 public:
  explicit Mixed(std::vector<std::unique_ptr<Workload>> parts)
      : parts_(std::move(parts)) {}

  absl::Status Prepare() override {
    for (auto& part : parts_) {
      if (absl::Status status = part->Prepare(); !status.ok()) return status;
    }
    return absl::OkStatus();
  }
  void Start(absl::Time start) override {
    for (auto& part : parts_) part->Start(start);
  }
  void Finish() override {
    for (auto& part : parts_) part->Finish();
  }
  void Drain() override {
    for (auto& part : parts_) part->Drain();
  }
  void Save(HostReport& report) override {
    for (auto& part : parts_) part->Save(report);
  }

 private:
  const std::vector<std::unique_ptr<Workload>> parts_;
};

}  // namespace

std::vector<uint64_t> Host::Mine(uint64_t all) const {
  std::vector<uint64_t> mine;
  for (uint64_t n = group.host(); n < all; n += group.hosts()) {
    mine.push_back(n);
  }
  return mine;
}

absl::Time Host::FirstOf(double rate, absl::Time start) const {
  return start + absl::Seconds(group.host() / rate);
}

bool Host::Failed(const absl::Status& status, const std::string& what) {
  if (status.ok() || group.stop().stop_requested()) return false;
  recorder.findings().Fail(absl::StrCat("host ", group.host(), ": ", what, ": ",
                                        ErrorReason(status), " ",
                                        status.ToString()));
  return true;
}

void InFlight::Begin() {
  absl::MutexLock lock(&mu_);
  ++count_;
}

void InFlight::End() {
  absl::MutexLock lock(&mu_);
  --count_;
}

bool InFlight::Await(const std::stop_token& stop, uint64_t below) {
  // Looks for a stop now and then: it is rare, and the wait is not.
  const auto is_below = [this, below]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return count_ < below;
  };
  while (!mu_.AwaitWithTimeout(absl::Condition(&is_below),
                               absl::Milliseconds(50))) {
    if (stop.stop_requested()) return false;
  }
  return true;
}

bool InFlight::BeginWhenRoom(const std::stop_token& stop) {
  absl::MutexLock lock(&mu_);
  if (!Await(stop, most_)) return false;
  ++count_;
  return true;
}

bool InFlight::AwaitNone(const std::stop_token& stop) {
  absl::MutexLock lock(&mu_);
  return Await(stop, 1);
}

std::unique_ptr<Workload> MakeWorkload(Host& host) {
  const Scenario& scenario = host.scenario;
  switch (scenario.kind) {
    case Kind::kWake:
      return MakeWake(host);
    case Kind::kPingPong:
      return MakePingPong(host);
    case Kind::kQueue:
      return MakeQueue(host, scenario.rate);
    case Kind::kBulk:
      return MakeBulk(host);
    case Kind::kHerd:
      return MakeHerd(host);
    case Kind::kTimers:
      return MakeTimers(host);
    case Kind::kLocks:
      return MakeLocks(host, scenario.rate);
    case Kind::kChurn:
      return MakeChurn(host, scenario.rate);
    case Kind::kMixed:
      break;
  }
  std::vector<std::unique_ptr<Workload>> parts;
  parts.push_back(MakeQueue(host, scenario.rate));
  parts.push_back(MakeLocks(host, scenario.lock_rate));
  parts.push_back(MakeChurn(host, scenario.visit_rate));
  return std::make_unique<Mixed>(std::move(parts));
}

}  // namespace waitq::load
