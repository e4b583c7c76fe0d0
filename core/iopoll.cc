#include "core/iopoll.h"

namespace waitq {

void Udelay(absl::Duration delay) {
  const Clock& clock = Task::Current().timers().clock();
  const absl::Time end = clock.Now() + delay;
  while (clock.Now() < end) CpuRelax();
}

}  // namespace waitq
