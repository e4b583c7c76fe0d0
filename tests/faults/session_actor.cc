// A session by the stub alone. One operation is under way at a time; results
// are taken at once, late, or never, or returned; the stream is left now and
// then, and sometimes the session.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "tests/faults/actor.h"
#include "tests/faults/raw_session.h"
#include "transport/duration.h"
#include "waitq/v1/sessions.grpc.pb.h"

namespace waitq::test {
namespace {

using history::CompletionCall;
using history::Outcome;
using history::PipeCall;
using history::WordCall;

class SessionActor final : public Actor {
 public:
  SessionActor(const ActorOptions& options, HistoryFile& file)
      : options_(options),
        file_(file),
        stub_(ConnectTo(options.server)),
        asker_{.client = options.client, .keeps = true, .session = true} {}

  void Step(const Objects& objects, Random& random) override {
    if (session_ == nullptr || session_->is_over()) {
      Forget();
      session_ = std::make_unique<RawSession>(&stub_, options_.grace,
                                              random.Below(~uint64_t{0}) | 1);
    }
    if (random.OneIn(25)) {
      random.OneIn(2) ? session_->Abandon() : session_->End();
      return;
    }
    if (!late_.empty() && random.OneIn(3)) return SettleLate(random);
    if (!grants_.empty() && random.OneIn(3)) return GiveBack(random);
    if (!holds_.empty() && random.OneIn(3)) return EndHold(random);
    if (!taken_.empty() && random.OneIn(12)) return LookForReplays();
    Ask ask = AskMaker(asker_, objects, random).Make();
    if (ask.operation.has_read() && random.OneIn(3)) {
      *ask.operation.mutable_read()->mutable_hold() = ToWire(options_.hold);
    }
    const auto number = Do(ask, random);
    if (!number.has_value()) return;
    if (!Gives(ask)) {
      acknowledge_.push_back(*number);
      file_.Add(ask);
      return;
    }
    Choose({std::move(ask), *number}, random);
  }

  void EndRound() override {
    while (!late_.empty()) SettleSome(std::exchange(late_, {}), {});
    holds_.clear();
    Forget();
  }

 private:
  // A result that gives something, and is not settled yet.
  struct Kept {
    Ask ask;
    uint64_t number = 0;
  };

  static bool Gives(Ask& ask) {
    if (ask.base().outcome != Outcome::kDone) return false;
    if (WordCall* const word = ask.word()) {
      return word->kind == WordCall::Kind::kWait &&
             (word->undo ||
              word->condition.test == history::Condition::Test::kWoken);
    }
    if (CompletionCall* const completion = ask.completion()) {
      return completion->kind == CompletionCall::Kind::kWait ||
             (completion->kind == CompletionCall::Kind::kTryWait &&
              completion->yes);
    }
    return ask.pipe()->kind == PipeCall::Kind::kRead;
  }

  // The number of its result; none: it is written down as unknown.
  std::optional<uint64_t> Do(Ask& ask, Random& random) {
    ask.base().invoked = Now();
    const bool leave = random.OneIn(8);
    absl::Duration cancel = absl::InfiniteDuration();
    if (!leave && random.OneIn(6)) {
      cancel = absl::Milliseconds(random.Between(0, 30));
    }
    const RawSession::Did did =
        session_->Do(ask.operation, ask.sleeps, leave, cancel);
    ask.base().returned = Now();
    if (!did.result.has_value()) {
      ask.base().outcome = Outcome::kUnknown;
      if (ask.word() != nullptr && ask.word()->undo) {
        ask.word()->undone_from = ask.base().invoked;
      }
      file_.Add(ask);
      return std::nullopt;
    }
    if (did.result->has_failure()) {
      const std::string& reason = did.result->failure().reason();
      NoteFailure(reason == "EINTR" ? "" : reason, ask);
    } else {
      NoteResult(*did.result, ask);
    }
    // Who is away is passed by: then it ends without a test.
    Outcome& outcome = ask.base().outcome;
    if (!did.steady && ask.takes &&
        (outcome == Outcome::kTimedOut || outcome == Outcome::kWouldBlock)) {
      outcome = Outcome::kNoEffect;
    }
    if (ask.completion() != nullptr && !did.steady &&
        ask.completion()->kind == CompletionCall::Kind::kTryWait &&
        !ask.completion()->yes) {
      outcome = Outcome::kNoEffect;
    }
    return did.number;
  }

  void Choose(Kept kept, Random& random) {
    // A hold of its own ends by itself.
    const bool hold = kept.ask.pipe() != nullptr && kept.ask.pipe()->hold_id;
    const int64_t dice = hold ? 0 : random.Between(0, 99);
    if (dice < 55) {
      SettleSome({std::move(kept)}, {});
    } else if (dice < 75) {
      SettleSome({}, {std::move(kept)});
    } else {
      late_.push_back(std::move(kept));
    }
  }

  void SettleLate(Random& random) {
    const auto which =
        late_.begin() + static_cast<ptrdiff_t>(random.Below(late_.size()));
    Kept kept = std::move(*which);
    late_.erase(which);
    if (random.OneIn(3)) {
      SettleSome({}, {std::move(kept)});
    } else {
      SettleSome({std::move(kept)}, {});
    }
  }

  void SettleSome(std::vector<Kept> taken, std::vector<Kept> returned) {
    std::vector<uint64_t> numbers = std::exchange(acknowledge_, {});
    std::vector<uint64_t> back;
    for (const Kept& kept : taken) numbers.push_back(kept.number);
    for (const Kept& kept : returned) back.push_back(kept.number);
    const int64_t begin = Now();
    const bool certain = session_->Settle(numbers, back);
    const int64_t end = Now();
    for (Kept& kept : taken) Took(std::move(kept), certain);
    for (Kept& kept : returned) Returned(std::move(kept), certain, begin, end);
  }

  void Took(Kept kept, bool certain) {
    Ask& ask = kept.ask;
    SetUncertain(ask, !certain);
    if (certain) {
      taken_[kept.number] = ask;
      if (taken_.size() > 5) taken_.erase(taken_.begin());
    }
    if (PipeCall* const read = ask.pipe()) {
      if (read->hold_id != 0) holds_.push_back(*read);
    } else if (WordCall* const wait = ask.word(); wait && wait->undo) {
      if (certain) return grants_.push_back(std::move(ask));
      wait->undone_from = wait->invoked;
    }
    file_.Add(ask);
  }

  void Returned(Kept kept, bool certain, int64_t begin, int64_t end) {
    Ask& ask = kept.ask;
    SetUncertain(ask, true);
    if (PipeCall* const read = ask.pipe()) {
      read->taken = false;
      if (certain) read->put_back_by = end;
    } else if (WordCall* const wait = ask.word(); wait && wait->undo) {
      wait->undone_from = certain ? begin : wait->invoked;
      if (certain) wait->undone_by = end;
    }
    file_.Add(ask);
  }

  static void SetUncertain(Ask& ask, bool uncertain) {
    if (ask.word()) ask.word()->may_be_passed_on = uncertain;
    if (ask.completion()) ask.completion()->may_be_redelivered = uncertain;
    if (ask.pipe()) ask.pipe()->may_be_redelivered = uncertain;
  }

  // The session is over, or nobody asks any more: what was not settled goes
  // back, at some time.
  void Forget() {
    for (Kept& kept : late_) {
      Returned(std::move(kept), /*certain=*/false, 0, 0);
    }
    for (Ask& ask : grants_) {
      ask.word()->undone_from = ask.base().invoked;
      file_.Add(ask);
    }
    late_.clear();
    grants_.clear();
    holds_.clear();
    taken_.clear();
    if (session_ == nullptr || session_->is_over()) acknowledge_.clear();
  }

  void GiveBack(Random& random) {
    const auto which =
        grants_.begin() + static_cast<ptrdiff_t>(random.Below(grants_.size()));
    Ask wait = std::move(*which);
    grants_.erase(which);
    WordCall& grant = *wait.word();
    Ask ask = MakeGiveBack(asker_, grant.object, grant.generation);
    const auto number = Do(ask, random);
    if (ask.base().outcome != Outcome::kDone) {
      grant.undone_from = grant.invoked;
    }
    file_.Add(wait);
    if (!number.has_value()) return;
    acknowledge_.push_back(*number);
    file_.Add(ask);
  }

  void EndHold(Random& random) {
    const auto which =
        holds_.begin() + static_cast<ptrdiff_t>(random.Below(holds_.size()));
    const PipeCall read = *which;
    holds_.erase(which);
    Ask ask = random.OneIn(3) ? MakeRelease(asker_, read)
                              : MakeAccept(asker_, read, 0);
    const auto number = Do(ask, random);
    if (!number.has_value()) return;
    acknowledge_.push_back(*number);
    file_.Add(ask);
  }

  // What was taken for certain does not come again.
  void LookForReplays() {
    for (const uint64_t number : session_->ComeBackWithNothing()) {
      const auto it = taken_.find(number);
      if (it == taken_.end()) continue;
      Ask again = it->second;
      again.base().returned = Now();
      if (again.pipe() != nullptr && again.pipe()->hold_id != 0) continue;
      if (again.word() != nullptr) again.word()->undo = false;
      file_.Add(again);
    }
  }

  const ActorOptions options_;
  HistoryFile& file_;
  v1::Sessions::Stub stub_;
  const Asker asker_;
  std::unique_ptr<RawSession> session_;
  std::vector<Kept> late_;
  std::vector<Ask> grants_;  // waits
  std::vector<PipeCall> holds_;
  std::vector<uint64_t> acknowledge_;  // with the next message
  std::map<uint64_t, Ask> taken_;      // the last ones, by number
};

}  // namespace

std::unique_ptr<Actor> MakeSessionActor(const ActorOptions& options,
                                        HistoryFile& file) {
  return std::make_unique<SessionActor>(options, file);
}

}  // namespace waitq::test
