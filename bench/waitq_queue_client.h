// A queue of waitqd's, a pipe of packets, through the client library.

#ifndef WAITQ_BENCH_WAITQ_QUEUE_CLIENT_H_
#define WAITQ_BENCH_WAITQ_QUEUE_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bench/session_target.h"
#include "client/client.h"

namespace waitq::bench {

class WaitqQueueClient final : public QueueSession {
 public:
  WaitqQueueClient(const std::string& address, std::string queue,
                   SessionUser* user);
  ~WaitqQueueClient() override;

  void Push(std::string_view bytes, uint64_t count) override;
  void Pop(uint64_t count) override;
  void PopWithin(int seconds, uint64_t sleeper) override;

 private:
  const std::string queue_;
  SessionUser& user_;
  std::atomic<bool> ending_{false};
  // The last: while its destructor runs, results come and more is asked for.
  std::unique_ptr<Client> client_;
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_WAITQ_QUEUE_CLIENT_H_
