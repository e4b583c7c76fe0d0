#include "bench/waitq_queue_client.h"

#include <utility>

#include "absl/time/time.h"
#include "bench/load_connection.h"

namespace waitq::bench {
namespace {

// Room for all that is ever under way.
const PipeOptions kQueue{.capacity_bytes = 1 << 20, .mode = PipeMode::kPacket};

}  // namespace

WaitqQueueClient::WaitqQueueClient(const std::string& address,
                                   std::string queue, SessionUser* user)
    : queue_(std::move(queue)), user_(*user) {
  auto client = Client::Create({.server = address, .caller = "session_load"});
  if (!client.ok()) Die(client.status().ToString());
  client_ = *std::move(client);
  const auto created = client_->CreatePipe(queue_, kQueue);
  if (!created.ok()) Die(created.status().ToString());
}

WaitqQueueClient::~WaitqQueueClient() { ending_ = true; }

void WaitqQueueClient::Push(std::string_view bytes, uint64_t count) {
  for (; count > 0; --count) {
    client_->Write(queue_, bytes, {},
                   [this](absl::StatusOr<WriteResult> result) {
                     if (!result.ok() || result->outcome != Outcome::kDone) {
                       if (ending_) return;
                       Die("a push: " + result.status().ToString());
                     }
                     user_.OnResults(1, {});
                   });
  }
}

void WaitqQueueClient::Pop(uint64_t count) {
  for (; count > 0; --count) {
    client_->Read(queue_, {}, [this](absl::StatusOr<ReadResult> result) {
      if (!result.ok() || result->outcome != Outcome::kDone) {
        if (ending_) return;
        Die("a pop: " + result.status().ToString());
      }
      const std::string_view message = result->data;
      user_.OnResults(0, {&message, 1});
    });
  }
}

void WaitqQueueClient::PopWithin(int seconds, uint64_t sleeper) {
  client_->Read(queue_, {.timeout = absl::Seconds(seconds)},
                [this, sleeper](absl::StatusOr<ReadResult> result) {
                  if (!result.ok()) {
                    if (ending_) return;
                    Die("a pop: " + result.status().ToString());
                  }
                  if (result->outcome == Outcome::kTimedOut) {
                    return user_.OnTimedOut(sleeper);
                  }
                  const std::string_view message = result->data;
                  user_.OnResults(0, {&message, 1});
                });
}

}  // namespace waitq::bench
