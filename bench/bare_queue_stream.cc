#include "bench/bare_queue_stream.h"

#include <utility>

#include "bench/byte_buffer.h"

namespace waitq::bench {

BareQueueStream::Queue& BareQueueStream::queue() {
  static Queue& queue = *new Queue;
  return queue;
}

void BareQueueStream::OnMessage(const grpc::ByteBuffer& message) {
  if (!Parse(message, &request_)) {
    OnNoMoreMessages();
    return;
  }
  {
    MutexLock lock(&mu_);
    for (QueueOperation& operation : *request_.mutable_operations()) {
      DoLocked(operation);
    }
    for (BareQueueStream* stream : to_write_) stream->TakeResultsLocked();
  }
  for (BareQueueStream* stream : to_write_) stream->Write();
  to_write_.clear();
  StartRead();
}

void BareQueueStream::DoLocked(QueueOperation& operation) {
  auto& [messages, asleep] = queue();
  const uint64_t number = operation.number();
  if (operation.has_push()) {
    if (asleep.empty()) {
      messages.push_back(std::move(*operation.mutable_push()));
    } else {
      const Pop pop = asleep.front();
      asleep.pop_front();
      // A copy: both strings have their memory already.
      pop.stream->AddResultLocked(pop.number, to_write_)
          ->set_popped(operation.push());
    }
    AddResultLocked(number, to_write_);
  } else if (messages.empty()) {
    asleep.push_back({this, number});
  } else {
    AddResultLocked(number, to_write_)->set_popped(std::move(messages.front()));
    messages.pop_front();
  }
}

QueueResult* BareQueueStream::AddResultLocked(
    uint64_t number, std::vector<BareQueueStream*>& to_write) {
  if (!std::exchange(writing_, true)) {
    Hold();
    to_write.push_back(this);
  }
  QueueResult* const result = results_.add_results();
  result->set_number(number);
  return result;
}

void BareQueueStream::Write() {
  const grpc::ByteBuffer bytes = Serialize(being_written_);
  // Before the write, which may end, and another begin, before it returns.
  being_written_.Clear();
  StartWrite(bytes);
}

void BareQueueStream::OnWritten(bool ok) {
  bool more, ended;
  {
    MutexLock lock(&mu_);
    more = ok && results_.results_size() > 0;
    if (more) TakeResultsLocked();
    writing_ = more;
    ended = ended_;
  }
  if (more) return Write();
  if (ended) Finish();
  Release();
}

void BareQueueStream::OnNoMoreMessages() {
  bool writing;
  {
    MutexLock lock(&mu_);
    std::erase_if(queue().asleep,
                  [this](const Pop& pop) { return pop.stream == this; });
    ended_ = true;
    writing = writing_;
  }
  if (!writing) Finish();
}

}  // namespace waitq::bench
