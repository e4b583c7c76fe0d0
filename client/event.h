// An event between machines: it has happened, or it has not.

#ifndef WAITQ_CLIENT_EVENT_H_
#define WAITQ_CLIENT_EVENT_H_

#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/types.h"

namespace waitq {

// The word of the wait queue `name` is 1 while the event is set.
//
// Thread safety: any thread may call any method. The client must outlive it.
class Event {
 public:
  Event(Client* client, std::string name)
      : client_(*client), name_(std::move(name)) {}

  // Wakes all who wait; it stays set.
  absl::Status Set(std::stop_token stop = {}) {
    return client_
        .WakeUp(name_, {.update = Action::Set(1), .all = true}, std::move(stop))
        .status();
  }
  // Sets it for one: wakes one TakeOne() and all Wait()s.
  absl::Status SetForOne(std::stop_token stop = {}) {
    return client_.WakeUp(name_, {.update = Action::Set(1)}, std::move(stop))
        .status();
  }
  absl::Status Clear(std::stop_token stop = {}) {
    return client_.Store(name_, 0, std::move(stop)).status();
  }

  // Sleeps until it is set: kDone, kTimedOut or kWouldBlock.
  absl::StatusOr<Outcome> Wait(const AcquireOptions& options = {},
                               std::stop_token stop = {}) {
    return Await(options, {}, std::move(stop));
  }
  // The same, and clears it in the same step: it wakes one of those who take.
  absl::StatusOr<Outcome> TakeOne(const AcquireOptions& options = {},
                                  std::stop_token stop = {}) {
    return Await(options, Action::Set(0), std::move(stop));
  }

 private:
  absl::StatusOr<Outcome> Await(const AcquireOptions& options,
                                std::optional<Action> then,
                                std::stop_token stop) {
    const absl::StatusOr<WaitResult> result = client_.Wait(
        name_, options.ToWait(Condition::NotEqual(0), then), std::move(stop));
    if (!result.ok()) return result.status();
    return result->outcome;
  }

  Client& client_;
  const std::string name_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_EVENT_H_
