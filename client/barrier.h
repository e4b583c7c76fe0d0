// A barrier between machines: all go on when all have come, again and again.

#ifndef WAITQ_CLIENT_BARRIER_H_
#define WAITQ_CLIENT_BARRIER_H_

#include <cstdint>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/grant.h"
#include "client/types.h"

namespace waitq {

// What becomes of a barrier when one who waits at it dies, or is not heard of
// for the grace.
enum class OnDeath {
  // He has not come: another one in his place will do.
  kWithdraw,
  // The barrier is broken, for all who wait and for all who come: ABORTED
  // (EOWNERDEAD), until it is Reset(). So it is by one whose time is over, or
  // who is stopped.
  kBreak,
  // He has come, and counts.
  kCount,
};

// What one who arrived has got.
struct BarrierResult {
  Outcome outcome = Outcome::kDone;  // or kTimedOut: then he has not come
  uint64_t round = 0;                // how manieth it is, from 0
  // How many had come before him in this round, as it was then: parties - 1 for
  // the last one, who is one. One who came and has gone (kWithdraw; or his time
  // was over) makes room, and a place before the last is then given again.
  uint64_t place = 0;
};

// The word of the wait queue `name` counts those who have come, over all
// rounds: of `parties` it lets through rounds of so many. 0 is a fresh one, and
// nobody has to make it. A round that was passed is passed for all who came in
// it, whatever becomes of one of them then.
//
// All who use it must say the same `parties` and `on_death`.
//
// Thread safety: any thread may call any method. The client must outlive it.
class Barrier {
 public:
  // `parties`: 1 or more.
  Barrier(Client* client, std::string name, int64_t parties,
          OnDeath on_death = OnDeath::kWithdraw);

  // Comes, and sleeps until all of the round have. If it times out or fails the
  // caller has not come, unless OutcomeUnknown(): perhaps he has. ABORTED
  // (EOWNERDEAD): the barrier is broken, or the server was restarted; (ESTALE),
  // OutcomeUnknown(): the session was lost, and with it the arrival (but for
  // kCount) as soon as the server sees that, a tenth of the grace later. Who
  // comes again before counts twice for so long.
  absl::StatusOr<BarrierResult> Arrive(const AcquireOptions& options = {},
                                       std::stop_token stop = {});

  // A broken barrier begins again, at round 0. Does nothing to another. One who
  // had come to the broken round and whose death the server does not know of
  // yet breaks it once more: reset it a grace after the last who died.
  absl::Status Reset(std::stop_token stop = {});

 private:
  absl::StatusOr<BarrierResult> WaitFor(Grant grant, int64_t threshold,
                                        const AcquireOptions& options,
                                        std::stop_token stop);
  // The arrival is not to count; returns the word, by which it may have.
  absl::StatusOr<int64_t> TakeBack(Grant& grant, int64_t threshold);
  absl::Status BrokenError() const;

  Client& client_;
  const std::string name_;
  const int64_t parties_;
  const OnDeath on_death_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_BARRIER_H_
