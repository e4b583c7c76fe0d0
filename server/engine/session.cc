#include "server/engine/session.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/session_table.h"

namespace waitq::engine {
namespace {

// Results that are refusals, beyond the limit of operations: who goes on after
// so many does not listen.
constexpr uint64_t kRefusalsMax = 4096;

// What is ended at a time on the timers' thread, which others wait for.
constexpr size_t kEndedAtATime = 2000;

absl::Status Expired() {
  return MakeError(ESTALE,
                   "the session has expired: nothing was heard from its client "
                   "for its grace");
}

absl::Status TakenOver() {
  return MakeError(ECANCELED, "another stream has taken the session over");
}

}  // namespace

Session::Session(Engine* engine, SessionTable* table, std::string token,
                 std::shared_ptr<CallerInfo> caller_info, absl::Duration grace)
    : Timer(&OnTimer),
      engine_(*engine),
      table_(*table),
      token_(std::move(token)),
      caller_info_(std::move(caller_info)),
      grace_(grace),
      heard_(engine->Now()),
      stall_when_heard_(table->Stalled()) {
  caller_info_->set_away(true);  // until it has a stream
  ArmTimer(heard_ + grace_);
}

void Session::Run(std::function<void()> action) {
  {
    MutexLock lock(&mu_);
    if (running_) {
      actions_.push_back(std::move(action));
      return;
    }
    running_ = true;
  }
  for (;;) {
    action();
    MutexLock lock(&mu_);
    if (actions_.empty()) {
      running_ = false;
      return;
    }
    action = std::move(actions_.front());
    actions_.pop_front();
  }
}

// --- Streams -----------------------------------------------------------------

uint64_t Session::Attach(Ref<SessionTransport> transport,
                         const std::string& peer, const Resume& resume) {
  Later later;
  Ref<SessionTransport> evicted;
  uint64_t stream = 0;
  table_.NoteStall();
  {
    MutexLock lock(&mu_);
    if (over_) return 0;
    // A hello that was long on its way must not cut off a later one.
    if (resume.program != 0 && resume.program == program_ &&
        resume.attempt < attempt_) {
      return 0;
    }
    program_ = resume.program;
    attempt_ = resume.attempt;
    evicted = std::exchange(transport_, std::move(transport));
    stream = ++last_stream_;
    heard_ = engine_.Now();
    stall_when_heard_ = table_.Stalled();
    probed_ = probe_answered_ = false;
    hello_due_ = true;
    heartbeat_due_ = 0;
    sent_ =
        std::clamp(resume.results_received, results_.first() - 1, ever_sent_);
    idle_ = true;
    UpdateAwayLocked();
    KickLocked(later);
  }
  caller_info_->set_peer(peer);
  if (evicted) evicted->Close(TakenOver());
  RetestPassedBy();
  Do(std::move(later));
  return stream;
}

void Session::Detach(uint64_t stream) {
  Ref<SessionTransport> gone;
  MutexLock lock(&mu_);
  if (stream != last_stream_) return;
  gone = std::move(transport_);
  UpdateAwayLocked();
}

bool Session::Hear(uint64_t stream) {
  table_.NoteStall();
  MutexLock lock(&mu_);
  if (over_ || stream != last_stream_) return false;
  heard_ = engine_.Now();
  stall_when_heard_ = table_.Stalled();
  probed_ = probe_answered_ = false;
  return true;
}

void Session::UpdateAwayLocked() {
  const Limits& limits = engine_.limits();
  const bool away = !transport_ ||
                    results_.size() >= limits.results_per_session ||
                    results_.bytes() >= limits.result_bytes_per_session;
  // Nobody else says so; and to say it is dear.
  if (away != caller_info_->away()) caller_info_->set_away(away);
}

void Session::RetestPassedBy() {
  if (caller_info_->away() || !caller_info_->TakePassedBy()) return;
  std::vector<Ref<Operation>> operations;
  {
    MutexLock lock(&mu_);
    for (const Ref<Operation>& op : asleep_) {
      if (op->takes() || op->is_alternative()) operations.push_back(op);
    }
  }
  // In the order in which they came, which the set does not keep.
  std::sort(operations.begin(), operations.end(),
            [](const Ref<Operation>& a, const Ref<Operation>& b) {
              return a->id() < b->id();
            });
  for (const Ref<Operation>& op : operations) op->object().Retest(*op);
}

// --- Results -----------------------------------------------------------------

absl::Status Session::CheckSentLocked(uint64_t number) const {
  if (number <= ever_sent_) return absl::OkStatus();
  return MakeError(EINVAL, absl::StrCat("result ", number, " was never sent"));
}

absl::Status Session::TakenUpTo(uint64_t number) {
  std::vector<SessionResult> taken;
  {
    MutexLock lock(&mu_);
    absl::Status status = CheckSentLocked(number);
    if (!status.ok()) return status;
    results_.RemoveUpTo(number, taken);
    if (!taken.empty()) refused_ = 0;  // he listens
    UpdateAwayLocked();
  }
  Tell(taken);
  RetestPassedBy();
  return absl::OkStatus();
}

void Session::Tell(const std::vector<SessionResult>& taken) {
  // Neighbours are often of one object, which then is locked once.
  std::vector<Operation*> together;
  together.reserve(taken.size());
  for (const SessionResult& result : taken) {
    if (!result.ended || !result.ended->is_sleeper()) continue;
    if (!together.empty() &&
        &together.front()->object() != &result.ended->object()) {
      together.front()->object().Taken(together);
      together.clear();
    }
    together.push_back(result.ended.get());
  }
  if (!together.empty()) together.front()->object().Taken(together);
}

absl::Status Session::Taken(uint64_t number) {
  std::vector<SessionResult> taken;
  {
    MutexLock lock(&mu_);
    absl::Status status = CheckSentLocked(number);
    if (!status.ok()) return status;
    results_.Remove(number, taken);
    if (!taken.empty()) refused_ = 0;
    UpdateAwayLocked();
  }
  Tell(taken);
  RetestPassedBy();
  return absl::OkStatus();
}

absl::Status Session::Returned(uint64_t number) {
  Later later;
  {
    MutexLock lock(&mu_);
    absl::Status status = CheckSentLocked(number);
    if (!status.ok()) return status;
    results_.Remove(number, later.give_back);
    for (const SessionResult& result : later.give_back) {
      if (!result.ended) CloseUnusedLocked(result.operation, later);
      refused_ = 0;
    }
    UpdateAwayLocked();
  }
  Do(std::move(later));
  RetestPassedBy();
  return absl::OkStatus();
}

void Session::AddResultLocked(SessionResult result, Later& later) {
  if (result.ended) result.ended->DropUnused();
  if (over_) {
    later.give_back.push_back(std::move(result));
    return;
  }
  results_.Add(std::move(result));
  UpdateAwayLocked();
  KickLocked(later);
}

bool Session::AnythingToSendLocked() const {
  return hello_due_ || heartbeat_due_ != 0 || sent_ < results_.last();
}

void Session::KickLocked(Later& later) {
  if (!transport_ || !idle_ || corked_ || !AnythingToSendLocked()) return;
  idle_ = false;
  later.kick = transport_;
  later.stream = last_stream_;
}

void Session::Do(Later&& later) {
  for (const SessionResult& result : later.give_back) {
    if (result.ended) result.ended->GiveBack();
  }
  for (Handle& handle : later.close) {
    CloseNow(std::move(handle));
  }
  if (later.kick) later.kick->Kick(later.stream);
  if (later.drop_self) DropRef();
}

bool Session::Take(uint64_t stream, uint64_t max_bytes,
                   SessionMessage& message) {
  MutexLock lock(&mu_);
  if (stream != last_stream_ || !transport_) return false;
  if (std::exchange(hello_due_, false)) message.operations_received = received_;
  message.heartbeat = std::exchange(heartbeat_due_, 0);
  // What was taken since is not sent again.
  sent_ = std::max(sent_, results_.NextFrom(sent_ + 1) - 1);
  message.first_result = sent_ + 1;
  constexpr uint64_t kOverhead = 64;
  uint64_t bytes = 0;
  message.results.reserve(
      std::min<uint64_t>(results_.last() - sent_, max_bytes / (2 * kOverhead)));
  while (const SessionResult* result = results_.Find(sent_ + 1)) {
    bytes += kOverhead + result->bytes();
    if (bytes > max_bytes && !message.results.empty()) break;
    message.results.push_back(*result);
    message.bytes = bytes;
    ++sent_;
  }
  ever_sent_ = std::max(ever_sent_, sent_);
  if (message.operations_received || message.heartbeat != 0 ||
      !message.results.empty()) {
    return true;
  }
  idle_ = true;
  return false;
}

// --- Operations --------------------------------------------------------------

Session::Received Session::Receive(uint64_t number, uint8_t method) {
  const char* limit = nullptr;
  {
    MutexLock lock(&mu_);
    if (number <= received_) return Received::kKnown;
    if (number != received_ + 1) return Received::kGap;
    const Limits& limits = engine_.limits();
    const uint64_t most = limits.operations_per_session;
    const uint64_t there = asleep_.size() + results_.size();
    // Reads stop at the limit of bytes by being passed by; what is answered at
    // once, failures above all, at twice that.
    const uint64_t most_bytes = 2 * limits.result_bytes_per_session;
    if (there >= most) {
      limit = "operations-per-session";
    } else if (results_.bytes() >= most_bytes) {
      limit = "result-bytes-per-session";
    }
    if (there >= most + kRefusalsMax || refused_ >= kRefusalsMax) {
      return Received::kOverrun;
    }
    received_ = number;
    refused_ = limit == nullptr ? 0 : refused_ + 1;
    if (limit == nullptr) return Received::kNew;
  }
  Answer(number, method,
         {.status = MakeError(ENOSPC,
                              absl::StrCat("the limit ", limit, " is reached"),
                              {{"limit", limit}}),
          .bytes = {}});
  return Received::kRefused;
}

void Session::Answer(uint64_t number, uint8_t method, KeptAnswer answer) {
  Later later;
  {
    MutexLock lock(&mu_);
    AddResultLocked(
        {.operation = number,
         .method = method,
         .ended = {},
         .answer = std::make_shared<const KeptAnswer>(std::move(answer))},
        later);
    // Of an open: a handle that has ended since says so after that.
    if (const auto it = handles_.find(number); it != handles_.end()) {
      it->second.answered = true;
      if (it->second.watch && (it->second.watch->tag() & kEnded) != 0) {
        AddResultLocked({.operation = number,
                         .method = method,
                         .ended = std::exchange(it->second.watch, nullptr),
                         .answer = {}},
                        later);
      }
    }
  }
  Do(std::move(later));
}

void Session::Answer(uint64_t number, uint8_t method, Ref<Operation> ended) {
  Later later;
  {
    MutexLock lock(&mu_);
    AddResultLocked({.operation = number,
                     .method = method,
                     .ended = std::move(ended),
                     .answer = {}},
                    later);
  }
  Do(std::move(later));
}

void Session::Sleep(Ref<Operation> operation, uint64_t handle) {
  MutexLock lock(&mu_);
  // The race with a waker, who may have been here already.
  if ((operation->tag() & kEnded) != 0) return;
  if (handle != 0) {
    const auto it = handles_.find(handle);
    WAITQ_CHECK(it != handles_.end(), "a handle outlives its operations");
    ++it->second.asleep;
    handle_of_[operation->tag() & kNumberMask] = handle;
  }
  if (asleep_.empty()) AddRef();
  asleep_.insert(std::move(operation));
}

void Session::Deliver(DoneList done) {
  Later later;
  {
    MutexLock lock(&mu_);
    while (!done.empty()) EndedLocked(done.Pop(), later);
  }
  Do(std::move(later));
}

void Session::EndedLocked(Ref<Operation> operation, Later& later) {
  const uint64_t number = operation->tag() & kNumberMask;
  const auto method = static_cast<uint8_t>(operation->tag() >> 56);
  if (!operation->is_sleeper()) {  // a watch
    auto& watch = static_cast<HandleOperation&>(*operation);
    later.watched.push_back(watch.TakeHome());
    const auto handle = handles_.find(number);
    if (handle == handles_.end() || handle->second.watch.get() != &watch ||
        !handle->second.answered) {
      // It was closed; or its open is not answered yet, see Answer().
      watch.set_tag(watch.tag() | kEnded);
      return;
    }
    handle->second.watch = nullptr;
  } else if (const auto it = asleep_.find(number); it != asleep_.end()) {
    asleep_.erase(it);
    later.drop_self = asleep_.empty();
    LeaveHandleLocked(number, later);
  } else {
    operation->set_tag(operation->tag() | kEnded);  // see Sleep()
  }
  AddResultLocked({.operation = number,
                   .method = method,
                   .ended = std::move(operation),
                   .answer = {}},
                  later);
}

void Session::LeaveHandleLocked(uint64_t operation, Later& later) {
  if (handle_of_.empty()) return;
  const auto it = handle_of_.find(operation);
  if (it == handle_of_.end()) return;
  const auto handle = handles_.find(it->second);
  handle_of_.erase(it);
  if (--handle->second.asleep > 0 || !handle->second.closing) return;
  later.close.push_back(std::move(handle->second));
  handles_.erase(handle);
}

void Session::Cancel(uint64_t number) {
  Ref<Operation> operation;
  {
    MutexLock lock(&mu_);
    const auto it = asleep_.find(number);
    if (it == asleep_.end()) return;
    operation = *it;
  }
  engine_.CallerGone(*operation);
}

void Session::Signal(uint64_t number, int signal) {
  Ref<Operation> operation;
  {
    MutexLock lock(&mu_);
    const auto it = asleep_.find(number);
    if (it == asleep_.end()) return;
    operation = *it;
  }
  engine_.Signal(*operation, signal);
}

void Session::Cork() {
  MutexLock lock(&mu_);
  corked_ = true;
}

void Session::Uncork() {
  Later later;
  {
    MutexLock lock(&mu_);
    corked_ = false;
    KickLocked(later);
  }
  Do(std::move(later));
}

void Session::Heartbeat(uint64_t number) {
  Later later;
  {
    MutexLock lock(&mu_);
    heartbeat_due_ = number;
    KickLocked(later);
  }
  Do(std::move(later));
}

// --- Handles -----------------------------------------------------------------

namespace {

absl::Status NoSuchHandle(uint64_t handle) {
  return MakeError(EBADF, absl::StrCat("handle ", handle, " is not open"));
}

}  // namespace

Ref<HandleOperation> Session::MakeWatch(uint64_t number, uint8_t method,
                                        bool writes) {
  auto watch = MakeRef<HandleOperation>(writes, home(), /*caller=*/nullptr,
                                        caller_info_);
  // Its end may be on its way, on another thread, when the session is gone.
  watch->KeepHome(Ref<RefCounted>(this));
  watch->set_tag(TagOf(number, method));
  return watch;
}

absl::Status Session::OpenReader(uint64_t number, uint8_t method,
                                 absl::string_view name,
                                 const PipeOptionsRequest& options) {
  Handle handle;
  handle.watch = MakeWatch(number, method, /*writes=*/false);
  auto opened = engine_.OpenReader(name, options, handle.watch);
  if (opened.ok()) handle.reader = *std::move(opened);
  return AddHandle(number, opened.status(), std::move(handle));
}

absl::Status Session::OpenWriter(uint64_t number, uint8_t method,
                                 absl::string_view name,
                                 const PipeOptionsRequest& options) {
  Handle handle;
  handle.watch = MakeWatch(number, method, /*writes=*/true);
  auto opened = engine_.OpenWriter(name, options, handle.watch);
  if (opened.ok()) handle.writer = *std::move(opened);
  return AddHandle(number, opened.status(), std::move(handle));
}

absl::Status Session::AddHandle(uint64_t number, absl::Status opened,
                                Handle handle) {
  if (!opened.ok()) return opened;
  if (!handle.reader && !handle.writer) {
    return MakeError(
        ENOSPC,
        absl::StrCat("the limit ",
                     handle.watch->limit() == nullptr ? "sleepers"
                                                      : handle.watch->limit(),
                     " is reached"),
        {{"limit", handle.watch->limit() == nullptr ? "sleepers"
                                                    : handle.watch->limit()}});
  }
  MutexLock lock(&mu_);
  handles_.emplace(number, std::move(handle));
  return absl::OkStatus();
}

PipeReader* Session::FindReader(uint64_t number) {
  MutexLock lock(&mu_);
  const auto it = handles_.find(number);
  // One that is to be closed goes with the last operation that is asleep, on
  // whichever thread ends that: a new one would be left with nothing.
  if (it == handles_.end() || it->second.closing) return nullptr;
  return it->second.reader.get();
}

PipeWriter* Session::FindWriter(uint64_t number) {
  MutexLock lock(&mu_);
  const auto it = handles_.find(number);
  if (it == handles_.end() || it->second.closing) return nullptr;
  return it->second.writer.get();
}

absl::Status Session::CloseHandle(uint64_t number, bool broken,
                                  bool when_idle) {
  Handle handle;
  {
    MutexLock lock(&mu_);
    const auto it = handles_.find(number);
    if (it == handles_.end() || it->second.closing) return NoSuchHandle(number);
    if (it->second.asleep > 0 && !when_idle) {
      return MakeError(
          EBUSY, absl::StrCat("handle ", number, ": a call of it is asleep"));
    }
    it->second.clean = !broken;
    if (it->second.asleep > 0) {
      it->second.closing = true;
      return absl::OkStatus();
    }
    handle = std::move(it->second);
    handles_.erase(it);
  }
  CloseNow(std::move(handle));
  return absl::OkStatus();
}

void Session::CloseUnusedLocked(uint64_t number, Later& later) {
  const auto it = handles_.find(number);
  if (it == handles_.end()) return;
  if (it->second.asleep > 0) {
    it->second.closing = true;
    return;
  }
  later.close.push_back(std::move(it->second));
  handles_.erase(it);
}

void Session::CloseNow(Handle handle) {
  if (handle.watch) engine_.CallerGone(*handle.watch);
  if (handle.reader) {
    PipeObject& pipe = handle.reader->pipe();
    pipe.Close(std::move(handle.reader));
  }
  if (handle.writer) {
    PipeObject& pipe = handle.writer->pipe();
    pipe.Close(std::move(handle.writer), handle.clean);
  }
}

void Session::NoteHolds(Ref<Object> object) {
  std::vector<Ref<Object>> known;
  {
    MutexLock lock(&mu_);
    holding_.insert(std::move(object));
    if (holding_.size() < 2 * holding_last_) return;
    known.assign(holding_.begin(), holding_.end());
  }
  // Now and then those go that are gone. (Of others an operation that sleeps
  // still may begin to hold something.)
  std::erase_if(known, [](const auto& there) { return !there->removed(); });
  MutexLock lock(&mu_);
  for (const Ref<Object>& removed : known) holding_.erase(removed);
  holding_last_ = std::max<size_t>(holding_.size(), 8);
}

// --- Time --------------------------------------------------------------------

void Session::ArmTimer(absl::Time when) {
  AddRef();  // the timer's
  engine_.timers().Arm(*this, when);
}

void Session::CancelTimer() {
  if (engine_.timers().Cancel(*this)) DropRef();
}

void Session::OnTimer(Timer& timer) {
  // The reference that arming has taken.
  const auto session = Ref<Session>::Adopt(&static_cast<Session&>(timer));
  session->Run([session] { session->LookAtTime(); });
}

absl::Time Session::ExpiryLocked() const {
  // What this machine has slept is not the client's silence.
  return heard_ + grace_ + (table_.Stalled() - stall_when_heard_);
}

void Session::LookAtTime() {
  table_.NoteStall();
  Ref<SessionTransport> probe;
  {
    MutexLock lock(&mu_);
    if (over_) {  // it is being ended
    } else if (const absl::Time expiry = ExpiryLocked();
               expiry > engine_.Now()) {
      return ArmTimer(expiry);
    } else if (transport_ && !probe_answered_) {
      // What it has said may be here, and not have been read.
      if (!std::exchange(probed_, true)) probe = transport_;
      ArmTimer(engine_.Now() + grace_ / 16);
      if (!probe) return;
    }
  }
  if (probe) {
    probe->Probe([self = Ref<Session>(this)] {
      MutexLock lock(&self->mu_);
      // If something was heard, that is over.
      if (self->probed_) self->probe_answered_ = true;
    });
    return;
  }
  BeginEnd(Expired());
  if (EndSome(kEndedAtATime)) ArmTimer(engine_.Now());
}

// --- The end -----------------------------------------------------------------

void Session::End(const absl::Status& status) {
  BeginEnd(status);
  CancelTimer();
  while (EndSome(kEndedAtATime)) {
  }
}

void Session::BeginEnd(const absl::Status& status) {
  Ref<SessionTransport> transport;
  std::vector<Ref<Object>> holding;
  {
    MutexLock lock(&mu_);
    if (std::exchange(over_, true)) return;
    transport = std::move(transport_);
    UpdateAwayLocked();
    // Both from the back. Sleepers, the last first: a write is not let in by
    // the end of the one before it. Results, the first first: what is given
    // back is read in its order.
    ending_.assign(asleep_.begin(), asleep_.end());
    std::sort(ending_.begin(), ending_.end(),
              [](const Ref<Operation>& a, const Ref<Operation>& b) {
                return a->id() < b->id();
              });
    results_.RemoveAll(ending_results_);
    std::reverse(ending_results_.begin(), ending_results_.end());
    // In the order in which they were made, which the set does not keep.
    holding.assign(holding_.begin(), holding_.end());
    std::sort(holding.begin(), holding.end(),
              [](const Ref<Object>& a, const Ref<Object>& b) {
                return a->incarnation() < b->incarnation();
              });
    holding_.clear();
  }
  table_.Forget(*this);
  if (transport) transport->Close(status);
  for (const Ref<Object>& object : holding) {
    object->ReleaseAllOf(*caller_info_);
  }
}

bool Session::EndSome(size_t most) {
  for (size_t n = 0; n < most; ++n) {
    if (!ending_results_.empty()) {
      if (const Ref<Operation>& ended = ending_results_.back().ended) {
        ended->GiveBack();
      }
      ending_results_.pop_back();
    } else if (!ending_.empty()) {
      Operation& op = *ending_.back();
      // What gives may run on without its caller; nothing may take for nobody.
      op.object().OnEvent(op,
                          op.gives() ? Event::kCallerGone : Event::kGraceEnd);
      ending_.pop_back();
    } else {
      Later later;
      {
        MutexLock lock(&mu_);
        // In their order, which the map does not keep.
        std::vector<uint64_t> numbers;
        for (const auto& [number, handle] : handles_) numbers.push_back(number);
        std::sort(numbers.begin(), numbers.end());
        for (const uint64_t number : numbers) {
          const auto it = handles_.find(number);
          if (it->second.asleep > 0) {
            it->second.closing = true;  // by the write that runs on
          } else {
            later.close.push_back(std::move(it->second));
            handles_.erase(it);
          }
        }
      }
      Do(std::move(later));
      return false;
    }
  }
  return true;
}

}  // namespace waitq::engine
