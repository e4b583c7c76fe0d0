// What goes into the client's calls and comes out of them. Plain values.

#ifndef WAITQ_CLIENT_TYPES_H_
#define WAITQ_CLIENT_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/time/time.h"

namespace waitq {

// How a blocking call ended, when that is an expected end.
enum class Outcome {
  kDone,        // the condition held, or bytes moved
  kTimedOut,    // the call's `timeout` ran out first
  kWouldBlock,  // it would have slept, and had `nonblock` set
  kEndOfFile,   // a read reached the end of what the writers wrote
};

// Which signals end a sleep (of Tasks.Signal, as Linux's task state).
enum class Sleep {
  kInterruptible,
  kKillable,
  // Only for calls that give (Write): runs on when its caller is gone.
  kUninterruptible,
};

enum class ObjectKind { kWaitQueue, kCompletion, kPipe };

// A test of a wait queue's word or generation.
struct Condition {
  enum class Test {
    kEqual,
    kNotEqual,
    kLess,
    kLessOrEqual,
    kGreater,
    kGreaterOrEqual,
    kAllBits,
    kAnyBits,
    kChangedSince,
  };

  static constexpr Condition Equal(int64_t value) {
    return {Test::kEqual, value};
  }
  static constexpr Condition NotEqual(int64_t value) {
    return {Test::kNotEqual, value};
  }
  static constexpr Condition Less(int64_t value) {
    return {Test::kLess, value};
  }
  static constexpr Condition AtMost(int64_t value) {
    return {Test::kLessOrEqual, value};
  }
  static constexpr Condition AtLeast(int64_t value) {
    return {Test::kGreaterOrEqual, value};
  }
  static constexpr Condition AllBits(uint64_t mask) {
    return {Test::kAllBits, static_cast<int64_t>(mask)};
  }
  static constexpr Condition AnyBits(uint64_t mask) {
    return {Test::kAnyBits, static_cast<int64_t>(mask)};
  }
  // The queue's generation is another one: something was changed or woken.
  static constexpr Condition ChangedSince(uint64_t generation) {
    return {Test::kChangedSince, static_cast<int64_t>(generation)};
  }

  bool operator==(const Condition&) const = default;

  Test test = Test::kEqual;
  // What the word is compared with; a mask or a generation as its 64 bits.
  int64_t operand = 0;
};

// A change of a wait queue's word.
struct Action {
  enum class Change { kSet, kAdd, kAndBits, kOrBits };

  static constexpr Action Set(int64_t value) { return {Change::kSet, value}; }
  static constexpr Action Add(int64_t value) { return {Change::kAdd, value}; }
  static constexpr Action AndBits(uint64_t mask) {
    return {Change::kAndBits, static_cast<int64_t>(mask)};
  }
  static constexpr Action OrBits(uint64_t mask) {
    return {Change::kOrBits, static_cast<int64_t>(mask)};
  }

  bool operator==(const Action&) const = default;

  Change change = Change::kSet;
  // What is set or added; a mask as its 64 bits.
  int64_t operand = 0;
};

// Where the time of a blocking call went, as the server saw it.
struct Timing {
  // From the call's start to its end; 0 if it did not sleep.
  absl::Duration asleep;
  // From that end to the moment at which the answer was given to gRPC.
  absl::Duration wake_to_send;
  // With kTimedOut: how much later than `timeout` it ended.
  absl::Duration overshoot;
  // How many sleepers a wake would have come to first, when it went to sleep.
  uint64_t place = 0;
};

// How a `then` is undone.
struct Undo {
  // Only if this holds of the word then. Absent: however it is.
  std::optional<Condition> only_while = {};
  // Done then. Absent: an Add is undone by its opposite; a Set puts back the
  // word as it was, unless it has been changed since. Required for bits.
  std::optional<Action> instead = {};
};

// The options of blocking calls share these three:
//   timeout   how long the call may sleep; absent: for ever; 0: one test
//   nonblock  never sleep: kWouldBlock instead; beats `timeout`
//   sleep     what ends it
struct WaitOptions {
  // Absent: sleep until a wake reaches this call.
  std::optional<Condition> condition = {};
  // Done in the same step in which the condition is found true.
  std::optional<Action> then = {};
  // Whether this sleeper uses up one of a wake's `nr`. Absent: if it has a
  // `then`.
  std::optional<bool> exclusive = {};
  // After `then` the sleepers are walked once more: see the proto's field.
  bool then_wake = false;
  // Which wakes reach this sleeper: 0 in either key matches all, otherwise they
  // must have a bit in common.
  uint64_t key = 0;
  // Only of the queue that has had this generation (of a GetResult, of a
  // WaitResult): if it has been removed since, ABORTED (EIDRM), also where
  // another one has the name by now. 0: of whichever has the name.
  uint64_t seen_generation = 0;
  std::optional<absl::Duration> timeout = {};
  bool nonblock = false;
  Sleep sleep = Sleep::kInterruptible;
  // The result is to have its `timing`.
  bool want_timing = false;
};

// How a lock, or what is like one, is waited for.
struct AcquireOptions {
  std::optional<absl::Duration> timeout = {};
  bool nonblock = false;
  Sleep sleep = Sleep::kInterruptible;

  // The wait for that, in this way.
  WaitOptions ToWait(const Condition& condition,
                     const std::optional<Action>& then = {}) const {
    return {.condition = condition,
            .then = then,
            .timeout = timeout,
            .nonblock = nonblock,
            .sleep = sleep};
  }
};

struct WaitResult {
  Outcome outcome = Outcome::kDone;  // kDone, kTimedOut or kWouldBlock
  // The word when the call ended, before and after `then`.
  int64_t value_before = 0;
  int64_t value_after = 0;
  uint64_t generation = 0;
  // Of `timeout`, where there is one.
  std::optional<absl::Duration> remaining = {};
  bool slept = false;
  // If it was wanted.
  std::optional<Timing> timing = {};
};

struct WakeOptions {
  // Done before anybody is woken.
  std::optional<Action> update = {};
  // How many exclusive sleepers to wake at most; ignored with `all`.
  uint32_t nr = 1;
  bool all = false;
  // Leave killable sleepers asleep, as wake_up_interruptible().
  bool interruptible_only = false;
  // The caller is about to sleep: a hint.
  bool sync = false;
  // Whom it reaches: as WaitOptions::key.
  uint64_t key = 0;
  // The grant that this gives back (Grant::token()): with an `update` the word
  // is changed by that, without as if it were undone. 0: none. ABORTED or
  // FAILED_PRECONDITION (ESTALE): it is not out any more, and nothing happened.
  uint64_t grant = 0;
};

struct WakeResult {
  uint64_t woken = 0;
  uint64_t woken_exclusive = 0;  // of these
  int64_t value = 0;
  uint64_t generation = 0;
};

struct GetResult {
  int64_t value = 0;
  uint64_t generation = 0;
};

struct StoreResult {
  int64_t value_before = 0;
  uint64_t generation = 0;
};

struct AwaitOptions {
  std::optional<absl::Duration> timeout = {};
  bool nonblock = false;
  Sleep sleep = Sleep::kInterruptible;
  // The result is to have its `timing`.
  bool want_timing = false;
};

struct AwaitResult {
  Outcome outcome = Outcome::kDone;  // kDone, kTimedOut or kWouldBlock
  std::optional<absl::Duration> remaining = {};
  bool slept = false;
  // If it was wanted.
  std::optional<Timing> timing = {};
  uint64_t generation = 0;
  // Somebody else was given this one, and may have used it: his session ended
  // before he had said that he has it.
  bool redelivered = false;
};

struct CompleteResult {
  uint64_t woken = 0;
  // How many more are done and not taken; UINT32_MAX after CompleteAll.
  uint32_t done = 0;
  uint64_t generation = 0;
};

// What is between two writes: nothing, or the border of a packet.
enum class PipeMode { kStream, kPacket };

enum class PipeProfile {
  kFifo,   // ends of file, EPIPE
  kQueue,  // neither: a mailbox that outlives its readers and writers
  kScull,  // neither, and a ring: that of "Linux Device Drivers"
};

// Of a pipe that is made by the call that names them. Absent: the server's
// defaults (64 KiB, 4 KiB, a stream; kFifo for streams, kQueue for packets). A
// pipe that is there keeps its own, and must have the mode and profile that are
// named: ALREADY_EXISTS (EEXIST).
struct PipeOptions {
  std::optional<uint64_t> capacity_bytes = {};
  std::optional<uint64_t> atomic_max_bytes = {};
  std::optional<PipeMode> mode = {};
  std::optional<PipeProfile> profile = {};
};

struct ReadOptions {
  uint64_t max_bytes = 64 << 10;
  // Fewer only where the file ends. 1 to max_bytes and the pipe's capacity.
  uint64_t min_bytes = 1;
  std::optional<PipeOptions> pipe = {};
  // What is read is not gone, but held for so long, at most a day: until
  // Client::Accept or Release, or it is put back for others. 0: 30 s.
  std::optional<absl::Duration> hold = {};
  std::optional<absl::Duration> timeout = {};
  bool nonblock = false;
  Sleep sleep = Sleep::kInterruptible;
  // The result is to have its `timing`.
  bool want_timing = false;
};

struct ReadResult {
  Outcome outcome = Outcome::kDone;
  std::string data = {};
  // Where in the pipe `data` begins, and which pipe of this name it was.
  uint64_t offset = 0;
  uint64_t incarnation = 0;
  // With kEndOfFile: a writer went away without closing.
  bool broken = false;
  // What Accept and Release name it by, if it is held; else 0.
  uint64_t hold_id = 0;
  // Somebody had this before, and has not accepted or acknowledged it.
  bool redelivered = false;
  bool slept = false;
  // If it was wanted.
  std::optional<Timing> timing = {};
};

struct WriteOptions {
  std::optional<PipeOptions> pipe = {};
  std::optional<absl::Duration> timeout = {};
  bool nonblock = false;
  Sleep sleep = Sleep::kInterruptible;
  // The result is to have its `timing`.
  bool want_timing = false;
};

struct WriteResult {
  // kDone if any byte was accepted, else kTimedOut or kWouldBlock.
  Outcome outcome = Outcome::kDone;
  uint64_t accepted_bytes = 0;
  // What cut a write short that is kDone: an outcome; or, for what would be an
  // error had nothing been accepted, the errno's name ("EPIPE"), else "".
  std::optional<Outcome> ended_by = {};
  std::string ended_by_error = {};
  int ended_by_signal = 0;  // with "EINTR"
  // The pipe's offset after the last accepted byte.
  uint64_t offset = 0;
  uint64_t incarnation = 0;
  bool slept = false;
  // If it was wanted.
  std::optional<Timing> timing = {};
};

// What can be done with a pipe.
struct Readiness {
  bool in = false;   // a byte, or a packet, is unread
  bool out = false;  // a write of up to the atomic size would not sleep
  bool hup = false;  // writers have been there, and none is
  bool err = false;  // the last reader has left

  bool any() const { return in || out || hup || err; }
  bool operator==(const Readiness&) const = default;
};

struct PollOptions {
  bool in = false;   // a byte, or a packet, is unread
  bool out = false;  // a write of up to the atomic size would not sleep
  // Sleeps until what there is, of what is asked for, is something else than
  // this, be it nothing. Absent: until there is something.
  std::optional<Readiness> known = {};
  std::optional<absl::Duration> timeout = {};
  bool nonblock = false;
  Sleep sleep = Sleep::kInterruptible;
  // The result is to have its `timing`.
  bool want_timing = false;
};

struct PollResult {
  Outcome outcome = Outcome::kDone;  // kDone, kTimedOut or kWouldBlock
  // What there was, of what was asked for; `hup` and `err` always.
  bool in = false;
  bool out = false;
  bool hup = false;  // writers have been there, and none is
  bool err = false;  // the last reader has left
  bool slept = false;
  // If it was wanted.
  std::optional<Timing> timing = {};
};

// The `timeout` of a stream bounds each of its sleeps, not the whole.
struct OpenReaderOptions {
  std::optional<PipeOptions> pipe = {};
  // Read so many bytes in all. Absent: until the end of file.
  std::optional<uint64_t> max_bytes = {};
  // The server sends at most so many bytes (of packets, one) beyond what has
  // been used, and only when asked. Absent: one read is always under way.
  std::optional<uint64_t> window_bytes = {};
  std::optional<absl::Duration> timeout = {};
  bool nonblock = false;
  Sleep sleep = Sleep::kInterruptible;
};

struct OpenWriterOptions {
  std::optional<PipeOptions> pipe = {};
  std::optional<absl::Duration> timeout = {};
  bool nonblock = false;
  Sleep sleep = Sleep::kInterruptible;
};

struct WaitQueueInfo {
  int64_t value = 0;
  uint64_t grants = 0;  // that are out
};

struct CompletionInfo {
  uint32_t done = 0;  // as CompleteResult::done
};

struct PipeInfo {
  uint64_t capacity_bytes = 0;
  uint64_t atomic_max_bytes = 0;
  uint64_t unread_bytes = 0;
  uint64_t held_bytes = 0;
  // Bytes ever taken out and put in.
  uint64_t read_offset = 0;
  uint64_t write_offset = 0;
  // Handles open now.
  uint32_t readers = 0;
  uint32_t writers = 0;
  PipeMode mode = PipeMode::kStream;
  PipeProfile profile = PipeProfile::kFifo;
};

struct ObjectInfo {
  std::string name;
  ObjectKind kind = ObjectKind::kWaitQueue;
  // The generations of its creation and of its last change.
  uint64_t incarnation = 0;
  uint64_t generation = 0;
  // Made by a Create call, and so there until Remove.
  bool created = false;
  uint64_t sleepers = 0;
  // As `kind` says.
  std::variant<WaitQueueInfo, CompletionInfo, PipeInfo> state = {};
};

struct CreateResult {
  // False if the object was there already, with these options.
  bool created = false;
  ObjectInfo object;
};

// What Signal() can send to a sleeping call, with Linux's numbers.
enum class TaskSignal { kInt = 2, kKill = 9, kTerm = 15 };

// A call that is asleep on the server.
struct TaskInfo {
  uint64_t id = 0;
  std::string peer;
  std::string caller;
  Sleep state = Sleep::kInterruptible;
  std::string object;
  ObjectKind kind = ObjectKind::kWaitQueue;
  // For people: "value == 1".
  std::string condition;
  absl::Duration age;
  // Absent: it may sleep for ever.
  std::optional<absl::Duration> remaining = {};
  // 0 is the next in line.
  uint64_t place = 0;
  bool exclusive = false;
  // Its caller has gone, and may come back with the same request id.
  bool detached = false;
  // Of a call that waits for any of several, which is listed once for each:
  // which of them this is.
  std::optional<uint32_t> alternative = {};
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_TYPES_H_
