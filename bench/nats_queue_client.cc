#include "bench/nats_queue_client.h"

#include <charconv>

#include "bench/load_connection.h"

namespace waitq::bench {

NatsQueueClient::NatsQueueClient(const std::string& address,
                                 const std::string& queue, bool queue_group,
                                 SessionUser* user)
    : TextConnection(address, user), queue_(queue), queue_group_(queue_group) {
  Send("CONNECT {\"verbose\":true,\"pedantic\":false}\r\n");
  Start();
}

void NatsQueueClient::Push(std::string_view bytes, uint64_t count) {
  std::string publish =
      "PUB " + queue_ + " " + std::to_string(bytes.size()) + "\r\n";
  publish.append(bytes);
  publish += "\r\n";
  Send(publish, count);
}

void NatsQueueClient::Pop(uint64_t count) {
  pops_ += count;
  if (subscribed_) return;
  subscribed_ = true;
  subscribing_ = true;
  Send("SUB " + queue_ + (queue_group_ ? " group 1\r\n" : " 1\r\n"));
  known_.WaitForNotification();
}

size_t NatsQueueClient::OnBytes(std::string_view bytes) {
  size_t taken = 0;
  while (taken < bytes.size()) {
    const size_t reply = OnReply(bytes.substr(taken));
    if (reply == 0) break;
    taken += reply;
  }
  return taken;
}

size_t NatsQueueClient::OnReply(std::string_view bytes) {
  size_t end = bytes.find("\r\n");
  if (end == std::string_view::npos) return 0;
  const std::string_view line = bytes.substr(0, end);
  end += 2;
  if (line == "+OK") {
    if (!connected_) {
      connected_ = true;
    } else if (subscribing_.exchange(false)) {
      known_.Notify();
    } else {
      Pushed();
    }
  } else if (line.starts_with("MSG ")) {
    size_t size = 0;
    std::from_chars(line.data() + line.rfind(' ') + 1,
                    line.data() + line.size(), size);
    if (bytes.size() < end + size + 2) return 0;
    Popped(bytes.substr(end, size));
    end += size + 2;
    // Those who have asked for one are not to be told of two.
    if (pops_ == 0 || --pops_ == 0) Tell();
  } else if (line == "PING") {
    Send("PONG\r\n");
  } else if (!line.starts_with("INFO ")) {
    Die("NATS says " + std::string(line));
  }
  return end;
}

}  // namespace waitq::bench
