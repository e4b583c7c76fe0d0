#include "client/session/machine.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/error.h"
#include "client/session/restart.h"
#include "google/protobuf/wire_format_lite.h"
#include "transport/duration.h"

namespace waitq {
namespace {

// What one message has of operations, at most, but for one that is longer: so
// that a wake does not wait behind megabytes.
constexpr size_t kMessageBytes = 128 << 10;
// What a server takes; and what beside the longest operation fits into that.
constexpr size_t kMessageBytesMax = (4 << 20) - 16;
constexpr size_t kAloneBytes = 512;
// What one message has of acknowledgements, and of cancels: so many numbers, of
// 10 bytes at most. The rest comes with the next ones.
constexpr size_t kNumbersMax = 8192;

// Taken results are said with the next message, or after this time.
constexpr absl::Duration kAcknowledgeWithin = absl::Milliseconds(10);
// So many are said at once. (What is said again after a cut goes out at once,
// too, however much it is: its first part with the hello.)
constexpr size_t kUnsaidMax = 1000;
static_assert(kUnsaidMax < kNumbersMax);

// The first try is at once.
constexpr absl::Duration kBackoffMin = absl::Milliseconds(50);
constexpr absl::Duration kBackoffMax = absl::Seconds(2);

// How long an operation that is to end may take to say so.
constexpr absl::Duration kCancelTime = absl::Seconds(1);

// A server that is there answers a hello within this.
constexpr absl::Duration kHelloTime = absl::Seconds(15);

constexpr uint64_t kWaitingTicket = uint64_t{1} << 63;

uint64_t NewProgram() {
  return absl::Uniform<uint64_t>(absl::BitGen(), 1, ~uint64_t{0});
}

absl::Status CancelledError(bool sent) {
  absl::Status status = absl::CancelledError("cancelled");
  SetErrorField(status, kReasonKey, "ECANCELED");
  // The cancellation may have met the answer on its way.
  if (sent) SetErrorField(status, kUnknownKey, "true");
  return status;
}

absl::Status ExpiredError(const std::string& server) {
  absl::Status status = absl::AbortedError(
      absl::StrCat("outcome unknown: no word from ", server,
                   " for the session's grace; what was held was given back"));
  SetErrorField(status, kReasonKey, "ESTALE");
  return status;
}

absl::Status OwnerDeadError(const std::string& server) {
  absl::Status status = absl::AbortedError(absl::StrCat(
      "outcome unknown: ", server, " has been restarted, and has forgotten"));
  SetErrorField(status, kReasonKey, "EOWNERDEAD");
  return status;
}

// Of what has not been done: it was not even sent.
absl::Status HandleGoneError(const std::string& server) {
  absl::Status status = absl::UnavailableError(
      absl::StrCat(server, " has stopped, and what was open there is closed"));
  SetErrorField(status, kReasonKey, "ESHUTDOWN");
  return status;
}

absl::Status NoAnswerError(const std::string& server, bool sent) {
  absl::Status status = absl::DeadlineExceededError(
      absl::StrCat(sent ? "outcome unknown: " : "", "no answer from ", server,
                   " in time", sent ? "" : "; it was not asked"));
  SetErrorField(status, kReasonKey, "ETIME");
  if (sent) SetErrorField(status, kUnknownKey, "true");
  return status;
}

absl::Status ToStatus(const v1::Failure& failure) {
  absl::Status status(static_cast<absl::StatusCode>(failure.code()),
                      failure.message());
  SetErrorField(status, kReasonKey, failure.reason());
  for (const auto& [key, value] : failure.metadata()) {
    SetErrorField(status, key, value);
  }
  if (failure.has_retry_after()) {
    SetErrorField(status, kRetryAfterKey,
                  absl::FormatDuration(FromWire(failure.retry_after())));
  }
  return status;
}

void AppendOperation(std::string& message, absl::string_view operation) {
  using google::protobuf::internal::WireFormatLite;
  // Of a long one, not in steps that each copy what is there.
  constexpr size_t kLong = 4 << 10;
  if (operation.size() >= kLong) {
    message.reserve(message.size() + operation.size() + 16);
  }
  message.push_back(static_cast<char>(
      WireFormatLite::MakeTag(v1::SessionRequest::kOperationsFieldNumber,
                              WireFormatLite::WIRETYPE_LENGTH_DELIMITED)));
  for (size_t size = operation.size();; size >>= 7) {
    if (size < 0x80) {
      message.push_back(static_cast<char>(size));
      break;
    }
    message.push_back(static_cast<char>(size | 0x80));
  }
  message.append(operation.data(), operation.size());
}

}  // namespace

// What this thread is just telling: what is submitted meanwhile goes out in one
// message, after that; and what ends meanwhile is told after that, so that
// callbacks which begin the next call, which ends at once, do not pile up.
struct SessionMachine::Teller {
  const SessionMachine* machine = nullptr;
  std::vector<Telling> next;
};
thread_local SessionMachine::Teller* SessionMachine::teller_ = nullptr;

SessionMachine::SessionMachine(SessionLink* link, SessionOptions options)
    : link_(*link),
      options_(std::move(options)),
      program_(NewProgram()),
      backoff_(kBackoffMin),
      last_end_(ExpiredError(options_.server)) {
  SetGraceLocked(options_.grace);
}

SessionMachine::~SessionMachine() = default;

// --- What is done without the lock -------------------------------------------

void SessionMachine::Do(Later&& later) {
  if (later.disconnect) link_.Disconnect(*later.disconnect);
  if (later.connect) link_.Connect(*later.connect);
  if (later.write) link_.Write(later.connection, *std::move(later.write));
  if (later.timer) link_.SetTimer(*later.timer);
  if (later.tellings.empty()) return;
  if (IsTelling()) {
    std::move(later.tellings.begin(), later.tellings.end(),
              std::back_inserter(teller_->next));
    return;
  }

  Teller teller{.machine = this, .next = std::move(later.tellings)};
  Teller* const outer = std::exchange(teller_, &teller);
  std::vector<SessionReceipt> taken;
  while (!teller.next.empty()) {
    std::vector<Telling> tellings = std::exchange(teller.next, {});
    for (Telling& told : tellings) {
      const bool at_once = told.done(told.status, told.result, told.receipt);
      if (told.receipt.session == 0) continue;
      if (at_once || !told.status.ok()) taken.push_back(told.receipt);
    }
    tellings.clear();  // and what the callbacks held
  }
  teller_ = outer;
  Later next;
  {
    absl::MutexLock lock(&mu_);
    for (const SessionReceipt& receipt : taken) SettleLocked(receipt, true);
    SendLocked(next);
    ArmLocked(next);
  }
  Do(std::move(next));
}

bool SessionMachine::IsTelling() const {
  return teller_ != nullptr && teller_->machine == this;
}

// --- Operations --------------------------------------------------------------

uint64_t SessionMachine::Submit(Submission submission) {
  Operation operation;
  operation.bytes = submission.operation.has_value()
                        ? submission.operation->SerializeAsString()
                        : std::move(submission.encoded);
  operation.done = std::move(submission.done);
  operation.restartable = submission.restartable;
  operation.sleeper = submission.sleeper;
  operation.session = submission.session;
  uint64_t ticket = 0;
  Later later;
  {
    absl::MutexLock lock(&mu_);
    operation.started = link_.Now();
    if (closing_) {
      // Who begins the next call at the end of each would go on for ever: his
      // callback dies with `operation`, without the lock.
      if (!IsTelling()) {
        TellLocked(operation, CancelledError(/*sent=*/false), later);
      }
    } else if (operation.session != 0 && operation.session != session_) {
      TellLocked(operation, last_end_, later);
    } else if (IsFullForLocked(operation.sleeper)) {
      operation.ticket = ticket = kWaitingTicket | ++last_waiting_;
      if (submission.give_up_after != absl::InfiniteDuration()) {
        GiveUpAtLocked(operation, operation.started + submission.give_up_after);
      }
      KeepWaitingLocked(std::move(operation));
    } else {
      operation.ticket = ticket = base_ + last_number_ + 1;
      if (submission.give_up_after != absl::InfiniteDuration()) {
        GiveUpAtLocked(operation, operation.started + submission.give_up_after);
      }
      NumberLocked(std::move(operation));
    }
    if (state_ == State::kNone && AnyUnderWayLocked()) ConnectLocked(later);
    // A callback's: what it comes to is seen to when all have been told.
    if (IsTelling() && !later.connect && later.tellings.empty()) return ticket;
    SendLocked(later);
    ArmLocked(later);
  }
  Do(std::move(later));
  return ticket;
}

bool SessionMachine::IsFullForLocked(bool sleeper) const {
  if (between_servers_) return true;
  // Who wakes goes before who sleeps, also when the server takes no more.
  const uint64_t reserve =
      sleeper ? std::min<uint64_t>(1000, operations_max_ / 16) : 0;
  return operations_.size() + unsettled_ + reserve >= operations_max_;
}

void SessionMachine::NumberLocked(Operation&& operation) {
  const uint64_t number = ++last_number_;
  if (operation.ticket != base_ + number) numbers_[operation.ticket] = number;
  std::unique_ptr<Operation> kept;
  if (spare_.empty()) {
    kept = std::make_unique<Operation>(std::move(operation));
  } else {
    kept = std::move(spare_.back());
    spare_.pop_back();
    *kept = std::move(operation);
  }
  operations_.try_emplace(number, std::move(kept));
}

void SessionMachine::EraseLocked(Operations::iterator operation) {
  constexpr size_t kSpareMax = 256;
  if (spare_.size() < kSpareMax) {
    operation->second->bytes = std::string();
    operation->second->done = nullptr;
    spare_.push_back(std::move(operation->second));
  }
  operations_.erase(operation);
}

void SessionMachine::KeepWaitingLocked(Operation operation) {
  const std::pair key(operation.sleeper, operation.ticket);
  waiting_.emplace(key, std::move(operation));
}

void SessionMachine::AdmitWaitingLocked() {
  while (!waiting_.empty()) {
    const auto first = waiting_.begin();
    if (IsFullForLocked(first->second.sleeper)) return;
    NumberLocked(std::move(first->second));
    waiting_.erase(first);
  }
}

SessionMachine::Found SessionMachine::FindLocked(uint64_t ticket) {
  const auto named = numbers_.find(ticket);
  const uint64_t number =
      named != numbers_.end() ? named->second : ticket - base_;
  const auto it = operations_.find(number);
  if (it != operations_.end() && it->second->ticket == ticket) {
    return {.operation = it->second.get(), .number = number};
  }
  for (const bool sleeper : {false, true}) {
    const auto waiting = waiting_.find({sleeper, ticket});
    if (waiting != waiting_.end()) return {.operation = &waiting->second};
  }
  const auto drained = drained_.find(ticket);
  if (drained == drained_.end()) return {};
  return {.operation = &drained->second.operation,
          .drained = &drained->second.status};
}

void SessionMachine::GiveUpAtLocked(Operation& operation, absl::Time when) {
  if (operation.give_up != absl::InfiniteFuture()) {
    give_ups_.erase({operation.give_up, operation.ticket});
  }
  operation.give_up = when;
  give_ups_.insert({when, operation.ticket});
}

void SessionMachine::ForgetLocked(const Operation& operation) {
  if (operation.give_up != absl::InfiniteFuture()) {
    give_ups_.erase({operation.give_up, operation.ticket});
  }
  if (!numbers_.empty()) numbers_.erase(operation.ticket);
}

void SessionMachine::TellLocked(Operation& operation, absl::Status status,
                                Later& later) {
  ForgetLocked(operation);
  operation.give_up = absl::InfiniteFuture();
  Done done = std::exchange(operation.done, nullptr);
  if (!done) return;
  NameObject(operation.bytes, status);
  later.tellings.push_back({.done = std::move(done),
                            .status = std::move(status),
                            .result = nullptr,
                            .receipt = {}});
}

void SessionMachine::Cancel(uint64_t ticket) {
  Later later;
  {
    absl::MutexLock lock(&mu_);
    CancelLocked(ticket, later);
    SendLocked(later);
    ArmLocked(later);
  }
  Do(std::move(later));
}

void SessionMachine::CancelLocked(uint64_t ticket, Later& later) {
  const auto [operation, number, drained] = FindLocked(ticket);
  if (operation == nullptr || !operation->done || operation->cancelled) return;
  // The server says how it ends, if it can.
  if (IsSentLocked(number) && state_ == State::kAttached) {
    GiveUpAtLocked(*operation, link_.Now() + kCancelTime);
  } else {
    TellLocked(*operation, CancelledError(IsSentLocked(number)), later);
  }
  DropLocked(number, *operation);
}

void SessionMachine::DropLocked(uint64_t number, Operation& operation) {
  operation.cancelled = true;
  if (number == 0) {
    const uint64_t ticket = operation.ticket;
    waiting_.erase({operation.sleeper, ticket});
    drained_.erase(ticket);
  } else if (IsSentLocked(number)) {
    cancels_.push_back(number);
  } else {
    operation.bytes.clear();  // its number is sent, and asks for nothing
  }
}

void SessionMachine::Settle(SessionReceipt receipt, bool taken) {
  if (receipt.session == 0) return;
  Later later;
  {
    absl::MutexLock lock(&mu_);
    SettleLocked(receipt, taken);
    SendLocked(later);
    ArmLocked(later);
  }
  Do(std::move(later));
}

void SessionMachine::SettleLocked(const SessionReceipt& receipt, bool taken) {
  if (receipt.session != session_) return;  // that one is over
  --unsettled_;
  if (taken) {
    acknowledgements_.Take(receipt.number);
  } else {
    acknowledgements_.Return(receipt.number);
  }
  if (receipt.urgent || !taken || acknowledgements_.unsaid() >= kUnsaidMax) {
    acknowledge_at_ = absl::InfinitePast();
  } else if (acknowledge_at_ == absl::InfiniteFuture()) {
    acknowledge_at_ = link_.Now() + kAcknowledgeWithin;
  }
  AdmitWaitingLocked();
}

uint64_t SessionMachine::Watch(uint64_t session, Lost lost) {
  Later later;
  uint64_t watch = 0;
  {
    absl::MutexLock lock(&mu_);
    watch = ++last_watch_;
    if (session == session_ && !closing_) {
      watches_.emplace(watch, std::move(lost));
    } else {
      TellLoss(std::move(lost),
               closing_ ? CancelledError(/*sent=*/true)
                        : ExpiredError(options_.server),
               later);
    }
  }
  Do(std::move(later));
  return watch;
}

void SessionMachine::Unwatch(uint64_t watch) {
  Lost lost;  // dies without the lock
  absl::MutexLock lock(&mu_);
  const auto it = watches_.find(watch);
  if (it == watches_.end()) return;
  lost = std::move(it->second);
  watches_.erase(it);
}

void SessionMachine::TellLoss(Lost lost, const absl::Status& why,
                              Later& later) {
  later.tellings.push_back(
      {.done =
           [lost = std::move(lost)](const absl::Status& status, v1::Result*,
                                    SessionReceipt) mutable {
             lost(status);
             return true;
           },
       .status = why,
       .result = nullptr,
       .receipt = {}});
}

void SessionMachine::TellWatchesLocked(const absl::Status& why, Later& later) {
  for (auto& [watch, lost] : watches_) TellLoss(std::move(lost), why, later);
  watches_.clear();
}

// --- Messages out ------------------------------------------------------------

bool SessionMachine::AnythingToSendLocked() const {
  if (end_sent_) return false;  // that was the last message
  if (hello_due_ || heartbeat_due_) return true;
  if (state_ != State::kAttached && token_.empty() == false) return false;
  // Operations have ended here: those that were not sent never are.
  if (closing_) return IsGoodbyeDueLocked();
  if (!cancels_.empty()) return state_ == State::kAttached;
  if (!hold_operations_ && sent_number_ < last_number_) return true;
  if (acknowledgements_.unsaid() == 0) return false;
  return acknowledge_at_ == absl::InfinitePast() ||
         (acknowledge_at_ != absl::InfiniteFuture() &&
          acknowledge_at_ <= link_.Now());
}

void SessionMachine::SendLocked(Later& later) {
  if (state_ != State::kConnecting && state_ != State::kAttached) return;
  // What the callbacks of this thread submit goes out after them, together. But
  // who connects says the hello: another thread's would come before there is a
  // connection, and be lost.
  if (writing_ || (IsTelling() && !later.connect) || later.write ||
      !AnythingToSendLocked()) {
    return;
  }
  writing_ = true;
  later.write = MakeMessageLocked();
  later.connection = connection_;
}

std::string SessionMachine::MakeMessageLocked() {
  v1::SessionRequest head;
  if (std::exchange(hello_due_, false)) {
    v1::SessionRequest::Hello& hello = *head.mutable_hello();
    if (token_.empty()) {
      *hello.mutable_grace() = ToWire(options_.grace);
      hello.set_caller(options_.caller);
      hello.set_again(asked_before_);
    } else {
      hello.set_token(token_);
      hello.set_server_epoch(epoch_);
      hello.set_results_received(results_received_);
    }
    hello.set_program(program_);
    hello.set_attempt(connection_);
    connected_ = link_.Now();
  }
  const size_t numbers_max = std::min(kNumbersMax, numbers_max_);
  acknowledgements_.Say(head, numbers_max);
  const bool all_said = acknowledgements_.unsaid() == 0;
  acknowledge_at_ = all_said ? absl::InfiniteFuture() : absl::InfinitePast();
  if (IsGoodbyeDueLocked()) {
    if (all_said) head.set_end(end_sent_ = true);
  } else if (state_ == State::kAttached) {
    const size_t said = std::min(cancels_.size(), numbers_max);
    for (size_t i = 0; i < said; ++i) head.add_cancels(cancels_[i]);
    cancels_.erase(cancels_.begin(),
                   cancels_.begin() + static_cast<ptrdiff_t>(said));
  }
  if (std::exchange(heartbeat_due_, false)) {
    head.set_heartbeat(++heartbeat_);
    heartbeat_sent_ = link_.Now();
    heartbeat_answered_ = false;
    acknowledgements_.Mark();
  }
  const bool operations_follow =
      !hold_operations_ && !closing_ && sent_number_ < last_number_;
  if (operations_follow) head.set_first_operation(sent_number_ + 1);
  // A message is the concatenation of its fields.
  std::string message = head.SerializeAsString();
  if (!operations_follow) return message;
  const size_t said = message.size();
  do {
    const auto it = operations_.find(sent_number_ + 1);
    const absl::string_view bytes =
        it == operations_.end() ? absl::string_view() : it->second->bytes;
    const size_t written = message.size() - said;
    if (written > 0 && written + bytes.size() > kMessageBytes) break;
    // One that fills a message by itself waits for the next.
    if (said + bytes.size() > kMessageBytesMax && said > kAloneBytes) break;
    AppendOperation(message, bytes);
    ++sent_number_;
  } while (sent_number_ < last_number_);
  ever_sent_ = std::max(ever_sent_, sent_number_);
  return message;
}

void SessionMachine::OnWritten(uint64_t connection) {
  Later later;
  {
    absl::MutexLock lock(&mu_);
    if (connection != connection_) return;
    writing_ = false;
    SendLocked(later);
    ArmLocked(later);
  }
  Do(std::move(later));
}

// --- Messages in -------------------------------------------------------------

void SessionMachine::OnMessage(uint64_t connection,
                               v1::SessionResponse& message) {
  Later later;
  {
    absl::MutexLock lock(&mu_);
    // The race with whoever has just given this connection up: another session
    // may have begun, whose results have the same numbers.
    if (connection != connection_ ||
        (state_ != State::kConnecting && state_ != State::kAttached)) {
      return;
    }
    if (message.has_hello()) OnHelloLocked(message.hello(), later);
    if (message.heartbeat() != 0 && message.heartbeat() == heartbeat_) {
      heartbeat_answered_ = true;
      lease_from_ = heartbeat_sent_;
      acknowledgements_.Arrived();
    }
    if (link_.Now() >= LeaseEndLocked()) {
      // This program has stood still, and its timer comes late: what these
      // results gave may be somebody else's by now.
      ExpireLocked(later);
    } else if (message.results_size() > 0) {
      OnResultsLocked(message, later);
    }
    AdmitWaitingLocked();
    // Before the callbacks only what nobody of them can add to.
    if (later.tellings.empty() || later.connect) SendLocked(later);
    ArmLocked(later);
  }
  Do(std::move(later));
}

void SessionMachine::OnHelloLocked(const v1::SessionResponse::Hello& hello,
                                   Later& later) {
  if (std::exchange(asked_before_, false) && hello.operations_received() == 0) {
    // This server has not had what was sent. Another, which is gone, may have.
    const uint64_t program = program_;
    LoseLocked(no_answer_, no_answer_, /*restart=*/true, later);
    program_ = program;  // this session's
  }
  const bool begins = token_.empty();
  state_ = State::kAttached;
  token_ = hello.token();
  epoch_ = hello.server_epoch();
  SetGraceLocked(FromWire(hello.grace()));
  operations_max_ = std::max<uint64_t>(hello.operations_max(), 1);
  // Of a message that has returns or takings and cancels, a third.
  numbers_max_ = hello.message_bytes_max() == 0
                     ? kNumbersMax
                     : std::max<uint64_t>(hello.message_bytes_max() / 32, 1);
  lease_from_ = heartbeat_sent_ = connected_;
  heartbeat_answered_ = true;
  backoff_ = kBackoffMin;
  between_servers_ = false;
  // Not on the session that they were refused in: its server drains still.
  if (begins) BeginDrainedAnewLocked();
  if (!std::exchange(hold_operations_, false)) return;
  // What the server has had is not sent again; what it has not, is.
  sent_number_ = hello.operations_received();
  // In the order in which they were asked for, which the map does not keep.
  std::vector<uint64_t> ends;
  for (const auto& [number, operation] : operations_) {
    if ((operation->epoch != 0 && operation->epoch != epoch_) ||
        operation->cancelled) {
      ends.push_back(number);
    }
  }
  std::sort(ends.begin(), ends.end());
  cancels_.clear();  // they are among these
  for (const uint64_t number : ends) {
    Operation& operation = *operations_.find(number)->second;
    if (!operation.cancelled) {
      absl::Status unknown = OwnerDeadError(options_.server);
      SetErrorField(unknown, kUnknownKey, "true");  // the other server had it
      TellLocked(operation, std::move(unknown), later);
      operation.bytes.clear();
    } else if (number <= sent_number_) {
      cancels_.push_back(number);
    } else {  // it never came there, and asks for nothing now
      TellLocked(operation, CancelledError(/*sent=*/false), later);
      operation.bytes.clear();
    }
  }
}

void SessionMachine::OnResultsLocked(v1::SessionResponse& message,
                                     Later& later) {
  uint64_t number = message.first_result();
  later.tellings.reserve(message.results_size());
  for (v1::Result& result : *message.mutable_results()) {
    const uint64_t this_one = number++;
    if (this_one <= results_received_) continue;  // it came on another stream
    results_received_ = this_one;
    ++unsettled_;
    const SessionReceipt receipt{
        .session = session_,
        .number = this_one,
        .urgent = !result.read().data().empty() ||
                  !result.wait_any().read().data().empty()};
    const auto it = operations_.find(result.operation());
    if (it == operations_.end()) {  // a handle's own end, which its calls tell
      SettleLocked(receipt, /*taken=*/true);
      continue;
    }
    Operation& operation = *it->second;
    ForgetLocked(operation);
    if (!operation.done) {  // nobody waits for it any more
      EraseLocked(it);
      SettleLocked(receipt, /*taken=*/false);
      continue;
    }
    absl::Status status;
    if (result.has_failure()) {
      status = ToStatus(result.failure());
      NameObject(operation.bytes, status);
      if (KeepDrainedLocked(operation, status)) {
        EraseLocked(it);
        SettleLocked(receipt, /*taken=*/true);
        continue;
      }
    }
    Telling& told = later.tellings.emplace_back();
    told.done = std::move(operation.done);
    told.status = std::move(status);
    told.result = result.has_failure() ? nullptr : &result;
    told.receipt = receipt;
    EraseLocked(it);
  }
}

// --- Between servers ---------------------------------------------------------

bool SessionMachine::KeepDrainedLocked(Operation& operation,
                                       const absl::Status& status) {
  // A handle is gone with its server.
  if (ErrorReason(status) != "ESHUTDOWN" || operation.session != 0 ||
      operation.cancelled) {
    return false;
  }
  const absl::Time end = operation.started + TimeOf(operation.bytes);
  operation.epoch = 0;  // that server has not done it
  const absl::Time give_up =
      std::exchange(operation.give_up, absl::InfiniteFuture());
  const absl::Time until = std::min(give_up, end);
  if (until != absl::InfiniteFuture()) GiveUpAtLocked(operation, until);
  const uint64_t ticket = operation.ticket;
  drained_.emplace(ticket, Drained{.operation = std::move(operation),
                                   .give_up = give_up,
                                   .status = status});
  return true;
}

void SessionMachine::BeginDrainedAnewLocked() {
  const absl::Time now = link_.Now();
  for (auto& [ticket, drained] : std::exchange(drained_, {})) {
    Operation& operation = drained.operation;
    ForgetLocked(operation);
    operation.give_up = absl::InfiniteFuture();
    if (drained.give_up != absl::InfiniteFuture()) {
      GiveUpAtLocked(operation, drained.give_up);
    }
    RestartWithLess(now - operation.started, operation.bytes);
    operation.started = now;
    if (IsFullForLocked(operation.sleeper)) {
      KeepWaitingLocked(std::move(operation));
    } else {
      NumberLocked(std::move(operation));
    }
  }
}

void SessionMachine::AwaitServerLocked(const absl::Status& status,
                                       Later& later) {
  if (link_.Now() >= patience_end_) {
    FailOthersLocked(status, /*unknown=*/false, later);
  }
  if (AnyUnderWayLocked()) {
    WaitLocked();
  } else {
    // The next call looks again.
    state_ = State::kNone;
    between_servers_ = link_.Now() < patience_end_;
  }
}

// --- Connections -------------------------------------------------------------

void SessionMachine::ConnectLocked(Later& later) {
  if (connection_ > 0) later.disconnect = connection_;
  later.connect = ++connection_;
  state_ = State::kConnecting;
  connected_ = link_.Now();
  writing_ = false;
  hello_due_ = true;
  heartbeat_due_ = false;
  sent_number_ = 0;
  end_sent_ = false;
  acknowledgements_.Unsay();
  hold_operations_ = !token_.empty() || asked_before_;
  for (const auto& [number, operation] : operations_) {
    // Another server may be there by now: that is seen first.
    if (operation->epoch != 0) hold_operations_ = true;
    if (hold_operations_) break;
  }
}

bool SessionMachine::AskAgainLocked() {
  const absl::Time now = link_.Now();
  if (!std::exchange(asked_before_, true)) ask_again_until_ = now + lease_;
  return now < ask_again_until_;
}

void SessionMachine::WaitLocked(absl::Duration at_least) {
  state_ = State::kWaiting;
  writing_ = false;
  const absl::Duration after =
      backoff_ == kBackoffMin ? absl::ZeroDuration() : backoff_;
  retry_at_ = link_.Now() + std::max(after, at_least);
  backoff_ = std::min(backoff_ * 2, kBackoffMax);
}

void SessionMachine::OnClosed(uint64_t connection, const absl::Status& status,
                              bool sent) {
  Later later;
  {
    absl::MutexLock lock(&mu_);
    if (connection != connection_ ||
        (state_ != State::kConnecting && state_ != State::kAttached)) {
      return;
    }
    OnClosedLocked(status, sent, later);
    SendLocked(later);  // if it has connected again
    ArmLocked(later);
  }
  Do(std::move(later));
}

void SessionMachine::OnClosedLocked(const absl::Status& status, bool sent,
                                    Later& later) {
  writing_ = false;
  const std::string reason = ErrorReason(status);
  // gRPC's own word for a message that is too large: it would be so again.
  const bool too_large = reason.empty() && absl::IsResourceExhausted(status);
  const bool network = reason.empty() && !status.ok() && !too_large;
  if (closing_) {
    // What was taken is to be said, and the end: on another connection. (If the
    // end has arrived, the server knows nothing of the session there.)
    // (And where a hello has had no answer, perhaps there is one.)
    if (network && !absl::IsUnimplemented(status) &&
        (!token_.empty() || ((sent || asked_before_) && AskAgainLocked()))) {
      return WaitLocked();
    }
    state_ = State::kClosed;
    return;
  }
  if (token_.empty()) {
    // There is no session yet; but the server may have made one, and have done
    // what was sent with the hello. One that knows no sessions will not do so
    // later.
    const bool stops = reason == "ESHUTDOWN";
    if (between_servers_ &&
        (stops || (network && !absl::IsUnimplemented(status)))) {
      return AwaitServerLocked(status, later);
    }
    if (!sent || !reason.empty() || absl::IsUnimplemented(status)) {
      return FailAllLocked(status, /*unknown=*/asked_before_, later);
    }
    if (too_large) return FailAllLocked(status, /*unknown=*/true, later);
    // A stream that ends well without a word is no answer either.
    no_answer_ = status.ok() ? ExpiredError(options_.server) : status;
    // Not for longer than such a session lives.
    if (AskAgainLocked()) return WaitLocked();
    LoseLocked(no_answer_, no_answer_, /*restart=*/true, later);
    // Not at once for ever: a server may do that to all of them.
    if (AnyUnderWayLocked()) WaitLocked();
    return;
  } else if (network) {
    return WaitLocked();  // the session lives on
  } else if (reason == "EOWNERDEAD") {
    const absl::Status dead = OwnerDeadError(options_.server);
    LoseLocked(dead, dead, /*restart=*/false, later);
  } else if (reason == "ESTALE") {
    const absl::Status expired = ExpiredError(options_.server);
    LoseLocked(expired, expired, /*restart=*/true, later);
  } else if (reason == "ESHUTDOWN") {
    // It has said of each that it has ended, as far as it could.
    LoseLocked(OwnerDeadError(options_.server),
               HandleGoneError(options_.server), /*restart=*/false, later);
    // It is about to go, and what comes in its place is about to come.
    if (AnyUnderWayLocked()) {
      WaitLocked(ErrorRetryAfter(status).value_or(kBackoffMin));
    }
    return;
  } else {
    const absl::Status end =
        status.ok() ? ExpiredError(options_.server) : status;
    LoseLocked(end, end, /*restart=*/false, later);
  }
  if (AnyUnderWayLocked()) ConnectLocked(later);
}

void SessionMachine::LoseLocked(const absl::Status& status,
                                const absl::Status& unsent, bool restart,
                                Later& later) {
  std::vector<std::pair<uint64_t, Operation>> operations;
  operations.reserve(operations_.size());
  for (auto& [number, operation] : operations_) {
    operations.emplace_back(number, std::move(*operation));
  }
  std::sort(operations.begin(), operations.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  const uint64_t ever_sent = ever_sent_;
  const uint64_t epoch = epoch_;
  last_end_ = unsent;
  if (ErrorReason(unsent) == "ESHUTDOWN" || !drained_.empty()) {
    between_servers_ = true;
    patience_end_ = link_.Now() + lease_;
  }
  ForgetSessionLocked();
  TellWatchesLocked(status, later);  // first: it may be urgent
  for (auto& [number, operation] : operations) {
    if (!operation.done) continue;
    const bool was_sent = number <= ever_sent;
    if (operation.session != 0 ||
        (was_sent &&
         (!restart || !operation.restartable || operation.cancelled))) {
      absl::Status told = was_sent ? status : unsent;
      if (was_sent) SetErrorField(told, kUnknownKey, "true");
      TellLocked(operation, std::move(told), later);
      continue;
    }
    if (was_sent) {
      operation.epoch = epoch;
      const absl::Time now = link_.Now();
      RestartWithLess(now - operation.started, operation.bytes);
      operation.started = now;
    } else if (between_servers_) {
      // Behind those that were refused, as they were asked for. (What was sent
      // is numbered: whether the next server is another is seen before it is
      // sent again.)
      KeepWaitingLocked(std::move(operation));
      continue;
    }
    NumberLocked(std::move(operation));
  }
  // Those that wait for room, too: another session's handle of that number
  // would be another file.
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second.session != 0) {
      TellLocked(it->second, unsent, later);
      it = waiting_.erase(it);
    } else {
      ++it;
    }
  }
}

void SessionMachine::ForgetSessionLocked() {
  state_ = State::kNone;
  ++session_;
  base_ += last_number_;
  token_.clear();
  asked_before_ = false;
  // Whoever asks again means a session with these numbers, and not one that
  // this machine has given up and the server has not.
  program_ = NewProgram();
  last_number_ = sent_number_ = ever_sent_ = results_received_ = 0;
  unsettled_ = 0;
  acknowledgements_ = Acknowledgements();
  acknowledge_at_ = absl::InfiniteFuture();
  cancels_.clear();
  heartbeat_due_ = false;
  heartbeat_answered_ = true;
  SetGraceLocked(options_.grace);
  operations_.clear();
}

void SessionMachine::FailAllLocked(const absl::Status& status, bool unknown,
                                   Later& later) {
  FailOthersLocked(status, unknown, later);
  for (auto& [ticket, drained] : drained_) {
    TellLocked(drained.operation, status, later);
  }
  drained_.clear();
  between_servers_ = false;
}

void SessionMachine::FailOthersLocked(const absl::Status& status, bool unknown,
                                      Later& later) {
  absl::Status sent_status = status;
  if (unknown) SetErrorField(sent_status, kUnknownKey, "true");
  // In the order in which they were asked for, which the map does not keep.
  for (uint64_t number = 1; number <= last_number_; ++number) {
    const auto it = operations_.find(number);
    if (it == operations_.end()) continue;
    TellLocked(*it->second, IsSentLocked(number) ? sent_status : status, later);
  }
  for (auto& [key, waiting] : waiting_) TellLocked(waiting, status, later);
  waiting_.clear();
  ForgetSessionLocked();
}

void SessionMachine::Close() {
  Later later;
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(closing_, true)) return;
    TellWatchesLocked(CancelledError(/*sent=*/true), later);
    // In the order in which they were asked for, which the map does not keep.
    for (uint64_t number = 1; number <= last_number_; ++number) {
      const auto it = operations_.find(number);
      if (it == operations_.end()) continue;
      TellLocked(*it->second, CancelledError(IsSentLocked(number)), later);
    }
    for (auto& [key, waiting] : waiting_) {
      TellLocked(waiting, CancelledError(/*sent=*/false), later);
    }
    waiting_.clear();
    for (auto& [ticket, drained] : drained_) {
      TellLocked(drained.operation, CancelledError(/*sent=*/false), later);
    }
    drained_.clear();
    if (!MayHaveSessionLocked()) {
      state_ = State::kClosed;
      later.disconnect = connection_;
    } else if (state_ == State::kWaiting) {
      backoff_ = kBackoffMin;  // there is not much time
      WaitLocked();
    }
    SendLocked(later);
    ArmLocked(later);
  }
  Do(std::move(later));
}

bool SessionMachine::IsOver() const {
  absl::MutexLock lock(&mu_);
  return state_ == State::kClosed;
}

void SessionMachine::AwaitOver(absl::Time at_most) {
  Later later;
  {
    absl::MutexLock lock(&mu_);
    if (!mu_.AwaitWithDeadline(
            absl::Condition(
                +[](State* state) { return *state == State::kClosed; },
                &state_),
            at_most)) {
      state_ = State::kClosed;
      later.disconnect = connection_;
    }
  }
  Do(std::move(later));
}

// --- Time --------------------------------------------------------------------

absl::Time SessionMachine::LeaseEndLocked() const {
  return token_.empty() ? absl::InfiniteFuture() : lease_from_ + lease_;
}

void SessionMachine::SetGraceLocked(absl::Duration grace) {
  // Before the server's end of it, which counts from when it heard us.
  lease_ = 0.9 * grace;
  answer_time_ = token_.empty() ? kHelloTime : grace / 4;
}

absl::Time SessionMachine::NextWorkLocked() const {
  absl::Time next = LeaseEndLocked();
  if (!give_ups_.empty()) next = std::min(next, give_ups_.begin()->first);
  switch (state_) {
    case State::kConnecting:
      return std::min(next, connected_ + answer_time_);
    case State::kAttached:
      // One that is due waits for the message under way, but not for ever.
      next = std::min(
          next, heartbeat_sent_ + (heartbeat_due_ ? 2 : 1) * answer_time_);
      // What is to be said is said when that is written.
      if (writing_ || end_sent_ || acknowledgements_.unsaid() == 0) return next;
      return std::min(next, acknowledge_at_);
    case State::kWaiting:
      return std::min(next, retry_at_);
    case State::kNone:
      return next;
    case State::kClosed:
      break;
  }
  return absl::InfiniteFuture();
}

void SessionMachine::ArmLocked(Later& later) {
  const absl::Time next = NextWorkLocked();
  if (next >= timer_) return;  // it looks then, and arms again
  timer_ = next;
  later.timer = next;
}

void SessionMachine::OnTimer() {
  Later later;
  {
    absl::MutexLock lock(&mu_);
    timer_ = absl::InfiniteFuture();
    const absl::Time now = link_.Now();
    if (state_ != State::kClosed) GiveUpLocked(now, later);
    if (now >= LeaseEndLocked()) {
      ExpireLocked(later);
    } else if (state_ == State::kWaiting && now >= retry_at_) {
      ConnectLocked(later);
    } else if (state_ == State::kConnecting &&
               now >= connected_ + answer_time_) {
      later.disconnect = connection_;
      const absl::Status silent = absl::UnavailableError(
          absl::StrCat(options_.server, " does not answer"));
      if (closing_ && token_.empty()) {
        if (AskAgainLocked()) {
          WaitLocked();
        } else {
          state_ = State::kClosed;
        }
      } else if (between_servers_) {
        AwaitServerLocked(silent, later);
      } else if (token_.empty()) {
        FailAllLocked(silent, /*unknown=*/true, later);
      } else {
        WaitLocked();
      }
    } else if (state_ == State::kAttached &&
               now >= heartbeat_sent_ + answer_time_) {
      if (heartbeat_answered_ && !heartbeat_due_) {
        heartbeat_due_ = true;
      } else if (!heartbeat_due_ || now >= heartbeat_sent_ + 2 * answer_time_) {
        // This connection is dead, or as good as that.
        later.disconnect = connection_;
        WaitLocked();
      }
    }
    SendLocked(later);
    ArmLocked(later);
  }
  Do(std::move(later));
}

void SessionMachine::ExpireLocked(Later& later) {
  later.disconnect = connection_;
  const absl::Status expired = ExpiredError(options_.server);
  LoseLocked(expired, expired, /*restart=*/true, later);
  if (closing_) {
    state_ = State::kClosed;
  } else if (AnyUnderWayLocked()) {
    ConnectLocked(later);
  }
}

void SessionMachine::GiveUpLocked(absl::Time now, Later& later) {
  while (!give_ups_.empty() && give_ups_.begin()->first <= now) {
    const uint64_t ticket = give_ups_.begin()->second;
    const auto [operation, number, drained] = FindLocked(ticket);
    if (operation == nullptr) {
      give_ups_.erase(give_ups_.begin());
      continue;
    }
    // What the server does with it is not known any more; its result, should it
    // come, is given back.
    if (operation->cancelled) {
      TellLocked(*operation, CancelledError(/*sent=*/true), later);
      continue;
    }
    TellLocked(*operation,
               drained != nullptr
                   ? *drained
                   : NoAnswerError(options_.server, IsSentLocked(number)),
               later);
    DropLocked(number, *operation);
  }
}

}  // namespace waitq
