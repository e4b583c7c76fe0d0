// What a scenario does, as one host does its part of it.

#ifndef WAITQ_LOAD_WORKLOAD_H_
#define WAITQ_LOAD_WORKLOAD_H_

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "load/host_group.h"
#include "load/recorder.h"
#include "load/report.pb.h"
#include "load/run_clock.h"
#include "load/scenario.h"

namespace waitq::load {

// What a host has for its workloads.
struct Host {
  const Scenario& scenario;
  const std::string& server;
  HostGroup& group;
  const RunClock& clock;
  Recorder& recorder;
  // The workers' sessions; worker n has sessions[n % size].
  std::vector<std::unique_ptr<Client>> sessions;
  // One more: for what is not measured, and for the other end where there is
  // only one of the above.
  std::unique_ptr<Client> other;

  Client& SessionOf(uint64_t worker) {
    return *sessions[worker % sessions.size()];
  }
  // Of its other end: never the same.
  Client& OtherSessionOf(uint64_t worker) {
    return sessions.size() == 1 ? *other : SessionOf(worker + 1);
  }
  // Of `all` workers, numbered over all hosts, those of this host.
  std::vector<uint64_t> Mine(uint64_t all) const;
  // This host's part of a rate, and its first operation, so that the hosts take
  // turns.
  double RateOf(double rate) const { return rate / group.hosts(); }
  absl::Time FirstOf(double rate, absl::Time start) const;
  // Whether a call that ended so is a failed check; says so, once, if it is.
  // Not if the run is over before its time.
  bool Failed(const absl::Status& status, const std::string& what);
};

// Operations under way, for those who must wait until none is, and for open
// loops that must not have too many.
//
// Thread safety: any thread may call any method.
class InFlight {
 public:
  explicit InFlight(uint64_t most) : most_(most) {}

  void Begin() ABSL_LOCKS_EXCLUDED(mu_);
  void End() ABSL_LOCKS_EXCLUDED(mu_);
  // Waits for room; false if stop was requested.
  bool BeginWhenRoom(const std::stop_token& stop) ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until none is under way; false if stop was requested.
  bool AwaitNone(const std::stop_token& stop) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  bool Await(const std::stop_token& stop, uint64_t below)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const uint64_t most_;
  absl::Mutex mu_;
  uint64_t count_ ABSL_GUARDED_BY(mu_) = 0;
};

// All hosts call these in this order, with a barrier after each; each returns
// when the host has done its part, or group.stop() is requested. All calls that
// a workload has under way end at the latest when the sessions are destroyed,
// which is before the workload.
class Workload {
 public:
  virtual ~Workload() = default;

  // Makes objects, puts sleepers to sleep: what is not measured.
  virtual absl::Status Prepare() { return absl::OkStatus(); }
  // The load begins at `start`. Returns at once.
  virtual void Start(absl::Time start) = 0;
  // No new operations; waits for those that end by themselves. Also called,
  // even without Start(), when stop is requested: no thread may go on then.
  virtual void Finish() = 0;
  // All hosts have finished. Ends what still sleeps, and looks at what is left.
  virtual void Drain() {}
  // Puts in what is not in the recorder.
  virtual void Save(HostReport&) {}
};

std::unique_ptr<Workload> MakeWorkload(Host& host);

std::unique_ptr<Workload> MakeWake(Host& host);
std::unique_ptr<Workload> MakePingPong(Host& host);
std::unique_ptr<Workload> MakeQueue(Host& host, double rate);
std::unique_ptr<Workload> MakeBulk(Host& host);
std::unique_ptr<Workload> MakeHerd(Host& host);
std::unique_ptr<Workload> MakeTimers(Host& host);
std::unique_ptr<Workload> MakeLocks(Host& host, double rate);
std::unique_ptr<Workload> MakeChurn(Host& host, double rate);

}  // namespace waitq::load

#endif  // WAITQ_LOAD_WORKLOAD_H_
