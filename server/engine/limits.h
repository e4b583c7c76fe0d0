// Everything has a limit; here are all of them.

#ifndef WAITQ_SERVER_ENGINE_LIMITS_H_
#define WAITQ_SERVER_ENGINE_LIMITS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace waitq::engine {

// What one answer carries of a pipe at most: with the rest of it, what a client
// takes that has set nothing (4 MiB). Bytes that it refused would be gone; a
// longer packet could never be read, and would stand in the way for ever.
inline constexpr uint64_t kAnswerBytesMax = (4 << 20) - 1024;

// How much the engine takes on. Reaching a limit is a clean error that names
// it; the rest goes on.
struct Limits {
  uint64_t objects = 1'000'000;
  // Calls asleep, and streams open.
  uint64_t sleepers = 2'000'000;
  uint64_t sleepers_per_object = 2'000'000;
  // Well below the 100,000 streams of a connection: at that limit gRPC's
  // clients queue calls, and a waker among them would never come.
  uint64_t sleepers_per_caller = 65'536;
  // The largest capacity of one pipe, and the bytes in all pipes together.
  uint64_t pipe_bytes = 64 << 20;
  uint64_t pipe_bytes_in_all = 1 << 30;
  // Data of writes that sleep, before it is in any pipe.
  uint64_t bytes_asleep = 256 << 20;
  // Data of answers that are not sent yet, out of any pipe: their readers are
  // slow.
  uint64_t bytes_unsent = 256 << 20;
  // Of the last two together, those of one caller.
  uint64_t bytes_per_caller = 128 << 20;
  // Answers of calls with a request_id, kept for their repeats; and their
  // bytes.
  uint64_t kept_answers = 1'000'000;
  uint64_t kept_bytes = 256 << 20;
  // Of one session: its operations, under way or with a result that was not
  // taken; and the results not taken, or bytes in them, at which what would
  // take something is passed by.
  uint64_t sessions = 10'000;
  uint64_t operations_per_session = 1'000'000;
  uint64_t results_per_session = 262'144;
  uint64_t result_bytes_per_session = 32 << 20;
  // One message, so also one read and one write.
  uint64_t message_bytes = 4 << 20;

  // Whether they make sense, and fit each other: INVALID_ARGUMENT names what
  // does not.
  absl::Status Check() const;
};

inline constexpr size_t kNameBytesMax = 255;
// Of one call, each of which is a sleeper.
inline constexpr size_t kAlternativesMax = 64;
inline constexpr size_t kCallerBytesMax = 128;

// How much of something is in use, of a limit. Thread-safe.
class Budget {
 public:
  // `name`: as the error names it; must live as long.
  Budget(const char* name, uint64_t limit) : name_(name), limit_(limit) {}

  // Takes `n` and returns true, or takes nothing.
  bool Take(uint64_t n) {
    uint64_t used = used_.load(std::memory_order_relaxed);
    do {
      if (n > limit_ - used) return false;
    } while (!used_.compare_exchange_weak(used, used + n,
                                          std::memory_order_relaxed));
    return true;
  }
  void Return(uint64_t n) { used_.fetch_sub(n, std::memory_order_relaxed); }

  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  uint64_t limit() const { return limit_; }
  const char* name() const { return name_; }

 private:
  const char* const name_;
  const uint64_t limit_;
  // Relaxed everywhere: a count, which orders nothing else.
  std::atomic<uint64_t> used_{0};
};

// Bytes that are kept for a call, of what all and what its caller may have.
// Gives back what it has at its end.
//
// Thread safety: as an int; the budgets outlive it.
class Charge {
 public:
  Charge(Budget* all, Budget* own) : all_(*all), own_(*own) {}
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  ~Charge() { Return(bytes_); }

  // Takes `n` more; otherwise nothing, and names the limit that is reached.
  const char* Take(uint64_t n) {
    if (!all_.Take(n)) return all_.name();
    if (!own_.Take(n)) {
      all_.Return(n);
      return own_.name();
    }
    bytes_ += n;
    return nullptr;
  }
  // Gives back `n`, or what is left if that is less.
  void Return(uint64_t n) {
    n = std::min(n, bytes_);
    bytes_ -= n;
    own_.Return(n);
    all_.Return(n);
  }
  void ReturnAll() { Return(bytes_); }

 private:
  Budget& all_;
  Budget& own_;
  uint64_t bytes_ = 0;
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_LIMITS_H_
