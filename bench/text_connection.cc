#include "bench/text_connection.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "bench/load_connection.h"
#include "bench/tcp_socket.h"

namespace waitq::bench {
namespace {

// There are 10,000 connections in some loads, so it begins small, and doubles
// where it is filled.
constexpr size_t kFirstBytes = 512;
constexpr size_t kMostBytes = 1 << 16;

}  // namespace

TextConnection::TextConnection(const std::string& address, SessionUser* user)
    : user_(*user), socket_(ConnectTcp(address)), in_(kFirstBytes) {}

TextConnection::~TextConnection() { close(socket_); }

void TextConnection::Start() { EventLoop::OfProcess().Add(socket_, this); }

void TextConnection::Stop() { EventLoop::OfProcess().Remove(socket_); }

void TextConnection::Send(std::string_view request, uint64_t count) {
  MutexLock lock(&mu_);
  for (; count > 0; --count) out_.append(request);
  if (!corked_) FlushLocked();
}

void TextConnection::FlushLocked() {
  size_t sent = 0;
  while (sent < out_.size()) {
    const ssize_t n = send(socket_, out_.data() + sent, out_.size() - sent,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) Die("the connection was lost");
    if (n < 0) break;
    sent += n;
  }
  out_.erase(0, sent);
  if (full_ == !out_.empty()) return;
  full_ = !full_;
  EventLoop::OfProcess().WatchWritable(socket_, this, full_);
}

void TextConnection::OnReady(bool readable, bool writable) {
  {
    MutexLock lock(&mu_);
    corked_ = true;
  }
  if (readable) Read();
  MutexLock lock(&mu_);
  corked_ = false;
  if (!out_.empty() || writable) FlushLocked();
}

void TextConnection::Read() {
  if (in_size_ == in_.size()) in_.resize(2 * in_.size());
  const ssize_t n =
      recv(socket_, in_.data() + in_size_, in_.size() - in_size_, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) Die("the connection was lost");
  in_size_ += n;
  const size_t taken = OnBytes({in_.data(), in_size_});
  Tell();
  in_size_ -= taken;
  std::memmove(in_.data(), in_.data() + taken, in_size_);
  if (in_size_ + taken == in_.size() && in_.size() < kMostBytes) {
    in_.resize(2 * in_.size());
  }
}

void TextConnection::Tell() {
  if (pushed_ == 0 && popped_.empty()) return;
  // It may ask for more, of which there are results in what has been read.
  told_.swap(popped_);
  user_.OnResults(std::exchange(pushed_, 0), told_);
  told_.clear();
}

}  // namespace waitq::bench
