// waitq.v1.Pipes.PollStream: many polls, each begun anew when it has ended.

#include "server/rpc/poll_stream.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/engine/error.h"
#include "server/rpc/decode.h"
#include "server/rpc/status_map.h"
#include "waitq/v1/pipes.pb.h"

namespace waitq::rpc {
namespace {

constexpr int kChangesMax = 4096;  // of a response
// Of a request. Before it is parsed nobody knows how many watches are in it,
// and each that is two bytes long takes thirty times as much.
constexpr size_t kRequestBytesMax = 1 << 20;
constexpr int kWatchesMax = 16384;
// With more than that to be told, no further request is read.
constexpr size_t kUntoldMax = 16384;

absl::Status TooLongError(absl::string_view what) {
  return engine::MakeError(
      EMSGSIZE, absl::StrCat("watch: more than ", what, " in a request"),
      {{"limit", "watch"}});
}

// A response is made of what has changed, as it is when it is made; only then
// are those polls begun anew, knowing that. So what a client is not told yet
// costs a number in `changed_`, however often it changes.
class PollStreamCall final : public StreamCall {
 public:
  explicit PollStreamCall(const Parts& parts) : StreamCall(parts) {}

 private:
  // One name.
  struct Watch final : engine::Caller {
    void OnEnded(engine::Operation&) override {
      const engine::Ref<engine::PollOperation> ended = std::move(op);
      stream->NotePolled(*this, *ended);
      stream->Tell();
    }

    PollStreamCall* stream;
    uint64_t id;
    std::string name;
    bool in;
    bool out;
    engine::Ref<engine::PollOperation> op;     // that sleeps
    std::optional<engine::PipeEvents> events;  // nothing: to be looked at
    absl::Status failure;                      // if any, it is not polled again
    bool changed = false;                      // its id is in changed_
  };

  void OnMessage(grpc::ByteBuffer& message) override;
  void OnNoMoreMessages() override;
  void OnWritten(bool ok) override;
  void OnGone() override;
  // Of streams with a handle.
  void OnOperationEnded(engine::Operation&) override {}
  void OnWatchEnded(engine::Operation&) override {}

  absl::Status Add(const v1::PollStreamRequest::Watch& message);
  void Remove(uint64_t id);
  // Polls until there is something else than `watch.events`.
  void Poll(Watch& watch);
  // It has ended.
  void NotePolled(Watch& watch, const engine::PollOperation& op);
  void NoteChange(Watch& watch);
  // Tells what has changed, unless something is being told.
  void Tell();
  // Reads another request, unless too much is to be told before: OnWritten()
  // sees to it then.
  void ReadOn();
  // The client has closed its side, and there is nothing to tell any more.
  bool IsOver() const { return closed_ && watches_.empty(); }
  // Ends its poll; nobody is told.
  void Forget(Watch& watch);
  void FinishNow(const absl::Status& status);

  std::shared_ptr<engine::CallerInfo> caller_;
  // Those that wait to be told, as they do not sleep meanwhile.
  std::unique_ptr<engine::Charge> untold_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Watch>> watches_;
  // In the order in which they have changed. Some may be gone since.
  std::deque<uint64_t> changed_;
  bool reading_ = true;  // the first one is read by StreamCall
  bool closed_ = false;
};

void PollStreamCall::OnMessage(grpc::ByteBuffer& message) {
  reading_ = false;
  if (message.Length() > kRequestBytesMax) {
    return FinishNow(TooLongError(absl::StrCat(kRequestBytesMax, " bytes")));
  }
  v1::PollStreamRequest request;
  absl::Status status = ParseRequest(engine(), message, request);
  if (status.ok() && request.watch_size() > kWatchesMax) {
    status = TooLongError(absl::StrCat(kWatchesMax, " names"));
  }
  if (status.ok() && caller_ == nullptr) {
    status = FindCaller(engine(), context(), request.caller(), caller_);
    if (status.ok()) untold_ = engine().SleepersCharge(*caller_);
  }
  for (const uint64_t id : request.unwatch()) {
    if (status.ok()) Remove(id);
  }
  for (const auto& watch : request.watch()) {
    if (status.ok() && !finished()) status = Add(watch);
  }
  if (finished()) return;  // the server drains
  if (!status.ok()) return FinishNow(status);
  Tell();
  ReadOn();
}

void PollStreamCall::ReadOn() {
  if (reading_ || closed_ || finished() || changed_.size() > kUntoldMax) return;
  reading_ = true;
  StartRead();
}

absl::Status PollStreamCall::Add(const v1::PollStreamRequest::Watch& message) {
  auto [it, added] = watches_.try_emplace(message.id());
  if (!added) {
    return engine::MakeError(
        EINVAL, absl::StrCat("id: ", message.id(), " is watched already"));
  }
  it->second = std::make_unique<Watch>();
  Watch& watch = *it->second;
  watch.stream = this;
  watch.id = message.id();
  watch.name = message.name();
  watch.in = message.in();
  watch.out = message.out();
  Poll(watch);
  return absl::OkStatus();
}

void PollStreamCall::Remove(uint64_t id) {
  const auto it = watches_.find(id);
  if (it == watches_.end()) return;
  if (it->second->changed) untold_->Return(1);
  Forget(*it->second);
  watches_.erase(it);
}

void PollStreamCall::Poll(Watch& watch) {
  auto op = engine::MakeRef<engine::PollOperation>(watch.in, watch.out, home(),
                                                   &watch, caller_);
  engine::SleepOptions options;
  // The first time it is told what is there, also if that is nothing.
  options.nonblock = !watch.events.has_value();
  if (watch.events.has_value()) op->SetKnown(*watch.events);
  const absl::StatusOr<engine::Started> started =
      engine().Poll(watch.name, op, options);
  if (!started.ok()) {
    watch.failure = started.status();
    // Of one that cannot be it was not looked how long it is. (An assignment
    // would keep its memory.)
    std::string().swap(watch.name);
    NoteChange(watch);
  } else if (*started == engine::Started::kAsleep) {
    watch.op = std::move(op);
  } else {
    NotePolled(watch, *op);
  }
}

void PollStreamCall::NotePolled(Watch& watch, const engine::PollOperation& op) {
  if (finished()) return;
  const absl::Status failure = FailureOf(op);
  if (op.ending() == engine::Ending::kDraining) return FinishNow(failure);
  watch.failure = failure;
  watch.events = op.events();
  NoteChange(watch);
}

void PollStreamCall::NoteChange(Watch& watch) {
  if (watch.changed) return;
  if (const char* const limit = untold_->Take(1); limit != nullptr) {
    return FinishNow(engine::MakeError(
        ENOSPC, absl::StrCat("the limit ", limit, " is reached"),
        {{"limit", limit}}));
  }
  watch.changed = true;
  changed_.push_back(watch.id);
}

void PollStreamCall::Tell() {
  if (writing() || finished() || gone() || changed_.empty()) return;
  v1::PollStreamResponse response;
  std::deque<uint64_t> told;
  while (!changed_.empty() && response.changes_size() < kChangesMax) {
    const auto it = watches_.find(changed_.front());
    changed_.pop_front();
    if (it == watches_.end() || !it->second->changed) continue;
    Watch& watch = *it->second;
    watch.changed = false;
    untold_->Return(1);
    v1::PollStreamResponse::Change& change = *response.add_changes();
    change.set_id(watch.id);
    if (watch.failure.ok()) {
      Encode(*watch.events, *change.mutable_ready());
      told.push_back(watch.id);
    } else {
      change.set_error(engine::DetailsOf(watch.failure).reason);
      change.set_error_message(std::string(watch.failure.message()));
      watches_.erase(it);
    }
  }
  if (response.changes_size() == 0) return;
  StartWrite(response);
  for (const uint64_t id : told) {
    if (finished()) return;
    if (const auto it = watches_.find(id); it != watches_.end()) {
      Poll(*it->second);
    }
  }
}

void PollStreamCall::OnWritten(bool ok) {
  if (!ok || gone()) return FinishNow(CallerGoneError());
  if (IsOver()) return FinishNow(absl::OkStatus());
  Tell();
  ReadOn();
}

void PollStreamCall::OnNoMoreMessages() {
  closed_ = true;
  if (IsOver() && !writing()) FinishNow(absl::OkStatus());
}

void PollStreamCall::OnGone() {
  // The end of a write that is under way finishes the call.
  if (!finished() && !writing()) FinishNow(CallerGoneError());
}

void PollStreamCall::Forget(Watch& watch) {
  if (!watch.op) return;
  watch.op->Detach();
  engine().CallerGone(*watch.op);
  watch.op = nullptr;
}

void PollStreamCall::FinishNow(const absl::Status& status) {
  for (auto& [id, watch] : watches_) Forget(*watch);
  if (untold_ != nullptr) untold_->ReturnAll();
  Finish(status);
}

}  // namespace

StreamCall* MakePollStream(const StreamCall::Parts& parts) {
  return new PollStreamCall(parts);
}

}  // namespace waitq::rpc
