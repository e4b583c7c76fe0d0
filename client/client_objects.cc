// Client's calls on objects as such, and on tasks.

#include <string>
#include <utility>
#include <vector>

#include "client/client.h"
#include "client/client_impl.h"
#include "client/wire.h"

namespace waitq {
namespace {

using Objects = v1::Objects::StubInterface;

Plan PlanCreate(const std::string& name) {
  Plan plan{.object = name};
  plan.Message().mutable_create()->set_name(name);
  return plan;
}

absl::StatusOr<CreateResult> ReadCreate(v1::Result& result) {
  return CreateResult{.created = result.create().created(),
                      .object = FromWire(result.create().object())};
}

}  // namespace

absl::StatusOr<CreateResult> Client::CreateWaitQueue(const std::string& name,
                                                     std::stop_token stop) {
  Plan plan = PlanCreate(name);
  plan.Message().mutable_create()->mutable_wait_queue();
  return WaitFor(impl_->machine, std::move(plan), &ReadCreate, stop);
}

absl::StatusOr<CreateResult> Client::CreateCompletion(const std::string& name,
                                                      std::stop_token stop) {
  Plan plan = PlanCreate(name);
  plan.Message().mutable_create()->mutable_completion();
  return WaitFor(impl_->machine, std::move(plan), &ReadCreate, stop);
}

absl::StatusOr<CreateResult> Client::CreatePipe(const std::string& name,
                                                const PipeOptions& options,
                                                std::stop_token stop) {
  Plan plan = PlanCreate(name);
  *plan.Message().mutable_create()->mutable_pipe() = ToWire(options);
  return WaitFor(impl_->machine, std::move(plan), &ReadCreate, stop);
}

absl::StatusOr<ObjectInfo> Client::Stat(const std::string& name,
                                        std::stop_token stop) {
  v1::StatRequest request;
  request.set_name(name);
  auto response = Invoke(impl_->server, *impl_->looking.objects, &Objects::Stat,
                         request, stop);
  if (!response.ok()) return response.status();
  return FromWire(response->object());
}

absl::StatusOr<std::vector<ObjectInfo>> Client::List(const std::string& prefix,
                                                     std::stop_token stop) {
  v1::ListObjectsRequest request;
  request.set_prefix(prefix);
  std::vector<ObjectInfo> result;
  do {
    auto response = Invoke(impl_->server, *impl_->looking.objects,
                           &Objects::List, request, stop);
    if (!response.ok()) return response.status();
    for (const v1::ObjectStat& stat : response->objects()) {
      result.push_back(FromWire(stat));
    }
    request.set_page_token(response->next_page_token());
  } while (!request.page_token().empty());
  return result;
}

absl::StatusOr<uint64_t> Client::Remove(const std::string& name, bool force,
                                        std::stop_token stop) {
  Plan plan{.object = name};
  plan.Message().mutable_remove()->set_name(name);
  plan.Message().mutable_remove()->set_force(force);
  return WaitFor<uint64_t>(
      impl_->machine, std::move(plan),
      [](v1::Result& result) -> absl::StatusOr<uint64_t> {
        return result.remove().ended();
      },
      stop);
}

absl::StatusOr<std::vector<TaskInfo>> Client::Tasks(const std::string& object,
                                                    std::stop_token stop) {
  v1::ListTasksRequest request;
  request.set_name(object);
  std::vector<TaskInfo> result;
  do {
    auto response = Invoke(impl_->server, *impl_->looking.tasks,
                           &v1::Tasks::StubInterface::List, request, stop);
    if (!response.ok()) return response.status();
    for (const v1::Task& task : response->tasks()) {
      result.push_back(FromWire(task));
    }
    request.set_page_token(response->next_page_token());
  } while (!request.page_token().empty());
  return result;
}

absl::StatusOr<bool> Client::Signal(uint64_t id, TaskSignal signal,
                                    std::stop_token stop) {
  v1::SignalRequest request;
  request.set_id(id);
  request.set_signal(
      static_cast<v1::SignalRequest::Signal>(static_cast<int>(signal)));
  auto response = Invoke(impl_->server, *impl_->looking.tasks,
                         &v1::Tasks::StubInterface::Signal, request, stop);
  if (!response.ok()) return response.status();
  return response->ended();
}

}  // namespace waitq
