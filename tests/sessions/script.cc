#include "tests/sessions/script.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "tests/support/random.h"

namespace waitq::sim {
namespace {

using test::Random;
using Kind = Step::Kind;
using Take = Step::Take;

constexpr const char* kNames[] = {
    "wait",          "wake_up",      "store",        "get",
    "done_wait",     "try_wait",     "complete",     "reinit",
    "packet_write",  "packet_read",  "hold_read",    "accept_hold",
    "release_hold",  "stream_write", "stream_read",  "open",
    "handle_write",  "handle_read",  "close_handle", "poll",
    "acquire",       "give_back",    "any",          "cancel",
    "cancel_old",    "CUT",          "REFUSE",       "STALL_CLIENT",
    "CRASH",         "CLOSE_CLIENT", "STALL_SERVER", "RESTART_SERVER",
    "REPLACE_SERVER"};

// A time of any length up to about `most`, short ones as likely as long ones.
Nanos LogTime(Random& random, Nanos most) {
  Nanos time = most >> random.Below(12);
  return time / 2 +
         static_cast<Nanos>(random.Below(static_cast<uint64_t>(time / 2) + 1));
}

// What one script does often, and what it does not do at all.
struct Habits {
  explicit Habits(Random& random) {
    static constexpr int kWeights[] = {0, 1, 2, 4};
    const auto weight = [&](Kind kind, int least, int most = 4) {
      const int drawn =
          std::min(kWeights[random.Below(std::size(kWeights))], most);
      kinds.insert(kinds.end(), static_cast<size_t>(std::max(drawn, least)),
                   kind);
    };
    if (!random.OneIn(4)) {
      weight(Kind::kWait, 1);
      weight(Kind::kWakeUp, 1);
      weight(Kind::kStore, 0, 1);
      weight(Kind::kGet, 0, 1);
    }
    if (!random.OneIn(4)) {
      weight(Kind::kDoneWait, 1);
      weight(Kind::kTryWait, 0, 1);
      weight(Kind::kComplete, 1);
      if (random.OneIn(3)) weight(Kind::kReinit, 0, 1);
    }
    if (!random.OneIn(4)) {
      weight(Kind::kPacketWrite, 2);
      weight(Kind::kPacketRead, 2);
      weight(Kind::kHoldRead, 0, 2);
      weight(Kind::kAcceptHold, 0, 1);
      weight(Kind::kReleaseHold, 0, 1);
    }
    if (kinds.empty() || !random.OneIn(4)) {
      weight(Kind::kStreamWrite, 1);
      weight(Kind::kStreamRead, 1);
      weight(Kind::kOpen, 0, 2);
      weight(Kind::kHandleWrite, 0, 2);
      weight(Kind::kHandleRead, 0, 2);
      weight(Kind::kCloseHandle, 0, 2);
      weight(Kind::kPoll, 0, 1);
    }
    if (!random.OneIn(4)) {
      weight(Kind::kAcquire, 1);
      weight(Kind::kGiveBack, 1);
    }
    if (random.OneIn(2)) weight(Kind::kAny, 1);
    weight(Kind::kCancel, 0, 2);
    static constexpr Kind kFaults[] = {
        Kind::kCut,          Kind::kCut,         Kind::kCut,
        Kind::kRefuse,       Kind::kStallClient, Kind::kCrash,
        Kind::kCloseClient,  Kind::kStallServer, Kind::kRestartServer,
        Kind::kReplaceServer};
    for (const Kind kind : kFaults) {
      if (!random.OneIn(3)) faults.push_back(kind);
    }
    static constexpr uint64_t kRates[] = {0, 400, 100, 100, 40, 40, 15};
    fault_one_in = faults.empty() ? 0 : kRates[random.Below(7)];
    gap = 500'000 << random.Below(7);
    objects = 1 + random.Below(3);
    window = 40 + random.Below(100);
    slow_one_in = 1 + random.Below(20);
  }

  std::vector<Kind> kinds;
  std::vector<Kind> faults;
  uint64_t fault_one_in;
  Nanos gap;         // between steps, in the middle
  uint64_t objects;  // of a kind, at a time
  uint64_t window;   // so many steps later there are others
  uint64_t slow_one_in;
};

void AddFault(const Habits& habits, const Setting& setting, Random& random,
              Step& step) {
  step.kind = habits.faults[random.Below(habits.faults.size())];
  const Nanos grace = setting.clients[step.client].grace;
  const auto told = [&]() -> Nanos {
    return random.OneIn(4) ? -1 : LogTime(random, grace);
  };
  switch (step.kind) {
    case Kind::kCut:
      step.a = told();
      step.b = told();
      break;
    case Kind::kCrash:
      step.a = told();
      break;
    case Kind::kRefuse:
    case Kind::kStallClient:
      step.a = LogTime(random, 2 * grace);
      break;
    case Kind::kStallServer:
      step.a = LogTime(random, 2 * grace);
      step.b = random.OneIn(2);
      break;
    case Kind::kRestartServer:
      step.a = LogTime(random, grace);
      step.b = random.OneIn(2);
      break;
    case Kind::kReplaceServer:
      step.a = LogTime(random, 2 * grace);
      step.b = LogTime(random, kSecond);
      break;
    default:
      break;
  }
}

void AddOperation(const Habits& habits, Random& random, Step& step) {
  step.kind = habits.kinds[random.Below(habits.kinds.size())];
  if (!random.OneIn(6)) step.timeout = LogTime(random, 4 * kSecond);
  if (random.OneIn(12)) step.timeout = 0;
  step.nonblock = random.OneIn(8);
  step.restartable = random.OneIn(2);
  if (random.OneIn(10)) step.give_up = LogTime(random, 4 * kSecond);
  if (random.OneIn(habits.slow_one_in)) {
    step.take = static_cast<Take>(1 + random.Below(3));
    if (step.take == Take::kNever && !random.OneIn(4)) step.take = Take::kLater;
    step.take_after = LogTime(random, 2 * kSecond);
  }
  switch (step.kind) {
    case Kind::kWait:
      step.a = random.Between(0, 5);
      step.b = random.Between(1, 3);
      break;
    case Kind::kAny:
      step.a = random.Between(0, 5);
      step.b = random.Between(1, 3);
      break;
    case Kind::kWakeUp:
      step.a = random.Between(0, 3);
      step.b = random.Between(0, 2);
      break;
    case Kind::kStore:
      step.a = random.Between(0, 2);
      break;
    case Kind::kComplete:
      step.a = random.OneIn(30) ? 0 : random.Between(1, 2);
      break;
    case Kind::kPacketWrite:
      step.a = random.Between(8, 40);
      break;
    case Kind::kHoldRead:
      step.a = 1 + random.Log(12);
      break;
    case Kind::kStreamWrite:
    case Kind::kHandleWrite:
      step.b = random.Between(0, 100);
      step.a = step.kind == Kind::kStreamWrite
                   ? (random.OneIn(5) ? random.Between(1, 300)
                                      : random.Between(1, 40))
                   : step.b;
      step.b = std::max<int64_t>(1, step.b);
      step.uninterruptible = random.OneIn(10);
      break;
    case Kind::kStreamRead:
      step.a = random.Between(1, 100);
      break;
    case Kind::kHandleRead:
      step.b = random.Between(1, 100);
      step.a = random.Between(0, 100);
      break;
    case Kind::kOpen:
      step.a = random.OneIn(2);
      break;
    case Kind::kCloseHandle:
      step.b = random.OneIn(4);
      step.a = random.Between(0, 100);
      break;
    case Kind::kPoll:
      step.a = random.Between(1, 3);
      break;
    default:
      step.a = random.Between(0, 100);
      break;
  }
}

}  // namespace

Setting RandomSetting(uint64_t seed) {
  Random random(seed * 2 + 1);
  Setting setting;
  setting.network.seed = seed;
  setting.network.delay_min = 20'000 << random.Below(6);
  if (random.OneIn(2)) {
    setting.network.late_one_in = 5 + random.Below(100);
    setting.network.late_max = 150 * kMillisecond;
  }
  if (random.OneIn(2)) setting.network.stuck_one_in = 2 + random.Below(30);
  const uint64_t clients = 2 + random.Below(3);
  for (uint64_t i = 0; i < clients; ++i) {
    setting.clients.push_back(
        {.grace = random.Between(2'000, 6'000) * kMillisecond,
         .offset = random.Between(0, 1'000'000) * kSecond,
         .fast_ppm = random.Between(-50'000, 50'000)});
  }
  engine::Limits& limits = setting.limits;
  limits.objects = 10'000;
  limits.pipe_bytes = limits.pipe_bytes_in_all = 1 << 20;
  limits.bytes_asleep = 1 << 20;
  if (random.OneIn(3)) {
    setting.small_limits = true;
    static constexpr uint64_t kFew[] = {1, 2, 3, 8, 30};
    if (random.OneIn(2)) limits.results_per_session = kFew[random.Below(5)];
    if (random.OneIn(2)) limits.operations_per_session = 8 << random.Below(6);
    if (random.OneIn(2))
      limits.result_bytes_per_session = 50 << random.Below(6);
  }
  return setting;
}

Script RandomScript(uint64_t seed, const Setting& setting, int operations) {
  Random random(seed * 2);
  const Habits habits(random);
  Script script;
  script.reserve(static_cast<size_t>(operations) * 21 / 20 + 1);
  Nanos at = 0;
  for (int i = 0; i < operations; ++i) {
    Step step;
    at += random.OneIn(3) ? 0 : LogTime(random, 4 * habits.gap);
    step.at = at;
    step.client = static_cast<uint8_t>(random.Below(setting.clients.size()));
    step.object = static_cast<uint32_t>(static_cast<uint64_t>(i) /
                                            habits.window * habits.objects +
                                        random.Below(habits.objects));
    if (habits.fault_one_in > 0 && random.OneIn(habits.fault_one_in)) {
      Step fault = step;
      AddFault(habits, setting, random, fault);
      script.push_back(fault);
    }
    AddOperation(habits, random, step);
    script.push_back(step);
    if (random.OneIn(4 * habits.window)) {
      step.kind = Kind::kCancelOld;
      script.push_back(step);
    }
  }
  return script;
}

std::string ToString(const Step& step) {
  const auto ms = [](Nanos nanos) {
    return absl::StrCat(static_cast<double>(nanos) / 1e6, "ms");
  };
  std::string text =
      absl::StrCat("+", ms(step.at), " client ", step.client, ": ",
                   kNames[static_cast<size_t>(step.kind)], " #", step.object,
                   " a=", step.a, " b=", step.b);
  if (step.timeout >= 0) absl::StrAppend(&text, " timeout=", ms(step.timeout));
  if (step.nonblock) text += " nonblock";
  if (step.restartable) text += " restartable";
  if (step.uninterruptible) text += " uninterruptible";
  if (step.give_up >= 0) absl::StrAppend(&text, " give_up=", ms(step.give_up));
  switch (step.take) {
    case Take::kAtOnce:
      break;
    case Take::kLater:
      absl::StrAppend(&text, " taken after ", ms(step.take_after));
      break;
    case Take::kNever:
      text += " never taken";
      break;
    case Take::kReturn:
      absl::StrAppend(&text, " returned after ", ms(step.take_after));
      break;
  }
  return text;
}

}  // namespace waitq::sim
