// bulk: streams of bytes through pipes, as fast as they go. With several hosts
// writer and reader of a pipe are on different ones.

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/client.h"
#include "client/pipe_reader.h"
#include "client/pipe_writer.h"
#include "client/types.h"
#include "load/message.h"
#include "load/workload.h"

namespace waitq::load {
namespace {

class Bulk final : public Workload {
 public:
  explicit Bulk(Host& host)
      : host_(host), chunks_(host.recorder.Add("chunks")) {}

  absl::Status Prepare() override {
    const uint64_t hosts = host_.group.hosts();
    const uint64_t host = host_.group.host();
    for (uint64_t n = 0; n < host_.scenario.streams; ++n) {
      const std::string name = host_.group.Name(absl::StrCat("bulk/", n));
      const absl::Status made =
          host_.other
              ->CreatePipe(name, {.capacity_bytes = host_.scenario.capacity},
                           host_.group.stop())
              .status();
      if (!made.ok()) return made;
      const uint64_t place = n / hosts;
      if ((n + 1) % hosts == host) {
        // The reader first: it waits for its writer.
        Client& client = host_.OtherSessionOf(place);
        auto reader = client.OpenReader(name, {}, host_.group.stop());
        if (!reader.ok()) return reader.status();
        threads_.emplace_back([this, n, r = *std::move(reader)]() mutable {
          Read(n, std::move(r));
        });
      }
      if (n % hosts == host) {
        auto writer =
            host_.SessionOf(place).OpenWriter(name, {}, host_.group.stop());
        if (!writer.ok()) return writer.status();
        threads_.emplace_back([this, n, w = *std::move(writer)]() mutable {
          Write(n, std::move(w));
        });
      }
    }
    return absl::OkStatus();
  }

  void Start(absl::Time start) override {
    start_ = start;
    started_.Notify();
  }

  // Readers end with their writers.
  void Finish() override {
    finished_.Notify();
    if (!started_.HasBeenNotified()) started_.Notify();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  ~Bulk() override {
    if (!threads_.empty()) Finish();
  }

 private:
  bool Ended() const {
    return finished_.HasBeenNotified() || host_.group.stop().stop_requested();
  }

  void Write(uint64_t stream, std::unique_ptr<PipeWriter> writer) {
    started_.WaitForNotification();
    std::string chunk(host_.scenario.chunk, '\0');
    const double rate = host_.scenario.rate / host_.scenario.streams;
    uint64_t offset = 0;
    for (uint64_t n = 0; !Ended(); ++n) {
      absl::Time due = host_.clock.Now();
      if (rate > 0) {
        due = start_ + absl::Seconds(static_cast<double>(n) / rate);
        if (finished_.WaitForNotificationWithTimeout(due - host_.clock.Now())) {
          break;
        }
      }
      FillStream(stream, offset, chunk);
      const absl::StatusOr<Outcome> written = writer->Write(chunk);
      if (host_.Failed(written.status(), "a write") || !written.ok()) return;
      chunks_.Record(due, host_.clock.Now(), chunk.size());
      offset += chunk.size();
    }
    const absl::StatusOr<Outcome> closed = writer->Close();
    if (host_.Failed(closed.status(), "a close") || !closed.ok()) return;
    if (*closed != Outcome::kDone || writer->accepted_bytes() != offset) {
      host_.recorder.findings().Fail(
          absl::StrCat("stream ", stream, ": ", offset, " bytes written, ",
                       writer->accepted_bytes(), " in the pipe"));
    }
    Tell(stream, offset);
  }

  void Read(uint64_t stream, std::unique_ptr<PipeReader> reader) {
    uint64_t offset = 0;
    bool wrong = false;
    for (;;) {
      const absl::StatusOr<PipeChunk> chunk = reader->Read();
      if (host_.Failed(chunk.status(), "a read") || !chunk.ok()) return;
      if (chunk->end.has_value()) {
        if (*chunk->end != Outcome::kEndOfFile || chunk->broken) {
          host_.recorder.findings().Fail(absl::StrCat(
              "stream ", stream, ": no clean end after ", offset, " bytes"));
        }
        break;
      }
      const size_t at = FindWrongByte(stream, offset, chunk->data);
      if (!wrong && (at != std::string::npos || chunk->offset != offset)) {
        wrong = true;  // and so is all that follows
        host_.recorder.findings().Fail(absl::StrCat(
            "stream ", stream, ": byte ", offset + at, " is a wrong one"));
      }
      offset += chunk->data.size();
    }
    Compare(stream, offset);
  }

  // By way of a word: they may be on different hosts. One more, for an empty
  // stream.
  std::string Written(uint64_t stream) const {
    return host_.group.Name(absl::StrCat("written/", stream));
  }
  void Tell(uint64_t stream, uint64_t bytes) {
    const absl::Status told =
        host_.other
            ->WakeUp(Written(stream),
                     {.update = Action::Set(static_cast<int64_t>(bytes) + 1),
                      .all = true},
                     host_.group.stop())
            .status();
    host_.Failed(told, "telling how much was written");
  }
  void Compare(uint64_t stream, uint64_t bytes) {
    const absl::StatusOr<WaitResult> written = host_.other->Wait(
        Written(stream),
        {.condition = Condition{Condition::Test::kNotEqual, 0}},
        host_.group.stop());
    if (host_.Failed(written.status(), "hearing how much was written") ||
        !written.ok()) {
      return;
    }
    if (static_cast<uint64_t>(written->value_after) != bytes + 1) {
      host_.recorder.findings().Fail(
          absl::StrCat("stream ", stream, ": ", written->value_after - 1,
                       " bytes written, ", bytes, " read"));
    }
  }

  Host& host_;
  Series& chunks_;
  absl::Time start_;
  absl::Notification started_;
  absl::Notification finished_;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Workload> MakeBulk(Host& host) {
  return std::make_unique<Bulk>(host);
}

}  // namespace waitq::load
