// A server with low limits, greedy clients, and an honest one.

#ifndef WAITQ_TESTS_FAULTS_GREEDY_STAGE_H_
#define WAITQ_TESTS_FAULTS_GREEDY_STAGE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "client/client.h"
#include "server/engine/limits.h"
#include "tests/server/client.h"
#include "tests/support/process.h"

namespace waitq::test {

// Low enough to be met within a second or two.
engine::Limits GreedyLimits();
// waitqd's flags for them.
std::vector<std::string> FlagsOf(const engine::Limits& limits);
// What a server may use beside what it uses at its start: the limits of bytes;
// and of each thing that is counted, as many as there may be, times what one
// costs. docs/reliability.md has the prices.
uint64_t SumOfLimitsBytes(const engine::Limits& limits);

// A greedy_client, of these kinds, or of all.
class GreedyClient {
 public:
  struct Had {
    uint64_t count;
    std::string limit;
    bool operator==(const Had&) const = default;
    friend void PrintTo(const Had& had, std::ostream* out) {
      *out << had.count << " " << had.limit;
    }
  };

  GreedyClient(const std::string& server,
               const std::vector<std::string>& kinds = {});
  // Until it has all; of each kind what it has. Fails the test, and is empty,
  // if that does not come.
  std::map<std::string, Had> AwaitFull();

 private:
  Process process_;
};

// Somebody who wakes and sleeps, writes and reads, as little as can be: by two
// sessions, and by unary calls. Its objects are there from the beginning.
//
// Thread safety: none.
class HonestClient {
 public:
  // Each is done and answered: what the client thinks of the time that it took.
  enum class Job { kWakeBySession, kWakeByCall, kPipeBySession, kPipeByCall };
  static const std::vector<std::pair<Job, const char*>>& Jobs();

  explicit HonestClient(const std::string& server);
  ~HonestClient();

  // A round trip. An error is what the server has refused.
  absl::Status Do(Job job);

 private:
  absl::Status WakeBySession();
  absl::Status WakeByCall();
  absl::Status PipeBySession();
  absl::Status PipeByCall();
  // What wakes us is woken by us.
  void PartnerBySession(const std::stop_token& stop);
  void PartnerByCall(const std::stop_token& stop);

  std::unique_ptr<waitq::Client> session_;
  std::unique_ptr<waitq::Client> partner_session_;
  std::unique_ptr<Client> calls_;
  std::unique_ptr<Client> partner_calls_;
  std::jthread by_session_;
  std::jthread by_call_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_FAULTS_GREEDY_STAGE_H_
