#include <cstdint>
#include <utility>

#include "load/queue_port.h"

namespace waitq::load {
namespace {

class SessionPort final : public QueuePort {
 public:
  SessionPort(Client& client, const std::string& name, uint64_t message_bytes)
      : client_(client), name_(name), message_bytes_(message_bytes) {}

  void Push(const std::string& bytes, Callback<WriteResult> done) override {
    client_.Write(name_, bytes, {}, std::move(done));
  }
  void Pop(Callback<ReadResult> done) override {
    client_.Read(name_, {.max_bytes = message_bytes_}, std::move(done));
  }
  // The session's end is the stop of all that is in it.
  void Stop() override {}

 private:
  Client& client_;
  const std::string name_;
  const uint64_t message_bytes_;
};

}  // namespace

std::unique_ptr<QueuePort> SessionQueuePort(Client& client,
                                            const std::string& name,
                                            uint64_t message_bytes) {
  return std::make_unique<SessionPort>(client, name, message_bytes);
}

}  // namespace waitq::load
