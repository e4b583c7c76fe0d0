#include "tests/client/fake_link.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/error.h"
#include "transport/duration.h"

namespace waitq::test {
namespace {

// Only a failure waits so long.
constexpr absl::Duration kBound = absl::Seconds(60);

}  // namespace

FakeServer::FakeServer() {
  hello_.set_token("sixteen bytes ..");
  hello_.set_server_epoch(1);
  *hello_.mutable_grace() = ToWire(absl::Seconds(30));
  hello_.set_operations_max(1'000'000);
}

FakeServer::~FakeServer() { thread_.Stop(); }

std::unique_ptr<Client> FakeServer::NewClient(const ClientOptions& options) {
  // Nobody listens there: what only looks at the server finds none.
  const std::string nowhere = "unix:/nonexistent/waitq.sock";
  return ClientMaker::Make(options, {.address = nowhere, .target = nowhere},
                           std::make_unique<FakeLink>(this));
}

void FakeServer::Await(const std::function<bool()>& state) const {
  // A condition over what the lock guards.
  if (mu_.AwaitWithTimeout(
          absl::Condition(
              +[](const std::function<bool()>* holds) { return (*holds)(); },
              &state),
          kBound)) {
    return;
  }
  std::fprintf(stderr, "what this waits for never comes; so far there came\n");
  for (const v1::SessionRequest& request : requests_) {
    std::fprintf(stderr, "%s\n", request.ShortDebugString().c_str());
  }
  std::abort();  // the threads that hang cannot be joined
}

// --- What it will do ---------------------------------------------------------

void FakeServer::Refuse(const absl::Status& status, bool sent) {
  absl::MutexLock lock(&mu_);
  refusal_ = status;
  refusal_sent_ = sent;
}

void FakeServer::set_mute(bool mute) {
  absl::MutexLock lock(&mu_);
  mute_ = mute;
}

// --- What the client has said ------------------------------------------------

std::vector<v1::SessionRequest> FakeServer::requests() const {
  absl::MutexLock lock(&mu_);
  return requests_;
}

v1::Operation FakeServer::AwaitOperation(uint64_t number) {
  absl::MutexLock lock(&mu_);
  Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return operations_.contains(number);
  });
  return operations_[number];
}

uint64_t FakeServer::operations() const {
  absl::MutexLock lock(&mu_);
  return operations_.size();
}

void FakeServer::AwaitCancel(uint64_t operation) {
  absl::MutexLock lock(&mu_);
  Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return cancels_.contains(operation);
  });
}

bool FakeServer::IsCancelled(uint64_t operation) const {
  absl::MutexLock lock(&mu_);
  return cancels_.contains(operation);
}

bool FakeServer::IsTaken(uint64_t result) const {
  absl::MutexLock lock(&mu_);
  return taken_.contains(result);
}

void FakeServer::AwaitTaken(uint64_t result) {
  absl::MutexLock lock(&mu_);
  Await([&]()
            ABSL_NO_THREAD_SAFETY_ANALYSIS { return taken_.contains(result); });
}

bool FakeServer::IsReturned(uint64_t result) const {
  absl::MutexLock lock(&mu_);
  return returned_.contains(result);
}

void FakeServer::AwaitReturned(uint64_t result) {
  absl::MutexLock lock(&mu_);
  Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return returned_.contains(result);
  });
}

int FakeServer::connections() const {
  absl::MutexLock lock(&mu_);
  return connections_;
}

void FakeServer::AwaitConnections(int n) {
  absl::MutexLock lock(&mu_);
  Await([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return connections_ >= n; });
}

// --- What the server says ----------------------------------------------------

uint64_t FakeServer::AddResult(uint64_t operation, v1::Result result) {
  result.set_operation(operation);
  results_[++last_result_] = std::move(result);
  return last_result_;
}

uint64_t FakeServer::Answer(uint64_t operation, v1::Result result) {
  v1::SessionResponse response;
  uint64_t connection = 0;
  uint64_t number = 0;
  {
    absl::MutexLock lock(&mu_);
    number = AddResult(operation, std::move(result));
    response.set_first_result(number);
    *response.add_results() = results_[number];
    connection = connection_;
  }
  Send(connection, response);
  return number;
}

void FakeServer::Close(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  const uint64_t connection = std::exchange(connection_, 0);
  if (connection == 0) return;
  thread_.Post([machine = machine_, connection, status] {
    machine->OnClosed(connection, status, /*sent=*/true);
  });
}

void FakeServer::Send(uint64_t connection,
                      const v1::SessionResponse& response) {
  absl::MutexLock lock(&mu_);
  if (connection == 0 || connection != connection_) return;
  thread_.Post([machine = machine_, connection, response] {
    v1::SessionResponse message = response;
    machine->OnMessage(connection, message);
  });
}

// --- Connections -------------------------------------------------------------

void FakeServer::OnConnect(uint64_t connection) {
  absl::MutexLock lock(&mu_);
  ++connections_;
  connection_ = connection;
  if (refusal_.ok()) return;
  connection_ = 0;
  thread_.Post(
      [machine = machine_, connection, status = refusal_,
       sent = refusal_sent_] { machine->OnClosed(connection, status, sent); });
}

void FakeServer::OnDisconnect(uint64_t connection) {
  absl::MutexLock lock(&mu_);
  if (connection == connection_) connection_ = 0;
}

void FakeServer::OnRequest(uint64_t connection, const std::string& bytes) {
  v1::SessionRequest request;
  if (!request.ParseFromString(bytes)) std::abort();
  {
    absl::MutexLock lock(&mu_);
    if (connection != connection_) return;
    requests_.push_back(request);
    Receive(request);
    // With the lock, so that whoever has waited for it finds it posted.
    thread_.Post([this, connection, request] { Respond(connection, request); });
  }
  if (before_write_returns_ && !thread_.IsCurrent()) {
    before_write_returns_(request);
  }
}

void FakeServer::Receive(const v1::SessionRequest& request) {
  if (request.has_hello() && request.hello().token().empty()) {
    operations_.clear();
    cancels_.clear();
    results_.clear();
    last_result_ = 0;
    taken_.clear();
    returned_.clear();
  }
  for (const uint64_t number : request.returned()) returned_.insert(number);
  for (uint64_t number = 1; number <= request.taken_up_to(); ++number) {
    if (!returned_.contains(number)) taken_.insert(number);
  }
  for (const uint64_t number : request.taken()) taken_.insert(number);
  for (const uint64_t number : returned_) {
    EXPECT_FALSE(taken_.contains(number)) << "both taken and returned";
  }
  for (const auto& settled : {taken_, returned_}) {
    for (const uint64_t number : settled) results_.erase(number);
  }
  uint64_t number = request.first_operation();
  for (const v1::Operation& operation : request.operations()) {
    operations_.emplace(number++, operation);
  }
  for (const uint64_t cancelled : request.cancels()) {
    cancels_.insert(cancelled);
  }
}

void FakeServer::Respond(uint64_t connection,
                         const v1::SessionRequest& request) {
  SessionMachine* machine;
  v1::SessionResponse response;
  bool mute;
  {
    absl::MutexLock lock(&mu_);
    if (connection != connection_) return;
    machine = machine_;
    mute = mute_;
    if (request.has_hello()) {
      *response.mutable_hello() = hello_;
      response.mutable_hello()->set_operations_received(
          operations_.empty() ? 0 : operations_.rbegin()->first);
      // What came before, and was not taken, again.
      for (const auto& [number, result] : results_) {
        if (number <= request.hello().results_received()) continue;
        if (response.first_result() == 0) response.set_first_result(number);
        *response.add_results() = result;
      }
    }
  }
  machine->OnWritten(connection);
  if (mute) return;
  uint64_t number = request.first_operation();
  for (const v1::Operation& operation : request.operations()) {
    const uint64_t this_one = number++;
    std::optional<v1::Result> result;
    if (script_) result = script_(operation);
    if (!result.has_value()) continue;
    absl::MutexLock lock(&mu_);
    const uint64_t added = AddResult(this_one, *std::move(result));
    if (response.first_result() == 0) response.set_first_result(added);
    *response.add_results() = results_[added];
  }
  if (ends_what_is_cancelled_) {
    for (const uint64_t cancelled : request.cancels()) {
      absl::MutexLock lock(&mu_);
      const uint64_t added = AddResult(
          cancelled, Failure(absl::StatusCode::kCancelled, "ECANCELED"));
      if (response.first_result() == 0) response.set_first_result(added);
      *response.add_results() = results_[added];
    }
  }
  if (request.heartbeat() != 0) response.set_heartbeat(request.heartbeat());
  if (response.ByteSizeLong() > 0) Send(connection, response);
  if (request.end()) Close(absl::OkStatus());
}

// --- Time --------------------------------------------------------------------

void FakeServer::Advance(absl::Duration duration) {
  constexpr absl::Duration kStep = absl::Milliseconds(250);
  while (duration > absl::ZeroDuration()) {
    const absl::Duration step = std::min(duration, kStep);
    duration -= step;
    SessionMachine* ring = nullptr;
    {
      absl::MutexLock lock(&mu_);
      now_ += step;
      if (timer_ <= now_) {
        timer_ = absl::InfiniteFuture();
        ring = machine_;
      }
    }
    if (ring != nullptr) thread_.Post([ring] { ring->OnTimer(); });
    Settle();
  }
}

void FakeServer::Settle() {
  // A message, its answer, and what that makes the client say.
  for (int i = 0; i < 4; ++i) {
    thread_.Run([] {});
  }
}

// --- The client's end --------------------------------------------------------

void FakeLink::Start(SessionMachine* machine) {
  absl::MutexLock lock(&server_.mu_);
  server_.machine_ = machine;
}

void FakeLink::Stop() {
  {
    absl::MutexLock lock(&server_.mu_);
    server_.connection_ = 0;
  }
  server_.thread_.Stop();
}

void FakeLink::SetTimer(absl::Time when) {
  absl::MutexLock lock(&server_.mu_);
  server_.timer_ = std::min(server_.timer_, when);
  if (when > server_.now_) return;
  server_.timer_ = absl::InfiniteFuture();
  server_.thread_.Post([machine = server_.machine_] { machine->OnTimer(); });
}

absl::Time FakeLink::Now() {
  absl::MutexLock lock(&server_.mu_);
  return server_.now_;
}

// --- Results -----------------------------------------------------------------

v1::Result Failure(absl::StatusCode code, const std::string& reason,
                   const std::map<std::string, std::string>& metadata) {
  v1::Result result;
  v1::Failure& failure = *result.mutable_failure();
  failure.set_code(static_cast<int>(code));
  failure.set_message(absl::StrCat("so it is: ", reason));
  failure.set_reason(reason);
  for (const auto& [key, value] : metadata) {
    (*failure.mutable_metadata())[key] = value;
  }
  return result;
}

absl::Status StreamError(absl::StatusCode code, const std::string& reason) {
  absl::Status status(code, absl::StrCat("so it is: ", reason));
  SetErrorField(status, kReasonKey, reason);
  return status;
}

v1::Result ReadOf(const std::string& data, uint64_t offset) {
  v1::Result result;
  v1::ReadResponse& response = *result.mutable_read();
  response.set_outcome(v1::OUTCOME_DONE);
  response.set_data(data);
  response.set_offset(offset);
  response.set_incarnation(5);
  return result;
}

v1::Result ReadEnd(v1::Outcome outcome, bool broken) {
  v1::Result result;
  result.mutable_read()->set_outcome(outcome);
  result.mutable_read()->set_broken(broken);
  return result;
}

v1::Result WriteOf(uint64_t accepted_bytes) {
  v1::Result result;
  result.mutable_write()->set_outcome(v1::OUTCOME_DONE);
  result.mutable_write()->set_accepted_bytes(accepted_bytes);
  return result;
}

v1::Result OpenAt(uint64_t offset, v1::PipeMode mode) {
  v1::Result result;
  result.mutable_open()->set_offset(offset);
  result.mutable_open()->set_incarnation(5);
  result.mutable_open()->set_mode(mode);
  return result;
}

}  // namespace waitq::test
