#include "bench/bare_unary.h"

#include <utility>

namespace waitq::bench {

void BareQueue::Release() {
  if (called_.exchange(true)) return;
  alarm_.Set(calls_.queue(), gpr_time_0(GPR_CLOCK_MONOTONIC), &release_);
}

void BareQueue::OnRelease(bool) {
  called_ = false;
  std::vector<BareUnary*> asleep;
  asleep.swap(asleep_);
  count_ = 0;
  for (BareUnary* call : asleep) call->AnswerWithRequest();
}

void BareQueue::Add(BareUnary* call) {
  call->set_place(asleep_.size());
  asleep_.push_back(call);
  ++count_;
}

void BareQueue::Remove(size_t place) {
  asleep_[place] = asleep_.back();
  asleep_[place]->set_place(place);
  asleep_.pop_back();
  --count_;
}

void BareUnary::Arm(rpc::RawService* service, const Method& method,
                    BareQueues* queues, BareQueue* queue) {
  new BareUnary(service, method, queues, queue);
}

BareUnary::BareUnary(rpc::RawService* service, const Method& method,
                     BareQueues* queues, BareQueue* queue)
    : service_(*service), method_(method), queues_(*queues), queue_(*queue) {
  context_.AsyncNotifyWhenDone(&done_);
  service_.RequestUnary(method_.index, &context_, &request_, &responder_,
                        queue_.calls().queue(), &arrived_);
}

void BareUnary::OnArrived(bool ok) {
  if (!ok) {
    delete this;
    return;
  }
  Arm(&service_, method_, &queues_, &queue_);
  method_.serve(*this);
}

void BareUnary::AnswerWithRequest() { Answer(request_); }

void BareUnary::Answer(const grpc::ByteBuffer& response) {
  answered_ = true;
  responder_.Finish(response, grpc::Status::OK, &finished_);
}

void BareUnary::Sleep() { queue_.Add(this); }

void BareUnary::OnDone(bool) {
  if (!answered_) {  // the caller has gone
    queue_.Remove(place_);
    AnswerWithRequest();
  }
  Release();
}

void BareUnary::OnFinished(bool) { Release(); }

void BareUnary::Release() {
  if (--holds_ == 0) delete this;
}

}  // namespace waitq::bench
