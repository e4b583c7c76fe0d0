// A call that a scenario has under way.

#ifndef WAITQ_TESTS_CLIENT_SCENARIO_CALL_H_
#define WAITQ_TESTS_CLIENT_SCENARIO_CALL_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "client/client.h"

namespace waitq::test {

template <class T>
class UnderWay {
 public:
  // What the call calls.
  Callback<T> Done() {
    return [state = state_](absl::StatusOr<T> result) {
      state->result = std::move(result);
      state->ended.Notify();
    };
  }
  // What Client::Cancel() names it by.
  CallId id = 0;

  bool HasEnded() const { return state_->ended.HasBeenNotified(); }
  const absl::StatusOr<T>& Await() const {
    state_->ended.WaitForNotification();
    return state_->result;
  }

 private:
  struct State {
    absl::StatusOr<T> result = absl::UnknownError("");
    absl::Notification ended;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

inline UnderWay<WaitResult> StartWait(Client& client, const std::string& name,
                                      const WaitOptions& options) {
  UnderWay<WaitResult> call;
  call.id = client.Wait(name, options, call.Done());
  return call;
}

inline UnderWay<AwaitResult> StartAwait(Client& client, const std::string& name,
                                        const AwaitOptions& options = {}) {
  UnderWay<AwaitResult> call;
  call.id = client.Await(name, options, call.Done());
  return call;
}

inline UnderWay<ReadResult> StartRead(Client& client, const std::string& name,
                                      const ReadOptions& options = {}) {
  UnderWay<ReadResult> call;
  call.id = client.Read(name, options, call.Done());
  return call;
}

inline UnderWay<WriteResult> StartWrite(Client& client, const std::string& name,
                                        const std::string& data,
                                        const WriteOptions& options = {}) {
  UnderWay<WriteResult> call;
  call.id = client.Write(name, data, options, call.Done());
  return call;
}

inline UnderWay<PollResult> StartPoll(Client& client, const std::string& name,
                                      const PollOptions& options) {
  UnderWay<PollResult> call;
  call.id = client.Poll(name, options, call.Done());
  return call;
}

inline UnderWay<WaitAnyResult> StartWaitAny(
    Client& client, const std::vector<Alternative>& alternatives,
    const WaitAnyOptions& options = {}) {
  UnderWay<WaitAnyResult> call;
  call.id = client.WaitAny(alternatives, options, call.Done());
  return call;
}

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CLIENT_SCENARIO_CALL_H_
