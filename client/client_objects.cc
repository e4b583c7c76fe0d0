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

absl::StatusOr<CreateResult> Create(const ServerName& server, Objects& stub,
                                    const v1::CreateRequest& request,
                                    std::stop_token stop) {
  auto response = Invoke(server, stub, &Objects::Create, request, stop);
  if (!response.ok()) return response.status();
  return CreateResult{.created = response->created(),
                      .object = FromWire(response->object())};
}

}  // namespace

absl::StatusOr<CreateResult> Client::CreateWaitQueue(const std::string& name,
                                                     std::stop_token stop) {
  v1::CreateRequest request;
  request.set_name(name);
  request.mutable_wait_queue();
  return waitq::Create(impl_->server, *impl_->giving.objects, request, stop);
}

absl::StatusOr<CreateResult> Client::CreateCompletion(const std::string& name,
                                                      std::stop_token stop) {
  v1::CreateRequest request;
  request.set_name(name);
  request.mutable_completion();
  return waitq::Create(impl_->server, *impl_->giving.objects, request, stop);
}

absl::StatusOr<CreateResult> Client::CreatePipe(const std::string& name,
                                                const PipeOptions& options,
                                                std::stop_token stop) {
  v1::CreateRequest request;
  request.set_name(name);
  *request.mutable_pipe() = ToWire(options);
  return waitq::Create(impl_->server, *impl_->giving.objects, request, stop);
}

absl::StatusOr<ObjectInfo> Client::Stat(const std::string& name,
                                        std::stop_token stop) {
  v1::StatRequest request;
  request.set_name(name);
  auto response = Invoke(impl_->server, *impl_->giving.objects, &Objects::Stat,
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
    auto response = Invoke(impl_->server, *impl_->giving.objects,
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
  v1::RemoveRequest request;
  request.set_name(name);
  request.set_force(force);
  auto response = Invoke(impl_->server, *impl_->giving.objects,
                         &Objects::Remove, request, stop);
  if (!response.ok()) return response.status();
  return response->ended();
}

absl::StatusOr<std::vector<TaskInfo>> Client::Tasks(const std::string& object,
                                                    std::stop_token stop) {
  v1::ListTasksRequest request;
  request.set_name(object);
  std::vector<TaskInfo> result;
  do {
    auto response = Invoke(impl_->server, *impl_->giving.tasks,
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
  auto response = Invoke(impl_->server, *impl_->giving.tasks,
                         &v1::Tasks::StubInterface::Signal, request, stop);
  if (!response.ok()) return response.status();
  return response->ended();
}

}  // namespace waitq
