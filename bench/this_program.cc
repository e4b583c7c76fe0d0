#include "bench/this_program.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/load_connection.h"

namespace waitq::bench {

void RunThisProgram(std::vector<std::string> arguments) {
  std::vector<char*> words = {program_invocation_short_name};
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  pid_t other;
  if (posix_spawn(&other, "/proc/self/exe", nullptr, nullptr, words.data(),
                  environ) != 0) {
    Die("cannot start the other process");
  }
  int status;
  if (waitpid(other, &status, 0) != other || status != 0) {
    Die("the other process has failed");
  }
}

}  // namespace waitq::bench
