#include "tests/server/session_stream.h"

#include <algorithm>
#include <utility>

namespace waitq::test {

SessionStream::SessionStream(Client& client, CallTime deadline)
    : stub_(client.channel()) {
  context_.set_deadline(deadline);
  stream_ = stub_.Attach(&context_);
}

SessionStream::SessionStream(Client& client, const std::string& hello)
    : SessionStream(client) {
  Send("hello { " + hello + " }");
  const auto first = Next();
  EXPECT_TRUE(first.has_value() && first->has_hello())
      << "not attached: " << hello;
}

SessionStream::SessionStream(Client& client, const SessionStream& before,
                             uint64_t results_received)
    : SessionStream(client) {
  operations_ = before.operations();
  results_ = std::min(results_received, before.results());
  Send(Resume(before, results_received));
  const auto first = Next();
  EXPECT_TRUE(first.has_value() && first->has_hello()) << "not attached again";
}

SessionStream::~SessionStream() {
  if (!finished_) End();
}

v1::SessionRequest SessionStream::Resume(const SessionStream& before,
                                         uint64_t results_received) {
  v1::SessionRequest request;
  request.mutable_hello()->set_token(before.hello().token());
  request.mutable_hello()->set_server_epoch(before.hello().server_epoch());
  request.mutable_hello()->set_results_received(results_received);
  return request;
}

bool SessionStream::Send(const v1::SessionRequest& request) {
  return stream_->Write(request);
}

uint64_t SessionStream::DoAll(const std::vector<std::string>& texts) {
  v1::SessionRequest request;
  request.set_first_operation(operations_ + 1);
  for (const std::string& text : texts) {
    *request.add_operations() = FromText<v1::Operation>(text);
    ++operations_;
  }
  Send(request);
  return operations_;
}

uint64_t SessionStream::Do(const v1::Operation& operation) {
  v1::SessionRequest request;
  request.set_first_operation(++operations_);
  *request.add_operations() = operation;
  Send(request);
  return operations_;
}

std::optional<v1::SessionResponse> SessionStream::Next() {
  v1::SessionResponse response;
  if (!stream_->Read(&response)) return std::nullopt;
  if (response.has_hello()) hello_ = response.hello();
  uint64_t number = response.first_result();
  for (const v1::Result& result : response.results()) {
    EXPECT_GT(number, results_) << "results go backwards";
    results_ = number;
    number_of_[result.operation()] = number++;
  }
  last_ = response;
  next_ = 0;
  return response;
}

v1::Result SessionStream::NextResult() {
  while (next_ == last_.results_size()) {
    if (Next().has_value()) continue;
    ADD_FAILURE() << "the call is over; a result was to come";
    return {};
  }
  return last_.results(next_++);
}

v1::Result SessionStream::ResultOf(uint64_t operation) {
  for (;;) {
    v1::Result result = NextResult();
    if (result.operation() == operation || result.operation() == 0) {
      return result;
    }
  }
}

grpc::Status SessionStream::Finish() {
  finished_ = true;
  while (Next().has_value()) {
  }
  return stream_->Finish();
}

grpc::Status SessionStream::End() {
  Send("end: true");
  return Finish();
}

}  // namespace waitq::test
