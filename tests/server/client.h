// Calls to a server under test, by the generated stubs and nothing else.

#ifndef WAITQ_TESTS_SERVER_CLIENT_H_
#define WAITQ_TESTS_SERVER_CLIENT_H_

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/support/process.h"
#include "transport/error_info.h"
#include "waitq/v1/completions.grpc.pb.h"
#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/pipes.grpc.pb.h"
#include "waitq/v1/tasks.grpc.pb.h"
#include "waitq/v1/wait_queues.grpc.pb.h"

namespace grpc {

// How GoogleTest shows a status.
inline void PrintTo(const Status& status, std::ostream* out) {
  const auto info = waitq::ParseErrorInfo(status);
  *out << "code " << status.error_code() << " "
       << (info.has_value() ? info->reason : "") << " ("
       << status.error_message() << ")";
}

}  // namespace grpc

namespace waitq::test {

// A message from its text: "name: 'q' condition { equal: 1 }".
template <class Message>
Message FromText(const std::string& text) {
  Message message;
  if (!google::protobuf::TextFormat::ParseFromString(text, &message)) {
    std::fprintf(stderr, "a test has a bad message: %s\n", text.c_str());
    std::abort();
  }
  return message;
}

// --- Statuses ----------------------------------------------------------------

// Why a call failed, for programs; "" if it was not our handlers that said it.
inline std::string ReasonOf(const grpc::Status& status) {
  const std::optional<ErrorInfo> info = ParseErrorInfo(status);
  return info.has_value() ? info->reason : "";
}

MATCHER(IsOk, "") { return arg.ok(); }

// A code, and the errno's name in the ErrorInfo of our handlers.
MATCHER_P2(FailsWith, code, reason, "") {
  return arg.error_code() == code && ReasonOf(arg) == reason;
}

// --- Unary calls -------------------------------------------------------------

using CallTime = std::chrono::system_clock::time_point;

// The end of a call whose answer is sure to come: only a failure gets there.
inline CallTime LateDeadline() {
  return std::chrono::system_clock::now() + absl::ToChronoSeconds(2 * kBound);
}

template <class Response>
struct Answer {
  grpc::Status status;
  Response response;
};

// The stubs of one connection.
class Client {
 public:
  explicit Client(std::shared_ptr<grpc::Channel> channel)
      : channel_(std::move(channel)),
        wait_queues_(channel_),
        completions_(channel_),
        pipes_(channel_),
        objects_(channel_),
        tasks_(channel_) {}

  const std::shared_ptr<grpc::Channel>& channel() { return channel_; }
  v1::Pipes::Stub& pipes() { return pipes_; }

  // Each request has its method. The second half says what it answers.
  grpc::Status Invoke(grpc::ClientContext* context, const v1::WaitRequest& q,
                      v1::WaitResponse* a) {
    return wait_queues_.Wait(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::WakeUpRequest& q,
                      v1::WakeUpResponse* a) {
    return wait_queues_.WakeUp(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::GetRequest& q,
                      v1::GetResponse* a) {
    return wait_queues_.Get(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::StoreRequest& q,
                      v1::StoreResponse* a) {
    return wait_queues_.Store(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context,
                      const v1::CompletionWaitRequest& q,
                      v1::CompletionWaitResponse* a) {
    return completions_.Wait(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::TryWaitRequest& q,
                      v1::TryWaitResponse* a) {
    return completions_.TryWait(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context,
                      const v1::CompleteRequest& q, v1::CompleteResponse* a) {
    return completions_.Complete(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::ReinitRequest& q,
                      v1::ReinitResponse* a) {
    return completions_.Reinit(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::DoneRequest& q,
                      v1::DoneResponse* a) {
    return completions_.Done(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::ReadRequest& q,
                      v1::ReadResponse* a) {
    return pipes_.Read(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::WriteRequest& q,
                      v1::WriteResponse* a) {
    return pipes_.Write(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::CreateRequest& q,
                      v1::CreateResponse* a) {
    return objects_.Create(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::StatRequest& q,
                      v1::StatResponse* a) {
    return objects_.Stat(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context,
                      const v1::ListObjectsRequest& q,
                      v1::ListObjectsResponse* a) {
    return objects_.List(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::RemoveRequest& q,
                      v1::RemoveResponse* a) {
    return objects_.Remove(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::WaitAnyRequest& q,
                      v1::WaitAnyResponse* a) {
    return objects_.WaitAny(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context,
                      const v1::ListTasksRequest& q, v1::ListTasksResponse* a) {
    return tasks_.List(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::PollRequest& q,
                      v1::PollResponse* a) {
    return pipes_.Poll(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::AcceptRequest& q,
                      v1::AcceptResponse* a) {
    return pipes_.Accept(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::ReleaseRequest& q,
                      v1::ReleaseResponse* a) {
    return pipes_.Release(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::CancelRequest& q,
                      v1::CancelResponse* a) {
    return tasks_.Cancel(context, q, a);
  }
  grpc::Status Invoke(grpc::ClientContext* context, const v1::SignalRequest& q,
                      v1::SignalResponse* a) {
    return tasks_.Signal(context, q, a);
  }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  v1::WaitQueues::Stub wait_queues_;
  v1::Completions::Stub completions_;
  v1::Pipes::Stub pipes_;
  v1::Objects::Stub objects_;
  v1::Tasks::Stub tasks_;
};

namespace internal {
template <class Request, class Response>
Response Second(grpc::Status (Client::*)(grpc::ClientContext*, const Request&,
                                         Response*));
template <class Request>
struct AnswerTo {
  using Type = decltype(Second<Request>(&Client::Invoke));
};
}  // namespace internal

template <class Request>
using ResponseOf = typename internal::AnswerTo<Request>::Type;

// Calls, and waits for the answer.
template <class Request>
Answer<ResponseOf<Request>> Call(Client& client, const Request& request,
                                 CallTime deadline = LateDeadline()) {
  grpc::ClientContext context;
  context.set_deadline(deadline);
  Answer<ResponseOf<Request>> answer;
  answer.status = client.Invoke(&context, request, &answer.response);
  return answer;
}
template <class Request>
Answer<ResponseOf<Request>> Call(Client& client, const std::string& request,
                                 CallTime deadline = LateDeadline()) {
  return Call(client, FromText<Request>(request), deadline);
}

// A call under way, on a thread of its own; without a deadline, unless told
// otherwise. Cancelled when it is dropped.
template <class Request>
class Pending {
 public:
  Pending(Client& client, Request request,
          std::optional<CallTime> deadline = std::nullopt)
      : request_(std::move(request)) {
    if (deadline.has_value()) context_.set_deadline(*deadline);
    thread_ = std::thread([this, &client] {
      answer_.status = client.Invoke(&context_, request_, &answer_.response);
      ended_ = true;
    });
  }
  Pending(Client& client, const std::string& request,
          std::optional<CallTime> deadline = std::nullopt)
      : Pending(client, FromText<Request>(request), deadline) {}
  ~Pending() {
    if (!ended_) Cancel();
    if (thread_.joinable()) thread_.join();
  }

  void Cancel() { context_.TryCancel(); }
  bool ended() const { return ended_; }

  // Waits for the end. A call that does not end is cancelled, and fails so.
  const Answer<ResponseOf<Request>>& answer() {
    if (!Await([&] { return ended(); })) {
      ADD_FAILURE() << "a call does not end";
      Cancel();
    }
    if (thread_.joinable()) thread_.join();
    return answer_;
  }
  const grpc::Status& status() { return answer().status; }
  const ResponseOf<Request>& response() { return answer().response; }

 private:
  const Request request_;
  grpc::ClientContext context_;
  Answer<ResponseOf<Request>> answer_;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

// --- Streams -----------------------------------------------------------------

// A stream. Cancelled when it is dropped, unless it has been finished.
template <class Request, class Response>
class Stream {
 public:
  using Method = std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> (
      v1::Pipes::Stub::*)(grpc::ClientContext*);

  Stream(Client& client, Method method, CallTime deadline = LateDeadline()) {
    context_.set_deadline(deadline);
    stream_ = (client.pipes().*method)(&context_);
  }
  ~Stream() {
    if (finished_) return;
    Cancel();
    Finish();
  }

  // False if the call is over.
  bool Send(const Request& request) { return stream_->Write(request); }
  bool Send(const std::string& text) { return Send(FromText<Request>(text)); }
  // No more requests.
  bool HalfClose() { return stream_->WritesDone(); }
  // The next response; none if the call is over.
  std::optional<Response> Next() {
    Response response;
    if (!stream_->Read(&response)) return std::nullopt;
    last_ = response;
    return response;
  }
  void Cancel() { context_.TryCancel(); }

  // Reads what is left, and gives the status.
  grpc::Status Finish() {
    finished_ = true;
    while (Next().has_value()) {
    }
    return stream_->Finish();
  }
  // The response that came last.
  const Response& last() const { return last_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream_;
  Response last_;
  bool finished_ = false;
};

class ReadStream
    : public Stream<v1::ReadStreamRequest, v1::ReadStreamResponse> {
 public:
  // Without a message.
  explicit ReadStream(Client& client, CallTime deadline = LateDeadline())
      : Stream(client, &v1::Pipes::Stub::ReadStream, deadline) {}
  // Opened, `open` being the first message, and told so.
  ReadStream(Client& client, const std::string& open,
             CallTime deadline = LateDeadline())
      : ReadStream(client, deadline) {
    Send("open { " + open + " }");
    EXPECT_TRUE(Next().has_value()) << "not opened: " << open;
  }

  // Reports that everything below `offset` has been used.
  bool Report(uint64_t offset) {
    v1::ReadStreamRequest request;
    request.set_read_up_to(offset);
    return Send(request);
  }
  // Reads on until the call is over; the data that came, all together.
  std::string ReadAll() {
    std::string data;
    while (const auto response = Next()) data += response->data();
    return data;
  }
  // Reads on until so many bytes have come, or the call is over.
  std::string ReadBytes(size_t n) {
    std::string data;
    while (data.size() < n) {
      const auto response = Next();
      if (!response.has_value()) break;
      data += response->data();
    }
    return data;
  }
};

class PollStream
    : public Stream<v1::PollStreamRequest, v1::PollStreamResponse> {
 public:
  explicit PollStream(Client& client)
      : Stream(client, &v1::Pipes::Stub::PollStream) {}

  // Reads on until `id` was told of.
  v1::PollStreamResponse::Change NextOf(uint64_t id) {
    while (const auto response = Next()) {
      for (const auto& change : response->changes()) {
        if (change.id() == id) return change;
      }
    }
    ADD_FAILURE() << "the call is over: " << Finish().error_message();
    return {};
  }
};

class WriteStream
    : public Stream<v1::WriteStreamRequest, v1::WriteStreamResponse> {
 public:
  explicit WriteStream(Client& client, CallTime deadline = LateDeadline())
      : Stream(client, &v1::Pipes::Stub::WriteStream, deadline) {}
  WriteStream(Client& client, const std::string& open,
              CallTime deadline = LateDeadline())
      : WriteStream(client, deadline) {
    Send("open { " + open + " }");
    EXPECT_TRUE(Next().has_value()) << "not opened: " << open;
  }

  bool Write(const std::string& data) {
    v1::WriteStreamRequest request;
    request.set_data(data);
    return Send(request);
  }
  // Reads on until the server says that so much is accepted. False if the call
  // is over before.
  bool AwaitAccepted(uint64_t bytes) {
    while (last().accepted_bytes() < bytes) {
      if (!Next().has_value()) return false;
    }
    return true;
  }
  // Closes the file, and reads the last response.
  grpc::Status Close() {
    HalfClose();
    return Finish();
  }
};

// --- Bytes -------------------------------------------------------------------

std::string BytesOf(const grpc::ByteBuffer& buffer);

// Sends one message, as bytes, to a method of any kind
// ("/waitq.v1.Tasks/List"), closes the request side, and waits for the end. In
// `response`, if given, come the bytes of the last response.
grpc::Status CallWithBytes(Client& client, const std::string& method,
                           const std::string& request,
                           std::string* response = nullptr);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_CLIENT_H_
