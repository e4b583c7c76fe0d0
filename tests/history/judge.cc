// Whether recorded histories (text.h) can have happened: `judge FILE...`. Says
// why not, with a part of the history, cut short, that proves it.
//
// Exits with 0 if all can, 1 if one cannot, 2 if one cannot be read, 3 if the
// search took too long for one.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tests/history/check.h"
#include "tests/history/shrink.h"
#include "tests/history/text.h"

namespace waitq::history {
namespace {

constexpr int kRefused = 1;
constexpr int kUnreadable = 2;
constexpr int kUndecided = 3;

// In a few words.
std::string Reason(const Violation& violation) {
  const std::string line = violation.what.substr(0, violation.what.find('\n'));
  return line.substr(0, std::min(line.find(':'), line.find(". ")));
}

struct Judge {
  CheckOptions options;
  std::string shrunk;  // a file for what is left of the first one refused

  int Look(const std::string& file) const {
    std::ifstream in(file);
    const std::string text((std::istreambuf_iterator<char>(in)),
                           std::istreambuf_iterator<char>());
    if (!in.is_open() || in.bad()) {
      std::printf("%s: cannot be read\n", file.c_str());
      return kUnreadable;
    }
    const auto history = ParseHistory(text);
    if (!history.ok()) {
      std::printf("%s: %s\n", file.c_str(),
                  std::string(history.status().message()).c_str());
      return kUnreadable;
    }
    const Report report = Check(*history, options);
    std::printf(
        "%s: %s", file.c_str(),
        report.ToString().substr(0, report.ToString().find('\n') + 1).c_str());
    for (const std::string& object : report.undecided) {
      std::printf("UNDECIDED %s\n", object.c_str());
    }
    if (!report.violations.empty()) return Explain(*history, report);
    return report.undecided.empty() ? 0 : kUndecided;
  }

  int Explain(const History& history, const Report& report) const {
    const std::string& object = report.violations.front().object;
    const History small = Shrink(history, object, options);
    const Report again = Check(small, options);
    const Violation& first = again.violations.empty()
                                 ? report.violations.front()
                                 : again.violations.front();
    const std::string head = absl::StrCat("REFUSED ", Reason(first), "\n");
    std::printf("%s%s: %s\n", head.c_str(), first.object.c_str(),
                first.what.c_str());
    if (!shrunk.empty()) {
      std::ofstream(shrunk) << "# " << head << ToText(small);
    }
    return kRefused;
  }
};

int Run(int argc, char** argv) {
  Judge judge;
  std::vector<std::string> files;
  CLI::App app("Whether recorded histories can have happened.");
  app.add_option("files", files, "Histories")->required();
  app.add_option("--max-steps", judge.options.max_steps,
                 "How far the search may go for one object");
  app.add_option("--shrunk", judge.shrunk,
                 "Writes what proves it to this file, if one is refused");
  CLI11_PARSE(app, argc, argv);
  int worst = 0;
  for (const std::string& file : files) {
    const int result = judge.Look(file);
    // That something cannot be is worse than not to know.
    if (worst != kRefused) worst = result == 0 ? worst : result;
  }
  return worst;
}

}  // namespace
}  // namespace waitq::history

int main(int argc, char** argv) { return waitq::history::Run(argc, argv); }
