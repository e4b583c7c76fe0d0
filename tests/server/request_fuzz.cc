// Unary requests that a fuzzer thinks up, through the server's own decoding and
// methods to its engine.
//
//   ./bazelw run --config=fuzz //tests/server:request_fuzz -- -runs=1000000
//
// See fuzz_steps.h for what an input is. Its test runs the same with random
// bytes.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "tests/server/fuzz_call.h"
#include "tests/server/fuzz_steps.h"
#include "tests/server/fuzz_world.h"
#include "tests/server/hostile_requests.h"

namespace waitq::test {
namespace {

void CallOne(FuzzWorld& world, HostileRequests& requests, Random& step) {
  const auto& methods = FuzzMethods();
  const FuzzMethod& method = methods[step.Below(methods.size())];
  absl::Duration deadline = absl::InfiniteDuration();
  if (step.OneIn(8)) deadline = absl::Milliseconds(step.Log(12));
  std::string bytes;
  if (step.OneIn(8)) {
    bytes.assign(reinterpret_cast<const char*>(step.rest()), step.left());
  } else {
    const bool tame = !step.OneIn(4);
    requests.DrawFrom(step);
    bytes = requests.NextMessage(*method.descriptor, 0, tame);
  }
  world.Call(method, bytes, deadline,
             [&](const google::protobuf::Message& response) {
               requests.Learn(response);
             });
}

void Run(const uint8_t* data, size_t size) {
  HostileRequests requests(/*seed=*/1);
  FuzzWorld world;
  ForEachStep(data, size, [&](Random& step) {
    switch (step.Below(8)) {
      case 0:
        return world.Happen(step);
      case 1:
        return world.LeaveOne(step);
      default:
        return CallOne(world, requests, step);
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
