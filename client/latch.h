// A latch between machines: a count that is reached once.

#ifndef WAITQ_CLIENT_LATCH_H_
#define WAITQ_CLIENT_LATCH_H_

#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/types.h"

namespace waitq {

// Open once `count` have arrived, and for good. The word of the wait queue
// `name` counts them, so that nobody has to make it. What has arrived stays so,
// whatever becomes of its program: that is what a latch is for (a Barrier can
// take it back).
//
// Thread safety: any thread may call any method. The client must outlive it.
class Latch {
 public:
  // `count`: 1 or more, the same for all.
  Latch(Client* client, std::string name, int64_t count)
      : client_(*client), name_(std::move(name)), count_(count) {}

  // `n` have arrived. OutcomeUnknown(): perhaps; said again they might count
  // twice.
  absl::Status CountDown(int64_t n = 1, std::stop_token stop = {}) {
    return client_
        .WakeUp(name_, {.update = Action::Add(n), .all = true}, std::move(stop))
        .status();
  }

  // Sleeps until it is open: kDone, kTimedOut or kWouldBlock.
  absl::StatusOr<Outcome> Wait(const AcquireOptions& options = {},
                               std::stop_token stop = {}) {
    const absl::StatusOr<WaitResult> result = client_.Wait(
        name_, options.ToWait(Condition::AtLeast(count_)), std::move(stop));
    if (!result.ok()) return result.status();
    return result->outcome;
  }

 private:
  Client& client_;
  const std::string name_;
  const int64_t count_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_LATCH_H_
