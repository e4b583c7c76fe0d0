#include "client/idle_poller.h"

#include "absl/time/time.h"
#include "grpc/support/time.h"
#include "transport/channel_arguments.h"

namespace waitq {
namespace {

// A ping is answered well before the other end loses its patience.
constexpr int kPeriodMs = kKeepaliveTimeoutMs / 4;
// Enough for what a few sockets have to say.
constexpr int kPollMs = 10;

}  // namespace

IdlePoller::IdlePoller() : thread_([this] { Run(); }) {}

IdlePoller::~IdlePoller() {
  stop_.Notify();
  thread_.join();
  queue_.Shutdown();
  void* tag;
  bool ok;
  while (queue_.Next(&tag, &ok)) {
  }
}

void IdlePoller::Run() {
  while (!stop_.WaitForNotificationWithTimeout(absl::Milliseconds(kPeriodMs))) {
    void* tag;
    bool ok;
    queue_.AsyncNext(&tag, &ok,
                     gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                  gpr_time_from_millis(kPollMs, GPR_TIMESPAN)));
  }
}

}  // namespace waitq
