#include "bench/bare_queue_client.h"

#include <utility>

#include "bench/byte_buffer.h"

namespace waitq::bench {

BareQueueClient::BareQueueClient(const std::string& address, SessionUser* user)
    : user_(*user),
      connection_(address),
      call_(connection_.stub().PrepareCall(
          &context_, "/waitq.bench.Bare/QueueSession", connection_.queue())) {
  call_->StartCall(&started_tag_);
}

BareQueueClient::~BareQueueClient() {
  bool write;
  {
    MutexLock lock(&mu_);
    closing_ = true;
    write = !std::exchange(writing_, true);
  }
  if (write) call_->WritesDone(&writes_done_tag_);
  ended_.WaitForNotification();
}

void BareQueueClient::Push(std::string_view bytes, uint64_t count) {
  bool write;
  {
    MutexLock lock(&mu_);
    for (uint64_t i = 0; i < count; ++i) {
      AddLocked()->set_push(bytes.data(), bytes.size());
    }
    write = MayWriteLocked();
  }
  if (write) Write();
}

void BareQueueClient::Pop(uint64_t count) {
  bool write;
  {
    MutexLock lock(&mu_);
    for (uint64_t i = 0; i < count; ++i) AddLocked();
    write = MayWriteLocked();
  }
  if (write) Write();
}

QueueOperation* BareQueueClient::AddLocked() {
  QueueOperation* const operation = operations_.add_operations();
  operation->set_number(++last_number_);
  return operation;
}

bool BareQueueClient::MayWriteLocked() {
  if (operations_.operations_size() == 0) return false;
  if (std::exchange(writing_, true)) return false;
  operations_.Swap(&being_written_);
  return true;
}

void BareQueueClient::Write() {
  const grpc::ByteBuffer bytes = Serialize(being_written_);
  // Before the write, which may end, and another begin, before it returns.
  being_written_.Clear();
  call_->Write(bytes, &wrote_tag_);
}

void BareQueueClient::OnStarted(bool ok) {
  call_->Read(&incoming_, &read_tag_);
  OnWrote(ok);
}

void BareQueueClient::OnWrote(bool ok) {
  if (!ok) return;  // the status says why
  bool write, close = false;
  {
    MutexLock lock(&mu_);
    writing_ = false;
    write = MayWriteLocked();
    if (!write && closing_) close = writing_ = true;
  }
  if (write) Write();
  if (close) call_->WritesDone(&writes_done_tag_);
}

void BareQueueClient::OnRead(bool ok) {
  if (!ok) {
    call_->Finish(&status_, &finished_tag_);
    return;
  }
  if (!Parse(incoming_, &response_)) Die("no results can be read in a message");
  uint64_t pushed = 0;
  popped_.clear();
  for (const QueueResult& result : response_.results()) {
    if (result.has_popped()) {
      popped_.push_back(result.popped());
    } else {
      ++pushed;
    }
  }
  user_.OnResults(pushed, popped_);
  call_->Read(&incoming_, &read_tag_);
}

void BareQueueClient::OnWritesDone(bool) {
  writes_done_ = true;
  NotifyIfEnded();
}

void BareQueueClient::OnFinished(bool) {
  DieUnlessOk(status_, "the session");
  finished_ = true;
  NotifyIfEnded();
}

}  // namespace waitq::bench
