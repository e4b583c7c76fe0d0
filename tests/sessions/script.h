// Random scripts for clients of a simulated server: what they do, what befalls
// them, and when.

#ifndef WAITQ_TESTS_SESSIONS_SCRIPT_H_
#define WAITQ_TESTS_SESSIONS_SCRIPT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/engine/limits.h"
#include "tests/sessions/sim_network.h"

namespace waitq::sim {

// What makes no sense when its turn comes (no handle is open, the server is
// down already) is passed over.
struct Step {
  enum class Kind : uint8_t {
    // Operations; the object is that of its kind with number `object`.
    kWait,    // a: which condition; b: its operand
    kWakeUp,  // a: what update; b: nr, 0 for all
    kStore,   // a: the value
    kGet,
    kDoneWait,
    kTryWait,
    kComplete,  // a: nr, 0 for good
    kReinit,
    kPacketWrite,  // a: bytes
    kPacketRead,
    kHoldRead,    // of packets; a: milliseconds
    kAcceptHold,  // a: which
    kReleaseHold,
    kStreamWrite,  // a: bytes
    kStreamRead,   // a: at most
    kOpen,         // a: to write
    kHandleWrite,  // a: which handle; b: bytes
    kHandleRead,   // b: at most
    kCloseHandle,  // a: which; b: broken
    kPoll,         // a: 1 in, 2 out
    kAcquire,      // a lock or a semaphore
    kGiveBack,     // a: which
    kAny,          // a word, a completion, packets; a: which first; b: operand
    kCancel,       // a: how manieth of those under way
    kCancelOld,    // all of those under way
    // What befalls a client, or all.
    kCut,            // a, b: when its ends are told (ns); -1: never
    kRefuse,         // a: ns
    kStallClient,    // a: ns
    kCrash,          // a: when the server is told, -1: never; a new one follows
    kCloseClient,    // it says goodbye; a new one follows
    kStallServer,    // a: ns; b: timers first
    kRestartServer,  // a: how long it is down; b: 0 killed, 1 it says so
    kReplaceServer,  // a: how long it is down; b: how long it drains before
  };
  enum class Take : uint8_t { kAtOnce, kLater, kNever, kReturn };

  bool IsFault() const { return kind >= Kind::kCut; }

  Kind kind = Kind::kGet;
  uint8_t client = 0;
  Take take = Take::kAtOnce;
  bool nonblock = false;
  bool restartable = false;
  bool uninterruptible = false;
  uint32_t object = 0;
  int64_t a = 0;
  int64_t b = 0;
  Nanos at = 0;          // from the beginning
  Nanos timeout = -1;    // none
  Nanos give_up = -1;    // never
  Nanos take_after = 0;  // of kLater and kReturn
};

using Script = std::vector<Step>;

// The world that a script is for.
struct Setting {
  struct Client {
    Nanos grace = 0;
    Nanos offset = 0;
    int64_t fast_ppm = 0;
  };
  NetworkOptions network;
  engine::Limits limits;
  bool small_limits = false;  // sessions may be full
  std::vector<Client> clients;
};

Setting RandomSetting(uint64_t seed);
// About so many operations.
Script RandomScript(uint64_t seed, const Setting& setting, int operations);

std::string ToString(const Step& step);

}  // namespace waitq::sim

#endif  // WAITQ_TESTS_SESSIONS_SCRIPT_H_
