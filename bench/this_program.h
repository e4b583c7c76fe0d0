// The same program once more, as the other process of a load.

#ifndef WAITQ_BENCH_THIS_PROGRAM_H_
#define WAITQ_BENCH_THIS_PROGRAM_H_

#include <string>
#include <vector>

namespace waitq::bench {

// Runs it with these arguments until it has ended, well; otherwise dies.
void RunThisProgram(std::vector<std::string> arguments);

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_THIS_PROGRAM_H_
