// Waiting for one of several files: poll(2), for threads.
//
// A Pollable tells what could be done with it now, and enters the caller on the
// queues that it wakes when that changes. First enter, then look: a change
// between the two then wakes. After fs/select.c.

#ifndef WAITQ_CORE_POLL_H_
#define WAITQ_CORE_POLL_H_

#include <atomic>
#include <deque>
#include <span>

#include "core/poll_events.h"
#include "core/task.h"
#include "core/wait_list.h"
#include "core/wait_queue.h"

namespace waitq {

// Who is to be told of changes: poll_table.
class PollTable {
 public:
  // poll_wait(): enters `queue`. With a full barrier: the look at the file that
  // follows sees what a waker did that saw nobody.
  virtual void Enter(WaitQueue& queue) = 0;
  // !poll_does_not_wait(): whether Enter() enters.
  virtual bool entering() const = 0;

 protected:
  ~PollTable() = default;
};

// The queues that a thread stands in while it polls: poll_wqueues.
//
// Thread safety: for the thread that made it. It stands in the queues until
// destruction; they must live as long.
class PollQueues final : public PollTable {
 public:
  PollQueues() : task_(Task::Current()) {}
  ~PollQueues();
  PollQueues(const PollQueues&) = delete;
  PollQueues& operator=(const PollQueues&) = delete;

  // Not exclusive. Does nothing when entering is over.
  void Enter(WaitQueue& queue) override;

  // For Poll(): the events that the next Enter() is for, and whether to enter:
  // in the first round of looks only.
  void set_events(PollEvents events) { events_ = events; }
  bool entering() const override { return entering_; }
  void StopEntering() { entering_ = false; }

  // poll_schedule_timeout(): sleeps until one of the queues is woken, a signal
  // comes or `deadline` passes; false if it has passed. Does not sleep if a
  // queue was woken since the last call.
  bool Sleep(absl::Time deadline);

 private:
  struct Entry : WaitEntry {
    Entry(PollQueues* table_in, WaitQueue* queue_in, PollEvents events_in)
        : WaitEntry(ForAdd{}, &table_in->task_, &PollWake),
          table(*table_in),
          queue(*queue_in),
          events(events_in) {}
    PollQueues& table;
    WaitQueue& queue;
    const PollEvents events;
  };

  // pollwake().
  static int PollWake(WaitEntry& entry, TaskState mode, int wake_flags,
                      void* key);

  ThreadTask& task_;
  std::deque<Entry> entries_;  // a deque: they do not move
  PollEvents events_ = 0;
  bool entering_ = true;
  std::atomic<bool> triggered_{false};
};

// What can be polled.
class Pollable {
 public:
  // The events that are there now; may name others than were asked for. Enters
  // its queues on `table` first, unless that is nullptr. Any thread may call
  // it.
  virtual PollEvents Poll(PollTable* table) = 0;

 protected:
  ~Pollable() = default;
};

struct PollRequest {
  Pollable* file;
  PollEvents events;   // kPollErr, kPollHup and kPollNval are always added
  PollEvents revents;  // the answer
};

// poll(): waits until an event is there that is asked for, `timeout` ticks at
// most (negative, or kMaxScheduleTimeout: for ever; 0: only looks). Returns the
// number of requests with events; 0 if it timed out; -kErestartRestartblock if
// there are none and a signal is pending: started again through the task's
// restart block (core/restart.h) it waits until the same moment as before. The
// files must live until it returns; under RestartableCall() (core/restart.h),
// until that does, and the requests, too.
[[nodiscard]] int Poll(std::span<PollRequest> requests, Ticks timeout);

}  // namespace waitq

#endif  // WAITQ_CORE_POLL_H_
