#include "tests/faults/greedy_stage.h"

#include <cstdio>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"

namespace waitq::test {
namespace {

std::vector<std::string> Command(const std::string& server,
                                 const std::vector<std::string>& kinds) {
  std::vector<std::string> command = {
      BuiltProgram("tests/faults/greedy_client"), "--server", server};
  command.insert(command.end(), kinds.begin(), kinds.end());
  return command;
}

std::unique_ptr<waitq::Client> MakeSession(const std::string& server) {
  auto client = waitq::Client::Create({.server = server, .caller = "honest"});
  return client.ok() ? *std::move(client) : nullptr;
}

std::unique_ptr<Client> MakeCalls(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return std::make_unique<Client>(grpc::CreateCustomChannel(
      server, grpc::InsecureChannelCredentials(), arguments));
}

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

constexpr char kPing[] = "honest/ping";
constexpr char kPong[] = "honest/pong";
constexpr char kCallPing[] = "honest/call-ping";
constexpr char kCallPong[] = "honest/call-pong";
constexpr char kPipe[] = "honest/pipe";

// A flag that is up is taken down.
WaitOptions Taking() {
  return {.condition = Condition::Equal(1), .then = Action::Set(0)};
}
v1::WaitRequest TakingCall(const char* name) {
  auto request =
      FromText<v1::WaitRequest>("condition { equal: 1 } then { set: 0 }");
  request.set_name(name);
  return request;
}
v1::WakeUpRequest PuttingCall(const char* name) {
  auto request = FromText<v1::WakeUpRequest>("update { set: 1 }");
  request.set_name(name);
  return request;
}

}  // namespace

engine::Limits GreedyLimits() {
  engine::Limits limits;
  limits.objects = 1'000;
  limits.sleepers = 8'000;
  limits.sleepers_per_object = 8'000;
  limits.sleepers_per_caller = 1'000;
  limits.message_bytes = 1 << 20;
  limits.pipe_bytes = 4 << 20;
  limits.pipe_bytes_in_all = 16 << 20;
  limits.bytes_asleep = 16 << 20;
  limits.bytes_unsent = 16 << 20;
  limits.bytes_per_caller = 8 << 20;
  limits.kept_answers = 1'000;
  limits.kept_bytes = 8 << 20;
  limits.sessions = 64;
  limits.operations_per_session = 500;
  limits.results_per_session = 200;
  limits.result_bytes_per_session = 256 << 10;
  return limits;
}

std::vector<std::string> FlagsOf(const engine::Limits& limits) {
  const std::pair<const char*, uint64_t> flags[] = {
      {"objects", limits.objects},
      {"sleepers", limits.sleepers},
      {"sleepers-per-object", limits.sleepers_per_object},
      {"sleepers-per-caller", limits.sleepers_per_caller},
      {"message-bytes", limits.message_bytes},
      {"pipe-bytes", limits.pipe_bytes},
      {"pipe-bytes-in-all", limits.pipe_bytes_in_all},
      {"bytes-asleep", limits.bytes_asleep},
      {"bytes-unsent", limits.bytes_unsent},
      {"bytes-per-caller", limits.bytes_per_caller},
      {"kept-answers", limits.kept_answers},
      {"kept-bytes", limits.kept_bytes},
      {"sessions", limits.sessions},
      {"operations-per-session", limits.operations_per_session},
      {"results-per-session", limits.results_per_session},
      {"result-bytes-per-session", limits.result_bytes_per_session},
  };
  std::vector<std::string> arguments;
  for (const auto& [name, value] : flags) {
    arguments.push_back(absl::StrCat("--", name, "=", value));
  }
  return arguments;
}

uint64_t SumOfLimitsBytes(const engine::Limits& limits) {
  constexpr uint64_t kKib = 1024;
  constexpr uint64_t kObject = 1 * kKib;
  // A unary call; in a session it is a few hundred bytes.
  constexpr uint64_t kSleeper = 16 * kKib;
  constexpr uint64_t kKeptAnswer = 1 * kKib;
  // Its stream, and a message on its way in each direction.
  constexpr uint64_t kSession = 256 * kKib;
  constexpr uint64_t kOperation = kKib / 2;
  return limits.pipe_bytes_in_all + limits.bytes_asleep +
         2 * limits.bytes_unsent +  // it, and the message that it is sent in
         limits.kept_bytes + limits.objects * kObject +
         limits.sleepers * kSleeper + limits.kept_answers * kKeptAnswer +
         limits.sessions * (kSession + limits.result_bytes_per_session +
                            limits.operations_per_session * kOperation);
}

// --- Greedy ------------------------------------------------------------------

GreedyClient::GreedyClient(const std::string& server,
                           const std::vector<std::string>& kinds)
    : process_(Command(server, kinds)) {}

std::map<std::string, GreedyClient::Had> GreedyClient::AwaitFull() {
  // A thousand calls and more, on a machine that may be busy.
  if (!process_.AwaitLine("full", 4 * kBound).has_value()) {
    ADD_FAILURE() << "a greedy client does not get to its limits:\n"
                  << process_.Output() << process_.Errors();
    return {};
  }
  std::map<std::string, Had> kinds;
  std::istringstream lines(process_.Output());
  std::string kind;
  while (lines >> kind && kind != "full") {
    Had had;
    lines >> had.count >> had.limit;
    kinds[kind] = had;
  }
  return kinds;
}

// --- Honest ------------------------------------------------------------------

const std::vector<std::pair<HonestClient::Job, const char*>>&
HonestClient::Jobs() {
  static const auto& jobs = *new std::vector<std::pair<Job, const char*>>{
      {Job::kWakeBySession, "wake and wait, sessions"},
      {Job::kWakeByCall, "wake and wait, unary calls"},
      {Job::kPipeBySession, "write and read, a session"},
      {Job::kPipeByCall, "write and read, unary calls"},
  };
  return jobs;
}

HonestClient::HonestClient(const std::string& server)
    : session_(MakeSession(server)),
      partner_session_(MakeSession(server)),
      calls_(MakeCalls(server)),
      partner_calls_(MakeCalls(server)) {
  for (const char* name : {kPing, kPong, kCallPing, kCallPong}) {
    auto request = FromText<v1::CreateRequest>("wait_queue {}");
    request.set_name(name);
    EXPECT_THAT(Call(*calls_, request).status, IsOk());
  }
  auto request = FromText<v1::CreateRequest>("pipe {}");
  request.set_name(kPipe);
  EXPECT_THAT(Call(*calls_, request).status, IsOk());
  by_session_ = std::jthread(
      [this](const std::stop_token& stop) { PartnerBySession(stop); });
  by_call_ = std::jthread(
      [this](const std::stop_token& stop) { PartnerByCall(stop); });
  for (const auto& [job, name] : Jobs()) {
    EXPECT_TRUE(Do(job).ok()) << name;
  }
}

HonestClient::~HonestClient() {
  by_session_.request_stop();
  by_call_.request_stop();
  Call(*calls_, PuttingCall(kCallPing));  // its wait ends
}

absl::Status HonestClient::Do(Job job) {
  switch (job) {
    case Job::kWakeBySession:
      return WakeBySession();
    case Job::kWakeByCall:
      return WakeByCall();
    case Job::kPipeBySession:
      return PipeBySession();
    case Job::kPipeByCall:
      return PipeByCall();
  }
  return absl::OkStatus();
}

absl::Status HonestClient::WakeBySession() {
  const auto woken = session_->WakeUp(kPing, {.update = Action::Set(1)});
  if (!woken.ok()) return woken.status();
  return session_->Wait(kPong, Taking()).status();
}

void HonestClient::PartnerBySession(const std::stop_token& stop) {
  while (partner_session_->Wait(kPing, Taking(), stop).ok()) {
    (void)partner_session_->WakeUp(kPong, {.update = Action::Set(1)});
  }
}

absl::Status HonestClient::WakeByCall() {
  const auto woken = Call(*calls_, PuttingCall(kCallPing));
  if (!woken.status.ok()) return ToStatus(woken.status);
  return ToStatus(Call(*calls_, TakingCall(kCallPong)).status);
}

void HonestClient::PartnerByCall(const std::stop_token& stop) {
  while (!stop.stop_requested() &&
         Call(*partner_calls_, TakingCall(kCallPing)).status.ok()) {
    Call(*partner_calls_, PuttingCall(kCallPong));
  }
}

absl::Status HonestClient::PipeBySession() {
  const auto written = session_->Write(kPipe, std::string(64, 'h'));
  if (!written.ok()) return written.status();
  const auto read = session_->Read(kPipe);
  if (!read.ok()) return read.status();
  if (read->data == std::string(64, 'h')) return absl::OkStatus();
  return absl::InternalError("not what was written");
}

absl::Status HonestClient::PipeByCall() {
  v1::WriteRequest write;
  write.set_name(kPipe);
  write.set_data(std::string(64, 'h'));
  const auto written = Call(*calls_, write);
  if (!written.status.ok()) return ToStatus(written.status);
  v1::ReadRequest read;
  read.set_name(kPipe);
  const auto got = Call(*calls_, read);
  if (!got.status.ok()) return ToStatus(got.status);
  if (got.response.data() == write.data()) return absl::OkStatus();
  return absl::InternalError("not what was written");
}

}  // namespace waitq::test
