// A resource that refuses an old fencing token. A lock tells its holder to
// stop; a holder that stands still does not hear it, and writes when it goes
// on.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "client/client.h"
#include "client/lock.h"

namespace {

// What is guarded: a file server, a database. It knows nothing of locks, but
// has seen the numbers.
class Store {
 public:
  bool Write(uint64_t token, const std::string& what) {
    const bool old = token < highest_;
    if (!old) highest_ = token;
    std::printf("%s: %s\n", what.c_str(), old ? "refused" : "written");
    return !old;
  }

 private:
  uint64_t highest_ = 0;
};

}  // namespace

int main() {
  const char* address = std::getenv("WAITQ_SERVER");
  const waitq::ClientOptions options = {
      .server = address != nullptr ? address : waitq::kDefaultServer};
  Store store;
  auto first = waitq::Client::Create(options).value();
  const uint64_t held = waitq::Lock(first.get(), "store").Acquire()->token();
  store.Write(held, "the first holder");
  first = nullptr;  // as if it had stood still until its session was over

  auto second = waitq::Client::Create(options).value();
  const auto grant = waitq::Lock(second.get(), "store").Acquire();
  if (!grant.ok()) return EXIT_FAILURE;
  bool right = store.Write(grant->token(), "the second holder");
  // And now the first one goes on.
  right = !store.Write(held, "the first holder, late") && right;
  return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
