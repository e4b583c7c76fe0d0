// The ways to be greedy: each takes what one limit is for, until it is refused.

#ifndef WAITQ_TESTS_FAULTS_GREEDY_KINDS_H_
#define WAITQ_TESTS_FAULTS_GREEDY_KINDS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace waitq::test {

struct Taken {
  uint64_t count = 0;
  std::string limit;  // which the error names; "": there was none to see
};

// Nothing is ever given back: its process is to be killed.
//
// Thread safety: none.
class GreedyKind {
 public:
  virtual ~GreedyKind() = default;

  // Takes all there is. A server that does not refuse it ends the program.
  virtual Taken Fill() = 0;
  // Asks for more, once.
  virtual void Insist() = 0;
};

struct GreedyKindMaker {
  const char* name;
  std::unique_ptr<GreedyKind> (*make)(const std::string& server);
};

// In the order in which one program can be all of them: objects last.
const std::vector<GreedyKindMaker>& GreedyKinds();

// How the names of all they make begin; and of what answers are kept: those of
// Store, with the ids 00000000-0000-0000-0000-N.
inline constexpr char kGreedyPrefix[] = "greedy/";
inline constexpr char kGreedyKept[] = "greedy/kept";

}  // namespace waitq::test

#endif  // WAITQ_TESTS_FAULTS_GREEDY_KINDS_H_
