// The C++ client, and so a session. What is taken is in the record before the
// callback returns, which is when the library acknowledges it.

#include <atomic>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "client/error.h"
#include "tests/faults/way.h"

namespace waitq::test {
namespace {

// Reads that are under way at a time.
constexpr int kDepth = 3;
constexpr absl::Duration kPause = absl::Milliseconds(10);

std::string Why(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  return reason.empty() ? absl::StatusCodeToString(status.code()) : reason;
}

class SessionWay final : public Way {
 public:
  SessionWay(const Settings& settings, Record& record)
      : settings_(settings), record_(record) {
    auto client =
        Client::Create({.server = settings.server, .grace = settings.grace});
    if (!client.ok()) std::abort();
    client_ = *std::move(client);
  }

  bool Prepare() override {
    const absl::Status status = Create();
    // Somebody may have been faster, and have used it without options.
    return status.ok() || ErrorReason(status) == "EEXIST";
  }

  bool Put(uint64_t item) override {
    record_.Say("S", {absl::StrCat(item), "-", "0"});
    bool accepted = false;
    absl::Status status;
    if (settings_.kind == Kind::kCompletion) {
      status = client_->Complete(ItemName(item)).status();
      accepted = status.ok();
    } else {
      const auto result = client_->Write(settings_.name, ItemText(item),
                                         {.timeout = settings_.timeout});
      status = result.status();
      accepted = result.ok() && result->outcome == Outcome::kDone;
    }
    if (OutcomeUnknown(status)) {
      record_.Say("U", {absl::StrCat(item), Why(status)});
      return true;
    }
    record_.Say(accepted ? "A" : "R",
                accepted ? std::vector<std::string>{absl::StrCat(item)}
                         : std::vector<std::string>{
                               absl::StrCat(item),
                               status.ok() ? "TIMED_OUT" : Why(status)});
    if (!accepted) NewServer();
    return accepted;
  }

  bool Take(uint64_t item, absl::Duration timeout) override {
    record_.Say("W", {absl::StrCat(item), "-", "0"});
    if (settings_.kind == Kind::kCompletion) {
      taken_ = false;
      Begin();
      client_->Await(ItemName(item), {.timeout = timeout},
                     [this, item](const absl::StatusOr<AwaitResult>& result) {
                       if (Ended(item, result)) {
                         SayTaken({item}, result->redelivered, 0, record_);
                         taken_ = true;
                       }
                       End();
                     });
      AwaitAtMost(0);
      if (failed_.exchange(false)) absl::SleepFor(kPause);
      return taken_;
    }
    Begin();
    client_->Read(settings_.name,
                  {.max_bytes = 4 * kItemBytes, .timeout = timeout},
                  [this, item](const absl::StatusOr<ReadResult>& result) {
                    if (Ended(item, result)) {
                      SayTaken(ItemsOf(result->data, record_),
                               result->redelivered, 0, record_);
                    }
                    End();
                  });
    // The next one when there is room for it.
    AwaitAtMost(kDepth - 1);
    // (Not in the callback, where all of the client would wait.)
    if (failed_.exchange(false)) absl::SleepFor(kPause);
    return true;
  }

  bool IsDone(uint64_t item) override {
    const auto done = client_->Done(ItemName(item));
    return done.ok() && *done;
  }

  // Ends what is under way.
  void Finish() override { client_.reset(); }

 private:
  std::string ItemName(uint64_t item) const {
    return absl::StrCat(settings_.name, "/", item);
  }

  absl::Status Create() {
    switch (settings_.kind) {
      case Kind::kCompletion:
        return client_->CreateCompletion(settings_.name).status();
      case Kind::kPacket:
        return client_
            ->CreatePipe(settings_.name, {.capacity_bytes = 8 * kPacketBytes,
                                          .mode = PipeMode::kPacket})
            .status();
      case Kind::kStream:
        break;
    }
    // A burst does not fit: writers sleep, too.
    return client_
        ->CreatePipe(settings_.name, {.capacity_bytes = 8 * kItemBytes,
                                      .atomic_max_bytes = kItemBytes})
        .status();
  }

  // Whether it took something.
  template <class Result>
  bool Ended(uint64_t item, const absl::StatusOr<Result>& result) {
    if (result.ok() && result->outcome == Outcome::kDone) return true;
    // (At the end of this victim it is Finish() that ends them.)
    const bool unknown = OutcomeUnknown(result.status()) && !IsOver();
    record_.Say(
        unknown ? "L" : "N",
        {absl::StrCat(item), result.ok() ? "TIMED_OUT" : Why(result.status())});
    failed_ = !result.ok();
    return false;
  }

  // A drained server is followed by another, which has no pipe of that name.
  void NewServer() { static_cast<void>(Prepare()); }

  void Begin() {
    const absl::MutexLock lock(&mu_);
    ++under_way_;
  }

  void End() {
    const absl::MutexLock lock(&mu_);
    --under_way_;
  }

  // Or until this victim is to end.
  void AwaitAtMost(int most) {
    const absl::MutexLock lock(&mu_);
    const auto is_so = [&] { return under_way_ <= most; };
    while (!mu_.AwaitWithTimeout(absl::Condition(&is_so),
                                 absl::Milliseconds(20)) &&
           !IsOver()) {
    }
  }

  const Settings settings_;
  Record& record_;
  std::unique_ptr<Client> client_;
  absl::Mutex mu_;
  int under_way_ = 0;  // guarded by mu_
  std::atomic<bool> failed_{false};
  std::atomic<bool> taken_{false};
};

}  // namespace

std::unique_ptr<Way> MakeSessionWay(const Settings& settings, Record& record) {
  return std::make_unique<SessionWay>(settings, record);
}

}  // namespace waitq::test
