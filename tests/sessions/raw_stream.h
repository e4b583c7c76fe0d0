// A stream of a session that says what it is told to, also what no client of
// ours says; without a network.

#ifndef WAITQ_TESTS_SESSIONS_RAW_STREAM_H_
#define WAITQ_TESTS_SESSIONS_RAW_STREAM_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/engine/engine.h"
#include "server/engine/ref.h"
#include "server/engine/session.h"
#include "server/rpc/session_input.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::sim {

// Thread safety: none.
// Lifetime: counted; Hang() it up before the engine ends.
class RawStream final : public engine::SessionTransport {
 public:
  static engine::Ref<RawStream> Make(engine::Engine* engine) {
    return engine::MakeRef<RawStream>(engine);
  }
  explicit RawStream(engine::Engine* engine) : engine_(*engine) {}

  // The first one has the hello. One that comes after the stream's end was on
  // its way.
  void Send(const v1::SessionRequest& message) {
    SendBytes(message.SerializeAsString());
  }
  // Also what is no message.
  void SendBytes(std::string bytes);
  // Its connection is lost.
  void Hang();

  // What has come, and how it has ended.
  const std::vector<v1::SessionResponse>& responses() const {
    return responses_;
  }
  // All results that have come, by their numbers: of each how often.
  int TimesOf(uint64_t result) const;
  // That of an operation; the last one, if it has several.
  const v1::Result* ResultOf(uint64_t operation) const;
  size_t results() const;
  v1::SessionResponse::Hello hello() const { return hello_; }
  bool ended() const { return end_.has_value(); }
  std::string end_reason() const;
  absl::Status end() const { return end_.value_or(absl::OkStatus()); }

  // It takes what comes. If not, one message is on its way to it, and no other.
  void StopReading() { reads_ = false; }
  void ReadOn();

  // Questions whether there is more to read: kept here, or answered at once.
  bool hold_probes = false;
  std::vector<std::function<void()>> probes;

  // SessionTransport
  void Kick(uint64_t stream) override;
  void Close(const absl::Status& status) override;
  void Probe(std::function<void()> done) override;

 private:
  struct Message {
    std::string bytes;
    rpc::SessionInput input;
  };
  void Serve(const Message& message);

  engine::Engine& engine_;
  engine::Ref<engine::Session> session_;
  uint64_t stream_ = 0;
  bool more_ = true;
  bool reads_ = true;
  uint64_t kicked_ = 0;  // since: what the session calls this
  v1::SessionResponse::Hello hello_;
  std::vector<v1::SessionResponse> responses_;
  std::optional<absl::Status> end_;
};

// First messages: of a new session, and of one that goes on.
v1::SessionRequest NewSession();
v1::SessionRequest Resume(const v1::SessionResponse::Hello& hello,
                          uint64_t results_received);
// The message with operations of these numbers added.
v1::SessionRequest Operations(uint64_t first,
                              const std::vector<v1::Operation>& operations);

}  // namespace waitq::sim

#endif  // WAITQ_TESTS_SESSIONS_RAW_STREAM_H_
