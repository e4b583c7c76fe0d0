// A queue of Redis's: raw RESP2 over a TextConnection.

#ifndef WAITQ_BENCH_REDIS_QUEUE_CLIENT_H_
#define WAITQ_BENCH_REDIS_QUEUE_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "absl/synchronization/notification.h"
#include "bench/text_connection.h"

namespace waitq::bench {

// What a push and a pop are.
struct RedisVerbs {
  std::string_view push;
  std::string_view pop;
  // What follows the key of a pop.
  std::string_view pop_argument = {};
  // One pop is for ever, and messages come unasked. It waits until Redis knows
  // of it, and is not for the loop's thread.
  bool subscribes = false;
};

inline constexpr RedisVerbs kRedisLists{
    .push = "LPUSH", .pop = "BRPOP", .pop_argument = "0"};
// The list is to have as many as are popped.
inline constexpr RedisVerbs kRedisListsNonBlocking{.push = "LPUSH",
                                                   .pop = "RPOP"};
inline constexpr RedisVerbs kRedisChannel{
    .push = "PUBLISH", .pop = "SUBSCRIBE", .subscribes = true};

class RedisQueueClient final : public TextConnection {
 public:
  RedisQueueClient(const std::string& address, const std::string& queue,
                   const RedisVerbs& verbs, SessionUser* user);
  ~RedisQueueClient() override { Stop(); }

  void Push(std::string_view bytes, uint64_t count) override;
  void Pop(uint64_t count) override;
  void PopWithin(int seconds, uint64_t sleeper) override;

 private:
  size_t OnBytes(std::string_view bytes) override;
  // The reply at the beginning of `bytes`; its length, or 0 if it is not all
  // there.
  size_t OnReply(std::string_view bytes);

  const std::string queue_;
  const RedisVerbs verbs_;
  const std::string pop_;
  bool subscribed_ = false;  // of the thread that pops
  absl::Notification known_;
  // Of PopWithin, in the order of their replies; a thread may only ask for one
  // when those before have ended.
  std::deque<uint64_t> sleepers_;
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_REDIS_QUEUE_CLIENT_H_
