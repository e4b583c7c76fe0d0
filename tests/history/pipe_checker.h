// Whether what was seen of pipes can be: every byte written once, delivered
// once, in order. No search but for writes whose place nobody told: every
// answer has an offset.

#ifndef WAITQ_TESTS_HISTORY_PIPE_CHECKER_H_
#define WAITQ_TESTS_HISTORY_PIPE_CHECKER_H_

#include "tests/history/history.h"

namespace waitq::history {

// Checks history.pipes. The rules, for each incarnation of a pipe:
//
// * The bytes at an offset are the same for whoever wrote, read or found them.
// * A write that is DONE is there once, at its offset. One that failed is not
//   there. An unknown one is there at most once, in all incarnations together:
//   whole if it is a packet or at most PipeOptions::atomic_max_bytes long, else
//   the beginning of it. Nothing else is there. A packet is read as it was
//   written.
// * If a write had returned before another was invoked, it stands before it.
//   Nothing is read before it is written.
// * A byte is delivered to one read; again only to reads that are marked
//   `redelivered`, while none before them had taken it for certain. The first
//   delivery is marked only if an unknown read can have had it before.
// * A hold ends once: accepted as a whole, or put back. Nothing of it is
//   accepted after that was answered. What was accepted was taken.
// * What was put back for certain is read before what stands behind it.
// * Incarnations rise, also over a restart.
// * First deliveries are in the order of their offsets, if one read returned
//   before another was invoked.
// * A read that TIMED_OUT, WOULD_BLOCK or found END_OF_FILE had a moment at
//   which the pipe could have had less than it wanted.
// * In an incarnation that history.left names, every byte was taken or is left,
//   none is both. Unknown reads may have lost some if they are
//   `lost_if_unknown`.
//
// Not checked: the pipe's capacity, that an end of file comes and which, and
// the order among those that sleep.
Report CheckPipes(const History& history, const CheckOptions& options = {});

}  // namespace waitq::history

#endif  // WAITQ_TESTS_HISTORY_PIPE_CHECKER_H_
