// The ways in which a victim of the fault lab moves numbered items, and the
// record that it leaves.

#ifndef WAITQ_TESTS_FAULTS_WAY_H_
#define WAITQ_TESTS_FAULTS_WAY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "tests/faults/record.h"

namespace waitq::test {

// The lines of a victim's record:
//
//   S ITEM ID EPOCH     is about to be sent (ID: its request id, or -)
//   A ITEM              was told that it is accepted
//   U ITEM WHY          does not know, and will not repeat it
//   R ITEM WHY          was told that it is not accepted
//   W ITEM ID EPOCH     is about to ask for something (of completions: ITEM)
//   T ITEMS MARK HOLD   has taken them: 7,8,9 (MARK: 1 if `redelivered`)
//   N ITEM WHY          got nothing, for certain
//   L ITEM WHY          does not know whether it got something
//   C HOLD              was told that this is its own for good
//   E HOLD WHY          was not told so
//   X WHY               what must not be

enum class Kind { kStream, kPacket, kCompletion };

struct Settings {
  std::string server;
  std::string mode;  // unary, request_id, hold or session
  Kind kind = Kind::kStream;
  // The pipe; of completions item N is NAME/N.
  std::string name;
  absl::Duration grace = absl::Seconds(1);    // of a session
  absl::Duration hold = absl::Seconds(1);     // of a read with `hold`
  absl::Duration timeout = absl::Seconds(1);  // of a call that sleeps
  // The first call is the one that another victim, now dead, has begun: its
  // request id, and the server that it meant.
  std::string resume = {};
  uint64_t epoch = 0;
  // Holds of that one.
  std::vector<uint64_t> accept = {};
};

// An item on the wire: fixed, so that a stream's can be told apart.
inline constexpr uint64_t kItemBytes = 16;
inline constexpr uint64_t kPacketBytes = kItemBytes + 64;
std::string ItemText(uint64_t item);
// The items in what was read; says X, and gives none, if it is something else.
std::vector<uint64_t> ItemsOf(std::string_view data, Record& record);
// One line for all that one call has taken.
void SayTaken(const std::vector<uint64_t>& items, bool redelivered,
              uint64_t hold, Record& record);

// Whether a victim was asked to end (SIGTERM).
bool IsOver();

// Thread safety: none; one thread calls, others may be told.
class Way {
 public:
  virtual ~Way() = default;
  // Makes what is needed; false: not yet, try again.
  virtual bool Prepare() = 0;
  // One item. Returns when its fate is known, or never will be; false if it is
  // known not to be accepted, so that it may be put again.
  virtual bool Put(uint64_t item) = 0;
  // Takes something, and says so; of completions, that item. Returns when
  // another Take may be begun; false: nothing was taken.
  virtual bool Take(uint64_t item, absl::Duration timeout) = 0;
  // Of completions: whether that item is done and not taken.
  virtual bool IsDone(uint64_t item) = 0;
  // Returns when nothing is under way.
  virtual void Finish() {}
};

std::unique_ptr<Way> MakeUnaryWay(const Settings& settings, Record& record);
std::unique_ptr<Way> MakeSessionWay(const Settings& settings, Record& record);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_FAULTS_WAY_H_
