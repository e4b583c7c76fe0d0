#include "bench/redis_queue_client.h"

#include <charconv>
#include <initializer_list>

#include "bench/load_connection.h"

namespace waitq::bench {
namespace {

std::string Command(std::initializer_list<std::string_view> words) {
  std::string command = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string_view word : words) {
    command += "$" + std::to_string(word.size()) + "\r\n";
    command.append(word);
    command += "\r\n";
  }
  return command;
}

std::string PopCommand(const RedisVerbs& verbs, std::string_view queue) {
  if (verbs.pop_argument.empty()) return Command({verbs.pop, queue});
  return Command({verbs.pop, queue, verbs.pop_argument});
}

// Takes a line "Xnumber\r\n" off; false if it is not all there.
bool TakeLine(std::string_view& bytes, char& type, int64_t& number) {
  const size_t end = bytes.find("\r\n");
  if (end == std::string_view::npos) return false;
  type = bytes.front();
  number = 0;
  std::from_chars(bytes.data() + 1, bytes.data() + end, number);
  bytes.remove_prefix(end + 2);
  return true;
}

// Takes a bulk string off, or another reply without parts as "".
bool TakeWord(std::string_view& bytes, std::string_view& word) {
  char type;
  int64_t size;
  if (!TakeLine(bytes, type, size)) return false;
  word = {};
  if (type != '$' || size < 0) return true;
  if (bytes.size() < static_cast<size_t>(size) + 2) return false;
  word = bytes.substr(0, size);
  bytes.remove_prefix(size + 2);
  return true;
}

}  // namespace

RedisQueueClient::RedisQueueClient(const std::string& address,
                                   const std::string& queue,
                                   const RedisVerbs& verbs, SessionUser* user)
    : TextConnection(address, user),
      queue_(queue),
      verbs_(verbs),
      pop_(PopCommand(verbs, queue)) {
  Start();
}

void RedisQueueClient::Push(std::string_view bytes, uint64_t count) {
  Send(Command({verbs_.push, queue_, bytes}), count);
}

void RedisQueueClient::Pop(uint64_t count) {
  if (!verbs_.subscribes) return Send(pop_, count);
  if (subscribed_) return;
  subscribed_ = true;
  Send(pop_);
  known_.WaitForNotification();
}

void RedisQueueClient::PopWithin(int seconds, uint64_t sleeper) {
  sleepers_.push_back(sleeper);
  Send(Command({verbs_.pop, queue_, std::to_string(seconds)}));
}

size_t RedisQueueClient::OnBytes(std::string_view bytes) {
  size_t taken = 0;
  while (taken < bytes.size()) {
    const size_t reply = OnReply(bytes.substr(taken));
    if (reply == 0) break;
    taken += reply;
  }
  return taken;
}

size_t RedisQueueClient::OnReply(std::string_view bytes) {
  const std::string_view whole = bytes;
  char type;
  int64_t number;
  if (whole.front() == '$') {  // RPOP's
    std::string_view message;
    if (!TakeWord(bytes, message)) return 0;
    Popped(message);
    return whole.size() - bytes.size();
  }
  if (!TakeLine(bytes, type, number)) return 0;
  if (type == ':') {
    Pushed();
  } else if (type == '*' && number < 0) {
    TimedOut(sleepers_.front());
    sleepers_.pop_front();
  } else if (type == '*') {
    std::string_view kind, message;
    for (int64_t i = 0; i < number; ++i) {
      if (!TakeWord(bytes, message)) return 0;
      if (i == 0) kind = message;
    }
    if (kind == "subscribe") {
      known_.Notify();
    } else {
      Popped(message);
    }
  } else {
    Die("Redis says " + std::string(whole.substr(0, 80)));
  }
  return whole.size() - bytes.size();
}

}  // namespace waitq::bench
