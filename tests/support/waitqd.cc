#include "tests/support/waitqd.h"

#include <signal.h>

#include "gtest/gtest.h"

namespace waitq::test {
namespace {

std::vector<std::string> Command(const std::string& listen,
                                 const std::vector<std::string>& flags) {
  std::vector<std::string> command = {BuiltProgram("server/waitqd"), "--listen",
                                      listen};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

}  // namespace

Waitqd::Waitqd(const std::string& listen, const std::vector<std::string>& flags)
    : process_(Command(listen, flags)) {
  constexpr std::string_view kGreeting = "waitqd listening on ";
  const std::optional<std::string> line = process_.AwaitLine("");
  EXPECT_TRUE(line.has_value() && line->starts_with(kGreeting))
      << "the first line of waitqd: " << line.value_or("(none)") << "\n"
      << process_.Errors();
  if (line.has_value() && line->starts_with(kGreeting)) {
    address_ = line->substr(kGreeting.size());
  }
}

std::optional<int> Waitqd::Stop() {
  process_.Signal(SIGTERM);
  return process_.WaitFor();
}

}  // namespace waitq::test
