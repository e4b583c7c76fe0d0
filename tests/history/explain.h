// What a search that found no order tells people.

#ifndef WAITQ_TESTS_HISTORY_EXPLAIN_H_
#define WAITQ_TESTS_HISTORY_EXPLAIN_H_

#include <algorithm>
#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/history/linearizer.h"

namespace waitq::history {

// `name(entry)` is a line about an entry.
template <typename Name>
std::string Explain(const Linearization& found, size_t entries,
                    const Name& name) {
  constexpr size_t kShown = 8;
  const size_t count = found.order.size();
  std::string text = absl::StrCat(
      "no order of the calls explains what they saw. The longest "
      "that does has ",
      count, " of ", entries, " steps");
  absl::StrAppend(&text, count == 0 ? "" : ", and ends with\n");
  for (size_t i = count - std::min(count, kShown); i < count; ++i) {
    absl::StrAppend(&text, "    ", name(found.order[i]), "\n");
  }
  absl::StrAppend(&text, count == 0 ? ";" : " ",
                  " after which none of these fits:\n");
  for (const size_t entry : found.stuck) {
    absl::StrAppend(&text, "    ", name(entry), "\n");
  }
  return text;
}

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_EXPLAIN_H_
