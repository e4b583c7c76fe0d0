#include "core/scull_pipe.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "core/check.h"
#include "core/might_sleep.h"
#include "core/pause.h"
#include "core/poll_events.h"
#include "core/task.h"
#include "core/wait_event.h"

namespace waitq {

ScullPipe::ScullPipe(size_t size_bytes)
    : state_({.capacity_bytes = size_bytes, .slot_bytes = 1, .ring = true}) {}

void ScullPipe::NoteLocked() {
  readable_.store(!state_.empty(), std::memory_order_seq_cst);
  writable_.store(!state_.full(), std::memory_order_seq_cst);
}

void ScullPipe::Open(uint32_t flags) {
  MightSleep();
  MutexLock lock(&mu_);
  state_.Clear();
  NoteLocked();
  if ((flags & kRead) != 0) ++readers_;
  if ((flags & kWrite) != 0) ++writers_;
}

void ScullPipe::Release(uint32_t flags, const FasyncCallback* callback) {
  MightSleep();
  fasync_.Remove(callback);
  MutexLock lock(&mu_);
  WAITQ_CHECK(((flags & kRead) == 0 || readers_ > 0) &&
                  ((flags & kWrite) == 0 || writers_ > 0),
              "a scull pipe is released that was not opened");
  if ((flags & kRead) != 0) --readers_;
  if ((flags & kWrite) != 0) --writers_;
  if (readers_ + writers_ > 0) return;
  state_.Clear();
  NoteLocked();
}

void ScullPipe::Fasync(const FasyncCallback* callback, bool on) {
  on ? fasync_.Add(callback) : fasync_.Remove(callback);
}

uint32_t ScullPipe::readers() const {
  MutexLock lock(&mu_);
  return readers_;
}

uint32_t ScullPipe::writers() const {
  MutexLock lock(&mu_);
  return writers_;
}

int64_t ScullPipe::Read(char* buffer, size_t n, bool nonblock) {
  MightSleep();
  mu_.Lock();
  while (state_.empty()) {
    mu_.Unlock();
    if (nonblock) return -EAGAIN;
    Pause(PausePoint::kUnlocked);
    const int interrupted =
        WaitEventInterruptible(in_queue_, [&] { return readable_.load(); });
    if (interrupted != 0) return interrupted;
    mu_.Lock();  // and test again: another reader may have been faster
  }
  const absl::Cord taken = state_.Take(n);
  NoteLocked();
  mu_.Unlock();
  Pause(PausePoint::kBeforeWake);
  for (const absl::string_view chunk : taken.Chunks()) {
    buffer = std::copy(chunk.begin(), chunk.end(), buffer);
  }
  out_queue_.WakeUpInterruptible();
  return static_cast<int64_t>(taken.size());
}

int64_t ScullPipe::Write(const char* data, size_t n, bool nonblock) {
  MightSleep();
  mu_.Lock();
  while (state_.full()) {
    mu_.Unlock();
    if (nonblock) return -EAGAIN;
    Pause(PausePoint::kUnlocked);
    // By hand, as in the book: the signal is looked for before the space.
    ThreadTask& task = Task::Current();
    WaitEntry entry(&task, &AutoremoveWakeFunction);
    out_queue_.PrepareToWait(entry, kInterruptible);
    if (!writable_.load()) task.Schedule();
    out_queue_.FinishWait(entry);
    if (task.SignalPending()) return -kErestartsys;
    mu_.Lock();
  }
  const size_t room = state_.Room(n, /*whole=*/false, /*first=*/true);
  state_.Append(absl::Cord(absl::string_view(data, room)), /*first=*/true);
  NoteLocked();
  mu_.Unlock();
  Pause(PausePoint::kBeforeWake);
  in_queue_.WakeUpInterruptible();
  fasync_.Kill(kPollIn);
  return static_cast<int64_t>(room);
}

PollEvents ScullPipe::Poll(PollTable* table) {
  if (table != nullptr) {
    table->Enter(in_queue_);
    table->Enter(out_queue_);
  }
  Pause(PausePoint::kEnteredPoll);
  MutexLock lock(&mu_);
  PollEvents events = 0;
  if (!state_.empty()) events |= kPollIn | kPollRdNorm;
  if (!state_.full()) events |= kPollOut | kPollWrNorm;
  return events;
}

}  // namespace waitq
