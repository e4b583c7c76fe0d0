#include "tests/sessions/sessions_fixture.h"

#include <utility>
#include <variant>

#include "client/error.h"
#include "transport/duration.h"

namespace waitq::sim {

std::string Call::reason() const {
  return status.ok() ? std::string() : ErrorReason(status);
}

// --- Programs ----------------------------------------------------------------

Call& Program::Start(v1::Operation operation, const CallOptions& options) {
  Call& call = calls_.emplace_back();
  SessionMachine::Submission submission;
  submission.operation = std::move(operation);
  submission.give_up_after = options.give_up_after;
  submission.restartable = options.restartable;
  submission.session = options.session;
  submission.sleeper = options.sleeper;
  submission.done = [this, &call, keep = options.keep](
                        const absl::Status& status, v1::Result* result,
                        SessionReceipt receipt) {
    ++call.told;
    call.status = status;
    if (result != nullptr) call.result = *result;
    call.receipt = receipt;
    call.when = network_.now();
    told.push_back(&call);
    return !keep;
  };
  call.ticket = machine().Submit(std::move(submission));
  return call;
}

void Program::Cut(absl::Duration away) {
  end_.Refuse(absl::ToInt64Nanoseconds(away));
  end_.Cut(/*client_told=*/0, /*server_told=*/0);
}

void Program::CutUnseen(absl::Duration away) {
  end_.Refuse(absl::ToInt64Nanoseconds(away));
  end_.Cut(/*client_told=*/0, /*server_told=*/kForever);
}

// --- Operations --------------------------------------------------------------

v1::Operation ReadPacket(const std::string& name) {
  v1::Operation operation;
  operation.mutable_read()->set_name(name);
  operation.mutable_read()->mutable_options()->set_mode(v1::PIPE_MODE_PACKET);
  return operation;
}

v1::Operation WritePacket(const std::string& name, const std::string& data) {
  v1::Operation operation;
  operation.mutable_write()->set_name(name);
  operation.mutable_write()->set_data(data);
  operation.mutable_write()->mutable_options()->set_mode(v1::PIPE_MODE_PACKET);
  return operation;
}

v1::Operation ReadStream(const std::string& name, uint64_t max_bytes) {
  v1::Operation operation;
  operation.mutable_read()->set_name(name);
  operation.mutable_read()->set_max_bytes(max_bytes);
  return operation;
}

v1::Operation WriteStream(const std::string& name, const std::string& data) {
  v1::Operation operation;
  operation.mutable_write()->set_name(name);
  operation.mutable_write()->set_data(data);
  return operation;
}

v1::Operation Wait(const std::string& completion) {
  v1::Operation operation;
  operation.mutable_completion_wait()->set_name(completion);
  return operation;
}

v1::Operation Complete(const std::string& completion, uint32_t nr) {
  v1::Operation operation;
  operation.mutable_complete()->set_name(completion);
  operation.mutable_complete()->set_nr(nr);
  return operation;
}

v1::Operation Sleepy(const std::string& word) {
  v1::Operation operation = AwaitNotZero(word);
  operation.mutable_wait()->mutable_then()->set_set(0);
  return operation;
}

v1::Operation AwaitNotZero(const std::string& word) {
  v1::Operation operation;
  operation.mutable_wait()->set_name(word);
  operation.mutable_wait()->mutable_condition()->set_not_equal(0);
  return operation;
}

v1::Operation Add(const std::string& word, int64_t n) {
  v1::Operation operation;
  operation.mutable_wake_up()->set_name(word);
  operation.mutable_wake_up()->mutable_update()->set_add(n);
  return operation;
}

v1::Operation Get(const std::string& word) {
  v1::Operation operation;
  operation.mutable_get()->set_name(word);
  return operation;
}

v1::Operation Open(const std::string& name, bool write) {
  v1::Operation operation;
  operation.mutable_open()->set_name(name);
  operation.mutable_open()->set_write(write);
  return operation;
}

v1::Operation HandleRead(uint64_t handle, uint64_t max_bytes) {
  v1::Operation operation;
  operation.set_handle(handle);
  operation.mutable_read()->set_max_bytes(max_bytes);
  return operation;
}

v1::Operation HandleWrite(uint64_t handle, const std::string& data) {
  v1::Operation operation;
  operation.set_handle(handle);
  operation.mutable_write()->set_data(data);
  return operation;
}

v1::Operation CloseHandle(uint64_t handle) {
  v1::Operation operation;
  operation.mutable_close()->set_handle(handle);
  return operation;
}

namespace {

template <class Action>
v1::Operation OnRequestOf(v1::Operation operation, Action action) {
  if (operation.has_read()) {
    action(*operation.mutable_read());
  } else if (operation.has_write()) {
    action(*operation.mutable_write());
  } else if (operation.has_completion_wait()) {
    action(*operation.mutable_completion_wait());
  } else {
    action(*operation.mutable_wait());
  }
  return operation;
}

}  // namespace

v1::Operation WithTimeout(v1::Operation operation, absl::Duration timeout) {
  return OnRequestOf(std::move(operation), [&](auto& request) {
    *request.mutable_timeout() = ToWire(timeout);
  });
}

v1::Operation Nonblock(v1::Operation operation) {
  return OnRequestOf(std::move(operation),
                     [](auto& request) { request.set_nonblock(true); });
}

// --- The fixture -------------------------------------------------------------

SessionsFixture::SessionsFixture(const engine::Limits& limits)
    : network_({.delay_min = kDelay, .spread = 1}, limits, this) {}

void SessionsFixture::TearDown() {
  if (network_.engine() == nullptr) network_.StartServer();
  for (Program& program : programs_) {
    if (program.end().machine() != nullptr) program.machine().Close();
  }
  RunFor(10 * kGrace);
  EXPECT_FALSE(network_.spins());
  for (Program& program : programs_) {
    if (program.end().machine() == nullptr) continue;
    EXPECT_TRUE(program.machine().IsOver());
    for (const Call& call : program.calls()) EXPECT_EQ(call.told, 1);
  }
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(engine().asleep(), 0u);
  EXPECT_EQ(engine().bytes_unsent(), 0u);
  for (const engine::ObjectStat& object : engine().List("", {})) {
    if (const auto* pipe = std::get_if<engine::PipeStat>(&object.state)) {
      EXPECT_EQ(pipe->held_bytes, 0u) << object.name;
      EXPECT_EQ(pipe->readers + pipe->writers, 0u) << object.name;
    }
  }
}

Program& SessionsFixture::NewProgram(const std::string& name,
                                     absl::Duration grace, int64_t fast_ppm) {
  SimClient& end = network_.AddClient(/*offset=*/0, fast_ppm);
  end.Start({.caller = name, .grace = grace, .server = "the server"});
  return programs_.emplace_back(&network_, &end);
}

Call& SessionsFixture::Do(Program& program, v1::Operation operation,
                          const CallOptions& options) {
  Call& call = program.Start(std::move(operation), options);
  Settle();
  return call;
}

engine::PipeStat SessionsFixture::PipeStatOf(const std::string& name) {
  const auto stat = engine().Stat(name);
  EXPECT_TRUE(stat.ok()) << stat.status();
  return stat.ok() ? std::get<engine::PipeStat>(stat->state)
                   : engine::PipeStat();
}

int64_t SessionsFixture::WordOf(const std::string& name) {
  const auto stat = engine().Stat(name);
  EXPECT_TRUE(stat.ok()) << stat.status();
  return stat.ok() ? std::get<engine::WordResult>(stat->state).value : 0;
}

uint64_t SessionsFixture::CompletionOf(const std::string& name) {
  const auto stat = engine().Stat(name);
  EXPECT_TRUE(stat.ok()) << stat.status();
  return stat.ok()
             ? std::get<engine::CompletionObject::Result>(stat->state).done
             : 0;
}

}  // namespace waitq::sim
