// What `waitq` prints. Pure functions.

#ifndef WAITQ_CLIENT_CLI_OUTPUT_H_
#define WAITQ_CLIENT_CLI_OUTPUT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/types.h"
#include "client/wait_any.h"

namespace waitq::cli {

// "waitq: OBJECT: WHAT", one line without its end. `object` may be "".
std::string ErrorLine(const std::string& object, const std::string& what);

// What went wrong, for such a line: "WHAT (LIMIT)", without naming `object`.
std::string ErrorText(const std::string& object, const absl::Status& status);

// "timed out after 200ms", "would block", "broken end of file: ...".
std::string OutcomeText(Outcome outcome, bool broken,
                        std::optional<absl::Duration> timeout);

// "value=0 before=1 generation=17 slept=yes", one line without its end. With
// its timing: " asleep=1s wake_to_send=40us overshoot=0 place=0".
std::string WaitLine(const WaitResult& result, bool with_before);
std::string WakeLine(const WakeResult& result);
// "generation=17 slept=yes".
std::string AwaitLine(const AwaitResult& result);
// "woken=1 done=0 generation=17".
std::string CompleteLine(const CompleteResult& result);
// " asleep=1s wake_to_send=40us overshoot=0 place=0"; "" without one.
std::string TimingText(const std::optional<Timing>& timing);
// "alternative=1 kind=queue name=flag value=0 before=1 generation=17
// slept=yes"; of a pipe "alternative=0 kind=pipe name=work bytes=5 slept=yes",
// and " end_of_file=clean" or "=broken". Nothing has ended it: "".
std::string WaitAnyLine(const WaitAnyResult& result,
                        const std::vector<Alternative>& alternatives);
// "in out": those that are there.
std::string PollLine(const PollResult& result);

// Rows under a line of headings, in columns as wide as needed.
std::string Table(const std::vector<std::vector<std::string>>& rows);

std::string TaskTable(const std::vector<TaskInfo>& tasks);
std::string ObjectTable(const std::vector<ObjectInfo>& objects);

// One "key: value" line for each thing known.
std::string ObjectText(const ObjectInfo& object);

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_OUTPUT_H_
