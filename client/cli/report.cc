#include <cerrno>
#include <cstdio>

#include "client/cli/commands.h"
#include "client/cli/output.h"
#include "client/cli/signals.h"

namespace waitq::cli {

int Report(const std::string& object, const End& end, const std::string& what) {
  std::string line;
  if (!what.empty()) {
    line = ErrorLine(object, what);
  } else if (!end.status.ok()) {
    line = ErrorLine(object, ErrorText(object, end.status));
  }
  if (!line.empty()) {
    line += '\n';
    std::fputs(line.c_str(), stderr);
  }
  return ExitCode(end);
}

int Report(const std::string& object, const absl::Status& status) {
  return Report(object, End{.status = status, .stop_signal = StopSignal()});
}

int Print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) {
    return kExitOk;
  }
  return Report("", absl::ErrnoToStatus(errno, "cannot write the output"));
}

}  // namespace waitq::cli
