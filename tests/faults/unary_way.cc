// Unary calls, as a short script would send them: alone, with a request_id that
// is sent again until it is answered, or with a `hold` that is accepted once
// the items are in the record.

#include <chrono>
#include <random>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "grpcpp/grpcpp.h"
#include "tests/faults/way.h"
#include "transport/channel_arguments.h"
#include "transport/duration.h"
#include "transport/error_info.h"
#include "waitq/v1/completions.grpc.pb.h"
#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/pipes.grpc.pb.h"

namespace waitq::test {
namespace {

// How much later than a call's timeout its caller gives it up.
constexpr absl::Duration kPatience = absl::Seconds(2);
// What a repeat may still be sent within: answers are kept for 120 s.
constexpr absl::Duration kRepeatsFor = absl::Seconds(100);
constexpr absl::Duration kPause = absl::Milliseconds(10);

std::string NewUuid() {
  static std::mt19937_64 random{std::random_device{}()};
  const uint64_t a = random();
  const uint64_t b = random();
  return absl::StrFormat("%08x-%04x-4%03x-%04x-%012x", a >> 32,
                         a >> 16 & 0xffff, a & 0xfff,
                         0x8000 | (b >> 48 & 0xfff), b & 0xffffffffffff);
}

class UnaryWay final : public Way {
 public:
  UnaryWay(const Settings& settings, Record& record)
      : settings_(settings),
        record_(record),
        repeats_(settings.mode == "request_id"),
        holds_(settings.mode == "hold"),
        resume_(settings.resume) {
    Connect();
  }

  bool Prepare() override {
    for (const uint64_t hold : settings_.accept) Accept(hold);
    if (resume_.empty()) return FindServer();
    epoch_ = settings_.epoch;
    return true;
  }

  bool Put(uint64_t item) override {
    if (settings_.kind == Kind::kCompletion) {
      v1::CompleteRequest request;
      request.set_name(ItemName(item));
      return PutBy(item, request, &v1::Completions::Stub::Complete);
    }
    v1::WriteRequest request;
    request.set_name(settings_.name);
    request.set_data(ItemText(item));
    *request.mutable_timeout() = ToWire(settings_.timeout);
    return PutBy(item, request, &v1::Pipes::Stub::Write);
  }

  bool Take(uint64_t item, absl::Duration timeout) override {
    if (settings_.kind == Kind::kCompletion) {
      v1::CompletionWaitRequest request;
      request.set_name(ItemName(item));
      *request.mutable_timeout() = ToWire(timeout);
      v1::CompletionWaitResponse response;
      if (!TakeBy(item, request, response, &v1::Completions::Stub::Wait)) {
        return false;
      }
      SayTaken({item}, response.redelivered(), 0, record_);
      return true;
    }
    v1::ReadRequest request;
    request.set_name(settings_.name);
    request.set_max_bytes(4 * kItemBytes);
    *request.mutable_timeout() = ToWire(timeout);
    if (holds_) *request.mutable_hold() = ToWire(settings_.hold);
    v1::ReadResponse response;
    if (!TakeBy(item, request, response, &v1::Pipes::Stub::Read)) {
      return false;
    }
    SayTaken(ItemsOf(response.data(), record_), response.redelivered(),
             response.hold_id(), record_);
    if (holds_) Accept(response.hold_id());
    return true;
  }

  bool IsDone(uint64_t item) override {
    v1::DoneRequest request;
    request.set_name(ItemName(item));
    v1::DoneResponse response;
    return Call(&v1::Completions::Stub::Done, request, response).ok() &&
           response.done();
  }

 private:
  std::string ItemName(uint64_t item) const {
    return absl::StrCat(settings_.name, "/", item);
  }

  void Connect() {
    grpc::ChannelArguments arguments = ClientArguments();
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
    channel_ = grpc::CreateCustomChannel(
        settings_.server, grpc::InsecureChannelCredentials(), arguments);
    objects_ = v1::Objects::NewStub(channel_);
    pipes_ = v1::Pipes::NewStub(channel_);
    completions_ = v1::Completions::NewStub(channel_);
  }

  template <class Stub, class Request, class Response>
  using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&,
                                        Response*);

  template <class Stub, class Request, class Response>
  grpc::Status Call(Method<Stub, Request, Response> method,
                    const Request& request, Response& response) {
    grpc::ClientContext context;
    // A call that finds no server waits for one: it has not been sent.
    context.set_wait_for_ready(true);
    context.set_deadline(
        absl::ToChronoTime(absl::Now() + settings_.timeout + kPatience));
    return (StubOf<Stub>().*method)(&context, request, &response);
  }

  // Why it failed, for certain; "" if only gRPC knows.
  static std::string ReasonOf(const grpc::Status& status) {
    const auto info = ParseErrorInfo(status);
    return info.has_value() ? info->reason : "";
  }

  static std::string Why(const grpc::Status& status) {
    const std::string reason = ReasonOf(status);
    return reason.empty() ? absl::StrCat("code", status.error_code()) : reason;
  }

  // Learns which server there is, and makes the pipe: before calls that may be
  // repeated, so that the first one already names it.
  bool FindServer() {
    v1::CreateRequest request;
    request.set_name(settings_.name);
    switch (settings_.kind) {
      case Kind::kCompletion:
        request.mutable_completion();
        break;
      case Kind::kPacket:
        request.mutable_pipe()->set_mode(v1::PIPE_MODE_PACKET);
        request.mutable_pipe()->set_capacity_bytes(8 * kPacketBytes);
        break;
      case Kind::kStream:
        // A burst does not fit: writers sleep, too.
        request.mutable_pipe()->set_capacity_bytes(8 * kItemBytes);
        request.mutable_pipe()->set_atomic_max_bytes(kItemBytes);
        break;
    }
    v1::CreateResponse response;
    const grpc::Status status =
        Call(&v1::Objects::Stub::Create, request, response);
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) Connect();
    if (status.ok()) epoch_ = response.server_epoch();
    // Somebody was faster, and has used it without options.
    return status.ok() || (ReasonOf(status) == "EEXIST" && FindEpoch());
  }

  bool FindEpoch() {
    v1::StatRequest request;
    request.set_name(settings_.name);
    v1::StatResponse response;
    const bool found = Call(&v1::Objects::Stub::Stat, request, response).ok();
    if (found) epoch_ = response.server_epoch();
    return found;
  }

  // Sends it; with an id, until it is answered. `known`: whether it is certain
  // what became of it.
  template <class Stub, class Request, class Response>
  grpc::Status Settle(std::string_view what, uint64_t item, Request& request,
                      Response& response,
                      Method<Stub, Request, Response> method, bool& known) {
    std::string id = "-";
    if (repeats_) {
      id = resume_.empty() ? NewUuid() : std::exchange(resume_, "");
      request.set_request_id(id);
      request.set_server_epoch(epoch_);
    }
    record_.Say(what, {absl::StrCat(item), id, absl::StrCat(epoch_)});
    const absl::Time end = absl::Now() + kRepeatsFor;
    bool repeated = false;
    for (;;) {
      response.Clear();
      const grpc::Status status = Call(method, request, response);
      const std::string reason = ReasonOf(status);
      if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) Connect();
      known = status.ok() || (!reason.empty() && reason != "ECANCELED" &&
                              !(reason == "EOWNERDEAD" && repeated));
      const bool settled = known || reason == "EOWNERDEAD" || !repeats_ ||
                           absl::Now() > end || IsOver();
      if (reason == "EOWNERDEAD") FindServer();
      if (settled) return status;
      repeated = true;
      absl::SleepFor(kPause);
    }
  }

  template <class Stub, class Request, class Response>
  bool PutBy(uint64_t item, Request& request,
             Method<Stub, Request, Response> method) {
    Response response;
    bool known = false;
    const grpc::Status status =
        Settle("S", item, request, response, method, known);
    if (!known) {
      record_.Say("U", {absl::StrCat(item), Why(status)});
      return true;
    }
    const bool accepted = status.ok() && IsAccepted(response);
    record_.Say(accepted ? "A" : "R",
                accepted ? std::vector<std::string>{absl::StrCat(item)}
                         : std::vector<std::string>{
                               absl::StrCat(item),
                               status.ok() ? "TIMED_OUT" : Why(status)});
    return accepted;
  }

  template <class Stub, class Request, class Response>
  bool TakeBy(uint64_t item, Request& request, Response& response,
              Method<Stub, Request, Response> method) {
    bool known = false;
    const grpc::Status status =
        Settle("W", item, request, response, method, known);
    if (status.ok() && response.outcome() == v1::OUTCOME_DONE) return true;
    record_.Say(known ? "N" : "L",
                {absl::StrCat(item), status.ok() ? "TIMED_OUT" : Why(status)});
    if (!status.ok()) absl::SleepFor(kPause);
    return false;
  }

  void Accept(uint64_t hold) {
    v1::AcceptRequest request;
    request.set_name(settings_.name);
    request.set_hold_id(hold);
    v1::AcceptResponse response;
    bool repeated = false;
    // It does no harm to say it again.
    for (int times = 0; times < 20; ++times) {
      const grpc::Status status =
          Call(&v1::Pipes::Stub::Accept, request, response);
      if (status.ok()) {
        record_.Say("C", {absl::StrCat(hold)});
        return;
      }
      if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) Connect();
      if (const std::string reason = ReasonOf(status); !reason.empty()) {
        // After a repeat it may have been the first one that was done.
        record_.Say("E", {absl::StrCat(hold), repeated ? "unknown" : reason});
        return;
      }
      repeated = true;
      absl::SleepFor(kPause);
    }
    record_.Say("E", {absl::StrCat(hold), "unknown"});
  }

  static bool IsAccepted(const v1::CompleteResponse&) { return true; }
  static bool IsAccepted(const v1::WriteResponse& response) {
    return response.outcome() == v1::OUTCOME_DONE;
  }

  template <class Stub>
  Stub& StubOf() {
    if constexpr (std::is_same_v<Stub, v1::Pipes::Stub>) {
      return *pipes_;
    } else if constexpr (std::is_same_v<Stub, v1::Objects::Stub>) {
      return *objects_;
    } else {
      return *completions_;
    }
  }

  const Settings settings_;
  Record& record_;
  const bool repeats_;
  const bool holds_;
  std::string resume_;
  uint64_t epoch_ = 0;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Objects::Stub> objects_;
  std::unique_ptr<v1::Pipes::Stub> pipes_;
  std::unique_ptr<v1::Completions::Stub> completions_;
};

}  // namespace

std::unique_ptr<Way> MakeUnaryWay(const Settings& settings, Record& record) {
  return std::make_unique<UnaryWay>(settings, record);
}

}  // namespace waitq::test
