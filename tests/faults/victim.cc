// A program of the fault lab, made to be killed: `victim writer` puts numbered
// items into a pipe (or completes numbered completions), `victim reader` takes
// them, each in one of the ways that waitq has; what they know is in a file at
// the moment at which they know it (way.h).

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "tests/faults/way.h"

namespace waitq::test {
namespace {

std::atomic<bool> over{false};

constexpr absl::Duration kPause = absl::Milliseconds(10);

// Bursts, so that readers find the pipe empty, and not empty.
void Write(Way& way, uint64_t first, uint64_t seed, int pace_us) {
  std::minstd_rand random(static_cast<uint32_t>(seed));
  uint64_t left = 0;
  for (uint64_t item = first; !IsOver(); ++item) {
    while (!way.Put(item)) {
      absl::SleepFor(kPause);
      if (IsOver()) return;
    }
    if (left-- == 0) {
      left = random() % 6;
      absl::SleepFor(absl::Microseconds(random() % (2 * pace_us)));
    }
  }
}

// Completions one after the other. One that does not come while later ones are
// done was taken by somebody who is dead, or is lost: the harness looks for it.
void Await(Way& way, uint64_t first, absl::Duration timeout) {
  uint64_t done_before = 0;
  for (uint64_t item = first; !IsOver();) {
    const bool taken =
        way.Take(item, item < done_before ? absl::ZeroDuration() : timeout);
    for (uint64_t step = 1; !taken && item >= done_before && step <= 1 << 20;
         step = step < 8 ? step + 1 : step * 2) {
      if (way.IsDone(item + step)) done_before = item + step;
    }
    if (taken || item < done_before) ++item;
  }
}

void Read(Way& way, absl::Duration timeout) {
  while (!IsOver()) way.Take(0, timeout);
}

int Run(int argc, char** argv) {
  // Debian's abseil checks lock orders at each lock, and aborts.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);

  Settings settings;
  std::string log;
  std::string kind = "stream";
  std::vector<uint64_t> collect;
  uint64_t first = 1;
  uint64_t seed = 1;
  int pace_us = 3000;
  double grace_s = 1;
  double hold_s = 1;
  double timeout_s = 1;
  CLI::App app("A victim of the fault lab.");
  app.require_subcommand(1);
  app.fallthrough();
  CLI::App* const writer = app.add_subcommand("writer", "Puts items");
  app.add_subcommand("reader", "Takes items");
  app.add_option("--server", settings.server)->required();
  app.add_option("--mode", settings.mode)->required();
  app.add_option("--kind", kind)->required();
  app.add_option("--name", settings.name)->required();
  app.add_option("--log", log)->required();
  app.add_option("--first", first);
  app.add_option("--seed", seed);
  app.add_option("--pace", pace_us);
  app.add_option("--grace", grace_s);
  app.add_option("--hold", hold_s);
  app.add_option("--timeout", timeout_s);
  app.add_option("--resume", settings.resume);
  app.add_option("--epoch", settings.epoch);
  app.add_option("--accept", settings.accept);
  app.add_option("--collect", collect, "Take only these, each if it is there");
  CLI11_PARSE(app, argc, argv);
  settings.kind = kind == "packet"       ? Kind::kPacket
                  : kind == "completion" ? Kind::kCompletion
                                         : Kind::kStream;
  settings.grace = absl::Seconds(grace_s);
  settings.hold = absl::Seconds(hold_s);
  settings.timeout = absl::Seconds(timeout_s);

  struct sigaction action = {};
  action.sa_handler = [](int) { over = true; };
  sigaction(SIGTERM, &action, nullptr);

  Record record(log);
  const std::unique_ptr<Way> way = settings.mode == "session"
                                       ? MakeSessionWay(settings, record)
                                       : MakeUnaryWay(settings, record);
  while (!way->Prepare()) {
    absl::SleepFor(kPause);
    if (IsOver()) return 0;
  }
  if (writer->parsed()) {
    Write(*way, first, seed, pace_us);
  } else if (!collect.empty()) {
    for (const uint64_t item : collect) {
      way->Take(item, absl::ZeroDuration());
    }
  } else if (settings.kind == Kind::kCompletion) {
    Await(*way, first, settings.timeout);
  } else {
    Read(*way, settings.timeout);
  }
  way->Finish();
  return 0;
}

}  // namespace

bool IsOver() { return over; }

std::string ItemText(uint64_t item) { return absl::StrFormat("%015d\n", item); }

std::vector<uint64_t> ItemsOf(std::string_view data, Record& record) {
  std::vector<uint64_t> items;
  for (std::string_view left = data; !left.empty();
       left.remove_prefix(kItemBytes)) {
    const std::string text(left.substr(0, kItemBytes));
    const uint64_t item = std::strtoull(text.c_str(), nullptr, 10);
    if (text != ItemText(item)) {
      record.Say("X", {absl::StrCat("torn:", data.size())});
      return {};
    }
    items.push_back(item);
  }
  return items;
}

void SayTaken(const std::vector<uint64_t>& items, bool redelivered,
              uint64_t hold, Record& record) {
  record.Say("T", {absl::StrJoin(items, ","), redelivered ? "1" : "0",
                   absl::StrCat(hold)});
}

}  // namespace waitq::test

int main(int argc, char** argv) { return waitq::test::Run(argc, argv); }
