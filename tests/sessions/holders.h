// Who holds which lock or semaphore of a simulated world, as the programs see
// it; and whether there are more of them than may be.

#ifndef WAITQ_TESTS_SESSIONS_HOLDERS_H_
#define WAITQ_TESTS_SESSIONS_HOLDERS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/engine.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::sim {

// A grant that a program has been told of.
struct Held {
  uint32_t object = 0;
  int client = 0;
  uint64_t session = 0;  // of its machine
  uint64_t epoch = 0;    // of the server that granted it
  uint64_t token = 0;
  size_t operation = 0;
};

class Holders {
 public:
  static std::string NameOf(uint32_t object);
  // Of object 0 one, and it is a lock; of others up to three.
  static int64_t PermitsOf(uint32_t object) { return 1 + object % 3; }
  // The requests: to be granted one, and to give it back.
  static void SetAcquire(uint32_t object, v1::WaitRequest& request);
  static void SetGiveBack(const Held& held, v1::WakeUpRequest& request);

  // A program has been told. What is wrong with that: too many hold it, or a
  // later one has a lower token; "" if nothing is. `counts`: whether a holder
  // of that client can know by now that he is none any more.
  std::string Add(const Held& held, const std::function<bool(int)>& counts);

  // The `which`th of that client, which gives it back now: nobody's from here
  // on.
  std::optional<Held> Take(int client, int64_t which);
  // It gives the result back, has been told that its session is over, or is
  // gone.
  void Remove(size_t operation);
  void RemoveAllOf(int client);

  // Everybody is gone: what is wrong with the words; "" if nothing is.
  static std::string CheckLeft(engine::Engine& engine);
  // Nobody is away: whether somebody sleeps for what is there.
  static std::string CheckSleepers(engine::Engine& engine);

 private:
  std::vector<Held> held_;
  std::vector<Held> last_;  // of each object, that with the highest token
};

}  // namespace waitq::sim

#endif  // WAITQ_TESTS_SESSIONS_HOLDERS_H_
