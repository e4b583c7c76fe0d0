#include "bench/session_target.h"

#include "bench/bare_queue_client.h"
#include "bench/beanstalk_queue_client.h"
#include "bench/load_connection.h"
#include "bench/nats_queue_client.h"
#include "bench/redis_queue_client.h"
#include "bench/waitq_queue_client.h"

namespace waitq::bench {

std::unique_ptr<QueueSession> QueueSession::Open(const std::string& target,
                                                 const std::string& address,
                                                 const std::string& queue,
                                                 SessionUser* user) {
  if (target == "bare") return std::make_unique<BareQueueClient>(address, user);
  if (target == "waitq") {
    return std::make_unique<WaitqQueueClient>(address, queue, user);
  }
  if (target == "redis") {
    return std::make_unique<RedisQueueClient>(address, queue, kRedisLists,
                                              user);
  }
  if (target == "redis-rpop") {
    return std::make_unique<RedisQueueClient>(address, queue,
                                              kRedisListsNonBlocking, user);
  }
  if (target == "redis-publish") {
    return std::make_unique<RedisQueueClient>(address, queue, kRedisChannel,
                                              user);
  }
  if (target == "beanstalkd") {
    return std::make_unique<BeanstalkQueueClient>(address, queue, user);
  }
  if (target == "nats" || target == "nats-publish") {
    return std::make_unique<NatsQueueClient>(
        address, queue, /*queue_group=*/target == "nats", user);
  }
  Die("no sessions on " + target);
}

void QueueSession::PopWithin(int, uint64_t) {
  Die("no pops with a timeout on this target");
}

}  // namespace waitq::bench
