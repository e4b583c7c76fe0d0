#include "tests/faults/ask.h"

#include <time.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "transport/duration.h"

namespace waitq::test {
namespace {

using history::CompletionCall;
using history::Outcome;
using history::PipeCall;
using history::WordCall;
using Test = history::Condition::Test;
using Change = history::Action::Change;

// So small that writers sleep, too. (A packet costs 64 bytes more.)
constexpr uint64_t kStreamBytes = 72;
constexpr uint64_t kQueueBytes = 400;

bool IsQueue(const std::string& pipe) { return absl::EndsWith(pipe, "queue"); }

Outcome FromWire(v1::Outcome outcome) {
  switch (outcome) {
    case v1::OUTCOME_TIMED_OUT:
      return Outcome::kTimedOut;
    case v1::OUTCOME_WOULD_BLOCK:
      return Outcome::kWouldBlock;
    case v1::OUTCOME_END_OF_FILE:
      return Outcome::kEndOfFile;
    default:
      return Outcome::kDone;
  }
}

void SetCondition(const history::Condition& from, v1::WaitRequest& request) {
  const int64_t x = from.operand;
  switch (from.test) {
    case Test::kWoken:
      return;
    case Test::kEqual:
      return request.mutable_condition()->set_equal(x);
    case Test::kNotEqual:
      return request.mutable_condition()->set_not_equal(x);
    case Test::kGreaterOrEqual:
      return request.mutable_condition()->set_greater_or_equal(x);
    default:
      return request.mutable_condition()->set_less_or_equal(x);
  }
}

void SetAction(const history::Action& from, v1::Action& action) {
  if (from.change == Change::kAdd) {
    action.set_add(from.operand);
  } else {
    action.set_set(from.operand);
  }
}

}  // namespace

int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

Objects::Objects(uint64_t round)
    : word(absl::StrCat("r", round, "/word")),
      stock(absl::StrCat("r", round, "/stock")),
      lock(absl::StrCat("r", round, "/lock")),
      done(absl::StrCat("r", round, "/done")),
      stream(absl::StrCat("r", round, "/stream")),
      queue(absl::StrCat("r", round, "/queue")),
      lossy(absl::StrCat("r", round, "/lossy")) {}

history::PipeOptions HistoryOptions(const std::string& pipe) {
  return {.packets = IsQueue(pipe), .atomic_max_bytes = kAtomicMaxBytes};
}

void SetOptions(const std::string& pipe, v1::PipeOptions& options) {
  options.set_profile(v1::PIPE_PROFILE_QUEUE);
  if (IsQueue(pipe)) {
    options.set_mode(v1::PIPE_MODE_PACKET);
    options.set_capacity_bytes(kQueueBytes);
  } else {
    options.set_mode(v1::PIPE_MODE_STREAM);
    options.set_capacity_bytes(kStreamBytes);
    options.set_atomic_max_bytes(kAtomicMaxBytes);
  }
}

history::Call& Ask::base() {
  return std::visit([](auto& one) -> history::Call& { return one; }, call);
}

// --- Asking ------------------------------------------------------------------

template <class Call>
Call& AskMaker::Begin(Ask& ask, const std::string& object) {
  Call& call = ask.call.emplace<Call>();
  call.object = object;
  call.client = asker_.client;
  return call;
}

template <class Request>
void AskMaker::SetSleep(Ask& ask, Request& request) {
  if (random_.OneIn(6)) {
    request.set_nonblock(true);
    return;
  }
  ask.sleeps =
      absl::Milliseconds(random_.OneIn(8) ? 0 : random_.Between(1, 40));
  *request.mutable_timeout() = ToWire(ask.sleeps);
}

Ask AskMaker::Make() {
  const int64_t dice = random_.Between(0, 99);
  if (dice < 20) return MakeWait();
  if (dice < 40) return MakeWake();
  if (dice < 48) return MakeAcquire();
  if (dice < 62) return MakeCompletionAsk();
  // Who loses what an answer lost on its way has taken keeps to his own.
  std::string pipe = objects_.lossy;
  if (asker_.keeps) pipe = random_.OneIn(2) ? objects_.stream : objects_.queue;
  return dice < 82 ? MakeWrite(pipe) : MakeRead(pipe);
}

Ask AskMaker::MakeWait() {
  Ask ask;
  auto& call = Begin<WordCall>(ask, objects_.word);
  call.kind = WordCall::Kind::kWait;
  v1::WaitRequest& request = *ask.operation.mutable_wait();
  switch (random_.Below(6)) {
    case 0:
      call.condition = {Test::kNotEqual, 0};
      call.action = {Change::kSet, 0};
      break;
    case 1:
      call.condition = {Test::kEqual, 0};
      call.action = {Change::kSet, 1};
      break;
    case 2:
      call.condition = {Test::kGreaterOrEqual, 1};
      call.action = {Change::kAdd, -1};
      call.then_wake = random_.OneIn(3);
      request.set_then_wake(call.then_wake);
      break;
    case 3:
      call.condition = {Test::kGreaterOrEqual, 2};
      break;
    case 4:
      call.condition = {Test::kEqual, 0};
      break;
    default:
      ask.takes = random_.OneIn(2);
      request.set_exclusive(ask.takes);
      break;
  }
  request.set_name(call.object);
  SetCondition(call.condition, request);
  if (call.action.change != Change::kNone) {
    SetAction(call.action, *request.mutable_then());
    ask.takes = true;
  }
  SetSleep(ask, request);
  return ask;
}

Ask AskMaker::MakeWake() {
  Ask ask;
  auto& call = Begin<WordCall>(ask, objects_.word);
  switch (random_.Below(8)) {
    case 0:
      call.kind = WordCall::Kind::kGet;
      // Of the others, too: who looks tells what was undone.
      call.object = random_.OneIn(3)   ? objects_.word
                    : random_.OneIn(2) ? objects_.stock
                                       : objects_.lock;
      ask.operation.mutable_get()->set_name(call.object);
      return ask;
    case 1:
    case 2:
      call.kind = WordCall::Kind::kStore;
      call.action = {Change::kSet, random_.Between(0, 2)};
      ask.operation.mutable_store()->set_name(call.object);
      ask.operation.mutable_store()->set_value(call.action.operand);
      return ask;
    default:
      break;
  }
  call.kind = WordCall::Kind::kWakeUp;
  v1::WakeUpRequest& request = *ask.operation.mutable_wake_up();
  request.set_name(call.object);
  const history::Action updates[] = {
      {}, {Change::kSet, 1}, {Change::kAdd, 1}, {Change::kSet, 0}};
  call.action = updates[random_.Below(4)];
  if (call.action.change != Change::kNone) {
    SetAction(call.action, *request.mutable_update());
  }
  if (random_.OneIn(3)) {
    request.set_all(true);
  } else {
    request.set_nr(static_cast<uint32_t>(random_.Between(1, 2)));
  }
  return ask;
}

Ask AskMaker::MakeAcquire() {
  Ask ask;
  const bool lock = random_.OneIn(2);
  auto& call = Begin<WordCall>(ask, lock ? objects_.lock : objects_.stock);
  if (!asker_.session) {  // it can only look
    call.kind = WordCall::Kind::kGet;
    ask.operation.mutable_get()->set_name(call.object);
    return ask;
  }
  call.kind = WordCall::Kind::kWait;
  call.undo = true;
  v1::WaitRequest& request = *ask.operation.mutable_wait();
  if (lock) {
    call.condition = {Test::kEqual, 0};
    call.action = {Change::kSet, 1};
  } else {
    call.condition = {Test::kGreaterOrEqual, 1};
    call.action = {Change::kAdd, -1};
  }
  request.set_name(call.object);
  SetCondition(call.condition, request);
  SetAction(call.action, *request.mutable_then());
  request.mutable_undo();
  ask.takes = true;
  SetSleep(ask, request);
  return ask;
}

Ask AskMaker::MakeCompletionAsk() {
  Ask ask;
  auto& call = Begin<CompletionCall>(ask, objects_.done);
  const int64_t dice = random_.Between(0, 99);
  if (dice < 35) {
    call.kind = CompletionCall::Kind::kWait;
    ask.operation.mutable_completion_wait()->set_name(call.object);
    ask.takes = true;
    SetSleep(ask, *ask.operation.mutable_completion_wait());
  } else if (dice < 50) {
    call.kind = CompletionCall::Kind::kTryWait;
    ask.operation.mutable_try_wait()->set_name(call.object);
    ask.takes = true;
  } else if (dice < 88) {
    call.kind = CompletionCall::Kind::kComplete;
    v1::CompleteRequest& request = *ask.operation.mutable_complete();
    request.set_name(call.object);
    if (dice < 54) {
      call.nr = CompletionCall::kAll;
      request.set_all(true);
    } else {
      call.nr = static_cast<uint32_t>(random_.Between(1, 2));
      request.set_nr(call.nr);
    }
  } else if (dice < 94) {
    call.kind = CompletionCall::Kind::kReinit;
    ask.operation.mutable_reinit()->set_name(call.object);
  } else {
    call.kind = CompletionCall::Kind::kDone;
    ask.operation.mutable_done()->set_name(call.object);
  }
  return ask;
}

Ask AskMaker::MakeWrite(const std::string& pipe) {
  Ask ask;
  auto& call = Begin<PipeCall>(ask, pipe);
  call.kind = PipeCall::Kind::kWrite;
  // Each can be told from all others by its first bytes.
  call.data = absl::StrCat(asker_.client, ".", random_.Below(1'000'000), ".");
  const int64_t size = IsQueue(pipe) || !random_.OneIn(5)
                           ? random_.Between(1, kAtomicMaxBytes)
                           : random_.Between(25, 60);
  while (call.data.size() < static_cast<size_t>(size)) {
    call.data.push_back(static_cast<char>('a' + call.data.size() % 26));
  }
  v1::WriteRequest& request = *ask.operation.mutable_write();
  request.set_name(pipe);
  request.set_data(call.data);
  SetOptions(pipe, *request.mutable_options());
  SetSleep(ask, request);
  return ask;
}

Ask AskMaker::MakeRead(const std::string& pipe) {
  Ask ask;
  auto& call = Begin<PipeCall>(ask, pipe);
  call.kind = PipeCall::Kind::kRead;
  v1::ReadRequest& request = *ask.operation.mutable_read();
  request.set_name(pipe);
  SetOptions(pipe, *request.mutable_options());
  if (!IsQueue(pipe)) {
    call.max_bytes = static_cast<uint64_t>(random_.Between(4, 48));
    request.set_max_bytes(call.max_bytes);
    if (random_.OneIn(4)) {
      call.min_bytes = static_cast<uint64_t>(random_.Between(
          2, std::min<int64_t>(static_cast<int64_t>(call.max_bytes), 12)));
      request.set_min_bytes(call.min_bytes);
    }
  }
  call.lost_if_unknown = !asker_.keeps;
  ask.takes = true;
  SetSleep(ask, request);
  return ask;
}

Ask MakeGiveBack(const Asker& asker, const std::string& object,
                 uint64_t generation) {
  Ask ask;
  auto& call = ask.call.emplace<WordCall>();
  call.object = object;
  call.client = asker.client;
  call.kind = WordCall::Kind::kWakeUp;
  call.grant = generation;
  ask.operation.mutable_wake_up()->set_name(object);
  ask.operation.mutable_wake_up()->set_grant(generation);
  return ask;
}

namespace {

Ask MakeHoldEnd(const Asker& asker, const PipeCall& read, PipeCall::Kind kind) {
  Ask ask;
  auto& call = ask.call.emplace<PipeCall>();
  call.object = read.object;
  call.client = asker.client;
  call.kind = kind;
  call.hold_id = read.hold_id;
  call.incarnation = read.incarnation;
  return ask;
}

}  // namespace

Ask MakeAccept(const Asker& asker, const PipeCall& read, uint64_t up_to) {
  Ask ask = MakeHoldEnd(asker, read, PipeCall::Kind::kAccept);
  ask.pipe()->up_to = up_to;
  ask.operation.mutable_accept()->set_name(read.object);
  ask.operation.mutable_accept()->set_hold_id(read.hold_id);
  if (up_to != 0) ask.operation.mutable_accept()->set_up_to_offset(up_to);
  return ask;
}

Ask MakeRelease(const Asker& asker, const PipeCall& read) {
  Ask ask = MakeHoldEnd(asker, read, PipeCall::Kind::kRelease);
  ask.operation.mutable_release()->set_name(read.object);
  ask.operation.mutable_release()->set_hold_id(read.hold_id);
  return ask;
}

// --- What came of it ---------------------------------------------------------

namespace {

void Note(const v1::Result& result, WordCall& call) {
  if (result.has_wait()) {
    call.outcome = FromWire(result.wait().outcome());
    call.value_before = result.wait().value_before();
    call.value_after = result.wait().value_after();
    call.generation = result.wait().generation();
  } else if (result.has_wake_up()) {
    call.value_after = result.wake_up().value();
    call.woken = result.wake_up().woken();
    call.generation = result.wake_up().generation();
  } else if (result.has_store()) {
    call.value_before = result.store().value_before();
    call.generation = result.store().generation();
  } else {
    call.value_after = result.get().value();
    call.generation = result.get().generation();
  }
}

void Note(const v1::Result& result, CompletionCall& call) {
  if (result.has_completion_wait()) {
    call.outcome = FromWire(result.completion_wait().outcome());
    call.redelivered = result.completion_wait().redelivered();
    call.generation = result.completion_wait().generation();
  } else if (result.has_try_wait()) {
    call.yes = result.try_wait().taken();
  } else if (result.has_complete()) {
    call.woken = result.complete().woken();
    call.done = result.complete().done();
    call.generation = result.complete().generation();
  } else if (result.has_reinit()) {
    call.generation = result.reinit().generation();
  } else {
    call.yes = result.done().done();
  }
}

void Note(const v1::Result& result, PipeCall& call) {
  if (result.has_write()) {
    call.outcome = FromWire(result.write().outcome());
    call.accepted_bytes = result.write().accepted_bytes();
    call.offset = result.write().offset();
    call.incarnation = result.write().incarnation();
  } else if (result.has_read()) {
    call.outcome = FromWire(result.read().outcome());
    call.data = result.read().data();
    call.offset = result.read().offset();
    call.incarnation = result.read().incarnation();
    call.redelivered = result.read().redelivered();
    call.hold_id = result.read().hold_id();
  }
}

}  // namespace

Ask Anew(const Ask& ask) {
  Ask anew = ask;
  anew.base().returned = history::kNever;
  anew.base().outcome = Outcome::kUnknown;
  if (WordCall* const word = anew.word()) {
    word->value_before = word->value_after = 0;
    word->woken = word->generation = 0;
  } else if (CompletionCall* const completion = anew.completion()) {
    completion->yes = completion->redelivered = false;
    completion->woken = completion->generation = 0;
    completion->done = 0;
  } else if (PipeCall* const pipe = anew.pipe();
             pipe->kind == PipeCall::Kind::kRead) {
    pipe->data.clear();
    pipe->offset = pipe->incarnation = pipe->hold_id = 0;
    pipe->redelivered = false;
  }
  return anew;
}

void NoteResult(const v1::Result& result, Ask& ask) {
  ask.base().outcome = Outcome::kDone;
  std::visit([&](auto& call) { Note(result, call); }, ask.call);
}

void NoteFailure(const std::string& reason, Ask& ask) {
  ask.base().outcome =
      reason == "EINTR" ? Outcome::kInterrupted : Outcome::kNoEffect;
  if (ask.pipe() != nullptr) ask.pipe()->stale = reason == "ESTALE";
}

}  // namespace waitq::test
