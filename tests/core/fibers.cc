#include "tests/core/fibers.h"

#include <algorithm>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <utility>

#include "core/check.h"

namespace waitq::test {
namespace {

constexpr size_t kTraceLines = 40;

const char* NameOf(PausePoint point) {
  switch (point) {
    case PausePoint::kBeforeEnqueue:
      return "before enqueuing";
    case PausePoint::kStateSet:
      return "state set";
    case PausePoint::kBeforeSleep:
      return "before sleeping";
    case PausePoint::kBeforePark:
      return "looked for signals";
    case PausePoint::kAfterSleep:
      return "after sleeping";
    case PausePoint::kBeforeFinish:
      return "before finishing";
    case PausePoint::kBeforeUnlink:
      return "before unlinking";
    case PausePoint::kUnlocked:
      return "unlocked";
    case PausePoint::kBeforeWake:
      return "before waking";
    case PausePoint::kSignalPosted:
      return "signal pending";
    case PausePoint::kBeforeStop:
      return "before stopping";
    case PausePoint::kBetweenWakes:
      return "between wakes";
    case PausePoint::kEnteredPoll:
      return "entered for poll";
  }
  return "?";
}

uint32_t BitOf(PausePoint point) { return 1u << static_cast<int>(point); }

// Whose trace to show if a check of core's ends the program.
Fibers* running = nullptr;

extern "C" void ShowTraceAtAbort(int) {
  // Not for signal handlers in general; but abort() was called by this thread.
  if (running != nullptr) std::fputs(running->Trace().c_str(), stderr);
}

}  // namespace

Fibers::Fibers() { Reset(0); }

Fibers::~Fibers() = default;

void Fibers::Reset(uint64_t seed) {
  for (int i = 0; i < count_; ++i) {
    WAITQ_CHECK(fibers_[i]->returned, "a fiber is forgotten that runs still");
    fibers_[i]->task.reset();
  }
  count_ = 0;
  random_.emplace(seed);
  // Drawn once a run: a run is short, and there are many.
  policy_ = static_cast<Policy>(random_->Below(3));
  change_one_in_ = uint64_t{1} << random_->Between(1, 5);
  lowest_priority_ = uint64_t{1} << 62;
  all_steps_ += steps_;
  steps_ = 0;
  trace_hash_ = 0;
}

int Fibers::Start(const char* name, std::function<void()> body) {
  if (static_cast<size_t>(count_) == fibers_.size()) {
    fibers_.push_back(std::make_unique<Fiber>(this, count_));
  }
  Fiber& fiber = *fibers_[count_];
  fiber.name = name;
  fiber.body = std::move(body);
  fiber.task.emplace();
  fiber.returned = false;
  fiber.asleep = false;
  fiber.no_pause_at = 0;
  fiber.priority = lowest_priority_ + random_->Below(1'000'000);
  return count_++;
}

// --- Running -----------------------------------------------------------------

Fibers::End Fibers::Run(const std::function<bool()>& idle) {
  PauseHooks* const hooks_before = pause_hooks;
  pause_hooks = this;
  running = this;
  auto* const handler_before = std::signal(SIGABRT, &ShowTraceAtAbort);
  End end = End::kFailed;
  while (failure_.empty()) {
    const int next = Choose();
    if (next != kNobody) {
      Note(kNobody, next, "");
      SwitchTo(next);
    } else if (std::all_of(fibers_.begin(), fibers_.begin() + count_,
                           [](const auto& fiber) { return fiber->returned; })) {
      end = End::kReturned;
      break;
    } else if (!idle() && failure_.empty()) {
      end = End::kStuck;
      break;
    }
  }
  std::signal(SIGABRT, handler_before);
  running = nullptr;
  pause_hooks = hooks_before;
  return end;
}

void Fibers::RunBodies(void* argument) {
  auto& fiber = *static_cast<Fiber*>(argument);
  for (;;) {
    fiber.body();
    fiber.returned = true;
    // Comes back when the fiber is started anew.
    fiber.fibers.Step("returned");
  }
}

FiberStack& Fibers::StackOf(int fiber) {
  return fiber == kNobody ? main_ : fibers_[fiber]->stack;
}

void Fibers::SwitchTo(int to) {
  const int from = std::exchange(current_, to);
  StackOf(from).SwitchTo(StackOf(to));
}

void Fibers::Step(const char* where) {
  if (current_ == kNobody) return;
  // What goes on for ever sleeps badly: somebody is woken again and again.
  if (steps_ > kTooManySteps) Fail("it does not end");
  const int next = Choose();
  Note(current_, next, where);
  if (next != current_) SwitchTo(next);
}

int Fibers::Choose() {
  int runnable[64];
  int count = 0;
  bool current_can = false;
  for (int i = 0; i < count_; ++i) {
    if (fibers_[i]->returned || asleep(i)) continue;
    runnable[count++] = i;
    current_can = current_can || i == current_;
  }
  if (count == 0) return kNobody;
  switch (policy_) {
    case Policy::kGoOn:
      if (current_can && !random_->OneIn(change_one_in_)) return current_;
      break;
    case Policy::kByPriority:
      return ChooseByPriority(runnable, count);
    case Policy::kAnybody:
      break;
  }
  return runnable[random_->Below(static_cast<uint64_t>(count))];
}

int Fibers::ChooseByPriority(const int* runnable, int count) {
  if (current_ != kNobody && random_->OneIn(change_one_in_)) {
    fibers_[current_]->priority = --lowest_priority_;
  }
  return *std::max_element(runnable, runnable + count, [this](int a, int b) {
    return fibers_[a]->priority < fibers_[b]->priority;
  });
}

// --- Core's hooks ------------------------------------------------------------

void Fibers::Pause(PausePoint point) {
  if (current_ == kNobody || point == PausePoint::kBeforeUnlink) return;
  if ((fibers_[current_]->no_pause_at & BitOf(point)) != 0) return;
  Step(NameOf(point));
}

bool Fibers::Park(ThreadTask&) {
  WAITQ_CHECK(current_ != kNobody, "only fibers sleep");
  Fiber& fiber = *fibers_[current_];
  fiber.asleep = true;
  Step("sleeping");
  fiber.asleep = false;
  return true;
}

ThreadTask* Fibers::Current() {
  return current_ == kNobody ? nullptr : &task(current_);
}

Fibers::NoPauseAt::NoPauseAt(Fibers* fibers,
                             std::initializer_list<PausePoint> points)
    : fibers_(*fibers),
      fiber_(fibers->current_),
      before_(fiber_ == kNobody ? 0 : fibers_.fibers_[fiber_]->no_pause_at) {
  if (fiber_ == kNobody) return;
  for (const PausePoint point : points) {
    fibers_.fibers_[fiber_]->no_pause_at |= BitOf(point);
  }
}

Fibers::NoPauseAt::~NoPauseAt() {
  if (fiber_ != kNobody) fibers_.fibers_[fiber_]->no_pause_at = before_;
}

// --- Failure -----------------------------------------------------------------

void Fibers::Fail(std::string why) {
  if (failure_.empty()) failure_ = std::move(why);
  if (current_ == kNobody) return;
  Note(current_, kNobody, "failed");
  SwitchTo(kNobody);
}

void Fibers::Note(int from, int to, const char* where) {
  trace_[steps_ % trace_.size()] = {from, to, where};
  ++steps_;
  // FNV. Of the place only its first letter, which tells most of them apart.
  for (const uint64_t part :
       {static_cast<uint64_t>(from + 1), static_cast<uint64_t>(to + 1),
        static_cast<uint64_t>(where[0])}) {
    trace_hash_ = (trace_hash_ ^ part) * 0x100000001b3;
  }
}

std::string Fibers::Trace() const {
  std::string text = failure_.empty() ? "" : failure_ + "\n";
  const uint64_t lines = std::min<uint64_t>(steps_, kTraceLines);
  auto name_of = [this](int fiber) {
    return fiber == kNobody
               ? std::string("-")
               : fibers_[fiber]->name + (" " + std::to_string(fiber));
  };
  for (uint64_t step = steps_ - lines; step < steps_; ++step) {
    const Decision& decision = trace_[step % trace_.size()];
    char line[160];
    std::snprintf(line, sizeof(line), "  %6" PRIu64 "  %-14s %-20s -> %s\n",
                  step, name_of(decision.from).c_str(), decision.where,
                  name_of(decision.to).c_str());
    text += line;
  }
  for (int i = 0; i < count_; ++i) {
    char line[160];
    std::snprintf(line, sizeof(line), "  %-14s %s, state 0x%x%s\n",
                  name_of(i).c_str(),
                  fibers_[i]->returned ? "has returned"
                  : asleep(i)          ? "sleeps"
                                       : "could run",
                  fibers_[i]->task->state(),
                  fibers_[i]->task->SignalPending() ? ", signal pending" : "");
    text += line;
  }
  return text;
}

}  // namespace waitq::test
