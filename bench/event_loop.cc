#include "bench/event_loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "bench/load_connection.h"

namespace waitq::bench {
namespace {

// As many as are ready at once in the loads; what is over comes next.
constexpr int kEvents = 256;

// How often the loop has begun to wait for events.
std::atomic<uint64_t> turns{0};

}  // namespace

EventLoop& EventLoop::OfProcess() {
  static EventLoop* const loop = new EventLoop;
  return *loop;
}

EventLoop::EventLoop() : epoll_(epoll_create1(0)), wake_up_(eventfd(0, 0)) {
  if (epoll_ < 0 || wake_up_ < 0) Die("no epoll");
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_up_, &event);
  std::thread([this] { Serve(); }).detach();
}

void EventLoop::Add(int socket, Handler* handler) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = handler}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) Die("epoll_ctl");
}

void EventLoop::WatchWritable(int socket, Handler* handler, bool writable) {
  epoll_event event{.events = EPOLLIN | (writable ? EPOLLOUT : 0u),
                    .data = {.ptr = handler}};
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, socket, &event) != 0) Die("epoll_ctl");
}

void EventLoop::Remove(int socket) {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, socket, nullptr);
  // Events that epoll gave out before are over with the next turn.
  const uint64_t before = turns;
  const uint64_t one = 1;
  while (turns == before) {
    if (write(wake_up_, &one, sizeof(one)) < 0) Die("eventfd");
    std::this_thread::yield();
  }
}

void EventLoop::Serve() {
  epoll_event events[kEvents];
  for (;;) {
    ++turns;
    const int ready = epoll_wait(epoll_, events, kEvents, -1);
    if (ready < 0 && errno != EINTR) Die("epoll_wait");
    for (int i = 0; i < ready; ++i) {
      if (events[i].data.ptr == nullptr) {
        uint64_t count;
        if (read(wake_up_, &count, sizeof(count)) < 0) Die("eventfd");
        continue;
      }
      static_cast<Handler*>(events[i].data.ptr)
          ->OnReady(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR),
                    events[i].events & EPOLLOUT);
    }
  }
}

}  // namespace waitq::bench
