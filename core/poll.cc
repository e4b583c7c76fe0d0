#include "core/poll.h"

#include "core/might_sleep.h"
#include "core/pause.h"

namespace waitq {

PollQueues::~PollQueues() {
  for (Entry& entry : entries_) entry.queue.Remove(entry);
}

void PollQueues::Enter(WaitQueue& queue) {
  if (!entering_) return;
  Entry& entry = entries_.emplace_back(this, &queue, events_);
  queue.Add(entry);
  // Partner of the barrier in WaitQueue::HasSleeper(): the look at the file
  // that follows sees what a waker did that did not see us.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

int PollQueues::PollWake(WaitEntry& entry, TaskState mode, int wake_flags,
                         void* key) {
  auto& own = static_cast<Entry&>(entry);
  const PollEvents events = EventsOf(key);
  if (events != 0 && (events & own.events) == 0) return 0;
  // Latched before the state is read; Sleep() sets its state before it reads
  // the latch. So a wake between look and sleep is not lost.
  own.table.triggered_.exchange(true, std::memory_order_seq_cst);
  return DefaultWakeFunction(entry, mode, wake_flags, nullptr);
}

bool PollQueues::Sleep(absl::Time deadline) {
  Pause(PausePoint::kBeforeEnqueue);
  task_.SetState(kInterruptible);
  Pause(PausePoint::kStateSet);
  bool in_time = true;
  if (!triggered_.load(std::memory_order_seq_cst)) {
    in_time = task_.ScheduleUntil(deadline) > 0;
  }
  task_.SetRunning();
  // Both sides exchange: the looks that follow see what was done before every
  // wake that is forgotten here.
  triggered_.exchange(false, std::memory_order_seq_cst);
  return in_time;
}

namespace {

// Looks at all files once; how many have something.
int LookAtAll(std::span<PollRequest> requests, PollQueues& table) {
  int found = 0;
  for (PollRequest& request : requests) {
    const PollEvents wanted = request.events | kPollErr | kPollHup | kPollNval;
    table.set_events(wanted);
    request.revents = request.file->Poll(&table) & wanted;
    if (request.revents == 0) continue;
    ++found;
    table.StopEntering();  // it will not sleep
  }
  return found;
}

int64_t RestartPoll(const RestartBlock& block);

// do_sys_poll(). Not at all later than now: only looks.
int PollUntil(std::span<PollRequest> requests, absl::Time deadline) {
  MightSleep();
  ThreadTask& task = Task::Current();
  PollQueues table;
  bool in_time = task.TicksUntil(deadline) > 0;
  if (!in_time) table.StopEntering();
  for (;;) {
    const int found = LookAtAll(requests, table);
    table.StopEntering();
    if (found > 0) return found;
    if (task.SignalPending()) {
      task.restart_block() = {.restart = &RestartPoll,
                              .deadline = deadline,
                              .data = requests.data(),
                              .size = requests.size()};
      return -kErestartRestartblock;
    }
    if (!in_time) return 0;
    in_time = table.Sleep(deadline);
  }
}

int64_t RestartPoll(const RestartBlock& block) {
  return PollUntil({static_cast<PollRequest*>(block.data), block.size},
                   block.deadline);
}

}  // namespace

int Poll(std::span<PollRequest> requests, Ticks timeout) {
  return PollUntil(requests, Task::Current().DeadlineAfter(
                                 timeout < 0 ? kMaxScheduleTimeout : timeout));
}

}  // namespace waitq
