// A queue of packets on the server, as producers and consumers use it: in a
// session, or with unary calls.

#ifndef WAITQ_LOAD_QUEUE_PORT_H_
#define WAITQ_LOAD_QUEUE_PORT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/types.h"

namespace waitq::load {

// Thread safety: any thread may call any method; and a callback may, too.
// Blocking: only the destructor of a unary one.
class QueuePort {
 public:
  virtual ~QueuePort() = default;

  // Sleeps while the queue is full.
  virtual void Push(const std::string& bytes, Callback<WriteResult> done) = 0;
  // Sleeps while it is empty.
  virtual void Pop(Callback<ReadResult> done) = 0;
  // What is under way ends with CANCELLED.
  virtual void Stop() = 0;
};

// Of `client`'s session, which must outlive it.
std::unique_ptr<QueuePort> SessionQueuePort(Client& client,
                                            const std::string& name,
                                            uint64_t message_bytes);

// On a connection of its own. INVALID_ARGUMENT: `server` is no address.
absl::StatusOr<std::unique_ptr<QueuePort>> UnaryQueuePort(
    const std::string& server, const std::string& name, uint64_t message_bytes);

}  // namespace waitq::load

#endif  // WAITQ_LOAD_QUEUE_PORT_H_
