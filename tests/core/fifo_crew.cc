#include "tests/core/fifo_crew.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string_view>

#include "core/check.h"
#include "core/fifo.h"
#include "tests/support/wait_until.h"

namespace waitq::test {
namespace {

using Kind = Step::Kind;

int OpenProc(pid_t tid, const char* name) {
  const std::string path =
      "/proc/self/task/" + std::to_string(tid) + "/" + name;
  return open(path.c_str(), O_RDONLY | O_CLOEXEC);
}

// How often, or how long, the thread has run; empty if the machine cannot tell.
int OpenTimes(pid_t tid) {
  const int fd = OpenProc(tid, "schedstat");
  return fd >= 0 ? fd : OpenProc(tid, "status");
}

std::string ReadAll(int fd) {
  char text[4096];
  const ssize_t n = pread(fd, text, sizeof(text), 0);
  return std::string(text, n > 0 ? static_cast<size_t>(n) : 0);
}

// Off its processor, and not about to sleep only.
bool IsOffProcessor(int call_fd) {
  char text[64];
  const ssize_t n = pread(call_fd, text, sizeof(text), 0);
  return n > 0 && text[0] != 'r';  // "running"
}

// In a sleep that a signal ends: not one for a page of memory, say.
bool IsInterruptible(int state_fd) {
  const std::string text = ReadAll(state_fd);
  const size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.compare(name_end, 3, ") S") == 0;
}

}  // namespace

bool FifoCrew::IsPossibleHere() {
  const int call_fd = OpenProc(gettid(), "syscall");
  const int times_fd = OpenTimes(gettid());
  const bool possible = !ReadAll(call_fd).empty() && !ReadAll(times_fd).empty();
  close(call_fd);
  close(times_fd);
  return possible;
}

FifoCrew::FifoCrew(FifoWorld* world, int actors)
    : world_(*world), actors_(static_cast<size_t>(actors)) {
  for (int k = 0; k < actors; ++k) {
    actors_[k].buffer.resize(kMaxWrite);
    actors_[k].thread = std::thread([this, k] { Work(k); });
  }
  for (Actor& actor : actors_) {
    WaitUntil([&] { return actor.tid != 0; });
    actor.call_fd = OpenProc(actor.tid, "syscall");
    actor.times_fd = OpenTimes(actor.tid);
    actor.state_fd = OpenProc(actor.tid, "stat");
  }
}

FifoCrew::~FifoCrew() {
  for (Actor& actor : actors_) {
    actor.asked = -1;
    actor.asked.notify_one();
    actor.thread.join();
    close(actor.call_fd);
    close(actor.times_fd);
    close(actor.state_fd);
  }
}

void FifoCrew::Work(int k) {
  Actor& actor = actors_[k];
  world_.Enter(k);
  actor.tid = gettid();
  for (int done = 0;;) {
    actor.asked.wait(done);
    const int asked = actor.asked;
    if (asked < 0) return;
    if (asked == done) continue;
    actor.answer = world_.Do(actor.step, actor.index, actor.buffer.data());
    actor.done = done = asked;
  }
}

namespace {

// The processors that this program may use.
const cpu_set_t& AllProcessors() {
  static const cpu_set_t all = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(set), &set);
    return set;
  }();
  return all;
}

cpu_set_t OneProcessor(uint64_t nth) {
  const cpu_set_t& all = AllProcessors();
  nth %= static_cast<uint64_t>(std::max(CPU_COUNT(&all), 1));
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &all) && nth-- == 0) CPU_SET(cpu, &one);
  }
  return one;
}

// May fail: only how often something happens depends on it.
void UseProcessors(pid_t tid, const cpu_set_t& processors) {
  (void)sched_setaffinity(tid, sizeof(processors), &processors);
}

void SetPolicy(pid_t tid, int policy) {
  const sched_param no_priority = {};
  (void)sched_setscheduler(tid, policy, &no_priority);
}

}  // namespace

void FifoCrew::RaceLittle() {
  UseProcessors(0, OneProcessor(0));
  for (Actor& actor : actors_) {
    UseProcessors(actor.tid, OneProcessor(0));
    SetPolicy(actor.tid, SCHED_OTHER);
  }
}

void FifoCrew::RaceMuch(Random& random, bool at_any_price) {
  UseProcessors(0, AllProcessors());
  const bool together = random.OneIn(2);
  const bool pinned = together || random.OneIn(2);
  for (Actor& actor : actors_) {
    UseProcessors(actor.tid, pinned
                                 ? OneProcessor(together ? 0 : random.Below(2))
                                 : AllProcessors());
    // On a busy machine an idle one waits long.
    const int later = at_any_price ? SCHED_IDLE : SCHED_BATCH;
    SetPolicy(actor.tid, random.OneIn(2) ? later : SCHED_OTHER);
  }
}

// --- Knowing that nothing goes on --------------------------------------------

bool FifoCrew::IsQuiet() {
  // All those in a call are seen asleep twice and have not run in between: so
  // there was a moment, between the two rounds, at which all slept. Nobody was
  // there who could wake one of them. One who waits for a lock does not count
  // as quiet here either: whoever holds it runs, or is about to.
  std::array<std::string, kActorsMax> times;
  for (size_t k = 0; k < actors_.size(); ++k) {
    if (!actors_[k].busy()) continue;
    times[k] = ReadAll(actors_[k].times_fd);
    if (!IsOffProcessor(actors_[k].call_fd)) return false;
  }
  for (size_t k = 0; k < actors_.size(); ++k) {
    if (times[k].empty()) continue;
    if (!IsInterruptible(actors_[k].state_fd)) return false;
    if (!IsOffProcessor(actors_[k].call_fd)) return false;
    if (ReadAll(actors_[k].times_fd) != times[k]) return false;
  }
  return true;
}

void FifoCrew::AwaitQuiet() {
  WaitUntil([this] { return IsQuiet(); });
}

// --- Running -----------------------------------------------------------------

bool FifoCrew::MakesSense(const Step& step) const {
  const Actor& actor = actors_[step.actor];
  if (step.kind == Kind::kSignal) return actor.busy();
  if (actor.busy()) return false;
  const File& file = files_[step.file];
  switch (step.kind) {
    case Kind::kOpen:
      return !file.is_open && file.users == 0;
    case Kind::kRead:
      return file.is_open && (file.flags & Fifo::kRead) != 0;
    case Kind::kWrite:
      return file.is_open && (file.flags & Fifo::kWrite) != 0;
    case Kind::kPoll:
      return file.is_open && (step.file2 < 0 || files_[step.file2].is_open);
    case Kind::kClose:
      return file.is_open && file.users == 0;
    default:
      return file.is_open;
  }
}

void FifoCrew::Collect(Actor& actor, Outcome& outcome) {
  const Step& step = actor.step;
  const CallResult& answer = actor.answer;
  File& file = files_[step.file];
  --file.users;
  if (step.kind == Kind::kPoll && step.file2 >= 0) --files_[step.file2].users;
  if (step.kind == Kind::kOpen) file.is_open = answer.result == 0;
  if (step.kind == Kind::kClose) file.is_open = false;
  outcome.answer = answer;
  if (step.kind == Kind::kRead && answer.result > 0) {
    outcome.bytes = {actor.buffer.data(), static_cast<size_t>(answer.result)};
  }
}

std::vector<FifoCrew::Outcome> FifoCrew::Do(const Step& step, size_t index) {
  std::vector<Outcome> outcomes;
  if (!MakesSense(step)) return outcomes;
  Actor& actor = actors_[step.actor];
  std::array<bool, kActorsMax> was_busy = {};
  for (size_t k = 0; k < actors_.size(); ++k) was_busy[k] = actors_[k].busy();
  if (step.kind == Kind::kSignal) {
    world_.Signal(step.actor, actor.tid, step.flags != 0);
  } else {
    actor.step = step;
    actor.index = index;
    was_busy[step.actor] = true;
    ++files_[step.file].users;
    if (step.kind == Kind::kPoll && step.file2 >= 0) ++files_[step.file2].users;
    if (step.kind == Kind::kOpen) files_[step.file].flags = step.flags;
    ++actor.asked;
    actor.asked.notify_one();
  }
  AwaitQuiet();
  for (size_t k = 0; k < actors_.size(); ++k) {
    if (!was_busy[k]) continue;
    outcomes.push_back({.actor = static_cast<int>(k),
                        .step = actors_[k].step,
                        .sleeps = actors_[k].busy(),
                        .answer = {},
                        .bytes = {}});
    if (!actors_[k].busy()) Collect(actors_[k], outcomes.back());
  }
  return outcomes;
}

std::string FifoCrew::Describe(const Outcome& outcome) {
  std::string text = "  [" + std::to_string(outcome.actor) + "] ";
  if (outcome.sleeps) return text + "sleeps" + world_.Objection(outcome.actor);
  const CallResult& answer = outcome.answer;
  text += "returns " + std::to_string(answer.result);
  if (answer.sigpipe) text += " SIGPIPE";
  if (!outcome.bytes.empty()) {
    char hash[32];
    std::snprintf(hash, sizeof(hash), " bytes#%016zx",
                  std::hash<std::string_view>{}(outcome.bytes));
    text += hash;
  }
  if (outcome.step.kind == Kind::kPoll && answer.result > 0) {
    char events[64];
    std::snprintf(events, sizeof(events), " events %#x %#x", answer.revents[0],
                  answer.revents[1]);
    text += events;
  }
  return text;
}

std::string FifoCrew::RunStep(const Step& step, size_t index) {
  std::string text;
  for (const Outcome& outcome : Do(step, index)) text += Describe(outcome);
  return text;
}

Script FifoCrew::Ending() {
  Script ending;
  // Each of them can leave something behind that makes another go on; nobody
  // can begin anything, so one signal for each is enough.
  for (int k = 0; k < kActors; ++k) {
    ending.push_back({.kind = Kind::kSignal, .actor = k});
  }
  for (int k = 0; k < kFiles; ++k) {
    ending.push_back({.kind = Kind::kClose, .actor = 0, .file = k});
  }
  return ending;
}

Trace FifoCrew::Run(const Script& script) {
  Trace trace;
  size_t index = 0;
  for (const Script& part : {script, Ending()}) {
    for (const Step& step : part) trace.steps.push_back(RunStep(step, index++));
  }
  for (const Actor& actor : actors_) {
    WAITQ_CHECK(!actor.busy(), "a signal does not end a sleep");
  }
  trace.steps.push_back(world_.Remains());
  return trace;
}

}  // namespace waitq::test
