// Unary calls, as a short program would send them. A read of what must not be
// lost has a hold, or a request_id.

#include <deque>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/faults/actor.h"
#include "transport/duration.h"

namespace waitq::test {
namespace {

using history::Outcome;
using history::PipeCall;

constexpr absl::Duration kPause = absl::Milliseconds(5);
// For so long a call is sent again; answers are kept for longer.
constexpr absl::Duration kRepeatsFor = absl::Seconds(15);

// Calls `use` with the request, if it is one that may have a request_id.
template <class Use>
bool WithRequest(v1::Operation& operation, const Use& use) {
  using Case = v1::Operation::RequestCase;
  switch (operation.request_case()) {
    case Case::kWait:
      return use(*operation.mutable_wait());
    case Case::kWakeUp:
      return use(*operation.mutable_wake_up());
    case Case::kStore:
      return use(*operation.mutable_store());
    case Case::kCompletionWait:
      return use(*operation.mutable_completion_wait());
    case Case::kTryWait:
      return use(*operation.mutable_try_wait());
    case Case::kComplete:
      return use(*operation.mutable_complete());
    case Case::kReinit:
      return use(*operation.mutable_reinit());
    case Case::kRead:
      return use(*operation.mutable_read());
    case Case::kWrite:
      return use(*operation.mutable_write());
    case Case::kAccept:
      return use(*operation.mutable_accept());
    case Case::kRelease:
      return use(*operation.mutable_release());
    default:
      return false;
  }
}

class UnaryActor final : public Actor {
 public:
  UnaryActor(const ActorOptions& options, HistoryFile& file)
      : options_(options), file_(file), stubs_(ConnectTo(options.server)) {}

  void Step(const Objects& objects, Random& random) override {
    if (random.OneIn(12)) {
      const std::string* const all[] = {&objects.word, &objects.done,
                                        &objects.stream, &objects.queue};
      return stubs_.SignalSomebody(*all[random.Below(4)], random);
    }
    if (!holds_.empty() && random.OneIn(2)) return EndHold(random);
    const bool keeps = random.OneIn(2);
    Ask ask = AskMaker({options_.client, keeps}, objects, random).Make();
    bool repeats = keeps;
    if (keeps && ask.operation.has_read() && !random.OneIn(3)) {
      *ask.operation.mutable_read()->mutable_hold() = ToWire(options_.hold);
      repeats = random.OneIn(3);
    } else if (ask.operation.has_read()) {
      // Somebody may forget its answer before that has arrived.
      ask.pipe()->lost_if_unknown = true;
    }
    Do(std::move(ask), repeats, random);
  }

  void EndRound() override { holds_.clear(); }

 private:
  // A call with its id, if it has one.
  struct Sent {
    Ask ask;
    std::string id;
    int times = 0;
    bool known = false;  // what became of it
    v1::Result result;
  };

  void Do(Ask ask, bool repeats, Random& random) {
    Sent sent{.ask = std::move(ask), .id = {}, .result = {}};
    repeats = repeats && SetId(sent, random);
    // A server that has died in the meantime may have had it, and so may the
    // next one, unless it names one.
    sent.ask.base().outlives_restarts = !repeats;
    sent.ask.base().invoked = Now();
    if (repeats) {
      Repeat(sent, random);
    } else {
      Plain(sent, random);
    }
    Record(sent);
    if (sent.id.empty() || !sent.known || !sent.result.response_case()) return;
    if (random.OneIn(3)) AskAgain(sent);
    if (random.OneIn(3)) AcknowledgeAndReuse(std::move(sent), random);
  }

  bool SetId(Sent& sent, Random& random) {
    if (epoch_ == 0) epoch_ = stubs_.FindEpoch();
    if (epoch_ == 0) return false;
    const uint64_t a = random.Below(~uint64_t{0});
    const uint64_t b = random.Below(~uint64_t{0});
    const std::string id = absl::StrFormat(
        "%08x-%04x-4%03x-%04x-%012x", a >> 32, a >> 16 & 0xffff, a & 0xfff,
        0x8000 | (b >> 48 & 0xfff), b & 0xffffffffffff);
    const auto set = [&](auto& request) {
      request.set_request_id(id);
      request.set_server_epoch(epoch_);
      return true;
    };
    if (!WithRequest(sent.ask.operation, set)) return false;
    sent.id = id;
    return true;
  }

  grpc::Status SendOnce(Sent& sent, absl::Duration cancel_after) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(
        absl::ToChronoTime(absl::Now() + sent.ask.sleeps + kPatience));
    ++sent.times;
    sent.result.Clear();
    if (cancel_after == absl::InfiniteDuration()) {
      return stubs_.Call(&context, sent.ask.operation, &sent.result);
    }
    const Canceller canceller(&context, cancel_after);
    return stubs_.Call(&context, sent.ask.operation, &sent.result);
  }

  void Plain(Sent& sent, Random& random) {
    absl::Duration cancel = absl::InfiniteDuration();
    if (random.OneIn(8)) cancel = absl::Milliseconds(random.Between(0, 30));
    const grpc::Status status = SendOnce(sent, cancel);
    Settle(sent, status, /*cancelled=*/false);
  }

  // Until it is answered.
  void Repeat(Sent& sent, Random& random) {
    const absl::Time end = absl::Now() + kRepeatsFor;
    for (;;) {
      // (A call that may have been answered would be done once more.)
      if (sent.times == 0 && random.OneIn(5)) return CancelById(sent, random);
      // Its caller goes, and comes back.
      absl::Duration cancel = absl::InfiniteDuration();
      if (random.OneIn(5)) cancel = absl::Milliseconds(random.Between(0, 20));
      const grpc::Status status = SendOnce(sent, cancel);
      Settle(sent, status, /*cancelled=*/false);
      if (sent.known || !ReasonOf(status).empty() || absl::Now() > end) return;
      absl::SleepFor(kPause);
    }
  }

  // Somebody says that it is to end. It is not sent again after that.
  void CancelById(Sent& sent, Random& random) {
    bool cancelled = false;
    std::thread canceller(
        [&, after = absl::Milliseconds(random.Between(0, 30))] {
          absl::SleepFor(after);
          cancelled = stubs_.Cancel(sent.ask.operation, sent.id);
        });
    const grpc::Status status = SendOnce(sent, absl::InfiniteDuration());
    canceller.join();
    Settle(sent, status, cancelled);
    sent.id.clear();  // if it was answered that is forgotten
  }

  void Settle(Sent& sent, const grpc::Status& status, bool cancelled) {
    const std::string reason = ReasonOf(status);
    sent.known = true;
    if (status.ok()) {
      NoteResult(sent.result, sent.ask);
      // Who was away was passed by, and then ends without a test.
      const Outcome outcome = sent.ask.base().outcome;
      if (sent.times > 1 && sent.ask.takes &&
          (outcome == Outcome::kTimedOut || outcome == Outcome::kWouldBlock)) {
        sent.ask.base().outcome = Outcome::kNoEffect;
      }
      if (const uint64_t epoch = EpochOf(sent.result)) epoch_ = epoch;
      return;
    }
    sent.result.Clear();
    if (reason == "EOWNERDEAD") {
      epoch_ = 0;
      sent.known = sent.times == 1;
    } else if (reason == "ECANCELED") {
      sent.known = cancelled && sent.times == 1;
    } else {
      sent.known = !reason.empty();
    }
    if (!sent.known) return;
    NoteFailure(sent.times > 1 && reason == "EINTR" ? "" : reason, sent.ask);
  }

  void Record(Sent& sent) {
    history::Call& call = sent.ask.base();
    call.returned = Now();
    if (!sent.known) call.outcome = Outcome::kUnknown;
    // Who comes near the end of his call is not tested any more.
    if (call.outcome == Outcome::kTimedOut &&
        absl::Nanoseconds(call.returned - call.invoked) >
            sent.ask.sleeps + kPatience / 2) {
      call.outcome = Outcome::kNoEffect;
    }
    if (PipeCall* const read = sent.ask.pipe();
        read != nullptr && sent.known && read->hold_id != 0 &&
        read->kind == PipeCall::Kind::kRead) {
      holds_.push_back(*read);
    }
    file_.Add(sent.ask);
  }

  // The same call once more is told the same. What is told otherwise was done
  // once more.
  void AskAgain(const Sent& sent) {
    Sent again = sent;
    again.ask = Anew(sent.ask);
    again.ask.base().invoked = Now();
    const grpc::Status status = SendOnce(again, absl::InfiniteDuration());
    if (!status.ok() ||
        again.result.SerializeAsString() == sent.result.SerializeAsString()) {
      return;
    }
    Settle(again, status, /*cancelled=*/false);
    Record(again);
  }

  // Its caller has the answer, and says so. Then the id is free for a new call.
  void AcknowledgeAndReuse(Sent sent, Random& random) {
    if (!stubs_.Cancel(sent.ask.operation, sent.id)) return;
    if (random.OneIn(2)) return;
    Sent again{.ask = Anew(sent.ask), .id = {}, .result = {}};
    // (Data that is written twice could not be told apart.)
    if (again.ask.pipe() != nullptr && !again.ask.operation.has_read()) return;
    again.ask.base().invoked = Now();
    Settle(again, SendOnce(again, absl::InfiniteDuration()),
           /*cancelled=*/false);
    Record(again);
  }

  void EndHold(Random& random) {
    const auto which =
        holds_.begin() + static_cast<ptrdiff_t>(random.Below(holds_.size()));
    PipeCall read = std::move(*which);
    holds_.erase(which);
    const Asker asker{options_.client};
    const bool repeats = random.OneIn(3);
    const int64_t dice = random.Between(0, 99);
    if (dice < 8) return;  // it will be over
    if (dice < 15) {       // it is over, perhaps
      absl::SleepFor(options_.hold);
    }
    if (dice < 40) {
      Do(MakeRelease(asker, read), repeats, random);
      // Too late.
      if (random.OneIn(2)) Do(MakeAccept(asker, read, 0), false, random);
      return;
    }
    if (!HistoryOptions(read.object).packets && read.data.size() > 2 &&
        random.OneIn(3)) {
      Do(MakeAccept(asker, read, read.offset + read.data.size() / 2), repeats,
         random);
      if (random.OneIn(2)) return Do(MakeRelease(asker, read), repeats, random);
    }
    Do(MakeAccept(asker, read, 0), repeats, random);
  }

  const ActorOptions options_;
  HistoryFile& file_;
  UnaryStubs stubs_;
  uint64_t epoch_ = 0;
  std::deque<PipeCall> holds_;
};

}  // namespace

std::unique_ptr<Actor> MakeUnaryActor(const ActorOptions& options,
                                      HistoryFile& file) {
  return std::make_unique<UnaryActor>(options, file);
}

}  // namespace waitq::test
