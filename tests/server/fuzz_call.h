// A unary call without gRPC: what a fuzzer calls the server's methods by.

#ifndef WAITQ_TESTS_SERVER_FUZZ_CALL_H_
#define WAITQ_TESTS_SERVER_FUZZ_CALL_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "server/engine/engine.h"
#include "server/engine/repeats.h"
#include "server/rpc/invocation.h"

namespace waitq::test {

// All unary methods, as gRPC's server would find them.
struct FuzzMethod {
  const google::protobuf::MethodDescriptor* descriptor;
  rpc::Method method;
};
const std::vector<FuzzMethod>& FuzzMethods();

// The address of all their callers.
inline constexpr char kFuzzPeer[] = "fuzz";

// Does what server/rpc/unary_call.cc does, which knows nothing but gRPC's
// calls: parses, looks whether the same call was made before, serves, sleeps.
// All else (decoding, the method, its answer, the table of repeats) is the
// server's.
//
// Thread safety: none.
// Lifetime: until over(), and until its home has told all.
class FuzzCall final : public rpc::Invocation, private engine::Caller {
 public:
  // Is shown each answer.
  using Learn = std::function<void(const google::protobuf::Message&)>;

  FuzzCall(engine::Engine* engine, engine::Home* home, absl::Time deadline,
           Learn learn)
      : Invocation(engine, /*says_epoch=*/true),
        home_(*home),
        deadline_(deadline),
        learn_(std::move(learn)) {}
  ~FuzzCall();

  void Serve(const FuzzMethod& method, const std::string& bytes);
  // Its caller goes.
  void Go();
  // It was answered, or its caller has gone and nothing will come.
  bool over() const { return over_; }

  // --- Invocation ------------------------------------------------------------

  engine::Home* home() override { return running_ ? repeat_->home() : &home_; }
  engine::Caller* caller() override {
    return running_ ? repeat_->caller() : this;
  }
  void Fail(const absl::Status& status) override {
    End({.status = status, .bytes = {}});
  }
  void Sleep(
      engine::Ref<engine::Operation> op,
      absl::FunctionRef<absl::StatusOr<engine::Started>()> start) override;

 private:
  // Whether it is to be run: it has no id, or is the first with that.
  bool Begin(const FuzzMethod& method, google::protobuf::Message& request);
  void ReplyWith(const google::protobuf::MessageLite& response) override;
  absl::Status GetCaller(const std::string& name, engine::SleepOptions& options,
                         std::shared_ptr<engine::CallerInfo>& caller) override;
  // engine::Caller
  void OnEnded(engine::Operation& op) override;
  // The call is answered: to whoever waits for it, if it has an id.
  void End(engine::KeptAnswer answer);
  // This one is.
  void Told(const engine::KeptAnswer& answer);

  engine::Home& home_;
  const absl::Time deadline_;
  const Learn learn_;
  const FuzzMethod* method_ = nullptr;
  engine::Ref<engine::Operation> op_;  // while it sleeps
  engine::Ref<engine::Repeat> repeat_;
  engine::Ref<engine::RepeatWaiter> waiter_;
  bool running_ = false;
  bool runs_on_ = false;
  bool over_ = false;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_FUZZ_CALL_H_
