// A server for fuzzers: the methods and the engine, on a simulated clock; no
// gRPC, no threads.

#ifndef WAITQ_TESTS_SERVER_FUZZ_WORLD_H_
#define WAITQ_TESTS_SERVER_FUZZ_WORLD_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/simulated_clock.h"
#include "google/protobuf/message.h"
#include "server/engine/engine.h"
#include "tests/engine/homes.h"
#include "tests/server/fuzz_call.h"
#include "tests/support/random.h"

namespace waitq::test {

// Its limits are so low that they are met. What should never be is a failed
// WAITQ_CHECK.
//
// Thread safety: none.
class FuzzWorld {
 public:
  using Learn = FuzzCall::Learn;

  FuzzWorld();
  // Who uses it by something else than Call() has gone. It ends all that is
  // left, after which there must be nothing left.
  ~FuzzWorld();
  FuzzWorld(const FuzzWorld&) = delete;
  FuzzWorld& operator=(const FuzzWorld&) = delete;

  engine::Engine& engine() { return *engine_; }

  // Makes a unary call, and tells all callers what has come of their calls.
  void Call(const FuzzMethod& method, const std::string& bytes,
            absl::Duration deadline, Learn learn);
  // The caller of one of the calls that are asleep goes.
  void LeaveOne(Random& random);
  // Something that is nobody's doing: time passes, or has stood still; now and
  // then the server drains.
  void Happen(Random& random);

 private:
  void TellCallers();
  void EndAll();
  void CheckNothingIsLeft();

  SimulatedClock clock_;
  engine::CollectingHome home_;
  std::unique_ptr<engine::Engine> engine_;
  // The callers that most calls have: they are not forgotten in between.
  std::vector<std::shared_ptr<engine::CallerInfo>> callers_;
  std::list<FuzzCall> calls_;  // asleep
};

// Protobuf says of every string on standard error that it is no UTF-8.
void KeepProtobufQuiet();

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_FUZZ_WORLD_H_
