// Producers in one process, consumers in another, and a queue between them.

#ifndef WAITQ_BENCH_WORKERS_LOAD_H_
#define WAITQ_BENCH_WORKERS_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"

namespace waitq::bench {

// Each worker has one operation under way. In each process there are `sessions`
// connections, with `in_flight` workers on each.
struct WorkersLoad {
  std::string target;  // of QueueSession::Open()
  std::string address;
  std::string queue;
  int sessions;
  uint64_t in_flight;
  size_t message_bytes;
  absl::Duration duration;
};

struct WorkersResult {
  uint64_t messages;         // that were consumed within the duration
  uint64_t total;            // and in all, each once
  absl::Duration processor;  // what both processes used for all of them
};

// The consumers. They are asleep when `start_producers` is called, which is to
// have RunProducers() run in another process, and to return when it has ended.
// The duration begins a tenth of it after the first message.
WorkersResult RunConsumers(const WorkersLoad& load,
                           const std::function<void()>& start_producers);

// The producers: push as long as the consumers look, and at last a message that
// says how much that was.
void RunProducers(const WorkersLoad& load);

struct PushPopResult {
  absl::Duration push;  // on average, each
  absl::Duration pop;
};

// First one session pushes for so long, with so many under way, then another
// one pops as many: what can be done where a pop that sleeps blocks all behind
// it on its connection.
PushPopResult RunPushThenPop(const WorkersLoad& load);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_WORKERS_LOAD_H_
