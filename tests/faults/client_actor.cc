// The C++ client. What it does by itself when a session is lost, begin anew
// what may happen twice, only shows in whether a grant of its own has lasted:
// so each few calls are made while it has one.

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "client/error.h"
#include "tests/faults/actor.h"

namespace waitq::test {
namespace {

using history::CompletionCall;
using history::PipeCall;
using history::WordCall;

constexpr size_t kCallsOfABatch = 5;

std::optional<Condition> ToClient(const history::Condition& from) {
  using Test = history::Condition::Test;
  switch (from.test) {
    case Test::kEqual:
      return Condition::Equal(from.operand);
    case Test::kNotEqual:
      return Condition::NotEqual(from.operand);
    case Test::kGreaterOrEqual:
      return Condition::AtLeast(from.operand);
    default:
      return std::nullopt;
  }
}

std::optional<Action> ToClient(const history::Action& from) {
  using Change = history::Action::Change;
  if (from.change == Change::kNone) return std::nullopt;
  return from.change == Change::kAdd ? Action::Add(from.operand)
                                     : Action::Set(from.operand);
}

history::Outcome ToHistory(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone:
      return history::Outcome::kDone;
    case Outcome::kEndOfFile:
      return history::Outcome::kEndOfFile;
    default:
      // Its session may have been away, and then nothing was looked at.
      return history::Outcome::kNoEffect;
  }
}

PipeOptions OptionsOf(const std::string& pipe) {
  v1::PipeOptions options;
  SetOptions(pipe, options);
  PipeOptions result{.capacity_bytes = options.capacity_bytes(),
                     .mode = options.mode() == v1::PIPE_MODE_PACKET
                                 ? PipeMode::kPacket
                                 : PipeMode::kStream,
                     .profile = PipeProfile::kQueue};
  if (options.has_atomic_max_bytes()) {
    result.atomic_max_bytes = options.atomic_max_bytes();
  }
  return result;
}

class ClientActor final : public Actor {
 public:
  ClientActor(const ActorOptions& options, HistoryFile& file)
      : options_(options),
        file_(file),
        asker_{.client = options.client, .keeps = true, .session = true} {
    Connect();
  }

  void Step(const Objects& objects, Random& random) override {
    if (random.OneIn(60)) {
      EndBatch();
      client_ = nullptr;
      Forget();
      Connect();
    }
    if (!proof_.is_held()) {
      EndBatch();
      BeginBatch();
    }
    if (!holds_.empty() && random.OneIn(2)) {
      EndHold(random);
    } else if (!grants_.empty() && random.OneIn(3)) {
      GiveBack(random.Below(grants_.size()));
    } else {
      Ask ask = AskMaker(asker_, objects, random).Make();
      if (ask.operation.has_read() && random.OneIn(3)) hold_ = options_.hold;
      Do(std::move(ask), random);
      hold_.reset();
    }
    if (batch_.size() >= kCallsOfABatch) EndBatch();
  }

  void EndRound() override {
    while (!grants_.empty()) GiveBack(0);
    EndBatch();
    holds_.clear();
  }

 private:
  // A grant that the program has, and the wait that it comes from, which is not
  // in the file yet.
  struct Held {
    Grant grant;
    Ask ask;
    bool proven = false;  // it was not begun anew
  };

  void Connect() {
    client_ = nullptr;
    auto client =
        Client::Create({.server = options_.server, .grace = options_.grace});
    if (!client.ok()) std::abort();
    client_ = *std::move(client);
  }

  // --- batches ---

  void BeginBatch() {
    const std::string mine = absl::StrCat("proof/", options_.client);
    auto grant = client_->Acquire(mine, {.condition = Condition::Equal(0),
                                         .then = Action::Set(1),
                                         .timeout = 2 * options_.grace});
    if (grant.ok()) proof_ = *std::move(grant);
  }

  // If the grant was there all the time, so was the session: nothing was begun
  // anew, and what was taken is known to be.
  void EndBatch() {
    bool lasted = proof_.is_held();
    if (lasted) lasted = proof_.GiveBack().ok();
    proof_ = Grant();
    for (Ask& ask : batch_) {
      if (!lasted) {
        if (ask.word()) ask.word()->may_be_passed_on = true;
        if (ask.completion()) ask.completion()->may_be_redelivered = true;
        if (ask.pipe()) ask.pipe()->may_be_redelivered = true;
        AddTwins(ask);
      }
      file_.Add(ask);
    }
    batch_.clear();
    for (Held& held : grants_) held.proven |= lasted;
  }

  // It may have been begun more than once: the others have taken something, and
  // nobody knows it.
  void AddTwins(const Ask& ask) {
    Ask twin = Anew(ask);
    const WordCall* const word = twin.word();
    const bool begins_anew =
        ask.takes && (word == nullptr || word->undo) &&
        !(twin.completion() &&
          twin.completion()->kind == CompletionCall::Kind::kTryWait);
    if (!begins_anew) return;
    twin.base().outlives_restarts = true;
    twin.base().returned = Now();
    if (twin.word()) twin.word()->undone_from = twin.base().invoked;
    file_.Add(twin);
    file_.Add(twin);
  }

  // The client is gone, and with it what it was granted.
  void Forget() {
    for (Held& held : grants_) {
      held.ask.word()->undone_from = held.ask.base().invoked;
      if (!held.proven) AddTwins(held.ask);
      file_.Add(held.ask);
    }
    grants_.clear();
    holds_.clear();
  }

  // --- calls ---

  void Do(Ask ask, Random& random) {
    std::stop_source stop;
    std::jthread stopper;
    if (random.OneIn(8)) {
      stopper = std::jthread(
          [&stop, after = absl::Milliseconds(random.Between(0, 30))] {
            absl::SleepFor(after);
            stop.request_stop();
          });
    }
    ask.base().invoked = Now();
    // What was not sent when a server ended goes to the next.
    ask.base().outlives_restarts = true;
    absl::Status status;
    if (ask.word()) status = DoWord(ask, stop.get_token());
    if (ask.completion()) status = DoCompletion(ask, stop.get_token());
    if (ask.pipe()) status = DoPipe(ask, stop.get_token());
    ask.base().returned = Now();
    if (status.ok() && Took(ask)) return;
    if (!status.ok()) NoteStatus(status, ask);
    if (ask.word() && ask.word()->undo &&
        ask.base().outcome == history::Outcome::kUnknown) {
      ask.word()->undone_from = ask.base().invoked;
    }
    batch_.push_back(std::move(ask));
  }

  static void NoteStatus(const absl::Status& status, Ask& ask) {
    // (Of a cancelled call a late result is returned, but what its `then` did
    // stays done.)
    if (OutcomeUnknown(status) || absl::IsCancelled(status)) {
      ask.base().outcome = history::Outcome::kUnknown;
      return;
    }
    const std::string reason = ErrorReason(status);
    NoteFailure(reason == "EINTR" ? "" : reason, ask);
  }

  // True: it is kept elsewhere.
  bool Took(Ask& ask) {
    if (PipeCall* const read = ask.pipe();
        read && read->hold_id != 0 && read->kind == PipeCall::Kind::kRead) {
      holds_.push_back(*read);
    }
    if (!granted_.is_held()) return false;
    grants_.push_back({std::move(granted_), std::move(ask)});
    granted_ = Grant();
    return true;
  }

  absl::Status DoWord(Ask& ask, std::stop_token stop) {
    WordCall& call = *ask.word();
    if (call.kind == WordCall::Kind::kWait) return DoWait(ask, stop);
    if (call.kind == WordCall::Kind::kGet) {
      const auto result = client_->Get(call.object, stop);
      if (!result.ok()) return result.status();
      call.value_after = result->value;
      call.generation = result->generation;
    } else if (call.kind == WordCall::Kind::kStore) {
      const auto result =
          client_->Store(call.object, call.action.operand, stop);
      if (!result.ok()) return result.status();
      call.value_before = result->value_before;
      call.generation = result->generation;
    } else {
      const v1::WakeUpRequest& request = ask.operation.wake_up();
      const auto result =
          client_->WakeUp(call.object,
                          {.update = ToClient(call.action),
                           .nr = request.has_nr() ? request.nr() : 1,
                           .all = request.all()},
                          stop);
      if (!result.ok()) return result.status();
      call.value_after = result->value;
      call.woken = result->woken;
      call.generation = result->generation;
    }
    call.outcome = history::Outcome::kDone;
    return absl::OkStatus();
  }

  absl::Status DoWait(Ask& ask, std::stop_token stop) {
    WordCall& call = *ask.word();
    const v1::WaitRequest& request = ask.operation.wait();
    WaitOptions options{.condition = ToClient(call.condition),
                        .then = ToClient(call.action),
                        .then_wake = call.then_wake,
                        .timeout = TimeoutOf(ask),
                        .nonblock = request.nonblock()};
    if (request.has_exclusive()) options.exclusive = request.exclusive();
    WaitResult result;
    if (call.undo) {
      auto grant = client_->Acquire(call.object, options, {}, stop);
      if (!grant.ok()) return grant.status();
      granted_ = *std::move(grant);
      result = granted_.result();
    } else {
      const auto waited = client_->Wait(call.object, options, stop);
      if (!waited.ok()) return waited.status();
      result = *waited;
    }
    call.outcome = ToHistory(result.outcome);
    call.value_before = result.value_before;
    call.value_after = result.value_after;
    call.generation = result.generation;
    return absl::OkStatus();
  }

  absl::Status DoCompletion(Ask& ask, std::stop_token stop) {
    CompletionCall& call = *ask.completion();
    call.outcome = history::Outcome::kDone;
    switch (call.kind) {
      case CompletionCall::Kind::kWait: {
        const auto result = client_->Await(
            call.object,
            {.timeout = TimeoutOf(ask),
             .nonblock = ask.operation.completion_wait().nonblock()},
            stop);
        if (!result.ok()) return result.status();
        call.outcome = ToHistory(result->outcome);
        call.redelivered = result->redelivered;
        call.generation = result->generation;
        return absl::OkStatus();
      }
      case CompletionCall::Kind::kTryWait: {
        const auto result = client_->TryWait(call.object, stop);
        if (!result.ok()) return result.status();
        call.yes = *result;
        // It may have been away, and then has not looked.
        if (!call.yes) call.outcome = history::Outcome::kNoEffect;
        return absl::OkStatus();
      }
      case CompletionCall::Kind::kComplete: {
        const auto result = call.nr == CompletionCall::kAll
                                ? client_->CompleteAll(call.object, stop)
                                : client_->Complete(call.object, call.nr, stop);
        if (!result.ok()) return result.status();
        call.woken = result->woken;
        call.done = result->done;
        call.generation = result->generation;
        return absl::OkStatus();
      }
      case CompletionCall::Kind::kReinit: {
        const auto result = client_->Reinit(call.object, stop);
        if (!result.ok()) return result.status();
        call.generation = *result;
        return absl::OkStatus();
      }
      case CompletionCall::Kind::kDone: {
        const auto result = client_->Done(call.object, stop);
        if (!result.ok()) return result.status();
        call.yes = *result;
        return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  }

  absl::Status DoPipe(Ask& ask, std::stop_token stop) {
    PipeCall& call = *ask.pipe();
    call.outcome = history::Outcome::kDone;
    switch (call.kind) {
      case PipeCall::Kind::kWrite: {
        const auto result =
            client_->Write(call.object, call.data,
                           {.pipe = OptionsOf(call.object),
                            .timeout = TimeoutOf(ask),
                            .nonblock = ask.operation.write().nonblock()},
                           stop);
        if (!result.ok()) return result.status();
        call.outcome = ToHistory(result->outcome);
        call.accepted_bytes = result->accepted_bytes;
        call.offset = result->offset;
        call.incarnation = result->incarnation;
        return absl::OkStatus();
      }
      case PipeCall::Kind::kRead: {
        const auto result =
            client_->Read(call.object,
                          {.max_bytes = call.max_bytes,
                           .min_bytes = call.min_bytes,
                           .pipe = OptionsOf(call.object),
                           .hold = hold_,
                           .timeout = TimeoutOf(ask),
                           .nonblock = ask.operation.read().nonblock()},
                          stop);
        if (!result.ok()) return result.status();
        call.outcome = ToHistory(result->outcome);
        call.data = result->data;
        call.offset = result->offset;
        call.incarnation = result->incarnation;
        call.redelivered = result->redelivered;
        call.hold_id = result->hold_id;
        return absl::OkStatus();
      }
      case PipeCall::Kind::kAccept:
        return client_->Accept(call.object, call.hold_id, {}, stop);
      case PipeCall::Kind::kRelease:
        return client_->Release(call.object, call.hold_id, stop);
    }
    return absl::OkStatus();
  }

  static std::optional<absl::Duration> TimeoutOf(const Ask& ask) {
    return ask.sleeps;
  }

  void GiveBack(uint64_t which) {
    EndBatch();
    Held held = std::move(grants_[which]);
    grants_.erase(grants_.begin() + static_cast<ptrdiff_t>(which));
    Ask ask = MakeGiveBack(asker_, held.ask.base().object, held.grant.token());
    ask.base().invoked = Now();
    const auto result = held.grant.GiveBack();
    ask.base().returned = Now();
    if (result.ok()) {
      WordCall& call = *ask.word();
      call.outcome = history::Outcome::kDone;
      call.value_after = result->value;
      call.woken = result->woken;
      call.generation = result->generation;
    } else {
      ask.base().outcome = history::Outcome::kUnknown;
      held.ask.word()->undone_from = held.ask.base().invoked;
    }
    if (!held.proven) AddTwins(held.ask);
    file_.Add(held.ask);
    file_.Add(ask);
  }

  void EndHold(Random& random) {
    const PipeCall read = holds_.back();
    holds_.pop_back();
    Do(random.OneIn(3) ? MakeRelease(asker_, read)
                       : MakeAccept(asker_, read, 0),
       random);
  }

  const ActorOptions options_;
  HistoryFile& file_;
  const Asker asker_;
  std::unique_ptr<Client> client_;
  std::optional<absl::Duration> hold_;  // of the read that is being made
  Grant proof_;
  std::vector<Ask> batch_;  // since it was granted
  Grant granted_;           // to the call under way
  std::vector<Held> grants_;
  std::vector<PipeCall> holds_;
};

}  // namespace

std::unique_ptr<Actor> MakeClientActor(const ActorOptions& options,
                                       HistoryFile& file) {
  return std::make_unique<ClientActor>(options, file);
}

}  // namespace waitq::test
