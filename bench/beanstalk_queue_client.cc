#include "bench/beanstalk_queue_client.h"

#include <charconv>

#include "bench/load_connection.h"

namespace waitq::bench {

BeanstalkQueueClient::BeanstalkQueueClient(const std::string& address,
                                           const std::string& queue,
                                           SessionUser* user)
    : TextConnection(address, user) {
  Send("use " + queue + "\r\nwatch " + queue + "\r\nignore default\r\n");
  Start();
}

void BeanstalkQueueClient::Push(std::string_view bytes, uint64_t count) {
  // Priority, delay, and the seconds until what is not deleted is given to
  // somebody else.
  std::string put = "put 0 0 60 " + std::to_string(bytes.size()) + "\r\n";
  put.append(bytes);
  put += "\r\n";
  Send(put, count);
}

void BeanstalkQueueClient::Pop(uint64_t count) { Send("reserve\r\n", count); }

void BeanstalkQueueClient::PopWithin(int seconds, uint64_t sleeper) {
  sleepers_.push_back(sleeper);
  Send("reserve-with-timeout " + std::to_string(seconds) + "\r\n");
}

size_t BeanstalkQueueClient::OnBytes(std::string_view bytes) {
  size_t taken = 0;
  while (taken < bytes.size()) {
    const size_t reply = OnReply(bytes.substr(taken));
    if (reply == 0) break;
    taken += reply;
  }
  return taken;
}

size_t BeanstalkQueueClient::OnReply(std::string_view bytes) {
  size_t end = bytes.find("\r\n");
  if (end == std::string_view::npos) return 0;
  const std::string_view line = bytes.substr(0, end);
  end += 2;
  if (line.starts_with("INSERTED ")) {
    Pushed();
  } else if (line.starts_with("RESERVED ")) {
    const size_t space = line.rfind(' ');
    const std::string_view id = line.substr(9, space - 9);
    size_t size = 0;
    std::from_chars(line.data() + space + 1, line.data() + line.size(), size);
    if (bytes.size() < end + size + 2) return 0;
    Popped(bytes.substr(end, size));
    end += size + 2;
    std::string request = "delete ";
    request.append(id).append("\r\n");
    Send(request);
  } else if (line == "TIMED_OUT") {
    TimedOut(sleepers_.front());
    sleepers_.pop_front();
  } else if (line != "DELETED" && !line.starts_with("USING ") &&
             !line.starts_with("WATCHING ")) {
    Die("beanstalkd says " + std::string(line));
  }
  return end;
}

}  // namespace waitq::bench
