// A counting semaphore between machines.

#ifndef WAITQ_CLIENT_SEMAPHORE_H_
#define WAITQ_CLIENT_SEMAPHORE_H_

#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/error.h"
#include "client/grant.h"
#include "client/types.h"

namespace waitq {

// At most `permits` at a time. The word of the wait queue `name` counts those
// that are out, so that 0 is a fresh one, and nobody has to make it. Whoever
// holds some and dies, or is not heard of for the grace, gives them back: see
// Grant.
//
// All who use it should say the same `permits`: each looks only whether with
// his there would be more out than he says.
//
// Thread safety: any thread may call any method. The client must outlive it.
class Semaphore {
 public:
  // `permits`: 1 or more.
  Semaphore(Client* client, std::string name, int64_t permits)
      : client_(*client), name_(std::move(name)), permits_(permits) {}

  // `n`, 1 to `permits`, all at once. Who asks for many may wait for as long as
  // others come and ask for few: a newcomer goes ahead when what he asks for is
  // there. Held if the grant is_held(); if not, it timed out or would have
  // blocked. INVALID_ARGUMENT (EINVAL): they never could be there.
  absl::StatusOr<Grant> Acquire(const AcquireOptions& options = {},
                                int64_t n = 1, std::stop_token stop = {}) {
    if (n < 1 || n > permits_) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, "EINVAL", name_,
          absl::StrCat(name_, ": ", n, " of ", permits_, " permits"));
    }
    return client_.Acquire(
        name_, options.ToWait(Condition::AtMost(permits_ - n), Action::Add(n)),
        {}, std::move(stop));
  }

 private:
  Client& client_;
  const std::string name_;
  const int64_t permits_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_SEMAPHORE_H_
