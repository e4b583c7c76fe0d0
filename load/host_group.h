// The hosts of a run, which meet on the server that they are to load: by its
// wait queues and pipes, and nothing else.

#ifndef WAITQ_LOAD_HOST_GROUP_H_
#define WAITQ_LOAD_HOST_GROUP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "client/client.h"
#include "load/report.pb.h"

namespace waitq::load {

struct HostGroupOptions {
  // What all hosts of the run, and nobody else, name it by: no slash in it.
  std::string run;
  int hosts = 1;
  // The number of this host, 0 to hosts - 1. -1: whichever is free; then all
  // hosts say so.
  int host = -1;
};

// A place in a run, from Join() to Leave(). All that sleeps here ends with
// CANCELLED when stop() is requested: by the `stop` of Join(), or because
// another host has failed, was stopped, or has died. why() says which.
//
// Objects: RUN/alive, on which every host sleeps until it leaves: who dies is
//   missed there. The others are below RUN/EPOCH/, the epoch being the
//   generation of the creation of RUN/alive; so nothing that a killed run has
//   left behind can be taken for this one's.
//     hosts      how many places were given away
//     seat/I     1: there is a host of that number
//     at/POINT   how many have come to a barrier
//     reports    a pipe: what the hosts measured
//     outcome    what host 0 made of it: 0, not yet; 1, good; 2, bad
//     left       how many hosts have left
// Thread safety: any thread may call any method; Leave() is the last.
class HostGroup {
 public:
  // Takes a place, and waits for all other hosts. What a run of the same name
  // has left behind, whose hosts are gone, is cleared away.
  // ALREADY_EXISTS: the run has all its hosts, or one of this number.
  static absl::StatusOr<std::unique_ptr<HostGroup>> Join(
      Client& client, const HostGroupOptions& options, std::stop_token stop);
  // Without Leave(): in a hurry. The run's objects are removed, by which the
  // other hosts know.
  ~HostGroup();
  HostGroup(const HostGroup&) = delete;
  HostGroup& operator=(const HostGroup&) = delete;

  int host() const { return host_; }
  int hosts() const { return options_.hosts; }
  // Distinguishes this run from all others.
  uint64_t epoch() const { return epoch_; }
  std::stop_token stop() const { return stop_.get_token(); }
  // Why the run is over before its time; OK if it is not.
  absl::Status why() const ABSL_LOCKS_EXCLUDED(mu_);

  // The run is over before its time. The first reason is why().
  void End(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

  // "RUN/EPOCH/name".
  std::string Name(const std::string& name) const;

  // Returns when all hosts have come to this point. Each is used once.
  absl::Status Barrier(const std::string& point);

  // From the others to host 0, which gathers theirs.
  absl::Status SendReport(const HostReport& report);
  absl::StatusOr<std::vector<HostReport>> GatherReports();

  // Host 0 tells the outcome; the others are told it.
  absl::Status TellOutcome(bool good);
  absl::StatusOr<bool> AwaitOutcome();

  // The proper end, when the outcome is known. Host 0 waits for the others and
  // removes the run's objects.
  absl::Status Leave();

 private:
  HostGroup(Client& client, HostGroupOptions options);

  // Nothing: what was found was cleared away; try again.
  absl::StatusOr<bool> TryToJoin();
  absl::Status GiveBack(const absl::Status& error);
  void SleepOnAlive();
  // 0 if it is not this run's any more.
  absl::StatusOr<uint64_t> CountAlive(std::stop_token stop);
  void Watch(std::stop_token stop);
  bool OutcomeIsKnown(std::stop_token stop);
  absl::Status RemoveObjects(std::stop_token stop);

  std::string Alive() const;
  absl::StatusOr<int64_t> Add(const std::string& name, int64_t n);
  absl::Status AwaitAtLeast(const std::string& name, int64_t n,
                            std::stop_token stop);
  absl::Status BarrierUntil(const std::string& point, std::stop_token stop);

  Client& client_;
  const HostGroupOptions options_;
  int host_ = 0;
  uint64_t epoch_ = 0;
  std::stop_source stop_;
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;
  CallId alive_ = 0;
  // Of the last attempt to join: its sleep on RUN/alive has ended, or stop().
  // Each attempt has its own, as the end of an earlier one may come late.
  std::stop_source removed_;
  // All hosts are there; from now on one that is missed has died.
  std::atomic<bool> complete_{false};
  std::atomic<bool> left_{false};
  absl::Notification no_more_watching_;
  std::jthread watcher_;

  mutable absl::Mutex mu_;
  absl::Status why_ ABSL_GUARDED_BY(mu_);
};

}  // namespace waitq::load

#endif  // WAITQ_LOAD_HOST_GROUP_H_
