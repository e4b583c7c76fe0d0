// greedy_client --server ADDRESS [KIND...]: takes all that a server gives, of
// each kind, until a limit refuses it; says so, holds on to it, and goes on
// asking for more, until it is killed.
//
//   objects 97 objects             a line for each kind: how much it has, and
//                                  which limit refused more ("-": none that it
//                                  was told)
//   full                           when it has all
//
// See greedy_kinds.h for the kinds; all of them, if none is named.

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/faults/greedy_kinds.h"

int main(int argc, char** argv) {
  using namespace waitq::test;  // NOLINT
  std::string server;
  std::vector<std::string> names;
  CLI::App app("Takes all that a server gives.", "greedy_client");
  app.add_option("--server", server)->required();
  app.add_option("kinds", names);
  CLI11_PARSE(app, argc, argv);

  std::vector<std::unique_ptr<GreedyKind>> kinds;
  for (const GreedyKindMaker& maker : GreedyKinds()) {
    bool wanted = names.empty();
    for (const std::string& name : names) wanted |= name == maker.name;
    if (!wanted) continue;
    kinds.push_back(maker.make(server));
    const Taken taken = kinds.back()->Fill();
    std::printf("%s %llu %s\n", maker.name,
                static_cast<unsigned long long>(taken.count),
                taken.limit.empty() ? "-" : taken.limit.c_str());
    std::fflush(stdout);
  }
  std::printf("full\n");
  std::fflush(stdout);
  for (;;) {
    for (const auto& kind : kinds) {
      absl::SleepFor(absl::Milliseconds(10));
      kind->Insist();
    }
  }
}
