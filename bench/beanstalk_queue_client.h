// A tube of beanstalkd's, over a TextConnection.

#ifndef WAITQ_BENCH_BEANSTALK_QUEUE_CLIENT_H_
#define WAITQ_BENCH_BEANSTALK_QUEUE_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "bench/text_connection.h"

namespace waitq::bench {

// A push is a `put`, a pop a `reserve` and the `delete` of what it gave, which
// goes out with the next `reserve`, in one write: nobody waits for its answer.
class BeanstalkQueueClient final : public TextConnection {
 public:
  BeanstalkQueueClient(const std::string& address, const std::string& queue,
                       SessionUser* user);
  ~BeanstalkQueueClient() override { Stop(); }

  void Push(std::string_view bytes, uint64_t count) override;
  void Pop(uint64_t count) override;
  void PopWithin(int seconds, uint64_t sleeper) override;

 private:
  size_t OnBytes(std::string_view bytes) override;
  size_t OnReply(std::string_view bytes);

  // As RedisQueueClient's.
  std::deque<uint64_t> sleepers_;
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_BEANSTALK_QUEUE_CLIENT_H_
