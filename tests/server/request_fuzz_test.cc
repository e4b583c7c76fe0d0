// Requests that nobody would send, through a real server: each is answered, and
// by the rules; and when they are over the server holds nothing of them.
//
// WAITQ_SEED=N begins with the round that printed it; WAITQ_TIMES=N does N
// times as many. With --config=asan nothing leaks and nothing is used after its
// end.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "google/protobuf/message.h"
#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "tests/server/byte_calls.h"
#include "tests/server/fixture.h"
#include "tests/server/hostile_requests.h"
#include "tests/support/random.h"
#include "transport/channel_arguments.h"
#include "transport/error_info.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::test {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;
using ::testing::SizeIs;

constexpr uint64_t kMessageBytes = 128 * 1024;
constexpr uint64_t kPipeBytes = 1 << 18;
constexpr uint64_t kBytesAsleep = 2 * kMessageBytes;
constexpr int kKeptAnswers = 40;
constexpr int kObjects = 20;

// --- What the protos allow ---------------------------------------------------

// The table of docs/semantics.md.
const std::map<std::string, grpc::StatusCode> kCodes = {
    {"EINVAL", grpc::StatusCode::INVALID_ARGUMENT},
    {"EMSGSIZE", grpc::StatusCode::INVALID_ARGUMENT},
    {"ERANGE", grpc::StatusCode::OUT_OF_RANGE},
    {"ENOENT", grpc::StatusCode::NOT_FOUND},
    {"ESRCH", grpc::StatusCode::NOT_FOUND},
    {"EEXIST", grpc::StatusCode::ALREADY_EXISTS},
    {"ENXIO", grpc::StatusCode::FAILED_PRECONDITION},
    {"EBUSY", grpc::StatusCode::FAILED_PRECONDITION},
    {"EBADF", grpc::StatusCode::FAILED_PRECONDITION},
    {"ESTALE", grpc::StatusCode::FAILED_PRECONDITION},
    {"EPIPE", grpc::StatusCode::FAILED_PRECONDITION},
    {"ENOSPC", grpc::StatusCode::RESOURCE_EXHAUSTED},
    {"EINTR", grpc::StatusCode::ABORTED},
    {"EIDRM", grpc::StatusCode::ABORTED},
    {"EOWNERDEAD", grpc::StatusCode::ABORTED},
    {"ECANCELED", grpc::StatusCode::CANCELLED},
    {"ESHUTDOWN", grpc::StatusCode::UNAVAILABLE},
};

// What a method may answer, by the comments in the protos.
const std::map<std::string, std::set<std::string>> kReasons = [] {
  // Those of calls with a request_id with them.
  const std::set<std::string> all = {"EINVAL", "EMSGSIZE",   "ENXIO",
                                     "ENOSPC", "EOWNERDEAD", "ECANCELED"};
  const std::set<std::string> sleeps = {"EINTR", "EIDRM", "ECANCELED"};
  const auto with = [&](std::set<std::string> more, bool may_sleep = false) {
    more.insert(all.begin(), all.end());
    if (may_sleep) more.insert(sleeps.begin(), sleeps.end());
    return more;
  };
  return std::map<std::string, std::set<std::string>>{
      {"waitq.v1.WaitQueues.Wait", with({"ERANGE"}, true)},
      {"waitq.v1.WaitQueues.WakeUp", with({"ERANGE", "ESTALE"})},
      {"waitq.v1.WaitQueues.Get", with({"ENOENT"})},
      {"waitq.v1.WaitQueues.Store", with({})},
      {"waitq.v1.Completions.Wait", with({}, true)},
      {"waitq.v1.Completions.TryWait", with({})},
      {"waitq.v1.Completions.Complete", with({})},
      {"waitq.v1.Completions.Reinit", with({})},
      {"waitq.v1.Completions.Done", with({"ENOENT"})},
      {"waitq.v1.Pipes.Read", with({"EEXIST"}, true)},
      {"waitq.v1.Pipes.Write", with({"EEXIST", "EPIPE"}, true)},
      {"waitq.v1.Pipes.ReadStream", with({"EEXIST"}, true)},
      {"waitq.v1.Pipes.WriteStream", with({"EEXIST", "EPIPE"}, true)},
      {"waitq.v1.Pipes.Poll", with({}, true)},
      {"waitq.v1.Pipes.PollStream", {"EINVAL", "EMSGSIZE", "ECANCELED"}},
      {"waitq.v1.Pipes.Accept", with({"ENOENT", "ESTALE"})},
      {"waitq.v1.Pipes.Release", with({"ENOENT", "ESTALE"})},
      {"waitq.v1.Objects.Create", with({"EEXIST"})},
      {"waitq.v1.Objects.Stat", {"EINVAL", "EMSGSIZE", "ENOENT"}},
      {"waitq.v1.Objects.List", {"EINVAL", "EMSGSIZE"}},
      {"waitq.v1.Objects.Remove", with({"ENOENT", "EBUSY"})},
      {"waitq.v1.Objects.WaitAny", with({"ERANGE", "EEXIST"}, true)},
      {"waitq.v1.Tasks.List", {"EINVAL", "EMSGSIZE"}},
      {"waitq.v1.Tasks.Signal", {"EINVAL", "EMSGSIZE", "ESRCH"}},
      {"waitq.v1.Tasks.Cancel", {"EINVAL", "EMSGSIZE"}},
      {"waitq.v1.Sessions.Attach",
       {"EINVAL", "EMSGSIZE", "ENOSPC", "ESTALE", "EOWNERDEAD", "ECANCELED"}},
  };
}();

// What a request_id belongs to, as Tasks.Cancel has it; nothing if the call has
// none.
std::optional<v1::CancelRequest> IdOf(const ByteCall& call) {
  if (call.messages.empty()) return std::nullopt;
  const std::unique_ptr<Message> message(
      MessageFactory::generated_factory()
          ->GetPrototype(call.method->input_type())
          ->New());
  if (!message->ParseFromString(call.messages[0])) return std::nullopt;
  const auto text = [&](const char* name) -> std::string {
    const FieldDescriptor* const field =
        message->GetDescriptor()->FindFieldByName(name);
    return field == nullptr
               ? ""
               : message->GetReflection()->GetString(*message, field);
  };
  v1::CancelRequest cancel;
  cancel.set_request_id(text("request_id"));
  cancel.set_name(text("name"));
  cancel.set_method(
      absl::StrCat(call.method->service()->name(), "/", call.method->name()));
  if (cancel.request_id().empty()) return std::nullopt;
  return cancel;
}

// What speaks against how a call has ended; "" if nothing does.
std::string Objection(const ByteCall& call, bool draining) {
  const grpc::Status& status = call.status;
  const bool ends_itself = call.cancels || call.deadline.has_value();
  if (const auto info = ParseErrorInfo(status)) {
    const auto code = kCodes.find(info->reason);
    if (code == kCodes.end()) return "an unknown reason";
    if (code->second != status.error_code()) return "another code's reason";
    // A call with an id may be evicted by its repeat, or cancelled by anybody;
    // a session may be taken over.
    const bool may_be_ended = call.method->name() == "Attach" || IdOf(call);
    if (info->reason == "ECANCELED" && !ends_itself && !may_be_ended) {
      return "nobody has gone";
    }
    if (draining && info->reason == "ESHUTDOWN") return "";
    const bool listed =
        kReasons.at(call.method->full_name()).count(info->reason) > 0;
    return listed ? "" : "a reason that the proto does not list";
  }
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return "";
    case grpc::StatusCode::CANCELLED:
      return ends_itself ? "" : "cancelled by nobody";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return call.deadline.has_value() ? "" : "without a deadline";
    case grpc::StatusCode::INTERNAL:
      // gRPC's own: a unary call has one request.
      if (!call.method->client_streaming() && call.messages.size() != 1) {
        return "";
      }
      break;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      // gRPC's own limit, which is above ours.
      for (const std::string& message : call.messages) {
        if (message.size() >
            kMessageBytes + kMaxReceiveBytes - kMaxMessageBytes) {
          return "";
        }
      }
      break;
    default:
      break;
  }
  return "an error without ErrorInfo";
}

// The outcome in a response; -1 if it has none.
int OutcomeIn(const Message& response) {
  const FieldDescriptor* const field =
      response.GetDescriptor()->FindFieldByName("outcome");
  if (field == nullptr) return -1;
  return response.GetReflection()->GetEnumValue(response, field);
}

// What speaks against a result of a session's operation; "" if nothing does.
std::string Objection(const v1::Result& result, bool draining) {
  if (result.operation() == 0) return "of no operation";
  const auto* const field = result.GetReflection()->GetOneofFieldDescriptor(
      result, v1::Result::descriptor()->FindOneofByName("response"));
  if (field == nullptr) return "it says nothing";
  if (!result.has_failure()) {
    const Message& response = result.GetReflection()->GetMessage(result, field);
    return OutcomeIn(response) == v1::OUTCOME_UNSPECIFIED
               ? "it is not said how it ended"
               : "";
  }
  const auto code = kCodes.find(result.failure().reason());
  if (code == kCodes.end()) return "an unknown reason";
  if (code->second != result.failure().code()) return "another code's reason";
  if (code->first == "ESHUTDOWN" && !draining) return "nobody drains";
  return code->first == "EOWNERDEAD" ? "not of an operation" : "";
}

std::string Describe(const ByteCall& call) {
  std::string text = absl::StrCat(
      call.method->full_name(), ": code ", call.status.error_code(), " '",
      call.status.error_message(), "', ", call.responses.size(),
      " responses, cancelled ", call.cancels, ", of\n");
  for (const std::string& bytes : call.messages) {
    const std::unique_ptr<Message> message(
        MessageFactory::generated_factory()
            ->GetPrototype(call.method->input_type())
            ->New());
    const bool parses = message->ParseFromString(bytes);
    std::string shown = message->ShortDebugString();
    shown.resize(std::min<size_t>(shown.size(), 300));
    absl::StrAppend(&text, "  ", bytes.size(), " bytes, ",
                    parses ? "" : "damaged, ", shown, "\n");
  }
  return text;
}

// --- Rounds ------------------------------------------------------------------

class RequestFuzzTest : public EverywhereTest {
 protected:
  static constexpr int kRoundCalls = 1000;

  RequestFuzzTest() {
    // Low enough to be met.
    options().limits.objects = kObjects;
    options().limits.sleepers = 40;
    options().limits.sleepers_per_object = 10;
    options().limits.sleepers_per_caller = 30;
    options().limits.pipe_bytes = kPipeBytes;
    options().limits.pipe_bytes_in_all = kPipeBytes;
    options().limits.message_bytes = kMessageBytes;
    options().limits.bytes_asleep = kBytesAsleep;
    options().limits.bytes_per_caller = kBytesAsleep;
    options().limits.bytes_unsent = kBytesAsleep;
    options().limits.kept_answers = kKeptAnswers;
    options().limits.kept_bytes = kBytesAsleep;
    options().limits.sessions = 12;
    options().limits.operations_per_session = 30;
    options().limits.results_per_session = 20;
    options().limits.result_bytes_per_session = kMessageBytes;
  }

  // One round of calls, and what must hold after them. `drain`: the server is
  // told to in the middle.
  void Round(uint64_t seed, bool drain = false);

  void Check(const ByteCall& call, HostileRequests& requests);
  // Of what the calls have left, when they are over: "" if nothing speaks
  // against it. Who sleeps or is open, but for writes that run on.
  std::string OpenOrAsleep();
  // What cannot be removed.
  std::string Left();
  // What cannot be used of the limits, to the last byte. Leaves objects.
  std::string Held();
  void RemoveAll();
  // Ends those whose callers may come back, and forgets what they would be
  // answered.
  void CancelAll();
  void ExpectAnswers();

  int calls_ = 0;
  std::map<std::string, int> ends_;               // by how they ended
  std::map<std::string, int> results_;            // of sessions' operations
  std::map<std::string, v1::CancelRequest> ids_;  // of the round
  bool draining_ = false;

 private:
  // protobuf tells of every string that is no UTF-8.
  const google::protobuf::LogSilencer silence_;
};
WAITQ_TEST_EVERYWHERE(RequestFuzzTest);

ByteCall RandomCall(HostileRequests& requests) {
  Random& random = requests.random();
  ByteCall call;
  do {  // sessions more often: they have as much to say as all the others
    call.method = &requests.Method();
  } while (call.method->name() != "Attach" && random.OneIn(8));
  call.messages = requests.Messages(*call.method);
  // A session has more to say than what is ready when its client has closed.
  call.closes =
      call.method->name() == "Attach" ? random.OneIn(4) : !random.OneIn(8);
  // (What only polls goes on until it is.)
  call.cancels = call.method->name() == "PollStream" || random.OneIn(16);
  // Less than 20 ms: it is never handed anything; more: hardly ever.
  if (random.OneIn(16)) {
    call.deadline = absl::Milliseconds(random.Between(0, 40));
  }
  return call;
}

void RequestFuzzTest::Check(const ByteCall& call, HostileRequests& requests) {
  ++calls_;
  if (const auto id = IdOf(call)) ids_[id->SerializeAsString()] = *id;
  const auto info = ParseErrorInfo(call.status);
  ++ends_[info.has_value() ? info->reason
                           : absl::StrCat("code ", call.status.error_code())];
  EXPECT_EQ(Objection(call, draining_), "") << Describe(call);
  int outcome = -1;
  for (size_t i = 0; i < call.responses.size(); ++i) {
    const std::unique_ptr<Message> response(
        MessageFactory::generated_factory()
            ->GetPrototype(call.method->output_type())
            ->New());
    EXPECT_TRUE(response->ParseFromString(call.responses[i])) << Describe(call);
    outcome = OutcomeIn(*response);
    if (i + 1 < call.responses.size()) {
      EXPECT_LE(outcome, v1::OUTCOME_UNSPECIFIED)
          << "an outcome that is not in the last response: " << Describe(call);
    }
    requests.Learn(*response);
    const auto* const frame =
        dynamic_cast<const v1::SessionResponse*>(response.get());
    if (frame == nullptr) continue;
    EXPECT_EQ(frame->has_hello(), i == 0) << Describe(call);
    for (const v1::Result& result : frame->results()) {
      ++results_[result.has_failure() ? result.failure().reason() : "OK"];
      EXPECT_EQ(Objection(result, draining_), "")
          << result.ShortDebugString() << "\n"
          << Describe(call);
    }
  }
  if (!call.status.ok()) return;
  if (!call.method->client_streaming()) {
    EXPECT_THAT(call.responses, SizeIs(1)) << Describe(call);
  }
  EXPECT_NE(outcome, v1::OUTCOME_UNSPECIFIED)
      << "it is not said how it ended: " << Describe(call);
  EXPECT_FALSE(outcome == v1::OUTCOME_END_OF_FILE &&
               call.method->name() != "Read" &&
               call.method->name() != "ReadStream")
      << Describe(call);
}

void RequestFuzzTest::Round(uint64_t seed, bool drain) {
  SCOPED_TRACE(absl::StrCat("WAITQ_SEED=", seed));
  ids_.clear();
  HostileRequests requests(seed);
  {
    ByteCalls calls(client().channel(),
                    [&](const ByteCall& call) { Check(call, requests); });
    ByteCall call;
    for (int i = 0; i < kRoundCalls; ++i) {
      if (drain && i == kRoundCalls / 2) {
        draining_ = true;
        server().Drain();
      }
      // Some are sent again, once or more often: see request_id.
      if (i == 0 || !requests.random().OneIn(8)) call = RandomCall(requests);
      calls.Begin(call);
    }
  }
  // The server may still be at calls that their client has left: so it has
  // time. What is not given back never is.
  const auto await_nothing = [](const std::function<std::string()>& objection) {
    EXPECT_TRUE(Await([&] { return objection().empty(); })) << objection();
  };
  await_nothing([this] { return OpenOrAsleep(); });
  if (drain) return await_nothing([this] { return Left(); });
  await_nothing([this] { return Held(); });
  await_nothing([this] { return Left(); });
  ExpectAnswers();
}

void RequestFuzzTest::CancelAll() {
  for (const auto& [bytes, cancel] : ids_) Call(client(), cancel);
  // Also those whose grace has come out long.
  server().engine().sessions().EndAll(absl::CancelledError("the round"));
}

std::string RequestFuzzTest::OpenOrAsleep() {
  CancelAll();
  std::string text;
  uint64_t run_on = 0;
  for (const v1::Task& task : Sleepers()) {
    if (task.state() == v1::SLEEP_UNINTERRUPTIBLE) {
      ++run_on;
    } else {
      absl::StrAppend(&text, "asleep: ", task.ShortDebugString(), "\n");
    }
  }
  const auto all = Call<v1::ListObjectsRequest>(client(), "");
  EXPECT_THAT(all.status, IsOk());
  for (const v1::ObjectStat& object : all.response.objects()) {
    if (object.pipe().readers() > 0 || object.pipe().writers() > run_on) {
      absl::StrAppend(&text, "open: ", object.ShortDebugString(), "\n");
    }
  }
  return text;
}

void RequestFuzzTest::RemoveAll() {
  const auto all = Call<v1::ListObjectsRequest>(client(), "");
  for (const v1::ObjectStat& object : all.response.objects()) {
    v1::RemoveRequest request;
    request.set_name(object.name());
    request.set_force(true);
    Call(client(), request);
  }
}

std::string RequestFuzzTest::Left() {
  RemoveAll();
  CancelAll();
  if (const uint64_t n = server().engine().asleep(); n > 0) {
    return absl::StrCat(n, " operations are left asleep");
  }
  if (const size_t n = server().engine().sessions().size(); n > 0) {
    return absl::StrCat(n, " sessions are left");
  }
  const auto all = Call<v1::ListObjectsRequest>(client(), "");
  if (all.response.objects_size() == 0) return "";
  return absl::StrCat("objects are left:\n", all.response.DebugString());
}

std::string RequestFuzzTest::Held() {
  if (const std::string left = Left(); !left.empty()) return left;
  for (int i = 0; i < kObjects; ++i) {
    const auto made = Call<v1::CreateRequest>(
        client(), absl::StrCat("name: 'o", i, "' wait_queue {}"));
    if (!made.status.ok()) return "objects are held";
  }
  RemoveAll();

  v1::StoreRequest store;
  store.set_name("kept");
  bool kept = true;
  for (int i = 0; i <= kKeptAnswers; ++i) {
    store.set_request_id(
        absl::StrCat("76543210-89ab-cdef-0123-4567890123", 10 + i));
    const bool one_too_many = i == kKeptAnswers;
    kept = kept && Call(client(), store).status.ok() != one_too_many;
  }
  for (int i = 0; i < kKeptAnswers; ++i) {
    v1::CancelRequest forget;
    forget.set_request_id(
        absl::StrCat("76543210-89ab-cdef-0123-4567890123", 10 + i));
    forget.set_name("kept");
    forget.set_method("WaitQueues/Store");
    Call(client(), forget);
  }
  if (!kept) return "answers are held";

  Call<v1::CreateRequest>(
      client(),
      absl::StrCat("name: 'p' pipe { capacity_bytes: ", kPipeBytes, " }"));
  v1::WriteRequest write;
  write.set_name("p");
  write.set_nonblock(true);
  write.set_data(std::string(kMessageBytes / 2, 'x'));
  for (uint64_t n = 0; n < kPipeBytes; n += write.data().size()) {
    const auto written = Call(client(), write);
    if (written.response.accepted_bytes() != write.data().size()) {
      return "bytes in pipes are held";
    }
  }

  // As much as may be asleep.
  write.set_nonblock(false);
  std::vector<std::unique_ptr<Pending<v1::WriteRequest>>> sleep;
  for (uint64_t n = 0; n < kBytesAsleep; n += write.data().size()) {
    sleep.push_back(
        std::make_unique<Pending<v1::WriteRequest>>(client(), write));
  }
  // Or more: see Round().
  const auto asleep = [&] {
    return server().engine().asleep() >= sleep.size();
  };
  const auto refused = [&] {
    return std::any_of(sleep.begin(), sleep.end(),
                       [](const auto& each) { return each->ended(); });
  };
  Await([&] { return asleep() || refused(); });
  return asleep() ? "" : "bytes asleep are held";
}

void RequestFuzzTest::ExpectAnswers() {
  WriteNow("p", "hello");
  EXPECT_EQ(ReadNow("p").data(), "hello");
  EXPECT_THAT(Call<v1::RemoveRequest>(client(), "name: 'p'").status, IsOk());
}

TEST_P(RequestFuzzTest, EveryRequestIsAnsweredByTheRulesAndLeavesNothing) {
  EXPECT_THAT(AllMethods(), SizeIs(kReasons.size()));
  const uint64_t seed = Seed();
  const int rounds = Times(8);
  for (int i = 0; i < rounds && !HasFailure(); ++i) {
    const uint64_t own_seed = seed + static_cast<uint64_t>(i);
    // Before it, should it be the end of this program.
    if (i > 0 && i % 10 == 0) {
      std::printf("%d calls; next is WAITQ_SEED=%llu\n", calls_,
                  static_cast<unsigned long long>(own_seed));
      std::fflush(stdout);
    }
    Round(own_seed);
  }
  std::printf("%d calls:", calls_);
  for (const auto& [how, n] : ends_) std::printf("  %s %d", how.c_str(), n);
  std::printf("\nin sessions:");
  for (const auto& [how, n] : results_) std::printf("  %s %d", how.c_str(), n);
  std::printf("\n");
}

TEST_P(RequestFuzzTest, ADrainInBetweenIsOneMoreWayToEnd) {
  const uint64_t seed = Seed();
  Round(seed);
  Round(seed + 1, /*drain=*/true);
}

}  // namespace
}  // namespace waitq::test
