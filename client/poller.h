// Many pipes in a program's own epoll loop.

#ifndef WAITQ_CLIENT_POLLER_H_
#define WAITQ_CLIENT_POLLER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/types.h"

namespace waitq {

// Watches names, as an epoll instance watches descriptors: fd() can be read
// while something can be done with one of them, so it goes into poll(2),
// epoll(7) or whatever the program's loop is made of.
//
//   auto poller = Poller::Create(&client).value();
//   poller->Watch("jobs/a", {.in = true});
//   ... epoll_ctl(loop, EPOLL_CTL_ADD, poller->fd(), ...) ...
//   for (const Poller::Event& event : poller->Take()) {
//     client.Read(event.name, {.nonblock = true}, ...);
//   }
//
// Level-triggered: Take() gives a name for as long as something can be done
// with it, as far as the server has told. Nothing is consumed, so others may be
// faster: what is done then must not block. After a Read that empties a pipe it
// is given until the server's word comes, a round trip later.
//
// A name costs the server one sleeping operation, and each change one message.
// Lost connections, and servers that drain, are the client's to mend; after a
// restart of the server its names are asked for anew.
//
// Thread safety: any thread may call any method.
// Blocking: none of them does.
class Poller {
 public:
  struct Event {
    std::string name;
    // What can be done.
    Readiness ready;
    // Not OK: the name is not watched any more, and why (ABORTED, EIDRM: it was
    // removed; FAILED_PRECONDITION, ENXIO: it is no pipe; others, as Poll()).
    // This is given once.
    absl::Status status;
  };
  struct Interest {
    bool in = false;
    bool out = false;
  };

  // Errors: no descriptor is left. The client must outlive it.
  static absl::StatusOr<std::unique_ptr<Poller>> Create(Client* client);
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // From now on; `hup` and `err` are always told. Of a name that is watched
  // already it replaces the interest.
  void Watch(const std::string& name, const Interest& interest);
  // Take() does not give it any more.
  void Unwatch(const std::string& name);
  // Names that are watched.
  size_t size() const;

  // Those with which something can be done, at most so many: who asks for fewer
  // than there are gets others the next time.
  std::vector<Event> Take(size_t max = SIZE_MAX);

  // The poller's own, to be waited for and not to be read.
  int fd() const;

 private:
  class State;

  explicit Poller(std::shared_ptr<State> state);

  const std::shared_ptr<State> state_;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_POLLER_H_
