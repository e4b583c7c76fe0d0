#include "tests/faults/actor.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/history/text.h"
#include "transport/channel_arguments.h"
#include "transport/error_info.h"
#include "waitq/v1/completions.grpc.pb.h"
#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/pipes.grpc.pb.h"
#include "waitq/v1/tasks.grpc.pb.h"
#include "waitq/v1/wait_queues.grpc.pb.h"

namespace waitq::test {

void HistoryFile::Add(const Ask& ask) {
  AddLine(std::visit([](const auto& call) { return history::ToLine(call); },
                     ask.call));
}

void HistoryFile::AddLine(const std::string& line) {
  const std::lock_guard<std::mutex> lock(mu_);
  out_ << line << "\n" << std::flush;
}

std::shared_ptr<grpc::Channel> ConnectTo(const std::string& server) {
  grpc::ChannelArguments arguments = ClientArguments();
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(),
                                   arguments);
}

std::string ReasonOf(const grpc::Status& status) {
  const auto info = ParseErrorInfo(status);
  return info.has_value() ? info->reason : "";
}

Canceller::Canceller(grpc::ClientContext* context, absl::Duration after)
    : thread_([this, context, after] {
        std::unique_lock<std::mutex> lock(mu_);
        over_.wait_for(lock, absl::ToChronoNanoseconds(after),
                       [this] { return ended_; });
        if (!ended_) context->TryCancel();
      }) {}

Canceller::~Canceller() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    ended_ = true;
  }
  over_.notify_all();
  thread_.join();
}

uint64_t EpochOf(const v1::Result& result) {
  switch (result.response_case()) {
    case v1::Result::kWait:
      return result.wait().server_epoch();
    case v1::Result::kWakeUp:
      return result.wake_up().server_epoch();
    case v1::Result::kStore:
      return result.store().server_epoch();
    case v1::Result::kRead:
      return result.read().server_epoch();
    case v1::Result::kWrite:
      return result.write().server_epoch();
    case v1::Result::kComplete:
      return result.complete().server_epoch();
    default:
      return 0;
  }
}

struct UnaryStubs::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : queues(channel),
        completions(channel),
        pipes(channel),
        objects(channel),
        tasks(channel) {}

  v1::WaitQueues::Stub queues;
  v1::Completions::Stub completions;
  v1::Pipes::Stub pipes;
  v1::Objects::Stub objects;
  v1::Tasks::Stub tasks;
};

UnaryStubs::UnaryStubs(const std::shared_ptr<grpc::Channel>& channel)
    : stubs_(std::make_unique<Stubs>(channel)) {}
UnaryStubs::~UnaryStubs() = default;

grpc::Status UnaryStubs::Call(grpc::ClientContext* context,
                              const v1::Operation& operation,
                              v1::Result* result) {
  using Case = v1::Operation::RequestCase;
  Stubs& to = *stubs_;
  switch (operation.request_case()) {
    case Case::kWait:
      return to.queues.Wait(context, operation.wait(), result->mutable_wait());
    case Case::kWakeUp:
      return to.queues.WakeUp(context, operation.wake_up(),
                              result->mutable_wake_up());
    case Case::kGet:
      return to.queues.Get(context, operation.get(), result->mutable_get());
    case Case::kStore:
      return to.queues.Store(context, operation.store(),
                             result->mutable_store());
    case Case::kCompletionWait:
      return to.completions.Wait(context, operation.completion_wait(),
                                 result->mutable_completion_wait());
    case Case::kTryWait:
      return to.completions.TryWait(context, operation.try_wait(),
                                    result->mutable_try_wait());
    case Case::kComplete:
      return to.completions.Complete(context, operation.complete(),
                                     result->mutable_complete());
    case Case::kReinit:
      return to.completions.Reinit(context, operation.reinit(),
                                   result->mutable_reinit());
    case Case::kDone:
      return to.completions.Done(context, operation.done(),
                                 result->mutable_done());
    case Case::kRead:
      return to.pipes.Read(context, operation.read(), result->mutable_read());
    case Case::kWrite:
      return to.pipes.Write(context, operation.write(),
                            result->mutable_write());
    case Case::kAccept:
      return to.pipes.Accept(context, operation.accept(),
                             result->mutable_accept());
    case Case::kRelease:
      return to.pipes.Release(context, operation.release(),
                              result->mutable_release());
    default:
      return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "not asked for");
  }
}

namespace {

const char* MethodOf(const v1::Operation& operation) {
  using Case = v1::Operation::RequestCase;
  switch (operation.request_case()) {
    case Case::kWait:
      return "WaitQueues/Wait";
    case Case::kWakeUp:
      return "WaitQueues/WakeUp";
    case Case::kStore:
      return "WaitQueues/Store";
    case Case::kCompletionWait:
      return "Completions/Wait";
    case Case::kTryWait:
      return "Completions/TryWait";
    case Case::kComplete:
      return "Completions/Complete";
    case Case::kReinit:
      return "Completions/Reinit";
    case Case::kRead:
      return "Pipes/Read";
    case Case::kWrite:
      return "Pipes/Write";
    case Case::kAccept:
      return "Pipes/Accept";
    case Case::kRelease:
      return "Pipes/Release";
    default:
      return "";
  }
}

std::string ObjectOf(const v1::Operation& operation) {
  using Case = v1::Operation::RequestCase;
  switch (operation.request_case()) {
    case Case::kWait:
      return operation.wait().name();
    case Case::kWakeUp:
      return operation.wake_up().name();
    case Case::kStore:
      return operation.store().name();
    case Case::kCompletionWait:
      return operation.completion_wait().name();
    case Case::kTryWait:
      return operation.try_wait().name();
    case Case::kComplete:
      return operation.complete().name();
    case Case::kReinit:
      return operation.reinit().name();
    case Case::kRead:
      return operation.read().name();
    case Case::kWrite:
      return operation.write().name();
    case Case::kAccept:
      return operation.accept().name();
    case Case::kRelease:
      return operation.release().name();
    default:
      return "";
  }
}

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
}

}  // namespace

bool UnaryStubs::Cancel(const v1::Operation& operation,
                        const std::string& request_id) {
  v1::CancelRequest request;
  request.set_request_id(request_id);
  request.set_name(ObjectOf(operation));
  request.set_method(MethodOf(operation));
  v1::CancelResponse response;
  grpc::ClientContext context;
  SetDeadline(context);
  return stubs_->tasks.Cancel(&context, request, &response).ok() &&
         response.cancelled();
}

void UnaryStubs::SignalSomebody(const std::string& object, Random& random) {
  v1::ListTasksRequest request;
  request.set_name(object);
  v1::ListTasksResponse tasks;
  grpc::ClientContext context;
  SetDeadline(context);
  if (!stubs_->tasks.List(&context, request, &tasks).ok()) return;
  if (tasks.tasks_size() == 0) return;
  const auto which = random.Below(static_cast<uint64_t>(tasks.tasks_size()));
  v1::SignalRequest signal;
  signal.set_id(tasks.tasks(static_cast<int>(which)).id());
  signal.set_signal(v1::SignalRequest::SIGNAL_TERM);
  v1::SignalResponse response;
  grpc::ClientContext another;
  SetDeadline(another);
  // Whoever it was learns what came of it.
  (void)stubs_->tasks.Signal(&another, signal, &response);
}

uint64_t UnaryStubs::FindEpoch() {
  v1::CreateRequest request;
  request.set_name("epoch");
  request.mutable_wait_queue();
  v1::CreateResponse response;
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  SetDeadline(context);
  const bool ok = stubs_->objects.Create(&context, request, &response).ok();
  return ok ? response.server_epoch() : 0;
}

}  // namespace waitq::test
