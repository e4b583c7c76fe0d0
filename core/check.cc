#include "core/check.h"

#include <cstdio>
#include <cstdlib>

namespace waitq {

void CheckFailed(const char* file, int line, const char* condition,
                 const char* rule) {
  std::fprintf(stderr, "%s:%d: check failed: %s (%s)\n", file, line, rule,
               condition);
  std::abort();
}

}  // namespace waitq
