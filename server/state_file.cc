#include "server/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace waitq {
namespace {

absl::Status Failed(const std::string& path, absl::string_view what) {
  return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot ", what));
}

// So that a rename in it is there after a crash of the machine, too.
void SyncFolderOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  const std::string folder =
      slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

}  // namespace

absl::StatusOr<StateFile> StateFile::Open(const std::string& path) {
  uint64_t stored = 0;
  if (access(path.c_str(), F_OK) == 0) {
    std::ifstream file(path);
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    if (!file) return Failed(path, "read the state file");
    if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(text), &stored)) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": is not a state file of waitqd"));
    }
  }
  StateFile state(
      path,
      std::max(stored, static_cast<uint64_t>(absl::GetCurrentTimeNanos())));
  // Now, so that a server which could not keep its word does not start.
  const absl::Status status = state.Write(state.first_ + kReserve);
  if (!status.ok()) return status;
  return state;
}

absl::Status StateFile::KeepAhead(uint64_t generation) {
  if (generation + kReserve / 2 < reserved_) return absl::OkStatus();
  return Write(generation + kReserve);
}

absl::Status StateFile::Close(uint64_t generation) { return Write(generation); }

absl::Status StateFile::Write(uint64_t generation) {
  // Beside it, then renamed: a crash leaves the old one or the new one.
  const std::string fresh = path_ + ".new";
  const int fd =
      open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return Failed(fresh, "write the state file");
  const std::string text = absl::StrCat(generation, "\n");
  const bool good = write(fd, text.data(), text.size()) ==
                        static_cast<ssize_t>(text.size()) &&
                    fsync(fd) == 0;
  const absl::Status failed = Failed(fresh, "write the state file");
  close(fd);
  if (!good) return failed;
  if (rename(fresh.c_str(), path_.c_str()) != 0) {
    return Failed(path_, "write the state file");
  }
  SyncFolderOf(path_);
  reserved_ = generation;
  return absl::OkStatus();
}

}  // namespace waitq
