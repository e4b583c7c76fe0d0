#include "core/wake_batch.h"

#include "core/futex.h"

namespace waitq {

void WakeBatch::Unpark(const std::atomic<uint32_t>* word) {
  WakeBatch* const batch = open_;
  if (batch == nullptr || batch->size_ == kCapacity) {
    FutexWakeOne(word);
  } else {
    batch->words_[batch->size_++] = word;
  }
}

void WakeBatch::WakeAll() {
  for (size_t i = 0; i < size_; ++i) FutexWakeOne(words_[i]);
}

}  // namespace waitq
