// Sessions whose clients a fuzzer thinks up: their messages as the server takes
// them apart and serves them, cuts, resumed sessions, clients that do not read,
// time that passes; and what others call meanwhile.
//
//   ./bazelw run --config=fuzz //tests/server:session_fuzz -- -runs=1000000
//
// See fuzz_steps.h for what an input is. Its test runs the same with random
// bytes.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "core/check.h"
#include "google/protobuf/message.h"
#include "server/engine/ref.h"
#include "server/rpc/session_input.h"
#include "tests/server/fuzz_call.h"
#include "tests/server/fuzz_steps.h"
#include "tests/server/fuzz_world.h"
#include "tests/server/hostile_requests.h"
#include "tests/sessions/raw_stream.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::test {
namespace {

using sim::RawStream;

// What is taken apart by hand is what protobuf says of it.
void CheckParsed(const std::string& bytes) {
  rpc::SessionInput input;
  const bool parsed = input.Parse(bytes);
  if (input.has_too_many()) return;
  v1::SessionRequest whole;
  const bool is_one = whole.ParseFromString(bytes);
  // But for what is long, and can be read by protobuf only; and for a WaitAny
  // that is too long to be looked at, whatever is in it.
  if (is_one && !parsed &&
      bytes.size() > rpc::SessionInput::kUncountedBytesMax) {
    return;
  }
  if (parsed && !is_one &&
      std::any_of(input.operations().begin(), input.operations().end(),
                  [](const auto& operation) { return operation.too_long; })) {
    return;
  }
  WAITQ_CHECK(parsed == is_one,
              "protobuf and the session's parser agree what a message is");
  if (!parsed) return;
  WAITQ_CHECK(
      static_cast<int>(input.operations().size()) == whole.operations_size(),
      "both find the same operations");
  for (int i = 0; i < whole.operations_size(); ++i) {
    WAITQ_CHECK(input.operations()[i].handle == whole.operations(i).handle(),
                "of the same handles");
    WAITQ_CHECK(
        input.operations()[i].field == whole.operations(i).request_case(),
        "that ask for the same");
  }
}

// A program that has a session, or is about to.
class Client {
 public:
  explicit Client(FuzzWorld* world) : world_(*world) {}
  ~Client() { Cut(); }

  void Step(Random& step) {
    switch (step.Below(8)) {
      case 0:
        Cut();
        break;
      case 1:
        Acknowledge(step);
        break;
      case 2:
        if (stream_) stream_->StopReading();
        break;
      case 3:
        if (stream_) AnswerProbes(step);
        break;
      case 4:
        Say(std::string(reinterpret_cast<const char*>(step.rest()),
                        step.left()));
        break;
      default:
        Frame(step);
    }
    if (stream_ && step.OneIn(2)) stream_->ReadOn();
    Look();
  }

 private:
  // As hostile_requests.h thinks of it.
  void Frame(Random& step) {
    static const auto& attach = *v1::SessionRequest::descriptor()
                                     ->file()
                                     ->FindServiceByName("Sessions")
                                     ->FindMethodByName("Attach");
    if (!Streaming()) said_ = 0;
    const bool tame = !step.OneIn(4);
    requests_.DrawFrom(step);
    Say(requests_.NextMessage(attach, said_, tame));
  }

  // All that has come, but for what is returned or left out.
  void Acknowledge(Random& step) {
    if (!Streaming()) return;
    v1::SessionRequest message;
    const uint64_t all = static_cast<uint64_t>(stream_->results());
    if (step.OneIn(2)) {
      message.set_taken_up_to(first_result_ + step.Below(all + 1));
    }
    for (uint64_t n = step.Below(4); n > 0; --n) {
      (step.OneIn(2) ? message.mutable_taken() : message.mutable_returned())
          ->Add(first_result_ + step.Below(all + 1));
    }
    Say(message.SerializeAsString());
  }

  void AnswerProbes(Random& step) {
    stream_->hold_probes = step.OneIn(2);
    for (auto& probe : std::exchange(stream_->probes, {})) probe();
  }

  void Say(std::string bytes) {
    CheckParsed(bytes);
    if (!Streaming()) {
      Cut();
      stream_ = RawStream::Make(&world_.engine());
    }
    ++said_;
    stream_->SendBytes(std::move(bytes));
  }

  void Cut() {
    if (stream_) stream_->Hang();
    stream_ = nullptr;
    said_ = 0;
    looked_at_ = 0;
    first_result_ = 0;
  }

  bool Streaming() const { return stream_ && !stream_->ended(); }

  // At what has come.
  void Look() {
    if (!stream_) return;
    const auto& responses = stream_->responses();
    for (; looked_at_ < responses.size(); ++looked_at_) {
      const v1::SessionResponse& response = responses[looked_at_];
      WAITQ_CHECK(response.has_hello() == (looked_at_ == 0),
                  "the first response has the hello");
      for (const v1::Result& result : response.results()) {
        WAITQ_CHECK(result.operation() != 0, "a result is of an operation");
        WAITQ_CHECK(result.response_case() != v1::Result::RESPONSE_NOT_SET,
                    "a result says something");
      }
      if (first_result_ == 0) first_result_ = response.first_result();
      requests_.Learn(response);
    }
  }

  FuzzWorld& world_;
  HostileRequests requests_{/*seed=*/1};
  engine::Ref<RawStream> stream_;
  int said_ = 0;  // on this stream
  size_t looked_at_ = 0;
  uint64_t first_result_ = 0;
};

// Somebody else, without a session.
void CallOne(FuzzWorld& world, HostileRequests& others, Random& step) {
  const auto& methods = FuzzMethods();
  const FuzzMethod& method = methods[step.Below(methods.size())];
  others.DrawFrom(step);
  world.Call(method, others.NextMessage(*method.descriptor, 0, /*tame=*/true),
             absl::InfiniteDuration(),
             [&](const google::protobuf::Message& response) {
               others.Learn(response);
             });
}

void Run(const uint8_t* data, size_t size) {
  HostileRequests others(/*seed=*/1);
  FuzzWorld world;
  Client one(&world);
  Client other(&world);
  ForEachStep(data, size, [&](Random& step) {
    switch (step.Below(8)) {
      case 0:
        return world.Happen(step);
      case 1:
        return CallOne(world, others, step);
      case 2:
        return world.LeaveOne(step);
      case 3:
      case 4:
        return other.Step(step);
      default:
        return one.Step(step);
    }
  });
}

}  // namespace
}  // namespace waitq::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  waitq::test::KeepProtobufQuiet();
  waitq::test::Run(data, size);
  return 0;
}
