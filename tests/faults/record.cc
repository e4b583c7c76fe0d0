#include "tests/faults/record.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace waitq::test {

Record::Record(const std::string& path)
    : file_(
          open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  if (file_ < 0) {
    std::perror(path.c_str());
    std::exit(2);
  }
}

Record::~Record() { close(file_); }

void Record::Say(std::string_view what, const std::vector<std::string>& words) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  std::string line(what);
  for (const std::string& word : words) absl::StrAppend(&line, " ", word);
  absl::StrAppend(&line, " ", now.tv_sec, absl::StrFormat("%09d", now.tv_nsec),
                  "\n");
  if (write(file_, line.data(), line.size()) !=
      static_cast<ssize_t>(line.size())) {
    std::abort();
  }
}

}  // namespace waitq::test
