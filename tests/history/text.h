// Histories as text, to be recorded by programs, kept in files and read by
// people. A line is one call, or one thing that the checkers have to know:
//
//   word kind=Wait object=r1/w client=2 invoked=120 returned=180 outcome=DONE
//     condition=>=1 action=add:-1 before=1 after=0 generation=77
//   pipe kind=Read object=r1/s client=1 invoked=90 returned=95 outcome=DONE
//     max=20 data=1.7. offset=40 incarnation=12
//   completion kind=Complete object=r1/c client=0 invoked=5 returned=9
//     outcome=UNKNOWN nr=all
//   restart at=200
//   options object=r1/s packets=0 atomic=32
//   left object=r1/s incarnation=12
//   chunk object=r1/s incarnation=12 offset=40 data=1.7.
//
// (a line is not broken). The first word says what it is, the others are
// NAME=VALUE, in any order. The names are those of the fields of history.h, in
// short (text.cc lists them); a field that has its default is left out.
// `data` is as in C, with \040 for a blank. Times are nanoseconds; "never" is
// kNever. Lines that begin with # are for people. Calls are in any order.

#ifndef WAITQ_TESTS_HISTORY_TEXT_H_
#define WAITQ_TESTS_HISTORY_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tests/history/history.h"

namespace waitq::history {

// A line, without its end.
std::string ToLine(const WordCall& call);
std::string ToLine(const CompletionCall& call);
std::string ToLine(const PipeCall& call);
std::string RestartLine(int64_t time);
std::string OptionsLine(const std::string& object, const PipeOptions& options);
// Several lines, if there are chunks.
std::string ToLine(const PipeLeft& left);

// All of it, each line with its end.
std::string ToText(const History& history);

// INVALID_ARGUMENT names the line, and what is wrong with it.
absl::StatusOr<History> ParseHistory(absl::string_view text);

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_TEXT_H_
