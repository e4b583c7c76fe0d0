// Which results the application has taken, and what the server is yet to be
// told of it.

#ifndef WAITQ_CLIENT_SESSION_ACKNOWLEDGEMENTS_H_
#define WAITQ_CLIENT_SESSION_ACKNOWLEDGEMENTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/btree_map.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq {

// Results have numbers from 1. Each is settled once: taken, or returned.
//
// Thread safety: none.
class Acknowledgements {
 public:
  void Take(uint64_t number);
  // Nobody will take it.
  void Return(uint64_t number);

  // How many were settled and not said; of what is said again perhaps fewer,
  // but not none.
  size_t unsaid() const { return unsaid_; }

  // Says what is unsaid, by `numbers_max` numbers at most, of which a message
  // can have so many. If something stays unsaid the next messages say it.
  void Say(v1::SessionRequest& message, size_t numbers_max);
  // A message may have been lost with its connection: all that is not known to
  // have arrived is unsaid again.
  void Unsay();
  // Something is said now that will be answered; then it has been: so all that
  // was said before has arrived.
  void Mark() { returned_marked_ = returned_said_; }
  void Arrived();

 private:
  // Numbers, as intervals that do not touch: the first ones, and the last ones.
  // One result that is not taken leaves all behind it single.
  using Intervals = absl::btree_map<uint64_t, uint64_t>;
  static bool Insert(Intervals& intervals, uint64_t number);
  static void Erase(Intervals& intervals, uint64_t number);

  // False: it was settled before.
  bool Settle(uint64_t number);

  uint64_t up_to_ = 0;    // all of these are settled
  Intervals others_;      // and these above
  Intervals new_others_;  // of these, taken and unsaid
  // Not known to have arrived: a number that was returned must not be said to
  // be taken by `up_to_` alone. The first so many have been said.
  std::vector<uint64_t> returned_;
  size_t returned_said_ = 0;
  size_t returned_marked_ = 0;
  size_t unsaid_ = 0;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_SESSION_ACKNOWLEDGEMENTS_H_
