// The one thread that serves all sockets of a load, whatever their number: what
// an event-driven client of a text protocol has.

#ifndef WAITQ_BENCH_EVENT_LOOP_H_
#define WAITQ_BENCH_EVENT_LOOP_H_

#include <cstdint>

namespace waitq::bench {

class EventLoop {
 public:
  // What is called on the loop's thread.
  class Handler {
   public:
    virtual void OnReady(bool readable, bool writable) = 0;

   protected:
    ~Handler() = default;
  };

  // The process's; lives as long as it does. Its thread starts with the first
  // call.
  static EventLoop& OfProcess();

  // From now on the handler is told when the socket can be read and, if
  // `writable`, written. Any thread.
  void Add(int socket, Handler* handler);
  void WatchWritable(int socket, Handler* handler, bool writable);
  // The handler is not called any more when this returns. Not on the loop's
  // thread.
  void Remove(int socket);

 private:
  EventLoop();
  [[noreturn]] void Serve();

  const int epoll_;
  const int wake_up_;  // an eventfd: somebody waits in Remove()
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_EVENT_LOOP_H_
