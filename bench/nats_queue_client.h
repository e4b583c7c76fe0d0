// A subject of NATS's, over a TextConnection.

#ifndef WAITQ_BENCH_NATS_QUEUE_CLIENT_H_
#define WAITQ_BENCH_NATS_QUEUE_CLIENT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/synchronization/notification.h"
#include "bench/text_connection.h"

namespace waitq::bench {

// Core NATS keeps nothing and nobody sleeps: the first pop subscribes, and all
// messages come unasked, whether there is a pop for them or not. A push is a
// PUB, of which NATS says that it has it ("verbose"): without that there would
// be nothing to have in flight.
class NatsQueueClient final : public TextConnection {
 public:
  // `queue_group`: a message goes to one of those who pop, else to all. The
  // first pop waits until NATS knows of it: it is not for the loop's thread,
  // and not for when a push is under way.
  NatsQueueClient(const std::string& address, const std::string& queue,
                  bool queue_group, SessionUser* user);
  ~NatsQueueClient() override { Stop(); }

  void Push(std::string_view bytes, uint64_t count) override;
  void Pop(uint64_t count) override;

 private:
  size_t OnBytes(std::string_view bytes) override;
  size_t OnReply(std::string_view bytes);

  const std::string queue_;
  const bool queue_group_;
  bool subscribed_ = false;  // of the thread that pops
  std::atomic<uint64_t> pops_{0};
  // Replies to what is no push: to CONNECT, the first of all, of the loop's
  // thread; and to SUB.
  bool connected_ = false;
  std::atomic<bool> subscribing_{false};
  absl::Notification known_;
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_NATS_QUEUE_CLIENT_H_
