#include "client/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace waitq::cli {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(500);

std::string Bytes(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(units)) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrFormat("%.0f B", bytes)
                   : absl::StrFormat("%.1f %s", bytes, units[unit]);
}

std::string Seconds(absl::Duration duration) {
  return absl::StrFormat("%.1fs", absl::ToDoubleSeconds(duration));
}

}  // namespace

std::string ProgressLine(uint64_t bytes, absl::Duration took,
                         absl::Duration blocked) {
  const double seconds = std::max(absl::ToDoubleSeconds(took), 1e-3);
  return absl::StrCat(Bytes(static_cast<double>(bytes)), "  ",
                      Bytes(static_cast<double>(bytes) / seconds),
                      "/s  blocked ", Seconds(blocked), " of ", Seconds(took));
}

Progress::Progress(bool show) : started_(absl::Now()) {
  if (show) thread_ = std::thread([this] { Run(); });
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  thread_.join();
}

void Progress::BeginBlocking() {
  absl::MutexLock lock(&mu_);
  blocked_since_ = absl::Now();
}

void Progress::EndBlocking() {
  absl::MutexLock lock(&mu_);
  blocked_ += absl::Now() - *blocked_since_;
  blocked_since_.reset();
}

void Progress::Add(uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  bytes_ += bytes;
}

void Progress::Run() {
  absl::MutexLock lock(&mu_);
  while (!mu_.AwaitWithTimeout(absl::Condition(&stop_), kInterval)) {
    ShowLocked();
  }
  ShowLocked();
  std::fputc('\n', stderr);
}

void Progress::ShowLocked() {
  const absl::Time now = absl::Now();
  absl::Duration blocked = blocked_;
  if (blocked_since_.has_value()) blocked += now - *blocked_since_;
  const std::string line = ProgressLine(bytes_, now - started_, blocked);
  // To the start of the line, and what is left of the old one away.
  std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
}

bool CanShowProgress(int data_fd) {
  return isatty(STDERR_FILENO) != 0 && isatty(data_fd) == 0;
}

}  // namespace waitq::cli
