// What the clients of the history checker ask for: a call as it goes over the
// wire, and the line that it will be in the history.

#ifndef WAITQ_TESTS_FAULTS_ASK_H_
#define WAITQ_TESTS_FAULTS_ASK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/time/time.h"
#include "tests/history/history.h"
#include "tests/support/random.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::test {

// Nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
int64_t Now();

// The objects of a round, which no other round has. What they are for:
//   word    conditions and changes of all kinds
//   stock   two permits; taken with `undo` in sessions
//   lock    one, likewise
//   done    a completion
//   stream  a pipe of bytes, from which nothing may be lost
//   queue   one of packets, likewise
//   lossy   one of bytes that plain unary reads take, which may lose them
struct Objects {
  explicit Objects(uint64_t round);

  std::string word, stock, lock, done, stream, queue, lossy;
};

inline constexpr int64_t kPermits = 2;
inline constexpr uint64_t kAtomicMaxBytes = 24;

history::PipeOptions HistoryOptions(const std::string& pipe);
void SetOptions(const std::string& pipe, v1::PipeOptions& options);

// A call that is to be made.
struct Ask {
  v1::Operation operation;
  std::variant<history::WordCall, history::CompletionCall, history::PipeCall>
      call;
  // How long it may sleep; 0: not at all.
  absl::Duration sleeps;
  // It takes something, which is not given to those who are away.
  bool takes = false;

  history::Call& base();
  history::WordCall* word() { return std::get_if<history::WordCall>(&call); }
  history::CompletionCall* completion() {
    return std::get_if<history::CompletionCall>(&call);
  }
  history::PipeCall* pipe() { return std::get_if<history::PipeCall>(&call); }
};

// Who asks.
struct Asker {
  int client = 0;
  // It can be told again what it has taken: holds, a session, a request_id.
  bool keeps = false;
  // It has a session, and so grants.
  bool session = false;
};

// Makes calls that are possible, at random.
class AskMaker {
 public:
  AskMaker(const Asker& asker, const Objects& objects, Random& random)
      : asker_(asker), objects_(objects), random_(random) {}

  Ask Make();
  // A read, which keeps nothing by itself.
  Ask MakeRead(const std::string& pipe);
  Ask MakeAcquire();

 private:
  Ask MakeWait();
  Ask MakeWake();
  Ask MakeCompletionAsk();
  Ask MakeWrite(const std::string& pipe);
  template <class Request>
  void SetSleep(Ask& ask, Request& request);
  template <class Call>
  Call& Begin(Ask& ask, const std::string& object);

  const Asker asker_;
  const Objects& objects_;
  Random& random_;
};

Ask MakeGiveBack(const Asker& asker, const std::string& object,
                 uint64_t generation);
// The end of a hold, of a read that has told its `hold_id`. `up_to`: 0, all.
Ask MakeAccept(const Asker& asker, const history::PipeCall& read,
               uint64_t up_to);
Ask MakeRelease(const Asker& asker, const history::PipeCall& read);

// The same call, of which nothing is known yet.
Ask Anew(const Ask& ask);

// The answer: the call is known from here on.
void NoteResult(const v1::Result& result, Ask& ask);
// It has failed for that reason, an errno's name, and so changed nothing.
void NoteFailure(const std::string& reason, Ask& ask);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_FAULTS_ASK_H_
