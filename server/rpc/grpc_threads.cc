#include "server/rpc/grpc_threads.h"

#include <algorithm>
#include <deque>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/mutex.h"
#include "grpc/support/time.h"
#include "grpcpp/alarm.h"
#include "grpcpp/resource_quota.h"

namespace waitq::rpc {

namespace {

// Counts callbacks of gRPC's.
class Countdown {
 public:
  explicit Countdown(int count) : left_(count) {}

  void Down() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    if (--left_ == 0) zero_.NotifyAll();
  }
  void Wait() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    while (left_ > 0) zero_.Wait(&mu_);
  }

 private:
  Mutex mu_;
  CondVar zero_;
  int left_ ABSL_GUARDED_BY(mu_);
};

// The executor adds a thread when more than two closures wait for one. An alarm
// with a callback is the public way to give it closures; each of these keeps
// its thread until all have been given.
void FillExecutor() {
  const int closures =
      16 * static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  Countdown given(1);
  Countdown done(closures);
  std::deque<grpc::Alarm> alarms;  // an alarm that dies is cancelled
  for (int i = 0; i < closures; ++i) {
    alarms.emplace_back().Set(gpr_time_0(GPR_CLOCK_MONOTONIC), [&](bool) {
      given.Wait();
      done.Down();
    });
  }
  given.Down();
  done.Wait();
}

// The first timer that fires on its own brings the second timer thread.
void FireOneTimer() {
  Countdown fired(1);
  grpc::Alarm alarm;
  alarm.Set(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                         gpr_time_from_millis(1, GPR_TIMESPAN)),
            [&](bool) { fired.Down(); });
  fired.Wait();
}

}  // namespace

int QueueCount(int asked) {
  if (asked > 0) return asked;
  return static_cast<int>(4 *
                          std::max(1u, std::thread::hardware_concurrency()));
}

void BoundSyncThreads(grpc::ServerBuilder& builder) {
  // Reflection is a synchronous service: gRPC would give each of its calls a
  // thread.
  grpc::ResourceQuota quota("waitqd");
  quota.SetMaxThreads(8);
  builder.SetResourceQuota(quota);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 1);
}

void FillGrpcThreads() {
  FillExecutor();
  FireOneTimer();
}

}  // namespace waitq::rpc
