// A picture of a run.

#ifndef WAITQ_LOAD_PLOT_H_
#define WAITQ_LOAD_PLOT_H_

#include <string>

#include "load/result.h"

namespace waitq::load {

// An SVG file: the latency of each series by percentile, and below it how many
// operations ended in each second.
std::string PlotSvg(const RunResult& result);

}  // namespace waitq::load

#endif  // WAITQ_LOAD_PLOT_H_
