#include "server/rpc/grpc_threads.h"

#include <deque>

#include "core/mutex.h"
#include "grpc/support/time.h"
#include "grpcpp/alarm.h"

namespace waitq::rpc {

void FillGrpcExecutor() {
  // The executor adds a thread when more than two closures wait for one. An
  // alarm with a callback is the public way to give it closures; each of these
  // keeps its thread until all have been given.
  constexpr int kClosures = 64;
  Mutex mu;
  CondVar changed;
  bool all_given = false;
  int left = kClosures;
  std::deque<grpc::Alarm> alarms;  // an alarm that dies is cancelled
  for (int i = 0; i < kClosures; ++i) {
    alarms.emplace_back().Set(gpr_time_0(GPR_CLOCK_MONOTONIC), [&](bool) {
      MutexLock lock(&mu);
      while (!all_given) changed.Wait(&mu);
      if (--left == 0) changed.NotifyAll();
    });
  }
  MutexLock lock(&mu);
  all_given = true;
  changed.NotifyAll();
  while (left > 0) changed.Wait(&mu);
}

}  // namespace waitq::rpc
