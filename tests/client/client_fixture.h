// A client, and the server that a test plays for it.

#ifndef WAITQ_TESTS_CLIENT_CLIENT_FIXTURE_H_
#define WAITQ_TESTS_CLIENT_CLIENT_FIXTURE_H_

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"
#include "gtest/gtest.h"
#include "tests/client/fake_link.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::test {

inline constexpr char kDoneText[] = "wait { outcome: OUTCOME_DONE }";

class ClientTest : public testing::Test {
 protected:
  Client& client() {
    if (client_ == nullptr) client_ = server_.NewClient();
    return *client_;
  }

  // Every operation is answered so.
  void AnswerAll(const v1::Result& result) {
    server_.set_script([this, result](const v1::Operation& operation) {
      got_ = operation;
      return result;
    });
  }
  void AnswerAll(const std::string& text) { AnswerAll(ResultFromText(text)); }
  // The last operation; to be looked at when its call has returned.
  const v1::Operation& got() const { return got_; }

  FakeServer server_;
  v1::Operation got_;
  std::unique_ptr<Client> client_;
};

// All calls that wait.
inline std::vector<absl::Status> EveryCall(Client& client,
                                           std::stop_token stop) {
  return {client.Wait("o", {}, stop).status(),
          client.WakeUp("o", {}, stop).status(),
          client.Get("o", stop).status(),
          client.Store("o", 1, stop).status(),
          client.Await("o", {}, stop).status(),
          client.TryWait("o", stop).status(),
          client.Complete("o", 1, stop).status(),
          client.CompleteAll("o", stop).status(),
          client.Reinit("o", stop).status(),
          client.Done("o", stop).status(),
          client.Read("o", {}, stop).status(),
          client.Accept("o", 1, {}, stop),
          client.Release("o", 1, stop),
          client.Write("o", "x", {}, stop).status(),
          client.Poll("o", {}, stop).status(),
          client.OpenReader("o", {}, stop).status(),
          client.OpenWriter("o", {}, stop).status(),
          client.CreateWaitQueue("o", stop).status(),
          client.CreateCompletion("o", stop).status(),
          client.CreatePipe("o", {}, stop).status(),
          client.Remove("o", false, stop).status()};
}

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CLIENT_CLIENT_FIXTURE_H_
