// Begins operations at a rate, whatever became of those before: an open loop.

#ifndef WAITQ_LOAD_PACER_H_
#define WAITQ_LOAD_PACER_H_

#include <cstdint>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "load/run_clock.h"

namespace waitq::load {

// Thread safety: none; the destructor stops it.
class Pacer {
 public:
  // `begin` is called on a thread of the pacer, for each operation in turn,
  // when it is due: number `n` is at `start` + n / `rate`. If `begin` takes
  // long, or the thread got no processor, the next ones are late, and are told
  // when they should have been.
  Pacer(const RunClock& clock, double rate, absl::Time start,
        absl::AnyInvocable<void(uint64_t n, absl::Time due)> begin);
  ~Pacer();
  Pacer(const Pacer&) = delete;
  Pacer& operator=(const Pacer&) = delete;

 private:
  void Run();

  const RunClock& clock_;
  const double rate_;
  const absl::Time start_;
  absl::AnyInvocable<void(uint64_t n, absl::Time due)> begin_;
  absl::Notification stop_;
  std::thread thread_;
};

}  // namespace waitq::load

#endif  // WAITQ_LOAD_PACER_H_
