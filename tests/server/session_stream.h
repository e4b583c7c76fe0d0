// A stream that carries a session, by the generated stub and nothing else.

#ifndef WAITQ_TESTS_SERVER_SESSION_STREAM_H_
#define WAITQ_TESTS_SERVER_SESSION_STREAM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "tests/server/client.h"
#include "waitq/v1/sessions.grpc.pb.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::test {

// Numbers the operations that it is given, and keeps the results that come.
//
// When it is dropped its session is over, unless the stream has been finished
// or has lost the session.
// Thread safety: none.
class SessionStream {
 public:
  // Without a message.
  explicit SessionStream(Client& client, CallTime deadline = LateDeadline());
  // With a hello of that text, which was answered.
  SessionStream(Client& client, const std::string& hello);
  // Goes on with the session of that one, which has so many of its results.
  SessionStream(Client& client, const SessionStream& before,
                uint64_t results_received);
  ~SessionStream();
  SessionStream(const SessionStream&) = delete;
  SessionStream& operator=(const SessionStream&) = delete;

  // A request that goes on with that one's session.
  static v1::SessionRequest Resume(const SessionStream& before,
                                   uint64_t results_received);

  // False if the call is over.
  bool Send(const v1::SessionRequest& request);
  bool Send(const std::string& text) {
    return Send(FromText<v1::SessionRequest>(text));
  }
  // Sends operations of these texts in one message; returns the number of the
  // last one.
  uint64_t DoAll(const std::vector<std::string>& texts);
  uint64_t Do(const std::string& text) { return DoAll({text}); }
  uint64_t Do(const v1::Operation& operation);
  bool HalfClose() { return stream_->WritesDone(); }

  // The next response; none if the call is over.
  std::optional<v1::SessionResponse> Next();
  // The next result. There has to be one.
  v1::Result NextResult();
  // The (next) result of that operation; others are passed over.
  v1::Result ResultOf(uint64_t operation);
  // Does it, and gives its result.
  v1::Result Call(const std::string& text) { return ResultOf(Do(text)); }

  void Cancel() { context_.TryCancel(); }
  // Reads what is left, and gives the status.
  grpc::Status Finish();
  // Says that the session is over, and gives the status.
  grpc::Status End();

  const v1::SessionResponse::Hello& hello() const { return hello_; }
  // The number of the last operation, and of the last result, of the session.
  uint64_t operations() const { return operations_; }
  uint64_t results() const { return results_; }
  // The numbers of the results, by their operations: the last ones.
  uint64_t NumberOf(uint64_t operation) { return number_of_[operation]; }

 private:
  grpc::ClientContext context_;
  v1::Sessions::Stub stub_;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::SessionRequest, v1::SessionResponse>>
      stream_;
  v1::SessionResponse::Hello hello_;
  uint64_t operations_ = 0;
  uint64_t results_ = 0;
  v1::SessionResponse last_;
  int next_ = 0;  // of last_'s results
  std::map<uint64_t, uint64_t> number_of_;
  bool finished_ = false;
};

// Of a result: it is a failure of that code and reason.
MATCHER_P2(IsFailure, code, reason, "") {
  return arg.failure().code() == code && arg.failure().reason() == reason;
}

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_SESSION_STREAM_H_
