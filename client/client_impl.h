// The insides of Client, shared by the files that implement it.

#ifndef WAITQ_CLIENT_CLIENT_IMPL_H_
#define WAITQ_CLIENT_CLIENT_IMPL_H_

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/call.h"
#include "client/client.h"
#include "client/error.h"
#include "client/session/link.h"
#include "client/session/machine.h"
#include "google/protobuf/message_lite.h"
#include "grpcpp/channel.h"
#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/sessions.pb.h"
#include "waitq/v1/tasks.grpc.pb.h"

namespace waitq {

// What carries a client's session. Start() and Stop() as GrpcLink's.
class ClientLink : public SessionLink {
 public:
  virtual void Start(SessionMachine* machine) = 0;
  virtual void Stop() = 0;
  virtual bool IsOwnThread() const = 0;
};

// Makes clients over any link.
class ClientMaker {
 public:
  static std::unique_ptr<Client> Make(const ClientOptions& options,
                                      ServerName server,
                                      std::unique_ptr<ClientLink> link);
};

// What only looks at the server, over a connection of its own: it needs no
// session, and is no operation that could be done twice.
struct Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel);

  const std::unique_ptr<v1::Objects::StubInterface> objects;
  const std::unique_ptr<v1::Tasks::StubInterface> tasks;
};

struct Client::Impl {
  // `given_link`: nullptr for gRPC's.
  Impl(ServerName name, const ClientOptions& options,
       std::unique_ptr<ClientLink> given_link);
  ~Impl();

  const ServerName server;
  const std::unique_ptr<ClientLink> link;
  SessionMachine machine;
  const Stubs looking;
};

// An operation that is to be submitted.
struct Plan {
  std::optional<v1::Operation> operation = {};
  std::string encoded = {};  // instead of it, if not empty
  // For errors that are made here; the caller's.
  absl::string_view object = {};
  std::optional<absl::Duration> timeout = {};
  bool restartable = false;
  bool sleeper = false;
  uint64_t session = 0;

  v1::Operation& Message() {
    return operation.has_value() ? *operation : operation.emplace();
  }
};

// Makes what the program sees of a result.
template <class T>
using ResultReader = absl::StatusOr<T> (*)(v1::Result& result);

// How long the answer of a call with this timeout is waited for: for long
// sleeps a share more, as its machine's clock may be another.
absl::Duration GiveUpAfter(std::optional<absl::Duration> timeout);

// Why a call is not begun: its stop token has been asked already; or a callback
// would wait for it, and nobody would tell it its end (EDEADLK).
absl::Status StoppedError(absl::string_view object);
absl::Status DeadlockError(absl::string_view object);

// The bytes of a v1::Operation whose request is this one, in the oneof's field
// of that number.
std::string EncodeOperation(int field,
                            const google::protobuf::MessageLite& request);

// Submits it.
uint64_t SubmitPlan(SessionMachine& machine, Plan&& plan,
                    SessionMachine::Done done);

// `done` as SessionMachine::Done; a failure comes without a receipt, as there
// is nothing to take.
template <class T>
uint64_t StartPlan(
    SessionMachine& machine, Plan&& plan, ResultReader<T> read,
    absl::AnyInvocable<bool(absl::StatusOr<T>, SessionReceipt)> done) {
  return SubmitPlan(machine, std::move(plan),
                    [read, done = std::move(done)](
                        const absl::Status& status, v1::Result* result,
                        SessionReceipt receipt) mutable {
                      if (!status.ok()) return done(status, {});
                      return done(read(*result), receipt);
                    });
}

// Calls back with the result, which is taken with that.
template <class T>
uint64_t CallBack(SessionMachine& machine, Plan&& plan, ResultReader<T> read,
                  Callback<T> done) {
  return SubmitPlan(
      machine, std::move(plan),
      [read, done = std::move(done)](const absl::Status& status,
                                     v1::Result* result,
                                     SessionReceipt) mutable {
        done(status.ok() ? read(*result) : absl::StatusOr<T>(status));
        return true;
      });
}

// Waits for it. `receipt`, if given: who wants to say himself that he has taken
// it; otherwise it is taken when this returns.
template <class T>
absl::StatusOr<T> WaitFor(SessionMachine& machine, Plan&& plan,
                          ResultReader<T> read, const std::stop_token& stop,
                          SessionReceipt* receipt = nullptr) {
  struct Waiter {
    absl::StatusOr<T> result = absl::UnknownError("");
    SessionReceipt receipt;
    absl::Notification ended;
  } waiter;
  if (stop.stop_requested()) return StoppedError(plan.object);
  if (machine.IsTelling()) return DeadlockError(plan.object);
  const uint64_t ticket =
      StartPlan<T>(machine, std::move(plan), read,
                   [&waiter](absl::StatusOr<T> result, SessionReceipt given) {
                     waiter.result = std::move(result);
                     waiter.receipt = given;
                     waiter.ended.Notify();
                     return false;  // this thread has not got it yet
                   });
  {
    const std::stop_callback on_stop(
        stop, [&machine, ticket] { machine.Cancel(ticket); });
    waiter.ended.WaitForNotification();
  }
  if (receipt != nullptr) {
    *receipt = waiter.receipt;
  } else {
    machine.Settle(waiter.receipt);
  }
  return std::move(waiter.result);
}

// A unary call: `method` of `stub`. Errors name the object that `request`
// names.
template <class Stub, class Request, class Response>
absl::StatusOr<Response> Invoke(
    const ServerName& server, Stub& stub,
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    const Request& request, std::stop_token stop) {
  std::string object;
  if constexpr (requires { request.name(); }) object = request.name();
  Call call(server, std::move(object), std::move(stop));
  Response response;
  absl::Status status =
      call.ToStatus((stub.*method)(call.context(), request, &response));
  if (!status.ok()) return status;
  return response;
}

}  // namespace waitq

#endif  // WAITQ_CLIENT_CLIENT_IMPL_H_
