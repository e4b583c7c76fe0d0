// A client's session with a server that a test plays, message by message.

#ifndef WAITQ_TESTS_CLIENT_FAKE_LINK_H_
#define WAITQ_TESTS_CLIENT_FAKE_LINK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/client_impl.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "tests/client/event_thread.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::test {

class FakeLink;

// The server's end: it writes down what the client says, and says what the test
// wants. Time stands still but for Advance(), so nothing ever happens by
// itself. Serves one client, which is to be destroyed first.
//
// Thread safety: any thread may call any method. What the server says is told
//   to the client on one thread, in the order in which it is said.
class FakeServer {
 public:
  // Answers an operation as it comes; nothing: later, or never.
  using Script =
      std::function<std::optional<v1::Result>(const v1::Operation& operation)>;

  FakeServer();
  ~FakeServer();

  std::unique_ptr<Client> NewClient(const ClientOptions& options = {});

  // --- What it will do; to be said before the client's first call ------------

  void set_script(Script script) { script_ = std::move(script); }
  v1::SessionResponse::Hello& hello() { return hello_; }
  // Connections come to nothing, with this status; OK: they do again.
  void Refuse(const absl::Status& status, bool sent);
  // Leaves the hello unanswered.
  void set_mute(bool mute);
  // Ends what is cancelled, as a server does.
  void EndWhatIsCancelled() { ends_what_is_cancelled_ = true; }

  // --- What the client has said ----------------------------------------------

  // All that has come so far.
  std::vector<v1::SessionRequest> requests() const;
  // The operation of that number, when it has come. After a new session these
  // are that one's.
  v1::Operation AwaitOperation(uint64_t number);
  uint64_t operations() const;
  void AwaitCancel(uint64_t operation);
  bool IsCancelled(uint64_t operation) const;
  // Whether that result was said to be taken; or to be returned.
  bool IsTaken(uint64_t result) const;
  void AwaitTaken(uint64_t result);
  bool IsReturned(uint64_t result) const;
  void AwaitReturned(uint64_t result);
  // How often it has connected.
  int connections() const;
  void AwaitConnections(int n);

  // --- What the server says --------------------------------------------------

  // Returns the number of this result.
  uint64_t Answer(uint64_t operation, v1::Result result);
  // The connection is lost, without a word.
  void Cut() { Close(absl::UnavailableError("lost")); }
  // The stream ends so; with a reason (client/error.h) the server says it.
  void Close(const absl::Status& status);

  // --- Time ------------------------------------------------------------------

  // In steps, between which what happens has happened.
  void Advance(absl::Duration duration);
  // Until all that was said to the client has been heard.
  void Settle();
  // Does that on the thread that tells the client what happens.
  void RunOnClientThread(const std::function<void()>& action) {
    thread_.Run(action);
  }
  // Called with each message that a thread of the program sends, before that
  // thread goes on: it may hold it there. To be set while nothing happens.
  void set_before_write_returns(
      std::function<void(const v1::SessionRequest&)> function) {
    before_write_returns_ = std::move(function);
  }

 private:
  friend class FakeLink;

  void OnConnect(uint64_t connection);
  void OnDisconnect(uint64_t connection);
  void OnRequest(uint64_t connection, const std::string& bytes);
  void Respond(uint64_t connection, const v1::SessionRequest& request);
  void Receive(const v1::SessionRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t AddResult(uint64_t operation, v1::Result result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Send(uint64_t connection, const v1::SessionResponse& response);
  void Await(const std::function<bool()>& state) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Script script_;
  bool ends_what_is_cancelled_ = false;
  v1::SessionResponse::Hello hello_;
  std::function<void(const v1::SessionRequest&)> before_write_returns_;

  mutable absl::Mutex mu_;
  SessionMachine* machine_ ABSL_GUARDED_BY(mu_) = nullptr;
  uint64_t connection_ ABSL_GUARDED_BY(mu_) = 0;  // 0: there is none
  int connections_ ABSL_GUARDED_BY(mu_) = 0;
  bool mute_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);
  bool refusal_sent_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time now_ ABSL_GUARDED_BY(mu_) = absl::UnixEpoch() + absl::Hours(1);
  absl::Time timer_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();

  std::vector<v1::SessionRequest> requests_ ABSL_GUARDED_BY(mu_);
  // Of the session.
  std::map<uint64_t, v1::Operation> operations_ ABSL_GUARDED_BY(mu_);
  std::set<uint64_t> cancels_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, v1::Result> results_ ABSL_GUARDED_BY(mu_);  // untaken
  uint64_t last_result_ ABSL_GUARDED_BY(mu_) = 0;
  std::set<uint64_t> taken_ ABSL_GUARDED_BY(mu_);
  std::set<uint64_t> returned_ ABSL_GUARDED_BY(mu_);

  EventThread thread_;  // last: its events use the others
};

// The client's end.
class FakeLink final : public ClientLink {
 public:
  explicit FakeLink(FakeServer* server) : server_(*server) {}

  void Start(SessionMachine* machine) override;
  void Stop() override;
  bool IsOwnThread() const override { return server_.thread_.IsCurrent(); }

  void Connect(uint64_t connection) override { server_.OnConnect(connection); }
  void Write(uint64_t connection, std::string message) override {
    server_.OnRequest(connection, message);
  }
  void Disconnect(uint64_t connection) override {
    server_.OnDisconnect(connection);
  }
  void SetTimer(absl::Time when) override;
  absl::Time Now() override;

 private:
  FakeServer& server_;
};

// --- Messages ----------------------------------------------------------------

// A message from its text: "get { value: 1 }".
template <class Message>
Message FromText(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message))
      << text;
  return message;
}
inline v1::Result ResultFromText(const std::string& text) {
  return FromText<v1::Result>(text);
}

// A message that says this, and no more.
MATCHER_P(Says, text, "") {
  std::string difference;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  using Message = std::decay_t<decltype(arg)>;
  const bool same = differencer.Compare(FromText<Message>(text), arg);
  *result_listener << difference;
  return same;
}

// --- Results, as a server makes them -----------------------------------------

v1::Result Failure(absl::StatusCode code, const std::string& reason,
                   const std::map<std::string, std::string>& metadata = {});
// A status with which a stream ends.
absl::Status StreamError(absl::StatusCode code, const std::string& reason);
v1::Result ReadOf(const std::string& data, uint64_t offset);
v1::Result ReadEnd(v1::Outcome outcome, bool broken = false);
v1::Result WriteOf(uint64_t accepted_bytes);
// Of a handle whose pipe begins at `offset`.
v1::Result OpenAt(uint64_t offset, v1::PipeMode mode = v1::PIPE_MODE_STREAM);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CLIENT_FAKE_LINK_H_
