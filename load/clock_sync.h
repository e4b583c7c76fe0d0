// How far the hosts' clocks are apart.

#ifndef WAITQ_LOAD_CLOCK_SYNC_H_
#define WAITQ_LOAD_CLOCK_SYNC_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "load/host_group.h"
#include "load/run_clock.h"

namespace waitq::load {

// Sets the clock of this host to host 0's, by asking it through the server
// some times, and believing the quickest answer. All hosts call it at the same
// point of the run. Gives by how much it may be off: half of that answer's way.
// Hosts that run on one kernel have one clock, and are not off.
absl::StatusOr<absl::Duration> SyncClock(Client& client, HostGroup& group,
                                         RunClock& clock);

}  // namespace waitq::load

#endif  // WAITQ_LOAD_CLOCK_SYNC_H_
