// What a wait was granted, for as long as somebody holds it.

#ifndef WAITQ_CLIENT_GRANT_H_
#define WAITQ_CLIENT_GRANT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/types.h"

namespace waitq {

class SessionMachine;
struct SessionReceipt;

// The success of Client::Acquire(): a lock that is held, a semaphore's permit.
// It is given back when this is destroyed, when it is said so, or when the
// client's session ends: then it is lost. That happens if the program dies, if
// nothing is heard from the server for 0.9 of ClientOptions::grace, or if the
// server is restarted. The server gives it to others only when the whole grace
// is over since it has heard from the client, so the listener has a tenth of
// the grace to stop what the grant was for. A program that stands still, or
// whose writes are still on their way, does not hear its listener in time: if
// two at once do harm, what they write to has to check token() (docs/locks.md).
//
// Thread safety: any thread may call any method but the destructor, and moves.
// Ownership: should be gone before its client is; with that it is lost, and its
//   listener told so.
// Blocking: GiveBack() waits for the server's answer. The destructor does not:
//   what it sends arrives before the next call of its thread.
class Grant {
 public:
  // Nothing is granted: is_held() is false.
  Grant();
  Grant(Grant&&) noexcept;
  Grant& operator=(Grant&&) noexcept;  // gives back what it had
  ~Grant();

  // The number of the grant, and its fencing token: a later grant of the same
  // word has a higher one, also after a restart of the server.
  uint64_t token() const { return result_.generation; }
  const WaitResult& result() const { return result_; }

  // Neither lost nor given back, as far as this program knows.
  bool is_held() const;

  // Gives it back, once: as it would be undone, or by `update`. The result is
  // that of the wake that goes with it. ABORTED or FAILED_PRECONDITION
  // (ESTALE): it was lost, or its object removed, and nothing has changed.
  // CANCELLED and EDEADLK (in a callback) say that nobody has waited for the
  // answer: it is given back.
  absl::StatusOr<WakeResult> GiveBack(const std::optional<Action>& update = {},
                                      std::stop_token stop = {});
  // It stays as it is for good: nobody gives it back. Does not wait.
  void Keep();

  // Is called once if the grant is lost, with why: on the client's thread,
  // whose other callbacks wait meanwhile; at once if it is lost already. Not if
  // it is given back, but that may cross. Replaces the listener before it.
  void OnLost(absl::AnyInvocable<void(const absl::Status& why)> listener);

  // For the client: one that was not granted, and one that was.
  explicit Grant(const WaitResult& result);
  Grant(SessionMachine* machine, std::string name, const WaitResult& result,
        const SessionReceipt& receipt);

 private:
  struct State;

  WaitResult result_;
  std::shared_ptr<State> state_;  // if it was granted
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_GRANT_H_
