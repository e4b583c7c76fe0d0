#include "core/restart.h"

namespace waitq {

Delivery DeliverSignals(absl::FunctionRef<void(int signal)> handler) {
  ThreadTask& task = Task::Current();
  Delivery delivery = Delivery::kNoHandler;
  for (;;) {
    if (task.FatalSignalPending()) return Delivery::kFatal;
    const int signal = task.NextPendingSignal();
    if (signal == 0) return delivery;
    switch (task.ActionOf(signal)) {
      case SignalAction::kEnds:
        return Delivery::kFatal;
      case SignalAction::kStops:
        task.StopFor(signal);
        break;
      case SignalAction::kNothing:
        task.ClearSignal(signal);
        break;
      case SignalAction::kHandler:
        task.ClearSignal(signal);
        // The first one decides: what comes after it interrupts its handler,
        // no longer the call.
        if (delivery == Delivery::kNoHandler) {
          delivery = task.dispositions().restart.Has(signal)
                         ? Delivery::kRestartingHandler
                         : Delivery::kHandler;
        }
        handler(signal);
        break;
    }
  }
}

namespace internal {

Restart RestartOf(int64_t result, Delivery delivery) {
  const bool handled = delivery != Delivery::kNoHandler;
  switch (result) {
    case -kErestartsys:
    case -kErestartnointr:
    case -kErestartnohand:
    case -kErestartRestartblock:
      break;
    default:
      return Restart::kNo;
  }
  if (delivery == Delivery::kFatal) return Restart::kInterrupted;
  switch (result) {
    case -kErestartsys:
      return delivery == Delivery::kHandler ? Restart::kInterrupted
                                            : Restart::kAgain;
    case -kErestartnointr:
      return Restart::kAgain;
    case -kErestartnohand:
      return handled ? Restart::kInterrupted : Restart::kAgain;
    default:
      return handled ? Restart::kInterrupted : Restart::kByBlock;
  }
}

}  // namespace internal
}  // namespace waitq
