#include "tests/sessions/world.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/error.h"
#include "tests/history/check.h"
#include "tests/sessions/holders.h"
#include "tests/sessions/sim_network.h"
#include "transport/duration.h"

namespace waitq::sim {
namespace {

using history::CompletionCall;
using history::Outcome;
using history::PipeCall;
using history::WordCall;
using Kind = Step::Kind;
using Take = Step::Take;

constexpr uint64_t kQueueBytes = 600;
constexpr uint64_t kFifoBytes = 200;
constexpr uint64_t kAtomicMax = 64;

// What passed between the server and one session's clients.
struct SessionLog {
  int client = 0;
  Nanos grace = 0;
  uint64_t epoch = 0;
  bool end_said = false;
  bool over = false;
  uint64_t received = 0;  // operations
  struct Answer {
    int64_t packet = -1;   // that a read took
    uint64_t hold_id = 0;  // of an explicit hold
    bool took = false;     // it is the application's to take
    bool acknowledged = false;
    bool returned = false;
    int64_t operation = -1;  // of the world: who was told
  };
  std::deque<Answer> answers;  // by number - 1
  uint64_t acknowledged_up_to = 0;
  // Accepts of explicit holds, by their numbers.
  absl::flat_hash_map<uint64_t, uint64_t> accepts;
};

struct Packet {
  int64_t operation = 0;  // that wrote it
  uint64_t epoch = 0;     // of the server that had it
  int delivered = 0;
  int taken = 0;  // for certain
  bool explicit_hold = false;
};

struct Operation {
  const Step* step = nullptr;
  int client = 0;
  uint64_t life = 0;
  uint64_t ticket = 0;
  Nanos invoked = 0;
  bool under_way = true;
  bool done = false;
  bool settled = false;
  bool taken = false;
  bool takes = false;       // it may have been passed by
  bool given_back = false;  // by a call: nobody can return it any more
  bool restartable = false;
  int64_t log = -1;
  uint64_t answer = 0;
  SessionReceipt receipt;
  uint64_t handle = 0;
  enum class Record : uint8_t { kNone, kWord, kCompletion, kPipe } record{};
  size_t place = 0;  // in the history
  // Of one that waits for any of several: those that it is not, as far as is
  // known. Until it ends the first of them stands above.
  struct Alternative {
    Record record;
    size_t place;
    size_t number;
  };
  std::vector<Alternative> others;
  int64_t packet = -1;
  int64_t accepts = -1;  // the read of that place
};

// The result, or of several alternatives that which has ended them.
v1::Result Plain(const v1::Result& result) {
  if (!result.has_wait_any()) return result;
  const v1::WaitAnyResponse& any = result.wait_any();
  v1::Result plain;
  plain.set_operation(result.operation());
  if (any.has_wait()) *plain.mutable_wait() = any.wait();
  if (any.has_completion_wait()) {
    *plain.mutable_completion_wait() = any.completion_wait();
  }
  if (any.has_read()) *plain.mutable_read() = any.read();
  return plain;
}

struct Handle {
  uint64_t number = 0;
  uint64_t session = 0;
  uint32_t object = 0;
  bool write = false;
  int busy = 0;
};

struct Hold {
  uint64_t id = 0;
  uint32_t object = 0;
  uint64_t session = 0;
  size_t place = 0;  // of its read, in the history
};

struct Program {
  uint64_t life = 0;
  bool closing = false;
  std::vector<size_t> under_way;  // operations
  std::vector<Handle> handles;
  std::vector<Hold> holds;
  Nanos last_fault = 0;              // or until then
  Nanos attached_safely = kForever;  // since then; kForever: it is not
};

class World final : public NetworkObserver {
 public:
  World(const Setting& setting, const Script& script, const RunOptions& options)
      : setting_(setting),
        script_(script),
        options_(options),
        network_(setting.network, setting.limits, this),
        begin_(network_.now()),
        programs_(setting.clients.size() + 1) {
    for (const Setting::Client& client : setting.clients) {
      network_.AddClient(client.offset, client.fast_ppm);
      StartProgram(clients_started_++);
    }
  }

  RunResult Run() {
    for (const Step& step : script_) {
      if (failed()) break;
      network_.RunUntil(begin_ + step.at);
      Do(step);
      if (network_.spins()) Fail("spins", "time stands still");
    }
    if (!failed()) Finish();
    if (!failed() && options_.check_history) CheckHistory();
    result_.events = network_.events();
    return std::move(result_);
  }

  // NetworkObserver
  void OnRequest(const std::string& token,
                 const v1::SessionRequest& message) override;
  void OnResponse(int client, const std::string& token,
                  const v1::SessionResponse& message) override;
  void OnServerRan() override;

 private:
  bool failed() const { return !result_.failure.empty(); }
  void Fail(const char* rule, const std::string& what) {
    if (!failed()) result_.failure = absl::StrCat(rule, ": ", what);
    if (options_.trace) Trace(absl::StrCat("FAILED ", rule, ": ", what));
  }
  void Trace(const std::string& line) {
    if (!options_.trace) return;
    result_.trace.push_back(absl::StrCat(
        "+", static_cast<double>(network_.now() - begin_) / 1e6, "ms ", line));
  }

  SessionMachine* machine(int client) {
    return network_.client(static_cast<size_t>(client)).machine();
  }
  Program& program(int client) {
    return programs_[static_cast<size_t>(client)];
  }

  void StartProgram(int client) {
    Program& started = program(client);
    const uint64_t life = started.life + 1;
    const Nanos fault = started.last_fault;
    started = Program();
    started.life = life;
    started.last_fault = fault;
    started.attached_safely = network_.now();
    const Nanos grace =
        client < static_cast<int>(setting_.clients.size())
            ? setting_.clients[static_cast<size_t>(client)].grace
            : 5 * kSecond;
    network_.client(static_cast<size_t>(client))
        .Start({.caller = absl::StrCat("c", client),
                .grace = absl::Nanoseconds(grace),
                .server = "server"});
  }

  void Do(const Step& step);
  void DoFault(const Step& step);
  void RestartServer(bool says_so, Nanos told, Nanos away);
  void Submit(const Step& step, int client);
  void CancelAll(int client);
  void EndProgram(int client);
  void AddTwin(const Operation& op);
  void AddTwinFrom(const Operation& op, Nanos invoked);
  bool OnTold(size_t index, const absl::Status& status, v1::Result* result,
              SessionReceipt receipt);
  void Record(Operation& op, const absl::Status& status, v1::Result* result);
  // The history's call of it.
  history::Call& CallOf(Operation::Record record, size_t place);
  // What is known of those that it is not, when it has ended; which of several
  // it is, if it is one.
  void RecordOthers(Operation& op, const absl::Status& status,
                    v1::Result* result);
  // A program holds what it was granted.
  void HoldGrant(size_t index, uint64_t token, uint64_t epoch);
  void Settle(size_t index, bool taken);
  void Fault(int client, Nanos until) {
    program(client).last_fault = std::max(program(client).last_fault, until);
    program(client).attached_safely = kForever;
  }
  void FaultForAll(Nanos until) {
    for (size_t i = 0; i < programs_.size(); ++i) {
      Fault(static_cast<int>(i), until);
    }
  }

  void Acknowledged(SessionLog& log, uint64_t number);
  void Finish();
  void CheckWhoIsNotTold();
  void SweepPipes();
  void CheckPackets();
  void CheckNothingHeld();
  void CheckHistory();

  const Setting& setting_;
  const Script& script_;
  const RunOptions options_;
  RunResult result_;
  SimNetwork network_;
  const Nanos begin_;
  int clients_started_ = 0;
  std::vector<Program> programs_;
  std::deque<Operation> operations_;
  std::deque<Step> own_steps_;  // of the sweeping
  std::vector<Packet> packets_;
  std::deque<SessionLog> logs_;
  absl::flat_hash_map<std::string, size_t> log_of_;
  size_t sessions_seen_ = 0;
  absl::flat_hash_map<uint64_t, int64_t> packet_of_hold_;
  absl::flat_hash_set<std::string> pipes_;
  absl::flat_hash_set<std::string> ends_in_;  // these, perhaps
  int64_t last_read_bytes_ = 0;               // of the sweeping
  Holders holders_;
  history::History history_;
};

// --- What is done ------------------------------------------------------------

void World::Do(const Step& step) {
  if (step.IsFault()) {
    Trace(ToString(step));
    return DoFault(step);
  }
  if (machine(step.client) == nullptr || program(step.client).closing) return;
  // A program that is stalled does nothing either.
  if (network_.client(step.client).stalled()) return;
  if (step.kind == Kind::kCancelOld) return CancelAll(step.client);
  if (step.kind == Kind::kCancel) {
    const auto& under_way = program(step.client).under_way;
    if (under_way.empty()) return;
    const size_t index =
        under_way[static_cast<size_t>(step.a) % under_way.size()];
    Trace(absl::StrCat("cancel ", index));
    machine(step.client)->Cancel(operations_[index].ticket);
    return;
  }
  Submit(step, step.client);
}

void World::CancelAll(int client) {
  const std::vector<size_t> all = program(client).under_way;
  for (const size_t index : all) {
    if (operations_[index].under_way) {
      machine(client)->Cancel(operations_[index].ticket);
    }
  }
}

void World::DoFault(const Step& step) {
  SimClient& client = network_.client(step.client);
  const auto told = [](int64_t nanos) { return nanos < 0 ? kForever : nanos; };
  const Nanos now = network_.now();
  const Nanos grace = setting_.clients[step.client].grace;
  switch (step.kind) {
    case Kind::kCut:
      Fault(step.client, now + grace);
      client.Cut(told(step.a), told(step.b));
      return;
    case Kind::kRefuse:
      Fault(step.client, now + step.a);
      client.Refuse(step.a);
      return;
    case Kind::kStallClient:
      Fault(step.client, now + step.a);
      client.Stall(step.a);
      return;
    case Kind::kCrash:
      if (client.machine() == nullptr) return;
      Fault(step.client, now);
      EndProgram(step.client);
      client.Crash(told(step.a));
      StartProgram(step.client);
      return;
    case Kind::kCloseClient:
      if (client.machine() == nullptr || client.stalled()) return;
      program(step.client).closing = true;
      client.machine()->Close();
      // It has no time to see whether that arrives.
      network_.At(now + 300 * kMillisecond, [this, which = step.client,
                                             life = program(step.client).life] {
        if (program(which).life != life) return;
        Fault(which, network_.now());
        EndProgram(which);
        network_.client(which).Crash(0);
        StartProgram(which);
      });
      return;
    case Kind::kStallServer: {
      if (network_.engine() == nullptr) return;
      bool long_one = false;
      for (const Setting::Client& one : setting_.clients) {
        if (step.a > one.grace / 3) long_one = true;
      }
      for (size_t i = 0; i < programs_.size(); ++i) {
        programs_[i].attached_safely = kForever;
      }
      // A short one is nobody's fault, and costs nobody his session.
      if (long_one) FaultForAll(now + step.a);
      network_.StallServer(step.a, step.b != 0);
      return;
    }
    case Kind::kRestartServer:
      if (network_.engine() == nullptr) return;
      FaultForAll(now + step.a + 3 * kSecond);
      RestartServer(/*says_so=*/step.b != 0, grace / 4, step.a);
      return;
    case Kind::kReplaceServer: {
      engine::Engine* const engine = network_.engine();
      if (engine == nullptr || engine->draining()) return;
      FaultForAll(now + step.b + step.a + 3 * kSecond);
      engine->Drain();
      network_.At(now + step.b, [this, epoch = engine->epoch(), away = step.a] {
        // It may have been killed since.
        if (network_.engine() == nullptr ||
            network_.engine()->epoch() != epoch) {
          return;
        }
        RestartServer(/*says_so=*/true, /*told=*/0, away);
      });
      return;
    }
    default:
      return;
  }
}

void World::RestartServer(bool says_so, Nanos told, Nanos away) {
  network_.StopServer(says_so, told);
  history_.restarts.push_back(network_.now());
  for (SessionLog& log : logs_) log.over = true;
  packet_of_hold_.clear();
  network_.At(network_.now() + away, [this] { network_.StartServer(); });
}

// The program is gone: what it has under way nobody knows any more.
void World::EndProgram(int client) {
  holders_.RemoveAllOf(client);
  for (const size_t index : program(client).under_way) {
    operations_[index].under_way = false;
    AddTwin(operations_[index]);
  }
  program(client).under_way.clear();
}

// What had not been sent when the server was restarted has its effect on the
// next one; whether it had nobody knows.
void World::AddTwin(const Operation& op) {
  for (const int64_t restart : history_.restarts) {
    if (restart >= op.invoked) AddTwinFrom(op, restart + 1);
  }
}

// That may have had its effect from then on.
void World::AddTwinFrom(const Operation& op, Nanos invoked) {
  const auto add = [&](auto& calls) {
    calls.push_back(calls[op.place]);
    calls.back().outcome = Outcome::kUnknown;
    calls.back().invoked = invoked;
    calls.back().returned = network_.now();
  };
  for (const Operation::Alternative& other : op.others) {
    Operation alone;
    alone.record = other.record;
    alone.place = other.place;
    AddTwinFrom(alone, invoked);
  }
  switch (op.record) {
    case Operation::Record::kNone:
      return;
    case Operation::Record::kWord:
      return add(history_.words);
    case Operation::Record::kCompletion:
      return add(history_.completions);
    case Operation::Record::kPipe:
      return add(history_.pipes);
  }
}

void World::Submit(const Step& step, int client) {
  Program& me = program(client);
  const size_t index = operations_.size();
  SessionMachine::Submission submission;
  v1::Operation& message = submission.operation.emplace();
  Operation op;
  op.step = &step;
  op.client = client;
  op.life = me.life;
  op.invoked = network_.now();

  const auto sleep = [&](auto& request) {
    request.set_nonblock(step.nonblock);
    if (step.timeout >= 0) {
      *request.mutable_timeout() = ToWire(absl::Nanoseconds(step.timeout));
    }
    submission.sleeper = !step.nonblock && step.timeout != 0;
  };
  const auto begin = [&](history::Call& call, const std::string& object) {
    call.object = object;
    call.client = client;
    call.invoked = op.invoked;
  };
  const auto word = [&](WordCall::Kind kind) -> WordCall& {
    op.record = Operation::Record::kWord;
    op.place = history_.words.size();
    WordCall& call = history_.words.emplace_back();
    begin(call, absl::StrCat("w", step.object));
    call.kind = kind;
    return call;
  };
  const auto completion = [&](CompletionCall::Kind kind) -> CompletionCall& {
    op.record = Operation::Record::kCompletion;
    op.place = history_.completions.size();
    CompletionCall& call = history_.completions.emplace_back();
    begin(call, absl::StrCat("c", step.object));
    call.kind = kind;
    return call;
  };
  const auto pipe = [&](PipeCall::Kind kind, const std::string& name) -> auto& {
    op.record = Operation::Record::kPipe;
    op.place = history_.pipes.size();
    PipeCall& call = history_.pipes.emplace_back();
    begin(call, name);
    call.kind = kind;
    if (pipes_.insert(name).second) {
      history_.pipe_options[name] = {.packets = name[0] == 'q',
                                     .atomic_max_bytes = kAtomicMax};
    }
    return call;
  };
  const auto queue_options = [&](v1::PipeOptions& options) {
    options.set_mode(v1::PIPE_MODE_PACKET);
    options.set_capacity_bytes(kQueueBytes);
  };
  const auto fifo_options = [&](v1::PipeOptions& options) {
    options.set_capacity_bytes(kFifoBytes);
    options.set_atomic_max_bytes(kAtomicMax);
  };
  const auto fill = [&](int64_t bytes) {
    std::string data = absl::StrCat("s", index, ".");
    while (static_cast<int64_t>(data.size()) < bytes) data += data;
    data.resize(static_cast<size_t>(std::max<int64_t>(bytes, 1)));
    return data;
  };

  switch (step.kind) {
    case Kind::kWait: {
      WordCall& call = word(WordCall::Kind::kWait);
      v1::WaitRequest& request = *message.mutable_wait();
      request.set_name(call.object);
      sleep(request);
      using Test = history::Condition::Test;
      using Change = history::Action::Change;
      switch (step.a) {
        case 0:  // sleepy
          request.mutable_condition()->set_not_equal(0);
          request.mutable_then()->set_set(0);
          call.condition = {Test::kNotEqual, 0};
          call.action = {Change::kSet, 0};
          break;
        case 1:  // lock
          request.mutable_condition()->set_equal(0);
          request.mutable_then()->set_set(1);
          call.condition = {Test::kEqual, 0};
          call.action = {Change::kSet, 1};
          break;
        case 2:  // semaphore
          request.mutable_condition()->set_greater_or_equal(step.b);
          request.mutable_then()->set_add(-step.b);
          call.condition = {Test::kGreaterOrEqual, step.b};
          call.action = {Change::kAdd, -step.b};
          if (step.nonblock) {
            request.set_then_wake(true);
            call.then_wake = true;
          }
          break;
        case 3:  // barrier
          request.mutable_condition()->set_greater_or_equal(step.b);
          call.condition = {Test::kGreaterOrEqual, step.b};
          break;
        case 4:
          request.mutable_condition()->set_equal(0);
          call.condition = {Test::kEqual, 0};
          break;
        default:  // a wake
          request.set_exclusive(step.b == 1);
          call.condition = {Test::kWoken, 0};
          break;
      }
      op.takes = request.has_then() || request.exclusive();
      submission.restartable =
          step.restartable && request.has_condition() && !request.has_then();
      break;
    }
    case Kind::kAny: {
      v1::WaitAnyRequest& request = *message.mutable_wait_any();
      sleep(request);
      std::vector<Operation::Alternative> alternatives;
      bool acts = false;
      for (int64_t i = 0; i < 3; ++i) {
        v1::Alternative& alternative = *request.add_alternatives();
        switch ((step.a + i) % 3) {
          case 0: {
            WordCall& call = word(WordCall::Kind::kWait);
            v1::WaitRequest& wait = *alternative.mutable_wait();
            wait.set_name(call.object);
            wait.mutable_condition()->set_greater_or_equal(step.b);
            call.condition = {history::Condition::Test::kGreaterOrEqual,
                              step.b};
            if (step.a < 3) break;
            acts = true;
            wait.mutable_then()->set_add(-step.b);
            call.action = {history::Action::Change::kAdd, -step.b};
            break;
          }
          case 1:
            alternative.mutable_completion_wait()->set_name(
                completion(CompletionCall::Kind::kWait).object);
            break;
          default: {
            PipeCall& call =
                pipe(PipeCall::Kind::kRead, absl::StrCat("q", step.object));
            alternative.mutable_read()->set_name(call.object);
            queue_options(*alternative.mutable_read()->mutable_options());
          }
        }
        alternatives.push_back({op.record, op.place, static_cast<size_t>(i)});
      }
      op.record = alternatives[0].record;
      op.place = alternatives[0].place;
      op.others.assign(alternatives.begin() + 1, alternatives.end());
      op.takes = true;
      submission.restartable = step.restartable && !acts;
      break;
    }
    case Kind::kAcquire:
      Holders::SetAcquire(step.object, *message.mutable_wait());
      sleep(*message.mutable_wait());
      op.takes = true;
      submission.restartable = step.restartable;
      break;
    case Kind::kGiveBack: {
      const std::optional<Held> held = holders_.Take(client, step.a);
      if (!held.has_value()) return;
      operations_[held->operation].given_back = true;
      Holders::SetGiveBack(*held, *message.mutable_wake_up());
      submission.session = held->session;
      break;
    }
    case Kind::kWakeUp: {
      WordCall& call = word(WordCall::Kind::kWakeUp);
      v1::WakeUpRequest& request = *message.mutable_wake_up();
      request.set_name(call.object);
      using Change = history::Action::Change;
      switch (step.a) {
        case 0:
          break;
        case 1:
          request.mutable_update()->set_set(1);
          call.action = {Change::kSet, 1};
          break;
        case 2:
          request.mutable_update()->set_add(1);
          call.action = {Change::kAdd, 1};
          break;
        default:
          request.mutable_update()->set_set(0);
          call.action = {Change::kSet, 0};
          break;
      }
      if (step.b == 0) {
        request.set_all(true);
      } else {
        request.set_nr(static_cast<uint32_t>(step.b));
      }
      break;
    }
    case Kind::kStore: {
      WordCall& call = word(WordCall::Kind::kStore);
      call.action = {history::Action::Change::kSet, step.a};
      message.mutable_store()->set_name(call.object);
      message.mutable_store()->set_value(step.a);
      break;
    }
    case Kind::kGet:
      message.mutable_get()->set_name(word(WordCall::Kind::kGet).object);
      break;
    case Kind::kDoneWait: {
      auto& request = *message.mutable_completion_wait();
      request.set_name(completion(CompletionCall::Kind::kWait).object);
      sleep(request);
      op.takes = true;
      submission.restartable = step.restartable;
      break;
    }
    case Kind::kTryWait:
      message.mutable_try_wait()->set_name(
          completion(CompletionCall::Kind::kTryWait).object);
      break;
    case Kind::kComplete: {
      CompletionCall& call = completion(CompletionCall::Kind::kComplete);
      auto& request = *message.mutable_complete();
      request.set_name(call.object);
      if (step.a == 0) {
        request.set_all(true);
        call.nr = CompletionCall::kAll;
      } else {
        call.nr = static_cast<uint32_t>(step.a);
        request.set_nr(call.nr);
      }
      break;
    }
    case Kind::kReinit:
      message.mutable_reinit()->set_name(
          completion(CompletionCall::Kind::kReinit).object);
      break;
    case Kind::kPacketWrite: {
      PipeCall& call =
          pipe(PipeCall::Kind::kWrite, absl::StrCat("q", step.object));
      auto& request = *message.mutable_write();
      op.packet = static_cast<int64_t>(packets_.size());
      packets_.push_back({.operation = static_cast<int64_t>(index)});
      call.data = absl::StrCat("P", op.packet, ".");
      call.data.resize(std::max(call.data.size(), static_cast<size_t>(step.a)),
                       'x');
      request.set_name(call.object);
      request.set_data(call.data);
      queue_options(*request.mutable_options());
      sleep(request);
      if (step.uninterruptible) request.set_sleep(v1::SLEEP_UNINTERRUPTIBLE);
      break;
    }
    case Kind::kPacketRead:
    case Kind::kHoldRead: {
      PipeCall& call =
          pipe(PipeCall::Kind::kRead, absl::StrCat("q", step.object));
      auto& request = *message.mutable_read();
      request.set_name(call.object);
      queue_options(*request.mutable_options());
      sleep(request);
      if (step.kind == Kind::kHoldRead) {
        *request.mutable_hold() = ToWire(absl::Milliseconds(step.a));
      }
      op.takes = true;
      submission.restartable = step.restartable;
      break;
    }
    case Kind::kAcceptHold:
    case Kind::kReleaseHold: {
      if (me.holds.empty()) return;
      const auto it =
          me.holds.begin() + step.a % static_cast<int64_t>(me.holds.size());
      const Hold hold = *it;
      me.holds.erase(it);
      if (step.kind == Kind::kAcceptHold) {
        message.mutable_accept()->set_name(absl::StrCat("q", hold.object));
        message.mutable_accept()->set_hold_id(hold.id);
        // Until that is answered nobody knows.
        op.accepts = static_cast<int64_t>(hold.place);
        history_.pipes[hold.place].taken = true;
      } else {
        message.mutable_release()->set_name(absl::StrCat("q", hold.object));
        message.mutable_release()->set_hold_id(hold.id);
      }
      submission.session = hold.session;
      break;
    }
    case Kind::kStreamWrite: {
      PipeCall& call =
          pipe(PipeCall::Kind::kWrite, absl::StrCat("f", step.object));
      auto& request = *message.mutable_write();
      call.data = fill(step.a);
      request.set_name(call.object);
      request.set_data(call.data);
      fifo_options(*request.mutable_options());
      sleep(request);
      if (step.uninterruptible) request.set_sleep(v1::SLEEP_UNINTERRUPTIBLE);
      break;
    }
    case Kind::kStreamRead: {
      PipeCall& call =
          pipe(PipeCall::Kind::kRead, absl::StrCat("f", step.object));
      auto& request = *message.mutable_read();
      call.max_bytes = static_cast<uint64_t>(step.a);
      request.set_name(call.object);
      request.set_max_bytes(call.max_bytes);
      fifo_options(*request.mutable_options());
      sleep(request);
      op.takes = true;
      submission.restartable = step.restartable;
      break;
    }
    case Kind::kOpen: {
      auto& request = *message.mutable_open();
      request.set_name(absl::StrCat("f", step.object));
      request.set_write(step.a != 0);
      if (step.a != 0) ends_in_.insert(request.name());
      fifo_options(*request.mutable_options());
      break;
    }
    case Kind::kHandleWrite:
    case Kind::kHandleRead:
    case Kind::kCloseHandle: {
      if (me.handles.empty()) return;
      const size_t which = static_cast<size_t>(step.a) % me.handles.size();
      Handle& handle = me.handles[which];
      submission.session = handle.session;
      if (step.kind == Kind::kCloseHandle) {
        if (handle.busy > 0) return;
        message.mutable_close()->set_handle(handle.number);
        message.mutable_close()->set_broken(step.b != 0);
        me.handles.erase(me.handles.begin() + static_cast<ptrdiff_t>(which));
        break;
      }
      const std::string name = absl::StrCat("f", handle.object);
      if (step.kind == Kind::kHandleWrite) {
        // One at a time.
        if (!handle.write || handle.busy > 0) return;
        PipeCall& call = pipe(PipeCall::Kind::kWrite, name);
        call.data = fill(step.b);
        message.mutable_write()->set_data(call.data);
        sleep(*message.mutable_write());
        if (step.uninterruptible) {
          message.mutable_write()->set_sleep(v1::SLEEP_UNINTERRUPTIBLE);
        }
      } else {
        if (handle.write) return;
        PipeCall& call = pipe(PipeCall::Kind::kRead, name);
        call.max_bytes = static_cast<uint64_t>(step.b);
        message.mutable_read()->set_max_bytes(call.max_bytes);
        sleep(*message.mutable_read());
        op.takes = true;
      }
      message.set_handle(handle.number);
      op.handle = handle.number;
      ++handle.busy;
      break;
    }
    case Kind::kPoll: {
      auto& request = *message.mutable_poll();
      request.set_name(absl::StrCat("f", step.object));
      request.set_in((step.a & 1) != 0);
      request.set_out((step.a & 2) != 0);
      sleep(request);
      submission.restartable = step.restartable;
      break;
    }
    default:
      return;
  }

  if (step.give_up >= 0) {
    submission.give_up_after = absl::Nanoseconds(step.give_up);
  }
  submission.done = [this, index](const absl::Status& status,
                                  v1::Result* result, SessionReceipt receipt) {
    return OnTold(index, status, result, receipt);
  };
  op.restartable = submission.restartable;
  operations_.push_back(op);
  me.under_way.push_back(index);
  ++result_.operations;
  if (options_.trace) {
    Trace(absl::StrCat("client ", client, " submits ", index, ": ",
                       ToString(step)));
  }
  const uint64_t ticket = machine(client)->Submit(std::move(submission));
  operations_[index].ticket = ticket;
}

// --- What comes of it --------------------------------------------------------

bool World::OnTold(size_t index, const absl::Status& status, v1::Result* result,
                   SessionReceipt receipt) {
  Operation& op = operations_[index];
  v1::Result plain;
  Program& me = program(op.client);
  if (options_.trace) {
    Trace(absl::StrCat(
        "client ", op.client, " is told ", index, ": ",
        status.ok() ? result->ShortDebugString() : status.ToString(), " (",
        receipt.session, "/", receipt.number, ")"));
  }
  if (!op.under_way) {
    Fail("told twice", absl::StrCat("operation ", index));
    return true;
  }
  op.under_way = false;
  // It is one of the last, mostly.
  const auto it = std::find(me.under_way.rbegin(), me.under_way.rend(), index);
  if (it != me.under_way.rend()) me.under_way.erase(std::next(it).base());
  if (op.handle != 0) {
    for (Handle& handle : me.handles) {
      if (handle.number == op.handle) --handle.busy;
    }
  }
  const std::string reason = ErrorReason(status);
  if (reason == "ESTALE" && OutcomeUnknown(status) &&
      network_.now() - me.last_fault >
          3 * setting_
                  .clients[static_cast<size_t>(op.client) %
                           setting_.clients.size()]
                  .grace) {
    Fail("a session was lost for nothing",
         absl::StrCat("client ", op.client, ", operation ", index, ": ",
                      status.ToString()));
  }
  if (reason == "EINVAL" || reason == "ENOSYS") {
    Fail("a machine says what is not allowed", status.ToString());
  }
  if (op.step->kind == Kind::kGiveBack && absl::IsFailedPrecondition(status)) {
    Fail("what was granted is gone", status.ToString());
  }
  if (!op.others.empty()) {
    RecordOthers(op, status, result);
    if (status.ok()) {
      plain = Plain(*result);
      if (!result->wait_any().has_alternative()) {
        // Each was tested.
        plain.mutable_wait()->set_outcome(result->wait_any().outcome());
      }
      result = &plain;
    }
  }
  Record(op, status, result);
  op.settled = op.taken = true;
  if (!status.ok()) return true;

  ++result_.done;
  op.done = true;
  op.receipt = receipt;
  const std::string token = machine(op.client)->token();
  const auto log = log_of_.find(token);
  if (log == log_of_.end()) {
    Fail("a result of no session", absl::StrCat("operation ", index));
    return true;
  }
  op.log = static_cast<int64_t>(log->second);
  op.answer = receipt.number;
  SessionLog& session = logs_[log->second];
  if (session.over && !session.end_said && network_.engine() != nullptr &&
      session.epoch == network_.engine()->epoch()) {
    Fail("a result of an expired session",
         absl::StrCat("operation ", index, " of client ", op.client));
  }
  if (receipt.number > session.answers.size()) {
    Fail("a result that was never sent", absl::StrCat("operation ", index));
    return true;
  }
  session.answers[receipt.number - 1].operation = static_cast<int64_t>(index);

  if (op.step->kind == Kind::kAcquire &&
      result->wait().outcome() == v1::OUTCOME_DONE) {
    HoldGrant(index, result->wait().generation(), session.epoch);
  }
  if (result->has_open()) {
    me.handles.push_back({.number = result->operation(),
                          .session = receipt.session,
                          .object = op.step->object,
                          .write = op.step->a != 0});
  }
  if (result->has_read() && result->read().hold_id() != 0) {
    me.holds.push_back({.id = result->read().hold_id(),
                        .object = op.step->object,
                        .session = receipt.session,
                        .place = op.place});
  }
  switch (op.step->take) {
    case Take::kAtOnce:
      return true;
    case Take::kNever:
      op.settled = op.taken = false;
      return false;
    case Take::kLater:
    case Take::kReturn:
      op.settled = op.taken = false;
      network_.At(network_.now() + op.step->take_after, [this, index] {
        Settle(index, operations_[index].step->take == Take::kLater);
      });
      return false;
  }
  return true;
}

void World::HoldGrant(size_t index, uint64_t token, uint64_t epoch) {
  const Operation& op = operations_[index];
  const std::string wrong = holders_.Add(
      {.object = op.step->object,
       .client = op.client,
       .session = op.receipt.session,
       .epoch = epoch,
       .token = token,
       .operation = index},
      // Who stands still cannot know.
      [this](int client) {
        return !network_.client(static_cast<size_t>(client)).stalled();
      });
  if (!wrong.empty()) Fail("more hold it than may", wrong);
  machine(op.client)->Watch(
      op.receipt.session,
      [this, index](const absl::Status&) { holders_.Remove(index); });
}

void World::Settle(size_t index, bool taken) {
  Operation& op = operations_[index];
  if (op.settled || op.life != program(op.client).life ||
      machine(op.client) == nullptr) {
    return;
  }
  if (network_.client(static_cast<size_t>(op.client)).stalled()) {
    network_.At(network_.now() + 50 * kMillisecond,
                [this, index, taken] { Settle(index, taken); });
    return;
  }
  Trace(absl::StrCat("client ", op.client, taken ? " takes " : " returns ",
                     index));
  taken = taken || op.given_back;
  op.settled = true;
  op.taken = taken;
  if (!taken) holders_.Remove(index);
  if (op.record == Operation::Record::kPipe &&
      op.step->kind != Kind::kHoldRead) {
    history_.pipes[op.place].taken = taken;
  }
  machine(op.client)->Settle(op.receipt, taken);
}

history::Call& World::CallOf(Operation::Record record, size_t place) {
  switch (record) {
    case Operation::Record::kCompletion:
      return history_.completions[place];
    case Operation::Record::kPipe:
      return history_.pipes[place];
    default:
      return history_.words[place];
  }
}

void World::RecordOthers(Operation& op, const absl::Status& status,
                         v1::Result* result) {
  const bool one = status.ok() && result->wait_any().has_alternative();
  if (one && result->wait_any().alternative() > 0) {
    Operation::Alternative& chosen =
        op.others[result->wait_any().alternative() - 1];
    std::swap(chosen.record, op.record);
    std::swap(chosen.place, op.place);
  }
  for (const Operation::Alternative& other : op.others) {
    history::Call& call = CallOf(other.record, other.place);
    call.returned = network_.now();
    if (!status.ok()) {
      call.outcome =
          OutcomeUnknown(status) ? Outcome::kUnknown : Outcome::kNoEffect;
    } else if (one || setting_.small_limits ||
               program(op.client).attached_safely > op.invoked) {
      call.outcome = Outcome::kNoEffect;
    } else {
      call.outcome = result->wait_any().outcome() == v1::OUTCOME_TIMED_OUT
                         ? Outcome::kTimedOut
                         : Outcome::kWouldBlock;
    }
  }
}

void World::Record(Operation& op, const absl::Status& status,
                   v1::Result* result) {
  if (op.accepts >= 0) {
    PipeCall& read = history_.pipes[static_cast<size_t>(op.accepts)];
    if (status.ok()) {
      read.may_be_redelivered = false;
    } else if (!OutcomeUnknown(status)) {
      read.taken = false;
    }
  }
  if (op.record == Operation::Record::kNone) return;
  // It may have been begun more than once; the others took something, and
  // nobody knows it.
  if (op.restartable && program(op.client).attached_safely > op.invoked) {
    for (int twin = 0; twin < 2; ++twin) {
      AddTwinFrom(op, op.invoked);
      AddTwin(op);
    }
  }
  history::Call* call = nullptr;
  switch (op.record) {
    case Operation::Record::kNone:
      return;
    case Operation::Record::kWord:
      call = &history_.words[op.place];
      break;
    case Operation::Record::kCompletion:
      call = &history_.completions[op.place];
      break;
    case Operation::Record::kPipe:
      call = &history_.pipes[op.place];
      break;
  }
  call->returned = network_.now();
  if (!status.ok()) {
    if (OutcomeUnknown(status)) {
      call->outcome = Outcome::kUnknown;
      ++result_.unknown;
      AddTwin(op);
    } else {
      call->outcome = ErrorReason(status) == "EINTR" ? Outcome::kInterrupted
                                                     : Outcome::kNoEffect;
    }
    return;
  }
  const auto outcome = [&](v1::Outcome wire) {
    switch (wire) {
      case v1::OUTCOME_TIMED_OUT:
        return Outcome::kTimedOut;
      case v1::OUTCOME_WOULD_BLOCK:
        return Outcome::kWouldBlock;
      case v1::OUTCOME_END_OF_FILE:
        return Outcome::kNoEffect;  // an end may stand before what came since
      default:
        return Outcome::kDone;
    }
  };
  call->outcome = Outcome::kDone;
  if (result->has_wait() && op.record != Operation::Record::kWord) {
    call->outcome = outcome(result->wait().outcome());
  } else if (result->has_wait()) {
    WordCall& word = history_.words[op.place];
    word.outcome = outcome(result->wait().outcome());
    word.value_before = result->wait().value_before();
    word.value_after = result->wait().value_after();
    word.generation = result->wait().generation();
    word.may_be_passed_on = true;  // until it is acknowledged
  } else if (result->has_wake_up()) {
    WordCall& word = history_.words[op.place];
    word.value_after = result->wake_up().value();
    word.woken = result->wake_up().woken();
    word.generation = result->wake_up().generation();
  } else if (result->has_store()) {
    WordCall& word = history_.words[op.place];
    word.value_before = result->store().value_before();
    word.generation = result->store().generation();
  } else if (result->has_get()) {
    WordCall& word = history_.words[op.place];
    word.value_after = result->get().value();
    word.generation = result->get().generation();
  } else if (result->has_completion_wait()) {
    CompletionCall& completion = history_.completions[op.place];
    completion.outcome = outcome(result->completion_wait().outcome());
    completion.redelivered = result->completion_wait().redelivered();
    completion.generation = result->completion_wait().generation();
    completion.may_be_redelivered = true;  // until it is acknowledged
  } else if (result->has_try_wait()) {
    CompletionCall& completion = history_.completions[op.place];
    completion.yes = result->try_wait().taken();
    completion.may_be_redelivered = completion.yes;
    // It may have been passed by, and then has not looked.
    if (!completion.yes && (setting_.small_limits ||
                            program(op.client).attached_safely > op.invoked)) {
      completion.outcome = Outcome::kNoEffect;
    }
  } else if (result->has_complete()) {
    CompletionCall& completion = history_.completions[op.place];
    completion.woken = result->complete().woken();
    completion.done = result->complete().done();
    completion.generation = result->complete().generation();
  } else if (result->has_reinit()) {
    history_.completions[op.place].generation = result->reinit().generation();
  } else if (result->has_write()) {
    PipeCall& pipe = history_.pipes[op.place];
    pipe.outcome = outcome(result->write().outcome());
    pipe.accepted_bytes = result->write().accepted_bytes();
    pipe.offset = result->write().offset();
    pipe.incarnation = result->write().incarnation();
    const auto log = log_of_.find(machine(op.client)->token());
    if (op.packet >= 0 && pipe.outcome == Outcome::kDone &&
        log != log_of_.end()) {
      packets_[static_cast<size_t>(op.packet)].epoch = logs_[log->second].epoch;
    }
  } else if (result->has_read()) {
    PipeCall& pipe = history_.pipes[op.place];
    pipe.outcome = outcome(result->read().outcome());
    pipe.data = result->read().data();
    pipe.offset = result->read().offset();
    pipe.incarnation = result->read().incarnation();
    pipe.redelivered = result->read().redelivered();
    pipe.taken =
        op.step->take == Take::kAtOnce && op.step->kind != Kind::kHoldRead;
    pipe.may_be_redelivered = true;
    last_read_bytes_ = static_cast<int64_t>(pipe.data.size());
  }
  // What takes is passed by while its session is away: then it ends untested.
  if (op.takes &&
      (call->outcome == Outcome::kTimedOut ||
       call->outcome == Outcome::kWouldBlock) &&
      (setting_.small_limits ||
       program(op.client).attached_safely > op.invoked)) {
    call->outcome = Outcome::kNoEffect;
  }
}

// --- What passes -------------------------------------------------------------

void World::Acknowledged(SessionLog& log, uint64_t number) {
  SessionLog::Answer& answer = log.answers[number - 1];
  if (answer.acknowledged || answer.returned) return;
  answer.acknowledged = true;
  if (!answer.took) return;
  if (answer.operation < 0) {
    return Fail("nobody has taken what is acknowledged",
                absl::StrCat("result ", number, " of client ", log.client,
                             " told nobody"));
  }
  const Operation& op = operations_[static_cast<size_t>(answer.operation)];
  if (!op.settled || !op.taken) {
    return Fail("nobody has taken what is acknowledged",
                absl::StrCat("result ", number, " of client ", log.client,
                             ", operation ", answer.operation));
  }
  if (op.record == Operation::Record::kCompletion) {
    history_.completions[op.place].may_be_redelivered = false;
  } else if (op.record == Operation::Record::kWord) {
    history_.words[op.place].may_be_passed_on = false;
  } else if (op.record == Operation::Record::kPipe && answer.hold_id == 0) {
    history_.pipes[op.place].may_be_redelivered = false;
  }
  if (answer.packet >= 0 && answer.hold_id == 0) {
    Packet& packet = packets_[static_cast<size_t>(answer.packet)];
    if (++packet.taken > 1) {
      Fail("taken twice", absl::StrCat("packet ", answer.packet));
    }
  }
}

void World::OnRequest(const std::string& token,
                      const v1::SessionRequest& message) {
  const auto it = log_of_.find(token);
  if (it == log_of_.end()) return;  // the first one
  if (options_.trace) {
    Trace(absl::StrCat("client ", logs_[it->second].client, " >> ",
                       message.ShortDebugString()));
  }
  SessionLog& log = logs_[it->second];
  if (log.over) return;
  uint64_t number = message.first_operation();
  for (const v1::Operation& operation : message.operations()) {
    if (number == log.received + 1) {
      ++log.received;
      if (operation.has_accept()) {
        log.accepts[number] = operation.accept().hold_id();
      }
    }
    ++number;
  }
  for (const uint64_t returned : message.returned()) {
    if (returned > log.answers.size()) {
      return Fail("returned what was never sent", absl::StrCat(returned));
    }
    SessionLog::Answer& answer = log.answers[returned - 1];
    if (answer.acknowledged && answer.took) {
      Fail("returned what was acknowledged",
           absl::StrCat("result ", returned, " of client ", log.client));
    }
    answer.returned = true;
  }
  if (message.taken_up_to() > log.answers.size()) {
    return Fail("acknowledged what was never sent",
                absl::StrCat(message.taken_up_to()));
  }
  while (log.acknowledged_up_to < message.taken_up_to()) {
    Acknowledged(log, ++log.acknowledged_up_to);
  }
  for (const uint64_t taken : message.taken()) {
    if (taken > log.answers.size()) {
      return Fail("acknowledged what was never sent", absl::StrCat(taken));
    }
    Acknowledged(log, taken);
  }
  if (message.end()) log.end_said = true;
}

void World::OnResponse(int client, const std::string& token,
                       const v1::SessionResponse& message) {
  auto [it, is_new] = log_of_.try_emplace(token, logs_.size());
  if (is_new) {
    SessionLog& log = logs_.emplace_back();
    log.client = client;
    log.epoch = message.hello().server_epoch();
    log.grace = absl::ToInt64Nanoseconds(FromWire(message.hello().grace()));
  }
  SessionLog& log = logs_[it->second];
  if (options_.trace) {
    Trace(absl::StrCat("client ", client, " << ", message.ShortDebugString()));
  }
  if (message.has_hello()) {
    Program& me = program(log.client);
    me.attached_safely = std::max(network_.now(), me.last_fault);
  }
  uint64_t number = message.first_result();
  for (const v1::Result& as_sent : message.results()) {
    const v1::Result result = Plain(as_sent);
    const uint64_t this_one = number++;
    if (this_one <= log.answers.size()) {
      if (log.answers[this_one - 1].acknowledged) {
        Fail("sent again what was taken",
             absl::StrCat("result ", this_one, " of client ", log.client));
      }
      continue;
    }
    if (this_one != log.answers.size() + 1) {
      Fail("a result is left out",
           absl::StrCat("result ", this_one, " of client ", log.client));
      return;
    }
    SessionLog::Answer& answer = log.answers.emplace_back();
    if (result.has_completion_wait()) {
      answer.took = result.completion_wait().outcome() == v1::OUTCOME_DONE;
    } else if (result.has_try_wait()) {
      answer.took = result.try_wait().taken();
    } else if (result.has_read()) {
      const std::string& data = result.read().data();
      answer.took = !data.empty();
      answer.hold_id = result.read().hold_id();
      int64_t packet = -1;
      if (data.size() > 2 && data[0] == 'P' &&
          absl::SimpleAtoi(data.substr(1, data.find('.') - 1), &packet) &&
          packet < static_cast<int64_t>(packets_.size())) {
        answer.packet = packet;
        Packet& delivered = packets_[static_cast<size_t>(packet)];
        // (What is held for a time of its own may be sent when that is over.)
        if (delivered.taken > 0 && answer.hold_id == 0) {
          Fail("delivered again after it was taken",
               absl::StrCat("packet ", packet, " to client ", log.client));
        }
        if (delivered.delivered++ > 0 && !result.read().redelivered() &&
            answer.hold_id == 0) {
          Fail("delivered again without a mark",
               absl::StrCat("packet ", packet, " to client ", log.client));
        }
        if (answer.hold_id != 0) packet_of_hold_[answer.hold_id] = packet;
      }
    } else if (result.has_accept()) {
      const auto accept = log.accepts.find(result.operation());
      const auto held = accept == log.accepts.end()
                            ? packet_of_hold_.end()
                            : packet_of_hold_.find(accept->second);
      if (held != packet_of_hold_.end()) {
        if (++packets_[static_cast<size_t>(held->second)].taken > 1) {
          Fail("taken twice", absl::StrCat("packet ", held->second));
        }
      }
    }
  }
}

void World::OnServerRan() {
  if (network_.engine() == nullptr) return;
  engine::SessionTable& sessions = network_.engine()->sessions();
  if (sessions.size() >= sessions_seen_) {
    sessions_seen_ = sessions.size();
    return;
  }
  sessions_seen_ = sessions.size();
  for (const auto& [token, index] : log_of_) {
    SessionLog& log = logs_[index];
    if (log.over || sessions.Find(token, log.epoch).ok()) continue;
    log.over = true;
    Trace(absl::StrCat("the session of client ", log.client, " is over"));
    if (log.end_said) continue;
    SessionMachine* const machine =
        network_.client(static_cast<size_t>(log.client)).machine();
    if (machine == nullptr || machine->IsOver() ||
        network_.client(static_cast<size_t>(log.client)).stalled()) {
      continue;
    }
    if (machine->token() == token) {
      Fail("expired before its client said so",
           absl::StrCat("client ", log.client));
    }
  }
}

// --- The end -----------------------------------------------------------------

void World::Finish() {
  // Nothing more goes wrong. (A hello that was lost is waited for for longer
  // than these graces.)
  Nanos grace = 5 * kSecond;
  for (const Setting::Client& client : setting_.clients) {
    grace = std::max(grace, client.grace);
  }
  Trace("the end begins");
  network_.RunUntil(network_.now() + 4 * grace);
  if (network_.engine() == nullptr) {
    return Fail("harness", "the server is still down");
  }
  for (size_t i = 0; i < setting_.clients.size(); ++i) {
    const int client = static_cast<int>(i);
    if (network_.client(i).stalled() || machine(client) == nullptr) {
      return Fail("harness", "a client is still away");
    }
  }
  CheckWhoIsNotTold();
  for (size_t i = 0; i < setting_.clients.size(); ++i) {
    if (!programs_[i].closing) CancelAll(static_cast<int>(i));
  }
  network_.RunUntil(network_.now() + 3 * kSecond);
  for (size_t i = 0; i < setting_.clients.size(); ++i) {
    if (!programs_[i].under_way.empty()) {
      return Fail("never told",
                  absl::StrCat("operation ", programs_[i].under_way[0],
                               " of client ", i));
    }
    machine(static_cast<int>(i))->Close();
  }
  network_.RunUntil(network_.now() + 2 * grace);
  for (size_t i = 0; i < setting_.clients.size(); ++i) {
    if (!machine(static_cast<int>(i))->IsOver()) {
      return Fail("a client does not end", absl::StrCat("client ", i));
    }
  }
  if (network_.engine()->sessions().size() != 0) {
    return Fail("a session is left",
                absl::StrCat(network_.engine()->sessions().size()));
  }
  SweepPipes();
  if (failed()) return;
  CheckPackets();
  CheckNothingHeld();
}

// Who has not been told yet is asleep; otherwise his answer is lost.
void World::CheckWhoIsNotTold() {
  if (setting_.small_limits) return;  // he may wait for room
  const std::string slept = Holders::CheckSleepers(*network_.engine());
  if (!slept.empty()) return Fail("nobody was woken", slept);
  uint64_t under_way = 0;
  for (const Program& one : programs_) under_way += one.under_way.size();
  if (under_way > network_.engine()->asleep()) {
    Fail("an answer is lost",
         absl::StrCat(under_way, " operations are under way, ",
                      network_.engine()->asleep(), " are asleep"));
  }
}

// One more client takes what is left.
void World::SweepPipes() {
  const int client = static_cast<int>(setting_.clients.size());
  network_.AddClient();
  StartProgram(client);
  program(client).last_fault = 0;
  // A hold of somebody's own may last longer than his session did not.
  std::vector<std::string> pipes(pipes_.begin(), pipes_.end());
  std::sort(pipes.begin(), pipes.end());
  for (const std::string& name : pipes) {
    const auto stat = network_.engine()->Stat(name);
    if (!stat.ok()) continue;
    const auto& pipe = std::get<engine::PipeStat>(stat->state);
    if (pipe.held_bytes > 0) {
      return Fail("bytes are held still", name);
    }
    uint32_t object = 0;
    if (!absl::SimpleAtoi(name.substr(1), &object)) continue;
    int ends = 0;
    for (int reads = 0; reads < 10'000; ++reads) {
      Step& step = own_steps_.emplace_back();
      step.kind = name[0] == 'q' ? Kind::kPacketRead : Kind::kStreamRead;
      step.object = object;
      step.a = 10'000;
      step.nonblock = true;
      last_read_bytes_ = -1;
      Submit(step, client);
      for (int i = 0; i < 1000 && last_read_bytes_ < 0; ++i) {
        network_.RunUntil(network_.now() + 5 * kMillisecond);
      }
      if (last_read_bytes_ < 0) return Fail("a sweeping read sleeps", name);
      // An end, of which there may be several, is no reason to stop.
      if (last_read_bytes_ > 0) ends = 0;
      if (last_read_bytes_ == 0 && ++ends == 4) break;
    }
    const auto after = network_.engine()->Stat(name);
    if (after.ok()) {
      const auto& now = std::get<engine::PipeStat>(after->state);
      if (now.unread_bytes > 0) return Fail("bytes cannot be read", name);
      // (Before that a write that runs on may have kept its own.)
      if (now.readers > 0 || now.writers > 0) {
        return Fail("a handle is open still", name);
      }
      history_.left.push_back(
          {.object = name, .incarnation = after->incarnation, .chunks = {}});
    }
  }
  network_.RunUntil(network_.now() + kSecond);
  machine(client)->Close();
  network_.RunUntil(network_.now() + 10 * kSecond);
  if (!machine(client)->IsOver()) Fail("a client does not end", "the last");
}

void World::CheckPackets() {
  const uint64_t epoch = network_.engine()->epoch();
  for (size_t i = 0; i < packets_.size(); ++i) {
    const Packet& packet = packets_[i];
    // What an earlier server had is gone.
    if (packet.epoch != epoch) continue;
    if (packet.taken != 1) {
      bool accepted = false;  // its answer did not come
      for (const auto& [hold, held] : packet_of_hold_) {
        if (held == static_cast<int64_t>(i)) accepted = true;
      }
      if (accepted && packet.taken == 0) continue;
      return Fail(
          "a packet is lost",
          absl::StrCat("packet ", i, ": written by operation ",
                       packet.operation, ", delivered ", packet.delivered,
                       " times, taken ", packet.taken));
    }
  }
}

void World::CheckNothingHeld() {
  engine::Engine& engine = *network_.engine();
  if (engine.asleep() != 0) {
    return Fail("somebody is left asleep", absl::StrCat(engine.asleep()));
  }
  const std::string granted = Holders::CheckLeft(engine);
  if (!granted.empty()) return Fail("something is granted still", granted);
  for (;;) {
    const auto page = engine.List("", {});
    if (page.empty()) break;
    for (const auto& object : page) {
      (void)engine.Remove(object.name, /*force=*/true);
    }
  }
  network_.RunUntil(network_.now() + kSecond);
  if (engine.bytes() != 0) {
    Fail("bytes are charged still", absl::StrCat(engine.bytes()));
  }
  if (network_.clock().timers().NextWork().has_value()) {
    Fail("a timer is armed still", "at the end");
  }
}

void World::CheckHistory() {
  // Who finds nothing may stand before an end, behind which there is more.
  for (PipeCall& call : history_.pipes) {
    if ((call.outcome == Outcome::kTimedOut ||
         call.outcome == Outcome::kWouldBlock) &&
        call.kind == PipeCall::Kind::kRead && ends_in_.contains(call.object)) {
      call.outcome = Outcome::kNoEffect;
    }
  }
  const history::Report report =
      history::Check(history_, {.max_steps = 200'000});
  if (!report.violations.empty()) {
    const history::Violation& first = report.violations.front();
    Fail("history", absl::StrCat(first.object, ": ", first.what));
  }
  result_.undecided += static_cast<int64_t>(report.undecided.size());
}

}  // namespace

RunResult RunScript(const Setting& setting, const Script& script,
                    const RunOptions& options) {
  return World(setting, script, options).Run();
}

}  // namespace waitq::sim
