// A lock between machines.

#ifndef WAITQ_CLIENT_LOCK_H_
#define WAITQ_CLIENT_LOCK_H_

#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/grant.h"
#include "client/types.h"

namespace waitq {

// One at a time: the one who made the word of the wait queue `name` 1 when it
// was 0. First come, first served, but for who comes when it is free.
//
//   waitq::Lock lock(client, "backup");
//   auto grant = lock.Acquire();
//   if (grant.ok()) { ... }  // until `grant` is destroyed
//
// Whoever holds it and dies, or is not heard of for the grace, lets go of it:
// see Grant, also for what a lock cannot promise. Not recursive. Somebody who
// stores into the word breaks it: what the holder then gives back is nothing.
//
// Thread safety: any thread may call any method. The client must outlive it.
class Lock {
 public:
  Lock(Client* client, std::string name)
      : client_(*client), name_(std::move(name)) {}

  // Held if the grant is_held(); if not, it timed out or would have blocked.
  // Errors as of Client::Wait().
  absl::StatusOr<Grant> Acquire(const AcquireOptions& options = {},
                                std::stop_token stop = {}) {
    return client_.Acquire(name_,
                           options.ToWait(Condition::Equal(0), Action::Set(1)),
                           {}, std::move(stop));
  }

 private:
  Client& client_;
  const std::string name_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_LOCK_H_
