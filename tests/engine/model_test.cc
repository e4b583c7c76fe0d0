// Random operations on a wait queue, a completion and a pipe, against plain
// models of them: one thread, simulated time, every result and every number
// compared. The models are written for reading, not for speed.

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "core/timer_wheel.h"
#include "gtest/gtest.h"
#include "server/engine/error.h"
#include "tests/engine/calls.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/random.h"

namespace waitq::engine {
namespace {

using waitq::test::Random;
using waitq::test::Seed;
using waitq::test::Times;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr uint32_t kAll = CompletionObject::kAll;

// A condition or an action, and what it means.
struct ModelCondition {
  Condition condition;
  std::function<bool(int64_t value, uint64_t generation, bool woken)> holds;
};
struct ModelAction {
  Action action;
  // Nothing: it would overflow.
  std::function<std::optional<int64_t>(int64_t value)> result;
};

std::optional<int64_t> Sum(int64_t a, int64_t b) {
  const __int128 sum = static_cast<__int128>(a) + b;
  if (sum != static_cast<int64_t>(sum)) return std::nullopt;
  return static_cast<int64_t>(sum);
}

ModelCondition RandomCondition(Random& random, uint64_t generation) {
  const int64_t x = random.Between(-1, 3);
  switch (random.Below(10)) {
    case 0:
      return {Woken(), [](int64_t, uint64_t, bool woken) { return woken; }};
    case 1:
      return {NotEqual(x), [x](int64_t v, uint64_t, bool) { return v != x; }};
    case 2:
      return {Less(x), [x](int64_t v, uint64_t, bool) { return v < x; }};
    case 3:
      return {LessOrEqual(x),
              [x](int64_t v, uint64_t, bool) { return v <= x; }};
    case 4:
      return {Greater(x), [x](int64_t v, uint64_t, bool) { return v > x; }};
    case 5:
      return {GreaterOrEqual(x),
              [x](int64_t v, uint64_t, bool) { return v >= x; }};
    case 6:
      return {AllBits(3), [](int64_t v, uint64_t, bool) {
                return v % 4 == 3 || v % 4 == -1;
              }};
    case 7:
      return {AnyBits(3), [](int64_t v, uint64_t, bool) { return v % 4 != 0; }};
    case 8:
      return {
          ChangedSince(generation),
          [generation](int64_t, uint64_t g, bool) { return g != generation; }};
    default:
      return {Equal(x), [x](int64_t v, uint64_t, bool) { return v == x; }};
  }
}

ModelAction RandomAction(Random& random) {
  const int64_t x = random.OneIn(20)
                        ? kMax - static_cast<int64_t>(random.Below(2))
                        : random.Between(-2, 3);
  switch (random.Below(6)) {
    case 0:
    case 1:
      return {Set(x), [x](int64_t) { return x; }};
    case 2:
    case 3:
      return {Add(x), [x](int64_t v) { return Sum(v, x); }};
    case 4:
      return {Or(1), [](int64_t v) { return v % 2 == 0 ? v + 1 : v; }};
    default:
      return {And(-2), [](int64_t v) { return v % 2 == 0 ? v : v - 1; }};
  }
}

// What the models tell the test.
struct Expected {
  Call* call;
  Ending ending;
  std::function<void()> check;  // of the rest of the result
};

// When somebody's time is over: the tick, and how long it is after the start.
struct Alarm {
  absl::Time at;
  std::function<void()> ring;
};

class ModelTest : public EngineTest {
 protected:
  ModelTest() : random_(Seed()) {}

  void SetUp() override {
    MakeQueue();
    MakeCompletion();
    MakePipe();
  }

  void Step() {
    switch (random_.Below(12)) {
      case 0:
      case 1:
        return StartWait();
      case 2:
        return DoWakeUp();
      case 3:
        return DoStore();
      case 4:
        return StartDone();
      case 5:
        return DoCompletion();
      case 6:
      case 7:
        return StartRead();
      case 8:
      case 9:
        return StartWrite();
      case 10:
        return Disturb();
      default:
        return random_.OneIn(50) ? DoRemove() : Advance();
    }
  }

  void TearDown() override {
    // How many of the sleeps have ended in which way.
    for (const auto& [ending, count] : endings_) {
      RecordProperty(NameOf(ending), count);
    }
    EngineTest::TearDown();
  }

  // Compares what ended, and what is there.
  void Compare() {
    std::vector<Call*> expected;
    for (const Expected& one : expected_) expected.push_back(one.call);
    ASSERT_EQ(TakeEnded(), expected) << "others have ended, or in this order";
    for (const Expected& one : expected_) {
      ASSERT_EQ(one.call->operation().ending(), one.ending);
      one.check();
      ++endings_[one.ending];
    }
    expected_.clear();
    const WordResult word = engine().Get("q").value();
    ASSERT_EQ(word.value, value_);
    ASSERT_EQ(word.generation, queue_generation_);
    const ObjectStat completion = engine().Stat("c").value();
    ASSERT_EQ(std::get<CompletionObject::Result>(completion.state).done, done_);
    ASSERT_EQ(completion.generation, completion_generation_);
    const PipeStat pipe = StatPipe("p");
    ASSERT_EQ(pipe.unread_bytes, bytes_.size());
    ASSERT_EQ(pipe.read_offset, read_offset_);
    ASSERT_EQ(pipe.write_offset, read_offset_ + bytes_.size());
    ASSERT_EQ(pipe.generation, pipe_generation_);
    ASSERT_EQ(engine().asleep(),
              waits_.size() + dones_.size() + reads_.size() + writes_.size());
    ASSERT_EQ(engine().Stat("q")->sleepers, waits_.size());
    ASSERT_EQ(completion.sleepers, dones_.size());
  }

 private:
  // What is the same for every sleeper.
  struct Sleep {
    SleepOptions options;
    absl::Time end;  // of the timeout

    // The tick at which it rings.
    absl::Time tick() const {
      return absl::UnixEpoch() + absl::Ceil(end - absl::UnixEpoch(), kTick);
    }
  };
  struct Wait {
    Sleep sleep;
    ModelCondition condition;
    std::optional<ModelAction> then;
    bool exclusive;
    WaitCall* call;
  };
  struct Done {
    Sleep sleep;
    DoneCall* call;
  };
  struct Read {
    Sleep sleep;
    uint64_t max;
    ReadCall* call;
  };
  struct Write {
    Sleep sleep;
    std::string left;
    uint64_t total;
    uint64_t turn_left;
    uint64_t offset;
    WriteCall* call;
  };

  // --- Sleeping
  // ---------------------------------------------------------------

  // No two sleepers' times end in the same tick: their order would be open.
  Sleep RandomSleep() {
    Sleep sleep{{}, absl::InfiniteFuture()};
    const TaskState states[] = {kInterruptible, kInterruptible, kKillable,
                                kUninterruptible};
    sleep.options.state = states[random_.Below(4)];
    sleep.options.nonblock = random_.OneIn(8);
    if (random_.OneIn(8)) {
      sleep.options.timeout = absl::ZeroDuration();
      sleep.end = Now();
    } else if (random_.OneIn(2)) {
      do {
        sleep.options.timeout =
            absl::Nanoseconds(1 + random_.Below(30'000'000));
        sleep.end = Now() + *sleep.options.timeout;
      } while (IsTaken(sleep.tick()));
    }
    return sleep;
  }

  bool IsTaken(absl::Time tick) const {
    const auto same = [&](const auto& sleeper) {
      return sleeper.sleep.tick() == tick;
    };
    return std::any_of(waits_.begin(), waits_.end(), same) ||
           std::any_of(dones_.begin(), dones_.end(), same) ||
           std::any_of(reads_.begin(), reads_.end(), same) ||
           std::any_of(writes_.begin(), writes_.end(), same);
  }

  // Why one whose condition does not hold may not sleep.
  static std::optional<Ending> Refusal(const Sleep& sleep) {
    if (sleep.options.nonblock) return Ending::kWouldBlock;
    if (sleep.options.timeout == absl::ZeroDuration()) return Ending::kTimedOut;
    return std::nullopt;
  }

  // What is left of the timeout at `now`.
  static std::optional<absl::Duration> Left(const Sleep& sleep, Ending ending,
                                            absl::Time now) {
    if (!sleep.options.timeout.has_value()) return std::nullopt;
    return std::max(sleep.end - now,
                    ending == Ending::kDone ? kTick : absl::ZeroDuration());
  }

  // Ends a sleeper: the engine is to say so, with this besides.
  template <class S>
  void End(const S& sleeper, Ending ending, std::function<void()> check) {
    const auto left = Left(sleeper.sleep, ending, now_);
    Call* const call = sleeper.call;
    expected_.push_back({call, ending, [=] {
                           EXPECT_EQ(call->operation().remaining(), left);
                           EXPECT_TRUE(call->operation().slept());
                           check();
                         }});
  }

  // The same for one that has not slept.
  template <class S>
  void ExpectAtOnce(const S& starter, Ending ending) {
    ASSERT_EQ(starter.call->started, Started::kEnded);
    const Operation& op = starter.call->operation();
    ASSERT_EQ(op.ending(), ending);
    ASSERT_EQ(op.remaining(), Left(starter.sleep, ending, Now()));
    ASSERT_FALSE(op.slept());
  }

  // --- The wait queue
  // ---------------------------------------------------------

  void MakeQueue() {
    ASSERT_TRUE(engine().Create("q", {}).value());
    value_ = 0;
    queue_generation_ = ++generation_;
  }

  // If the condition holds, acts, and says how that ends.
  std::optional<Ending> TryWait(const Wait& wait, bool woken) {
    if (!wait.condition.holds(value_, queue_generation_, woken)) {
      return std::nullopt;
    }
    if (!wait.then.has_value()) return Ending::kDone;
    const std::optional<int64_t> after = wait.then->result(value_);
    if (!after.has_value()) return Ending::kOverflow;
    value_ = *after;
    queue_generation_ = ++generation_;
    return Ending::kDone;
  }

  static std::function<void()> CheckWait(WaitCall* call, int64_t before,
                                         int64_t after, uint64_t generation) {
    return [=] {
      EXPECT_EQ((*call)->value_before(), before);
      EXPECT_EQ((*call)->value_after(), after);
      EXPECT_EQ((*call)->generation(), generation);
    };
  }

  void EndWait(const Wait& wait, Ending ending, int64_t before) {
    End(wait, ending,
        CheckWait(wait.call, ending == Ending::kDone ? before : value_, value_,
                  queue_generation_));
  }

  void StartWait() {
    Wait wait{RandomSleep(),
              RandomCondition(random_, queue_generation_),
              {},
              random_.OneIn(2),
              nullptr};
    if (random_.OneIn(2)) wait.then = RandomAction(random_);
    wait.call = &EngineTest::Wait(
        "q", {.condition = wait.condition.condition,
              .then = wait.then.has_value() ? wait.then->action : Action(),
              .exclusive = wait.exclusive,
              .sleep = wait.sleep.options});
    const int64_t before = value_;
    std::optional<Ending> ending = TryWait(wait, /*woken=*/false);
    if (!ending.has_value()) ending = Refusal(wait.sleep);
    if (ending.has_value()) {
      ExpectAtOnce(wait, *ending);
      CheckWait(wait.call, before, value_, queue_generation_)();
      return;
    }
    ASSERT_EQ(wait.call->started, Started::kAsleep);
    waits_.insert(wait.exclusive ? waits_.end() : waits_.begin(), wait);
  }

  void DoWakeUp() {
    std::optional<ModelAction> update;
    if (random_.OneIn(2)) update = RandomAction(random_);
    WakeOptions options;
    if (update.has_value()) options.update = update->action;
    options.mode = random_.OneIn(3) ? kInterruptible : kNormal;
    options.nr = static_cast<int>(random_.Below(4));
    const absl::StatusOr<WakeResult> result = engine().WakeUp("q", options);

    if (update.has_value()) {
      const std::optional<int64_t> after = update->result(value_);
      if (!after.has_value()) {
        ASSERT_EQ(DetailsOf(result.status()).reason, "ERANGE");
        return;
      }
      value_ = *after;
    }
    queue_generation_ = ++generation_;
    uint64_t woken = 0, exclusive = 0;
    int left = options.nr;
    for (auto it = waits_.begin(); it != waits_.end();) {
      const auto wait = it++;
      if ((wait->sleep.options.state & options.mode) == 0) continue;
      const int64_t before = value_;
      const std::optional<Ending> ending = TryWait(*wait, /*woken=*/true);
      if (!ending.has_value()) continue;
      EndWait(*wait, *ending, before);
      const bool counts = wait->exclusive;
      waits_.erase(wait);
      if (*ending != Ending::kDone) continue;
      ++woken;
      if (!counts) continue;
      ++exclusive;
      if (--left == 0) break;
    }
    ASSERT_TRUE(result.ok());
    ASSERT_EQ(result->woken, woken);
    ASSERT_EQ(result->woken_exclusive, exclusive);
    ASSERT_EQ(result->value, value_);
    ASSERT_EQ(result->generation, queue_generation_);
  }

  void DoStore() {
    const int64_t value = random_.Between(-1, 3);
    const WordResult result = engine().Store("q", value).value();
    ASSERT_EQ(result.value, value_);
    value_ = value;
    queue_generation_ = ++generation_;
    ASSERT_EQ(result.generation, queue_generation_);
  }

  // Timeout, signal, or caller gone; only the first two test.
  void EndOne(std::list<Wait>& line, std::list<Wait>::iterator it,
              Ending ending) {
    const int64_t before = value_;
    if (ending != Ending::kCallerGone) {
      ending = TryWait(*it, /*woken=*/false).value_or(ending);
    }
    EndWait(*it, ending, before);
    line.erase(it);
  }

  // --- The completion
  // ---------------------------------------------------------

  void MakeCompletion() {
    CreateOptions options;
    options.kind = ObjectKind::kCompletion;
    ASSERT_TRUE(engine().Create("c", options).value());
    done_ = 0;
    completion_generation_ = ++generation_;
  }

  bool TakeDone() {
    if (done_ == 0) return false;
    if (done_ != kAll) --done_;
    completion_generation_ = ++generation_;
    return true;
  }

  void EndDone(const Done& done, Ending ending) {
    End(done, ending, [call = done.call, generation = completion_generation_] {
      EXPECT_EQ((*call)->generation(), generation);
    });
  }

  void StartDone() {
    Done done{RandomSleep(), nullptr};
    done.call = &WaitDone("c", done.sleep.options);
    if (TakeDone()) return ExpectAtOnce(done, Ending::kDone);
    if (const auto refusal = Refusal(done.sleep)) {
      return ExpectAtOnce(done, *refusal);
    }
    ASSERT_EQ(done.call->started, Started::kAsleep);
    dones_.push_back(done);
  }

  void DoCompletion() {
    switch (random_.Below(6)) {
      case 0: {
        const bool taken = EngineTest::TryWait("c");
        ASSERT_EQ(taken, TakeDone());
        return;
      }
      case 1: {
        engine().Reinit("c").value();
        done_ = 0;
        completion_generation_ = ++generation_;
        return;
      }
      default: {
        const uint32_t nr = random_.OneIn(10)
                                ? kAll - static_cast<uint32_t>(random_.Below(2))
                                : 1 + static_cast<uint32_t>(random_.Below(3));
        const auto result = Complete("c", nr);
        done_ = static_cast<uint32_t>(
            std::min<uint64_t>(uint64_t{done_} + nr, kAll));
        completion_generation_ = ++generation_;
        uint64_t woken = 0;
        while (!dones_.empty() && TakeDone()) {
          EndDone(dones_.front(), Ending::kDone);
          dones_.pop_front();
          ++woken;
        }
        ASSERT_EQ(result.woken, woken);
        ASSERT_EQ(result.done, done_);
        ASSERT_EQ(result.generation, completion_generation_);
      }
    }
  }

  void EndOne(std::list<Done>& line, std::list<Done>::iterator it,
              Ending ending) {
    if (ending != Ending::kCallerGone && TakeDone()) ending = Ending::kDone;
    EndDone(*it, ending);
    line.erase(it);
  }

  // --- The pipe
  // ---------------------------------------------------------------

  static constexpr uint64_t kCapacity = 16;
  static constexpr uint64_t kAtomicMax = 3;
  static constexpr uint64_t kTurn = 4;  // max(atomic_max, capacity / 4)

  void MakePipe() {
    EngineTest::MakePipe("p", kCapacity, kAtomicMax);
    bytes_.clear();
    read_offset_ = 0;
    pipe_generation_ = ++generation_;
  }

  void EndRead(const Read& read, Ending ending, std::string data) {
    End(read, ending,
        [call = read.call, offset = read_offset_ - data.size(), data] {
          EXPECT_EQ(std::string((*call)->data()), data);
          EXPECT_EQ((*call)->offset(), offset);
        });
  }

  void EndWrite(const Write& write, Ending ending) {
    const uint64_t accepted = write.total - write.left.size();
    const uint64_t offset =
        accepted == 0 ? read_offset_ + bytes_.size() : write.offset;
    End(write, ending, [call = write.call, accepted, offset] {
      EXPECT_EQ((*call)->accepted_bytes(), accepted);
      EXPECT_EQ((*call)->offset(), offset);
    });
  }

  // Both lines, until neither moves. Writers first.
  void Serve() {
    bool moved = true;
    while (moved) {
      moved = false;
      while (!writes_.empty() && ServeFirstWriter()) moved = true;
      for (auto it = reads_.begin(); it != reads_.end();) {
        const auto read = it++;
        std::string data = bytes_.substr(0, read->max);
        if (data.empty() && read->max > 0) continue;
        if (!data.empty()) {
          bytes_.erase(0, data.size());
          read_offset_ += data.size();
          pipe_generation_ = ++generation_;
        }
        EndRead(*read, Ending::kDone, std::move(data));
        reads_.erase(read);
        moved = true;
      }
    }
  }

  // True if something has moved.
  bool ServeFirstWriter() {
    Write& write = writes_.front();
    const bool alone = writes_.size() == 1;
    const bool whole = write.total <= kAtomicMax;
    uint64_t n =
        std::min<uint64_t>(write.left.size(), kCapacity - bytes_.size());
    if (whole && n < write.left.size()) n = 0;
    if (!whole && !alone) {
      if (write.turn_left == 0) write.turn_left = kTurn;
      n = std::min(n, write.turn_left);
    }
    if (n == 0) return false;
    bytes_ += write.left.substr(0, n);
    write.left.erase(0, n);
    write.offset = read_offset_ + bytes_.size();
    pipe_generation_ = ++generation_;
    if (write.left.empty()) {
      EndWrite(write, Ending::kDone);
      writes_.pop_front();
      return true;
    }
    write.turn_left -= std::min(write.turn_left, n);
    if (!alone && write.turn_left == 0) {
      writes_.splice(writes_.end(), writes_, writes_.begin());
    }
    return true;
  }

  // One that has just come is in line, too; its end is at once.
  template <class S>
  void AfterStart(std::list<S>& line, const S& starter) {
    Serve();
    const auto mine = std::find_if(
        line.begin(), line.end(),
        [&](const S& other) { return other.call == starter.call; });
    if (mine != line.end()) {
      const auto refusal = Refusal(starter.sleep);
      if (!refusal.has_value()) {
        ASSERT_EQ(starter.call->started, Started::kAsleep);
        return;
      }
      End(line, mine, *refusal);
      Serve();
    }
    // It is not told, but returned.
    const auto expected = std::find_if(
        expected_.begin(), expected_.end(),
        [&](const Expected& one) { return one.call == starter.call; });
    ASSERT_NE(expected, expected_.end());
    const Ending ending = expected->ending;
    expected_.erase(expected);
    ExpectAtOnce(starter, ending);
  }

  void End(std::list<Read>& line, std::list<Read>::iterator it, Ending ending) {
    EndRead(*it, ending, "");
    line.erase(it);
  }
  void End(std::list<Write>& line, std::list<Write>::iterator it,
           Ending ending) {
    EndWrite(*it, ending);
    line.erase(it);
  }

  void StartRead() {
    Read read{RandomSleep(), random_.Below(10), nullptr};
    read.call = &EngineTest::Read("p", read.max, read.sleep.options);
    reads_.push_back(read);
    AfterStart(reads_, read);
  }

  void StartWrite() {
    std::string data(random_.OneIn(2) ? random_.Between(1, kAtomicMax)
                                      : random_.Between(1, 40),
                     '?');
    for (char& c : data) c = static_cast<char>('a' + letter_++ % 26);
    Write write{RandomSleep(), data, data.size(), 0, 0, nullptr};
    write.call = &EngineTest::Write("p", data, write.sleep.options);
    writes_.push_back(write);
    AfterStart(writes_, write);
  }

  // A pipe has served everybody already: a last test finds nothing.
  template <class S>
  void EndOne(std::list<S>& line, typename std::list<S>::iterator it,
              Ending ending) {
    End(line, it, ending);
    Serve();
  }

  // --- What ends sleeps from outside
  // ------------------------------------------

  template <class S>
  void DisturbOne(std::list<S>& line) {
    if (line.empty()) return;
    const auto it = std::next(line.begin(), random_.Below(line.size()));
    Operation& op = it->call->operation();
    const TaskState state = it->sleep.options.state;
    if (random_.OneIn(3)) {
      engine().CallerGone(op);
      if (state != kUninterruptible) EndOne(line, it, Ending::kCallerGone);
      return;
    }
    const int signals[] = {SIGINT, SIGTERM, SIGKILL, SIGCHLD};
    const int signal = signals[random_.Below(4)];
    engine().Signal(op, signal);
    const bool admitted =
        signal != SIGCHLD &&
        (state == kInterruptible || (state == kKillable && signal != SIGINT));
    if (!admitted) return;
    // Its time may be over though its timer's tick has not come: timeout beats
    // signal.
    EndOne(line, it,
           it->sleep.end <= Now() ? Ending::kTimedOut : Ending::kInterrupted);
  }

  void Disturb() {
    switch (random_.Below(4)) {
      case 0:
        return DisturbOne(waits_);
      case 1:
        return DisturbOne(dones_);
      case 2:
        return DisturbOne(reads_);
      default:
        return DisturbOne(writes_);
    }
  }

  // The first in any line whose time is over by `until` and before `first`.
  template <class S>
  void FindAlarm(std::list<S>& line, absl::Time until,
                 std::optional<Alarm>& first) {
    for (auto it = line.begin(); it != line.end(); ++it) {
      const absl::Time tick = it->sleep.tick();
      if (tick > until || (first.has_value() && first->at <= tick)) continue;
      first = {tick,
               [this, &line, it] { EndOne(line, it, Ending::kTimedOut); }};
    }
  }

  void Advance() {
    const absl::Time until =
        Now() + absl::Nanoseconds(random_.OneIn(2) ? random_.Below(500'000)
                                                   : random_.Below(20'000'000));
    clock().Advance(until - Now());
    for (;;) {
      std::optional<Alarm> first;
      FindAlarm(waits_, until, first);
      FindAlarm(dones_, until, first);
      FindAlarm(reads_, until, first);
      FindAlarm(writes_, until, first);
      if (!first.has_value()) break;
      now_ = first->at;
      first->ring();
    }
  }

  template <class S, class E>
  uint64_t EndAll(std::list<S>& line, E end) {
    const uint64_t n = line.size();
    for (const S& sleeper : line) end(sleeper);
    line.clear();
    return n;
  }

  void DoRemove() {
    const std::string name(1, "qcp"[random_.Below(3)]);
    const uint64_t ended = engine().Remove(name, random_.OneIn(2)).value();
    uint64_t n = 0;
    if (name == "q") {
      n = EndAll(waits_, [&](const Wait& wait) {
        EndWait(wait, Ending::kRemoved, value_);
      });
      MakeQueue();
    } else if (name == "c") {
      n = EndAll(dones_,
                 [&](const Done& done) { EndDone(done, Ending::kRemoved); });
      MakeCompletion();
    } else {
      n = EndAll(reads_, [&](const Read& read) {
        EndRead(read, Ending::kRemoved, "");
      });
      n += EndAll(writes_, [&](const Write& write) {
        EndWrite(write, Ending::kRemoved);
      });
      MakePipe();
    }
    ASSERT_EQ(ended, n);
  }

 protected:
  // The time of what happens in the models: while the clock goes on it is that
  // of each timer.
  absl::Time now_;

 private:
  Random random_;
  uint64_t generation_ = kFirstGeneration;
  int letter_ = 0;

  int64_t value_ = 0;
  uint64_t queue_generation_ = 0;
  std::list<Wait> waits_;

  uint32_t done_ = 0;
  uint64_t completion_generation_ = 0;
  std::list<Done> dones_;

  std::string bytes_;
  uint64_t read_offset_ = 0;
  uint64_t pipe_generation_ = 0;
  std::list<Read> reads_;
  std::list<Write> writes_;

  std::vector<Expected> expected_;
  std::map<Ending, int> endings_;
};

TEST_F(ModelTest, TheEngineDoesWhatPlainModelsDo) {
  const int steps = Times(50'000);
  for (int i = 0; i < steps; ++i) {
    SCOPED_TRACE(testing::Message() << "step " << i);
    now_ = Now();
    Step();
    if (HasFailure()) break;
    Compare();
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace waitq::engine
