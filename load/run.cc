#include "load/run.h"

#include <unistd.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "load/clock_sync.h"
#include "load/host_group.h"
#include "load/progress.h"
#include "load/recorder.h"
#include "load/report.pb.h"
#include "load/run_clock.h"
#include "load/workload.h"

namespace waitq::load {
namespace {

absl::StatusOr<std::unique_ptr<Client>> Connect(const RunOptions& options,
                                                const char* what) {
  return Client::Create(
      {.server = options.server,
       .caller = absl::StrCat("waitq-load:", getpid(), " ", what),
       .grace = options.scenario.grace});
}

// False: it is over before that.
bool SleepUntil(const RunClock& clock, absl::Time time,
                const std::stop_token& stop) {
  absl::Notification stopped;
  const std::stop_callback on_stop(stop, [&stopped] { stopped.Notify(); });
  return !stopped.WaitForNotificationWithTimeout(time - clock.Now());
}

class HostRun {
 public:
  HostRun(const RunOptions& options, HostGroup& group)
      : options_(options),
        group_(group),
        host_{.scenario = options.scenario,
              .server = options.server,
              .group = group,
              .clock = clock_,
              .recorder = recorder_,
              .sessions = {},
              .other = nullptr} {}

  // Calls under way end with their sessions, and tell the workload so.
  ~HostRun() {
    if (workload_ == nullptr) return;
    if (!finished_) {
      group_.End(absl::CancelledError("the run was left"));
      workload_->Finish();
    }
    host_.sessions.clear();
    host_.other.reset();
  }

  absl::StatusOr<HostReport> Run(Client& client) {
    const absl::StatusOr<absl::Duration> error =
        SyncClock(client, group_, clock_);
    if (!error.ok()) return error.status();
    if (absl::Status status = Prepare(); !status.ok()) return status;
    if (absl::Status status = Load(); !status.ok()) return status;
    HostReport report;
    report.set_host(group_.host());
    report.set_clock_error_ns(absl::ToInt64Nanoseconds(*error));
    recorder_.Save(report);
    workload_->Save(report);
    return report;
  }

 private:
  absl::Status Prepare() {
    auto other = Connect(options_, "other");
    if (!other.ok()) return other.status();
    host_.other = *std::move(other);
    for (uint64_t i = 0; i < options_.scenario.sessions; ++i) {
      auto session = Connect(options_, "load");
      if (!session.ok()) return session.status();
      host_.sessions.push_back(*std::move(session));
    }
    workload_ = MakeWorkload(host_);
    if (absl::Status status = workload_->Prepare(); !status.ok()) {
      return status;
    }
    return group_.Barrier("prepared");
  }

  absl::Status Load() {
    const Scenario& scenario = options_.scenario;
    const absl::Time start = clock_.Now();
    const absl::Time end = start + scenario.warmup + scenario.seconds;
    recorder_.Begin(start, scenario.warmup, end);
    workload_->Start(start);
    bool in_time;
    {
      std::unique_ptr<Progress> progress;
      if (!options_.quiet) {
        progress = std::make_unique<Progress>(
            recorder_, group_.hosts() == 1
                           ? ""
                           : absl::StrCat("host ", group_.host(), ": "));
      }
      in_time = SleepUntil(clock_, end, group_.stop());
    }
    workload_->Finish();
    finished_ = true;
    if (!in_time) return absl::CancelledError("stopped");
    if (absl::Status status = group_.Barrier("finished"); !status.ok()) {
      return status;
    }
    workload_->Drain();
    return group_.Barrier("drained");
  }

  const RunOptions& options_;
  HostGroup& group_;
  RunClock clock_;
  Recorder recorder_;
  // The clients in it are gone before the workload, whose callbacks they call.
  std::unique_ptr<Workload> workload_;
  bool finished_ = false;
  Host host_;
};

absl::StatusOr<RunOutcome> Conclude(const RunOptions& options, HostGroup& group,
                                    const HostReport& report) {
  if (group.host() != 0) {
    if (absl::Status sent = group.SendReport(report); !sent.ok()) return sent;
    const absl::StatusOr<bool> good = group.AwaitOutcome();
    if (!good.ok()) return good.status();
    (void)group.Leave();
    return RunOutcome{.good = *good};
  }
  absl::StatusOr<std::vector<HostReport>> reports = group.GatherReports();
  if (!reports.ok()) return reports.status();
  reports->insert(reports->begin(), report);
  absl::StatusOr<RunResult> result =
      MergeReports(options.scenario, options.run, *reports);
  if (!result.ok()) return result.status();
  if (absl::Status told = group.TellOutcome(result->good()); !told.ok()) {
    return told;
  }
  if (absl::Status left = group.Leave(); !left.ok()) return left;
  const bool good = result->good();
  return RunOutcome{.good = good, .result = *std::move(result)};
}

}  // namespace

absl::StatusOr<RunOutcome> RunHost(const RunOptions& options,
                                   std::stop_token stop) {
  auto client = Connect(options, "control");
  if (!client.ok()) return client.status();
  auto group = HostGroup::Join(
      **client,
      {.run = options.run, .hosts = options.hosts, .host = options.host},
      std::move(stop));
  if (!group.ok()) return group.status();
  absl::StatusOr<RunOutcome> outcome;
  {
    HostRun run(options, **group);
    const absl::StatusOr<HostReport> report = run.Run(**client);
    outcome =
        report.ok() ? Conclude(options, **group, *report) : report.status();
  }
  // What came first explains the rest.
  const absl::Status why = (*group)->why();
  if (!outcome.ok() && absl::IsCancelled(outcome.status()) && !why.ok() &&
      !absl::IsCancelled(why)) {
    return why;
  }
  return outcome;
}

}  // namespace waitq::load
