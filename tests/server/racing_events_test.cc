// Two of the events that can end a sleep, at the same moment and over real
// connections, while other callers are busy with other objects: exactly one
// ends it, the answers agree on which, and nothing is taken by a call that was
// not done, nor lost by any other than one that has gone.
//
// What the engine does is proven without gRPC in tests/engine/races_test.cc;
// here it is what the callers are told.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"
#include "tests/server/wire.h"
#include "tests/support/process.h"
#include "tests/support/random.h"
#include "tests/support/rival.h"

namespace waitq::test {
namespace {

using ::testing::IsEmpty;
using Steady = std::chrono::steady_clock;
using std::chrono::microseconds;

// The `timeout` of sleepers that have one, and how long before a call's
// deadline the server ends it.
constexpr std::chrono::milliseconds kTimeout(5);
constexpr std::chrono::milliseconds kMargin(20);
// What a wake gives: more than the sleeper takes, so that one who was ended
// twice would be given twice.
constexpr int64_t kPosted = 2;

// Waits for what comes in less than a millisecond, unless the machine has much
// else to do: then it lets it.
template <class State>
void AwaitSoon(State&& state) {
  for (int i = 0; i < 1000; ++i) {
    if (state()) return;
    std::this_thread::yield();
  }
  EXPECT_TRUE(Await(state)) << "what this waits for never comes";
}

// What can end a sleep (the manual's "Sleeping").
enum class Event {
  kWake,
  kTimer,
  kSignal,
  kCancel,
  kConnectionDies,
  kDeadline,
  kRemove,
  kDrain,
};

const char* NameOf(Event event) {
  constexpr const char* kNames[] = {"Wake",   "Timer",          "Signal",
                                    "Cancel", "ConnectionDies", "Deadline",
                                    "Remove", "Drain"};
  return kNames[static_cast<int>(event)];
}

// Comes by itself.
bool IsOfTheClock(Event event) {
  return event == Event::kTimer || event == Event::kDeadline;
}

// After it, who called may not hear how the call has ended.
bool CallerGoes(Event event) {
  return event == Event::kCancel || event == Event::kConnectionDies ||
         event == Event::kDeadline;
}

using Pair = std::pair<Event, Event>;

// Each with each other one; and two wakes, of which one sleeper takes one.
std::vector<Pair> Pairs() {
  std::vector<Pair> pairs = {{Event::kWake, Event::kWake}};
  for (int a = 0; a <= static_cast<int>(Event::kDrain); ++a) {
    for (int b = a + 1; b <= static_cast<int>(Event::kDrain); ++b) {
      pairs.emplace_back(static_cast<Event>(a), static_cast<Event>(b));
    }
  }
  return pairs;
}

// What sleeps, and so what there is to take.
enum class Kind { kWord, kCompletion, kRead, kWrite };
constexpr int kKinds = 4;

// A call that sleeps, of any kind.
class Sleeper {
 public:
  virtual ~Sleeper() = default;
  virtual void Cancel() = 0;
  virtual bool ended() const = 0;
  // How it ended, for its caller: an outcome's name, or the reason of a
  // failure, or the bare status' number.
  virtual std::string Ending() = 0;

  const std::string name;
  const Kind kind;
  const Steady::time_point started = Steady::now();
  uint64_t task = 0;  // if the race needs it

 protected:
  Sleeper(std::string its_name, Kind its_kind)
      : name(std::move(its_name)), kind(its_kind) {}
};

template <class Request>
class SleeperOf : public Sleeper {
 public:
  SleeperOf(Client& client, const std::string& object, Kind of_kind,
            const std::string& request, std::optional<CallTime> deadline)
      : Sleeper(object, of_kind), call_(client, request, deadline) {}
  void Cancel() override { call_.Cancel(); }
  bool ended() const override { return call_.ended(); }
  std::string Ending() override {
    const grpc::Status& status = call_.status();
    if (status.ok()) return v1::Outcome_Name(call_.response().outcome());
    const std::string reason = ReasonOf(status);
    return reason.empty() ? absl::StrCat("bare ", status.error_code()) : reason;
  }

 private:
  Pending<Request> call_;
};

// What the callers that acted on an object were told.
struct Told {
  int64_t posted = 0;  // tokens, completions, bytes: what could be taken
  int64_t woken = 0;   // sleeps that a wake says it has ended
  int64_t signalled = 0;
  int64_t removed = 0;
};

// Callers of other objects, who take what they give each other.
class Load {
 public:
  Load(std::unique_ptr<Client> giving, std::unique_ptr<Client> taking)
      : giving_(std::move(giving)),
        taking_(std::move(taking)),
        giver_([this] { Give(); }),
        taker_([this] { Take(); }) {}
  ~Load() {
    if (giver_.joinable()) Stop();
  }

  // Ends it, and counts.
  void Stop() {
    stop_ = true;
    giver_.join();
    taker_.join();
    Client& client = *giving_;
    const auto word = Call<v1::GetRequest>(client, "name: 'load/word'");
    const auto pipe = Call<v1::StatRequest>(client, "name: 'load/pipe'");
    EXPECT_EQ(tokens_, word.response.value());
    EXPECT_EQ(bytes_, static_cast<int64_t>(
                          pipe.response.object().pipe().unread_bytes()));
    Call<v1::RemoveRequest>(client, "name: 'load/word'");
    Call<v1::RemoveRequest>(client, "name: 'load/pipe'");
  }

 private:
  void Give() {
    while (!stop_) {
      if (Call<v1::WakeUpRequest>(*giving_,
                                  "name: 'load/word' update { add: 1 }")
              .status.ok()) {
        ++tokens_;
      }
      bytes_ += static_cast<int64_t>(
          Call<v1::WriteRequest>(*giving_,
                                 "name: 'load/pipe' data: 'abc' nonblock: true")
              .response.accepted_bytes());
    }
  }
  void Take() {
    while (!stop_) {
      if (Call<v1::WaitRequest>(
              *taking_,
              "name: 'load/word' condition { greater: 0 } then { add: -1 } "
              "timeout { nanos: 2000000 }")
              .response.outcome() == v1::OUTCOME_DONE) {
        --tokens_;
      }
      bytes_ -= static_cast<int64_t>(
          Call<v1::ReadRequest>(*taking_,
                                "name: 'load/pipe' timeout { nanos: 2000000 }")
              .response.data()
              .size());
    }
  }

  std::atomic<bool> stop_ = false;
  std::atomic<int64_t> tokens_ = 0;
  std::atomic<int64_t> bytes_ = 0;
  const std::unique_ptr<Client> giving_, taking_;
  std::thread giver_, taker_;
};

class RacingEventsTest : public ServerTest,
                         public testing::WithParamInterface<Pair> {
 protected:
  RacingEventsTest() : seed_(Seed()), random_(seed_), rival_(seed_) {}

  void SetUp() override { Connect(); }

  void TearDown() override {
    // Which ways it went; a race that goes one way only is none.
    for (const auto& [ending, count] : endings_) {
      std::printf("%6d %s\n", count, ending.c_str());
    }
    ExpectNothingLeft();
    // A call that is still open would hold it up.
    const absl::Time start = absl::Now();
    StopServer(start + kBound);
    EXPECT_LT(absl::Now() - start, kBound / 2) << "a call is open";
  }

  bool Has(Event event) const {
    return GetParam().first == event || GetParam().second == event;
  }
  bool ACallerGoes() const {
    return CallerGoes(GetParam().first) || CallerGoes(GetParam().second);
  }
  // These meet all sleepers of a connection, or of a server, at once.
  int SleepersOfARound() const {
    return Has(Event::kDrain) ? 8 : Has(Event::kConnectionDies) ? 4 : 1;
  }
  int Rounds() const {
    return Times(Has(Event::kDrain)            ? 8
                 : Has(Event::kConnectionDies) ? 16
                                               : 48);
  }

  // Connections to the server that is there now.
  void Connect() {
    mine_ = NewClient();
    theirs_ = NewClient();
    sleepers_ = NewClient();
    load_ = std::make_unique<Load>(NewClient(), NewClient());
  }

  void Round(int round) {
    if (Has(Event::kConnectionDies)) {
      wire_ = std::make_unique<Wire>(server().address());
      sleepers_ = ClientOf(wire_->address());
    }
    calls_.clear();
    told_[0].clear();
    told_[1].clear();
    for (int i = 0; i < SleepersOfARound(); ++i) {
      Start(absl::StrCat("o", round, "-", i),
            static_cast<Kind>((round + i) % kKinds));
    }
    Race();
    for (auto& call : calls_) {
      // Who has gone hears of it before the server does.
      AwaitSoon([&] { return AsleepOn(call->name) == 0; });
      Check(*call);
    }
    calls_.clear();
    if (!Has(Event::kDrain)) return;
    ExpectNothingLeft();
    StopServer(absl::Now() + kBound);
    Connect();
  }

 private:
  uint64_t AsleepOn(const std::string& name) {
    const auto stat = server().engine().Stat(name);
    return stat.ok() ? stat->sleepers : 0;
  }

  void Start(const std::string& name, Kind kind) {
    std::string request = absl::StrCat("name: '", name, "'");
    if (Has(Event::kTimer)) {
      absl::StrAppend(
          &request, " timeout { nanos: ",
          std::chrono::duration_cast<std::chrono::nanoseconds>(kTimeout)
              .count(),
          " }");
    }
    std::optional<CallTime> deadline;
    if (Has(Event::kDeadline)) {
      deadline = std::chrono::system_clock::now() + kTimeout + kMargin;
    }
    calls_.push_back(NewSleeper(name, kind, request, deadline));
    Sleeper& sleeper = *calls_.back();
    AwaitSoon([&] { return AsleepOn(name) == 1 || sleeper.ended(); });
    if (!Has(Event::kSignal)) return;
    v1::ListTasksRequest list;
    list.set_name(name);
    const auto tasks = Call(*mine_, list);
    if (tasks.response.tasks_size() == 1) {
      sleeper.task = tasks.response.tasks(0).id();
    }
  }

  std::unique_ptr<Sleeper> NewSleeper(const std::string& name, Kind kind,
                                      const std::string& request,
                                      std::optional<CallTime> deadline) {
    switch (kind) {
      case Kind::kWord:
        return std::make_unique<SleeperOf<v1::WaitRequest>>(
            *sleepers_, name, kind,
            request + " condition { greater: 0 } then { add: -1 }", deadline);
      case Kind::kCompletion:
        return std::make_unique<SleeperOf<v1::CompletionWaitRequest>>(
            *sleepers_, name, kind, request, deadline);
      case Kind::kRead:
        return std::make_unique<SleeperOf<v1::ReadRequest>>(
            *sleepers_, name, kind, request + " max_bytes: 1", deadline);
      case Kind::kWrite:
        break;
    }
    // The pipe is full.
    EXPECT_THAT(Call<v1::CreateRequest>(
                    *mine_, absl::StrCat("name: '", name,
                                         "' pipe { capacity_bytes: 2 }"))
                    .status,
                IsOk());
    EXPECT_THAT(Call<v1::WriteRequest>(
                    *mine_, absl::StrCat("name: '", name, "' data: 'xx'"))
                    .status,
                IsOk());
    return std::make_unique<SleeperOf<v1::WriteRequest>>(
        *sleepers_, name, kind, request + " data: 'y'", deadline);
  }

  void Race() {
    Pair pair = GetParam();
    if (IsOfTheClock(pair.first)) std::swap(pair.first, pair.second);
    if (IsOfTheClock(pair.first)) return;  // both come by themselves
    if (!IsOfTheClock(pair.second)) {
      rival_.Race([&] { Fire(pair.first, *mine_, told_[0]); },
                  [&] { Fire(pair.second, *theirs_, told_[1]); });
      return;
    }
    // When the clock's comes, more or less: a little sooner after it was late.
    std::this_thread::sleep_until(calls_[0]->started + kTimeout + lead_ +
                                  microseconds(random_.Between(-300, 300)));
    Fire(pair.first, *mine_, told_[0]);
    AwaitSoon([&] { return calls_[0]->ended(); });
    const bool late = calls_[0]->Ending() == "OUTCOME_TIMED_OUT";
    lead_ = std::clamp(lead_ + microseconds(late ? -100 : 100),
                       microseconds(-4000), microseconds(4000));
  }

  // What this event does to each sleeper. `told`: of each object.
  void Fire(Event event, Client& client, std::map<std::string, Told>& told) {
    if (event == Event::kConnectionDies) return wire_->Cut();
    if (event == Event::kDrain) return server().Drain();
    for (auto& call : calls_) {
      Told& here = told[call->name];
      const std::string named = absl::StrCat("name: '", call->name, "'");
      if (event == Event::kCancel) {
        call->Cancel();
      } else if (event == Event::kSignal) {
        const auto signal = Call<v1::SignalRequest>(
            client, absl::StrCat("id: ", call->task, " signal: SIGNAL_TERM"));
        here.signalled = signal.response.ended() ? 1 : 0;
      } else if (event == Event::kRemove) {
        const auto remove = Call<v1::RemoveRequest>(client, named);
        here.removed = static_cast<int64_t>(remove.response.ended());
      } else {
        Wake(*call, client, named, here);
      }
    }
  }

  void Wake(const Sleeper& call, Client& client, const std::string& named,
            Told& told) {
    switch (call.kind) {
      case Kind::kWord: {
        const auto wake = Call<v1::WakeUpRequest>(
            client, absl::StrCat(named, " update { add: ", kPosted, " }"));
        EXPECT_THAT(wake.status, IsOk());
        told.posted = kPosted;
        told.woken = static_cast<int64_t>(wake.response.woken());
        break;
      }
      case Kind::kCompletion: {
        const auto complete = Call<v1::CompleteRequest>(
            client, absl::StrCat(named, " nr: ", kPosted));
        EXPECT_THAT(complete.status, IsOk());
        told.posted = kPosted;
        told.woken = static_cast<int64_t>(complete.response.woken());
        break;
      }
      case Kind::kRead: {
        const auto write = Call<v1::WriteRequest>(
            client, named + " data: 'zz' nonblock: true");
        // A server that drains takes no bytes.
        EXPECT_TRUE(write.status.ok() || Has(Event::kDrain));
        told.posted = static_cast<int64_t>(write.response.accepted_bytes());
        break;
      }
      case Kind::kWrite: {
        // Room is what is posted.
        const auto read =
            Call<v1::ReadRequest>(client, named + " nonblock: true");
        EXPECT_THAT(read.status, IsOk());
        told.posted = static_cast<int64_t>(read.response.data().size());
        break;
      }
    }
  }

  // How much of what was posted has been taken by the sleeper, as its object
  // says; by a writer, how many of its bytes are in the pipe or went through.
  int64_t TakenOf(const Sleeper& call, const Told& told) {
    v1::StatRequest request;
    request.set_name(call.name);
    const auto answer = Call(*mine_, request);
    // What was left went with the removed object; but if something was posted
    // there, it was while the sleeper was.
    if (!answer.status.ok() ||
        (call.kind == Kind::kWrite && Has(Event::kRemove))) {
      return told.posted > 0 ? 1 : 0;
    }
    const v1::ObjectStat& stat = answer.response.object();
    const auto unread = static_cast<int64_t>(stat.pipe().unread_bytes());
    switch (call.kind) {
      case Kind::kWord:
        return told.posted - stat.wait_queue().value();
      case Kind::kCompletion:
        return told.posted - stat.completion().done();
      case Kind::kRead:
        return told.posted - unread;
      case Kind::kWrite:
        return told.posted + unread - kPosted;
    }
    return -1;
  }

  void Check(Sleeper& call) {
    Told told;
    for (auto& side : told_) {
      told.posted += side[call.name].posted;
      told.woken += side[call.name].woken;
      told.signalled += side[call.name].signalled;
      told.removed += side[call.name].removed;
    }
    const int64_t taken = TakenOf(call, told);
    const std::string ending = call.Ending();
    ++endings_[ending];
    SCOPED_TRACE(absl::StrCat(
        call.name, ", kind ", static_cast<int>(call.kind), ": ", ending,
        ", posted ", told.posted, ", woken ", told.woken, ", taken ", taken,
        ", signalled ", told.signalled, ", removed ", told.removed));
    // One end, whoever was told of it.
    EXPECT_GE(taken, 0);
    EXPECT_LE(taken + told.signalled + told.removed, 1);
    if (call.kind == Kind::kWord || call.kind == Kind::kCompletion) {
      EXPECT_EQ(told.woken, taken);
    }
    EXPECT_TRUE(MayEndAs(ending)) << "nobody did that";
    // What the caller heard is what happened. What happened, the caller heard,
    // unless it has gone.
    const bool must_hear = !ACallerGoes();
    ExpectAgreement(ending == "OUTCOME_DONE", taken, must_hear);
    ExpectAgreement(ending == "EIDRM", told.removed, must_hear);
    // A signal that finds the time over: it has ended the sleep as timed out.
    ExpectAgreement(ending == "EINTR", told.signalled,
                    must_hear && !Has(Event::kTimer));
    v1::RemoveRequest remove;
    remove.set_name(call.name);
    Call(*mine_, remove);
  }

  static void ExpectAgreement(bool heard, int64_t happened, bool must_hear) {
    if (heard || must_hear) {
      EXPECT_EQ(heard, happened == 1);
    }
  }

  bool MayEndAs(const std::string& ending) const {
    const std::multimap<std::string, Event> reasons = {
        {"OUTCOME_DONE", Event::kWake},
        {"OUTCOME_TIMED_OUT", Event::kTimer},
        {"OUTCOME_TIMED_OUT", Event::kDeadline},
        {"EINTR", Event::kSignal},
        {"bare 1", Event::kCancel},
        {"bare 4", Event::kDeadline},
        {"bare 14", Event::kConnectionDies},
        {"EIDRM", Event::kRemove},
        {"ESHUTDOWN", Event::kDrain},
    };
    const auto [from, to] = reasons.equal_range(ending);
    return std::any_of(from, to,
                       [this](const auto& row) { return Has(row.second); });
  }

 protected:
  void ExpectNothingLeft() {
    if (load_ != nullptr) load_->Stop();
    load_ = nullptr;
    EXPECT_THAT(Call<v1::ListTasksRequest>(*mine_, "").response.tasks(),
                IsEmpty());
    EXPECT_THAT(Call<v1::ListObjectsRequest>(*mine_, "").response.objects(),
                IsEmpty());
  }

 private:
  const uint64_t seed_;
  Random random_;
  Rival rival_;
  std::unique_ptr<Wire> wire_;
  std::unique_ptr<Client> mine_, theirs_, sleepers_;
  std::unique_ptr<Load> load_;
  std::vector<std::unique_ptr<Sleeper>> calls_;
  std::map<std::string, Told> told_[2];  // by each side of the race
  microseconds lead_{0};
  std::map<std::string, int> endings_;
};

TEST_P(RacingEventsTest, OneOfThemEndsTheSleepAndNothingIsLost) {
  for (int round = 0; round < Rounds() && !HasFailure(); ++round) Round(round);
}

std::string NameOfPair(const testing::TestParamInfo<Pair>& pair) {
  return absl::StrCat(NameOf(pair.param.first), "And",
                      NameOf(pair.param.second));
}

INSTANTIATE_TEST_SUITE_P(, RacingEventsTest, testing::ValuesIn(Pairs()),
                         NameOfPair);

}  // namespace
}  // namespace waitq::test
