// A connection to a server with a text protocol: what the clients of Redis,
// beanstalkd and NATS have in common. Each is as fast as its protocol lets it
// be: the socket does not wait to send (TCP_NODELAY), requests are pipelined,
// what is asked for while replies are handled goes out in one write, and
// replies are read as many at a time as there are.

#ifndef WAITQ_BENCH_TEXT_CONNECTION_H_
#define WAITQ_BENCH_TEXT_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "bench/event_loop.h"
#include "bench/session_target.h"
#include "core/mutex.h"

namespace waitq::bench {

// Served by EventLoop::OfProcess(), and a queue's session for a subclass that
// knows the protocol.
//
// Thread safety: any thread may send. Replies come on the loop's thread.
// Errors: whatever fails ends the program.
class TextConnection : public QueueSession, private EventLoop::Handler {
 public:
  ~TextConnection() override;
  TextConnection(const TextConnection&) = delete;
  TextConnection& operator=(const TextConnection&) = delete;

 protected:
  // Connects. A subclass calls Start() when it can be given replies, and Stop()
  // in its destructor: then it is given no more.
  TextConnection(const std::string& address, SessionUser* user);
  void Start();
  void Stop();

  // Takes what is complete of what came, and tells how many bytes that was. On
  // the loop's thread.
  virtual size_t OnBytes(std::string_view bytes) = 0;

  // At once, or, within OnBytes(), when that has returned.
  void Send(std::string_view request, uint64_t count = 1)
      ABSL_LOCKS_EXCLUDED(mu_);

  // What the user is told when OnBytes() has returned. Of its thread; a message
  // lives as long as the bytes that OnBytes() was given.
  void Pushed() { ++pushed_; }
  void Popped(std::string_view message) { popped_.push_back(message); }
  void TimedOut(uint64_t sleeper) { user_.OnTimedOut(sleeper); }
  // Tells it before that.
  void Tell();

 private:
  void OnReady(bool readable, bool writable) override;
  void Read();
  void FlushLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  SessionUser& user_;
  const int socket_;

  // Of the loop's thread.
  std::vector<char> in_;
  size_t in_size_ = 0;  // a reply's beginning may be left from the last time
  uint64_t pushed_ = 0;
  std::vector<std::string_view> popped_;
  std::vector<std::string_view> told_;

  Mutex mu_;
  std::string out_ ABSL_GUARDED_BY(mu_);
  // Whoever has set it flushes.
  bool corked_ ABSL_GUARDED_BY(mu_) = false;
  bool full_ ABSL_GUARDED_BY(mu_) = false;  // the loop waits for room
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_TEXT_CONNECTION_H_
