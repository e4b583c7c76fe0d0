#include "client/poller.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <list>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/error.h"

namespace waitq {

// The callbacks of its polls have a reference, too.
class Poller::State : public std::enable_shared_from_this<State> {
 public:
  State(Client* client, int fd) : client_(*client), fd_(fd) {}
  ~State() { close(fd_); }

  int fd() const { return fd_; }

  void Watch(const std::string& name, const Interest& interest)
      ABSL_LOCKS_EXCLUDED(mu_) {
    CallId old = 0;
    uint64_t number = 0;
    {
      absl::MutexLock lock(&mu_);
      Name& entry = names_[name];
      old = std::exchange(entry.call, 0);
      SetReadyLocked(name, entry, {});
      entry.interest = interest;
      entry.known = std::nullopt;
      entry.status = absl::OkStatus();
      number = entry.number = ++last_number_;
    }
    if (old != 0) client_.Cancel(old);
    Poll(name, number, interest, std::nullopt);
  }

  void Unwatch(const std::string& name) ABSL_LOCKS_EXCLUDED(mu_) {
    CallId old = 0;
    {
      absl::MutexLock lock(&mu_);
      const auto it = names_.find(name);
      if (it == names_.end()) return;
      old = it->second.call;
      SetReadyLocked(name, it->second, {});
      names_.erase(it);
    }
    if (old != 0) client_.Cancel(old);
  }

  void UnwatchAll() ABSL_LOCKS_EXCLUDED(mu_) {
    std::vector<CallId> calls;
    {
      absl::MutexLock lock(&mu_);
      for (const auto& [name, entry] : names_) calls.push_back(entry.call);
      names_.clear();
      ready_.clear();
    }
    for (const CallId call : calls) {
      if (call != 0) client_.Cancel(call);
    }
  }

  size_t size() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return names_.size();
  }

  std::vector<Event> Take(size_t max) ABSL_LOCKS_EXCLUDED(mu_) {
    std::vector<Event> events;
    absl::MutexLock lock(&mu_);
    for (size_t left = std::min(max, ready_.size()); left > 0; --left) {
      const auto first = ready_.begin();
      Name& entry = names_.at(*first);
      events.push_back({.name = *first,
                        .ready = entry.known.value_or(Readiness()),
                        .status = entry.status});
      if (entry.status.ok()) {
        // The others first, the next time.
        ready_.splice(ready_.end(), ready_, first);
      } else {
        names_.erase(*first);
        ready_.erase(first);
      }
    }
    SignalLocked();
    return events;
  }

 private:
  struct Name {
    Interest interest;
    // Of the poll that is under way; another one for each.
    uint64_t number = 0;
    CallId call = 0;  // 0: it is being begun
    std::optional<Readiness> known;
    absl::Status status;
    // Its place among those that Take() gives.
    std::optional<std::list<std::string>::iterator> ready;
  };

  void Poll(const std::string& name, uint64_t number, const Interest& interest,
            const std::optional<Readiness>& known) ABSL_LOCKS_EXCLUDED(mu_) {
    const CallId call = client_.Poll(
        name, {.in = interest.in, .out = interest.out, .known = known},
        [self = shared_from_this(), name,
         number](const absl::StatusOr<PollResult>& result) {
          self->OnPolled(name, number, result);
        });
    {
      absl::MutexLock lock(&mu_);
      const auto it = names_.find(name);
      if (it != names_.end() && it->second.number == number) {
        it->second.call = call;
        return;
      }
    }
    // It has ended already, and another one was begun; or it is not watched any
    // more.
    client_.Cancel(call);
  }

  void OnPolled(const std::string& name, uint64_t number,
                const absl::StatusOr<PollResult>& result)
      ABSL_LOCKS_EXCLUDED(mu_) {
    Interest interest;
    std::optional<Readiness> known;
    {
      absl::MutexLock lock(&mu_);
      const auto it = names_.find(name);
      if (it == names_.end() || it->second.number != number) return;
      Name& entry = it->second;
      entry.call = 0;
      entry.known = std::nullopt;
      if (result.ok()) {
        entry.known = {.in = result->in,
                       .out = result->out,
                       .hup = result->hup,
                       .err = result->err};
      } else if (ErrorReason(result.status()) != "EOWNERDEAD") {
        entry.status = result.status();
        return SetReadyLocked(name, entry, {.err = true});
      }  // else there is another server: it is asked anew
      SetReadyLocked(name, entry, entry.known.value_or(Readiness()));
      known = entry.known;
      interest = entry.interest;
      number = entry.number = ++last_number_;
    }
    Poll(name, number, interest, known);
  }

  void SetReadyLocked(const std::string& name, Name& entry,
                      const Readiness& ready)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (ready.any() == entry.ready.has_value()) return;
    if (ready.any()) {
      entry.ready = ready_.insert(ready_.end(), name);
    } else {
      ready_.erase(*std::exchange(entry.ready, std::nullopt));
    }
    SignalLocked();
  }

  // The descriptor can be read while there is something to be taken.
  void SignalLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (signalled_ == !ready_.empty()) return;
    signalled_ = !ready_.empty();
    eventfd_t count = 1;
    // Neither can fail: the count is 0 or 1.
    if (signalled_) {
      eventfd_write(fd_, count);
    } else {
      eventfd_read(fd_, &count);
    }
  }

  Client& client_;
  const int fd_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<std::string, Name> names_ ABSL_GUARDED_BY(mu_);
  std::list<std::string> ready_ ABSL_GUARDED_BY(mu_);
  uint64_t last_number_ ABSL_GUARDED_BY(mu_) = 0;
  bool signalled_ ABSL_GUARDED_BY(mu_) = false;
};

absl::StatusOr<std::unique_ptr<Poller>> Poller::Create(Client* client) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("eventfd: ", std::strerror(errno)));
  }
  return std::unique_ptr<Poller>(
      new Poller(std::make_shared<State>(client, fd)));
}

Poller::Poller(std::shared_ptr<State> state) : state_(std::move(state)) {}

Poller::~Poller() { state_->UnwatchAll(); }

void Poller::Watch(const std::string& name, const Interest& interest) {
  state_->Watch(name, interest);
}

void Poller::Unwatch(const std::string& name) { state_->Unwatch(name); }

size_t Poller::size() const { return state_->size(); }

std::vector<Poller::Event> Poller::Take(size_t max) {
  return state_->Take(max);
}

int Poller::fd() const { return state_->fd(); }

}  // namespace waitq
