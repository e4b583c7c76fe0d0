#include "tests/server/fuzz_call.h"

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "server/engine/error.h"
#include "server/rpc/services.h"
#include "server/rpc/status_map.h"
#include "waitq/v1/pipes.pb.h"

namespace waitq::test {
namespace {

using engine::KeptAnswer;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string TakeString(Message& message, const char* name) {
  const FieldDescriptor* const field =
      message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr) return "";
  std::string value = message.GetReflection()->GetString(message, field);
  message.GetReflection()->ClearField(&message, field);
  return value;
}

std::string MethodName(const FuzzMethod& method) {
  return absl::StrCat(method.descriptor->service()->name(), "/",
                      method.descriptor->name());
}

// What an operation that has ended is answered.
KeptAnswer AnswerOf(const engine::Engine& engine, engine::Operation& op,
                    const FuzzMethod& method) {
  const absl::Status failure = rpc::FailureOf(op);
  if (!failure.ok() && !op.moved_bytes()) {
    return {.status = failure, .bytes = {}};
  }
  KeptAnswer answer;
  method.method.answer(engine, op, /*says_epoch=*/true,
                       [&](google::protobuf::MessageLite& response) {
                         answer.bytes = response.SerializeAsString();
                       });
  return answer;
}

}  // namespace

const std::vector<FuzzMethod>& FuzzMethods() {
  static const auto& methods = *[] {
    auto* const all = new std::vector<FuzzMethod>;
    for (const rpc::ServiceMethods& service :
         {rpc::WaitQueuesMethods(), rpc::CompletionsMethods(),
          rpc::PipesMethods(), rpc::ObjectsMethods(), rpc::TasksMethods()}) {
      for (const rpc::UnaryMethod& unary : service.unary) {
        all->push_back(
            {.descriptor = service.descriptor->FindMethodByName(unary.name),
             .method = unary.method});
      }
    }
    return all;
  }();
  return methods;
}

FuzzCall::~FuzzCall() { WAITQ_CHECK(over_, "each call is answered"); }

void FuzzCall::Serve(const FuzzMethod& method, const std::string& bytes) {
  method_ = &method;
  const std::unique_ptr<Message> request(method.method.request->New());
  if (bytes.size() > engine_.limits().message_bytes ||
      !request->ParseFromString(bytes)) {
    return Fail(engine::MakeError(EINVAL, "not one"));
  }
  if (Begin(method, *request)) method.method.serve(*this, *request);
}

bool FuzzCall::Begin(const FuzzMethod& method, Message& request) {
  const auto& descriptor = *request.GetDescriptor();
  const FieldDescriptor* const epoch =
      descriptor.FindFieldByName("server_epoch");
  if (epoch == nullptr) return true;  // Cancel() has an id, but no epoch
  const auto& reflection = *request.GetReflection();
  const uint64_t server_epoch = reflection.GetUInt64(request, epoch);
  reflection.ClearField(&request, epoch);
  const std::string id = TakeString(request, "request_id");
  if (server_epoch != 0 && server_epoch != engine_.epoch()) {
    Fail(rpc::OwnerDeadError());
    return false;
  }
  if (id.empty()) return true;
  if (id.size() != 36) {
    Fail(engine::MakeError(EINVAL, "request_id: not a UUID"));
    return false;
  }
  const std::unique_ptr<Message> arguments(request.New());
  arguments->CopyFrom(request);
  const std::string caller = TakeString(*arguments, "caller");
  if (const auto* timeout = descriptor.FindFieldByName("timeout")) {
    reflection.ClearField(arguments.get(), timeout);
  }
  uint64_t answer_bytes = rpc::kAnswerOverheadBytes;
  if (const auto* const read =
          dynamic_cast<const v1::ReadRequest*>(arguments.get())) {
    answer_bytes += rpc::ReadBytesOf(engine_, *read);
  }
  const std::string name = TakeString(*arguments, "name");
  if (caller.size() > engine::kCallerBytesMax) {
    Fail(engine::MakeError(EINVAL, "caller"));
    return false;
  }
  auto waiter = engine::MakeRef<engine::RepeatWaiter>(
      &home_, static_cast<engine::Caller*>(this),
      engine_.FindCaller(kFuzzPeer, caller), deadline_);
  auto begun = engine_.repeats().Begin(
      {.key = {id, name, MethodName(method)},
       .fingerprint = absl::HashOf(arguments->SerializeAsString()),
       .answer_bytes = answer_bytes,
       .encode =
           [&engine = engine_, &method](engine::Operation& op) {
             return AnswerOf(engine, op, method);
           }},
      waiter);
  if (!begun.ok()) {
    Fail(begun.status());
    return false;
  }
  waiter_ = std::move(waiter);
  repeat_ = std::move(begun->repeat);
  running_ = begun->is_new;
  return running_;
}

void FuzzCall::Sleep(
    engine::Ref<engine::Operation> op,
    absl::FunctionRef<absl::StatusOr<engine::Started>()> start) {
  const absl::StatusOr<engine::Started> started = start();
  if (!started.ok()) return Fail(started.status());
  if (*started == engine::Started::kEnded) {
    const auto ended = engine::EndedOf(std::move(op));
    return End(AnswerOf(engine_, *ended, *method_));
  }
  if (running_) {
    running_ = false;  // the operation answers
    return repeat_->Sleep(std::move(op));
  }
  op_ = std::move(op);
}

void FuzzCall::Go() {
  if (over_) return;
  if (waiter_) {
    waiter_->Detach();
    repeat_->Leave(*waiter_);
    waiter_ = nullptr;
    Told({.status = rpc::CallerGoneError(), .bytes = {}});
  } else if (runs_on_) {
    op_->Detach();
    op_ = nullptr;
    Told({.status = rpc::CallerGoneError(), .bytes = {}});
  } else {
    engine_.CallerGone(*op_);
  }
}

void FuzzCall::OnEnded(engine::Operation& op) {
  if (&op == waiter_.get()) {
    const engine::Ref<engine::RepeatWaiter> waiter = std::move(waiter_);
    return Told(waiter->answer());
  }
  // Of several it is told of the one that has ended the call.
  WAITQ_CHECK(op_ && op.id() == op_->id(), "it is told of what is its own");
  op_ = nullptr;
  Told(AnswerOf(engine_, op, *method_));
}

void FuzzCall::ReplyWith(const google::protobuf::MessageLite& response) {
  End({.status = absl::OkStatus(), .bytes = response.SerializeAsString()});
}

absl::Status FuzzCall::GetCaller(const std::string& name,
                                 engine::SleepOptions& options,
                                 std::shared_ptr<engine::CallerInfo>& caller) {
  options.call_deadline = deadline_;
  runs_on_ = options.state == kUninterruptible;
  if (name.size() > engine::kCallerBytesMax) {
    return engine::MakeError(EINVAL, "caller");
  }
  caller = engine_.FindCaller(kFuzzPeer, name);
  return absl::OkStatus();
}

void FuzzCall::End(KeptAnswer answer) {
  if (!running_) return Told(answer);
  running_ = false;
  repeat_->Answer(std::move(answer));
}

void FuzzCall::Told(const KeptAnswer& answer) {
  WAITQ_CHECK(!std::exchange(over_, true), "a call is answered once");
  if (!answer.status.ok()) {
    WAITQ_CHECK(!engine::DetailsOf(answer.status).reason.empty(),
                "an error has a reason");
    return;
  }
  const std::unique_ptr<Message> response(
      google::protobuf::MessageFactory::generated_factory()
          ->GetPrototype(method_->descriptor->output_type())
          ->New());
  WAITQ_CHECK(response->ParseFromString(answer.bytes), "answers are messages");
  learn_(*response);
}

}  // namespace waitq::test
