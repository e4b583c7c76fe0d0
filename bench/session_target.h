// What the loads of session_load and compare_load are put on: a session with
// one queue at its other end, whoever keeps it.

#ifndef WAITQ_BENCH_SESSION_TARGET_H_
#define WAITQ_BENCH_SESSION_TARGET_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace waitq::bench {

// Whom a session tells of its results.
class SessionUser {
 public:
  // Results that came together: so many messages are in the queue, and these
  // came out of it, each for a pop. On the session's own thread, which polls
  // for them, and not before something has been asked for; one call at a time.
  // It may ask for more. What it is given lives until it returns.
  virtual void OnResults(uint64_t pushed,
                         std::span<const std::string_view> popped) = 0;
  // Nothing came for a PopWithin() of this number. Likewise.
  virtual void OnTimedOut(uint64_t /*sleeper*/) {}

 protected:
  ~SessionUser() = default;
};

// Thread safety: any thread may ask, for whatever the session sends in one
// message if nothing is being sent, and otherwise with what comes next.
// Blocking: only the destructor.
// Errors: whatever fails ends the program.
class QueueSession {
 public:
  // A session of its own connection. `target`: "waitq" or "bare", whose
  // sessions have a thread each; or a peer, all of whose connections share one:
  // "redis" (LPUSH, BRPOP), "redis-rpop" (LPUSH, RPOP), "redis-publish"
  // (PUBLISH, SUBSCRIBE), "beanstalkd", "nats" (a queue group), "nats-publish"
  // (each subscriber has all).
  // All that name the same queue have the same one; the bare server has only
  // one. The user must outlive the session.
  static std::unique_ptr<QueueSession> Open(const std::string& target,
                                            const std::string& address,
                                            const std::string& queue,
                                            SessionUser* user);

  // Ends the session; pops that are asleep take nothing. When it returns the
  // user hears no more.
  virtual ~QueueSession() = default;

  // Puts `bytes` into the queue, `count` times, with an operation for each.
  virtual void Push(std::string_view bytes, uint64_t count) = 0;
  // Takes `count` messages out of it, each as soon as it is there.
  virtual void Pop(uint64_t count) = 0;
  // Takes one, or none if it does not come within so many seconds. Not every
  // target can.
  virtual void PopWithin(int seconds, uint64_t sleeper);
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_SESSION_TARGET_H_
