// Pipes: by name, and by handles.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/error.h"
#include "gtest/gtest.h"
#include "tests/client/scenario_call.h"
#include "tests/client/scenario_lists.h"
#include "tests/support/wait_until.h"

namespace waitq::test {
namespace {

// Bytes that are nowhere the same as a little further on.
std::string ManyBytes(size_t size) {
  std::string bytes(size, '\0');
  uint64_t x = 88172645463325252;
  for (char& byte : bytes) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    byte = static_cast<char>(x >> 32);
  }
  return bytes;
}

struct FileRead {
  std::string data;
  PipeChunk end;
};

// Reads to the end, and looks that nothing is missing in between.
FileRead ReadFile(PipeReader& reader) {
  FileRead file;
  std::optional<uint64_t> offset;
  for (;;) {
    const auto chunk = reader.Read();
    EXPECT_TRUE(chunk.ok()) << chunk.status();
    if (!chunk.ok()) return file;
    EXPECT_EQ(chunk->offset, offset.value_or(chunk->offset));
    offset = chunk->offset + chunk->data.size();
    file.data += chunk->data;
    file.end = *chunk;
    if (chunk->end.has_value()) return file;
  }
}

std::unique_ptr<PipeReader> OpenReader(Client& client, const std::string& pipe,
                                       const OpenReaderOptions& options = {}) {
  auto reader = client.OpenReader(pipe, options);
  EXPECT_TRUE(reader.ok()) << reader.status();
  return reader.ok() ? *std::move(reader) : nullptr;
}

std::unique_ptr<PipeWriter> OpenWriter(Client& client, const std::string& pipe,
                                       const OpenWriterOptions& options = {}) {
  auto writer = client.OpenWriter(pipe, options);
  EXPECT_TRUE(writer.ok()) << writer.status();
  return writer.ok() ? *std::move(writer) : nullptr;
}

// --- By name -----------------------------------------------------------------

void BytesArriveInTheirOrder(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const auto call = StartRead(scene.a, pipe, {.max_bytes = 3});
  scene.AwaitAsleep(pipe, 1);
  const auto written = scene.b.Write(pipe, "abcdef");
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->outcome, Outcome::kDone);
  EXPECT_EQ(written->accepted_bytes, 6u);
  EXPECT_EQ(written->offset, 6u);
  const auto& first = call.Await();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->data, "abc");
  EXPECT_EQ(first->offset, 0u);
  EXPECT_TRUE(first->slept);
  const auto rest = scene.a.Read(pipe);
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(rest->data, "def");
  EXPECT_EQ(rest->offset, 3u);
  EXPECT_EQ(rest->incarnation, written->incarnation);
  EXPECT_FALSE(rest->redelivered);
  EXPECT_EQ(scene.b.Read(pipe, {.nonblock = true})->outcome,
            Outcome::kWouldBlock);
}

void MinBytesAreWaitedFor(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const auto call = StartRead(scene.a, pipe, {.min_bytes = 5});
  scene.AwaitAsleep(pipe, 1);
  EXPECT_TRUE(scene.b.Write(pipe, "abc").ok());
  EXPECT_EQ(scene.world.Asleep(pipe), 1u);
  EXPECT_TRUE(scene.b.Write(pipe, "def").ok());
  EXPECT_EQ(call.Await()->data, "abcdef");
  // Unmet at the timeout they are not taken.
  EXPECT_TRUE(scene.b.Write(pipe, "x").ok());
  EXPECT_EQ(
      scene.a.Read(pipe, {.min_bytes = 2, .timeout = absl::Milliseconds(10)})
          ->outcome,
      Outcome::kTimedOut);
  EXPECT_EQ(scene.a.Read(pipe)->data, "x");
}

void PacketsAreNeverCut(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const PipeOptions packets = {.mode = PipeMode::kPacket};
  EXPECT_TRUE(scene.b.Write(pipe, "one", {.pipe = packets}).ok());
  EXPECT_TRUE(scene.b.Write(pipe, "the second").ok());
  EXPECT_EQ(scene.a.Read(pipe, {.max_bytes = 5})->data, "one");
  const absl::Status status = scene.a.Read(pipe, {.max_bytes = 5}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(status), "EMSGSIZE");
  EXPECT_EQ(scene.a.Read(pipe)->data, "the second");
  // A stream of them, too.
  const auto writer = OpenWriter(scene.b, pipe);
  const auto reader = OpenReader(scene.a, pipe);
  for (const char* packet : {"x", "yy", "zzz"}) {
    EXPECT_EQ(writer->Write(packet).value(), Outcome::kDone);
    EXPECT_EQ(reader->Read()->data, packet);
  }
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
}

void PollSeesWhatCanBeDone(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const auto call = StartPoll(scene.a, pipe, {.in = true});
  scene.AwaitAsleep(pipe, 1);
  const PipeOptions small = {.capacity_bytes = 4, .atomic_max_bytes = 2};
  EXPECT_TRUE(scene.b.Write(pipe, "x", {.pipe = small}).ok());
  const auto& in = call.Await();
  ASSERT_TRUE(in.ok()) << in.status();
  EXPECT_TRUE(in->in && in->slept);
  EXPECT_FALSE(in->out || in->hup || in->err);
  EXPECT_EQ(scene.a.Read(pipe)->data, "x") << "a poll takes nothing";
  // The pipe was made by the poll.
  const std::string full = scene.Name("full");
  EXPECT_TRUE(scene.a.CreatePipe(full, small).ok());
  EXPECT_TRUE(scene.a.Poll(full, {.out = true})->out);
  EXPECT_TRUE(scene.b.Write(full, "abc").ok());
  EXPECT_EQ(scene.a.Poll(full, {.out = true, .nonblock = true})->outcome,
            Outcome::kWouldBlock);
  EXPECT_TRUE(scene.b.Read(full).ok());
  EXPECT_TRUE(scene.a.Poll(full, {.out = true})->out);
}

void AFullPipeStopsItsWriter(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  EXPECT_TRUE(
      scene.b.CreatePipe(pipe, {.capacity_bytes = 8, .atomic_max_bytes = 4})
          .ok());
  // Cut short where it was to be whole at last; where it is atomic, not begun.
  const auto partial =
      scene.b.Write(pipe, "0123456789", {.timeout = absl::Milliseconds(10)});
  ASSERT_TRUE(partial.ok()) << partial.status();
  EXPECT_EQ(partial->outcome, Outcome::kDone);
  EXPECT_EQ(partial->accepted_bytes, 8u);
  EXPECT_EQ(partial->ended_by, Outcome::kTimedOut);
  const auto atomic = scene.b.Write(pipe, "x", {.nonblock = true});
  EXPECT_EQ(atomic->outcome, Outcome::kWouldBlock);
  EXPECT_EQ(atomic->accepted_bytes, 0u);
  const auto call = StartWrite(scene.b, pipe, "abc");
  scene.AwaitAsleep(pipe, 1);
  EXPECT_EQ(scene.a.Read(pipe, {.max_bytes = 8})->data, "01234567");
  EXPECT_TRUE(call.Await()->slept);
  EXPECT_EQ(scene.a.Read(pipe)->data, "abc");
}

void AHoldIsAcceptedOrReleased(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  EXPECT_TRUE(scene.b.Write(pipe, "abcdef").ok());
  const auto held = scene.a.Read(pipe, {.hold = absl::Seconds(30)});
  ASSERT_TRUE(held.ok()) << held.status();
  EXPECT_EQ(held->data, "abcdef");
  EXPECT_NE(held->hold_id, 0u);
  EXPECT_TRUE(scene.a.Accept(pipe, held->hold_id, 2).ok());
  EXPECT_TRUE(scene.a.Release(pipe, held->hold_id).ok());
  const auto again = scene.b.Read(pipe, {.hold = absl::Seconds(30)});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->data, "cdef");
  EXPECT_EQ(again->offset, 2u);
  EXPECT_TRUE(again->redelivered);
  for (const absl::Status& late : {scene.a.Accept(pipe, held->hold_id),
                                   scene.a.Release(pipe, held->hold_id)}) {
    EXPECT_EQ(late.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ErrorReason(late), "ESTALE");
  }
  EXPECT_TRUE(scene.b.Accept(pipe, again->hold_id).ok());
  EXPECT_EQ(scene.a.Read(pipe, {.nonblock = true})->outcome,
            Outcome::kWouldBlock);
}

void WhatADeadClientDidNotTakeIsGivenToAnother(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const std::string job = scene.Name("job");
  EXPECT_TRUE(scene.b.Write(pipe, "abc").ok());
  EXPECT_TRUE(scene.b.Complete(job).ok());
  auto victim = scene.world.NewClient(
      {.caller = "victim", .grace = absl::Milliseconds(500)});
  // It has both, and dies before it says so.
  absl::Notification has_them, go_on;
  victim->Await(job, {}, [&](const absl::StatusOr<AwaitResult>& result) {
    // Unless its first session was lost on its way.
    if (scene.world.is_calm()) {
      EXPECT_FALSE(result->redelivered);
    }
    victim->Read(pipe, {}, [&](const absl::StatusOr<ReadResult>& read) {
      EXPECT_EQ(read->data, "abc");
      has_them.Notify();
      go_on.WaitForNotification();
    });
  });
  has_them.WaitForNotification();
  std::jthread killer([&] { victim = nullptr; });
  // The first was said to be taken before the second was asked for, or not.
  const auto read = scene.a.Read(pipe);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->data, "abc");
  EXPECT_EQ(read->offset, 0u);
  EXPECT_TRUE(read->redelivered);
  go_on.Notify();
}

// --- By handle ---------------------------------------------------------------

void AFileThatIsClosedIsWhole(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const auto writer = OpenWriter(scene.b, pipe);
  const auto reader = OpenReader(scene.a, pipe);
  EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
  EXPECT_EQ(writer->Write("def").value(), Outcome::kDone);
  EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  EXPECT_EQ(writer->accepted_bytes(), 6u);
  EXPECT_EQ(writer->offset(), 6u);
  const FileRead file = ReadFile(*reader);
  EXPECT_EQ(file.data, "abcdef");
  EXPECT_EQ(file.end.end, Outcome::kEndOfFile);
  EXPECT_FALSE(file.end.broken);
  EXPECT_EQ(file.end.offset, 6u);
  EXPECT_EQ(file.end.incarnation, writer->incarnation());
}

void AFileWrittenBeforeItsReaderComesIsRead(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  for (const std::string data : {"abc", ""}) {
    {
      const auto writer = OpenWriter(scene.b, pipe);
      EXPECT_EQ(writer->Write(data).value(), Outcome::kDone);
      EXPECT_EQ(writer->Close().value(), Outcome::kDone);
    }
    const auto reader = OpenReader(scene.a, pipe);
    const FileRead file = ReadFile(*reader);
    EXPECT_EQ(file.data, data);
    EXPECT_EQ(file.end.end, Outcome::kEndOfFile);
    EXPECT_FALSE(file.end.broken);
  }
}

void AFileWithoutACloseIsBroken(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  auto writer = OpenWriter(scene.b, pipe);
  const auto reader = OpenReader(scene.a, pipe);
  EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
  EXPECT_EQ(reader->Read()->data, "abc");
  writer = nullptr;
  const auto end = reader->Read();
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(end->end, Outcome::kEndOfFile);
  EXPECT_TRUE(end->broken);
}

// Guards `when_idle` of ClosePipe(): the write runs on, and the file ends, as
// broken, when that has ended.
void AnUninterruptibleWriterThatIsGivenUpEndsTheFile(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const PipeOptions small = {.capacity_bytes = 4, .atomic_max_bytes = 4};
  auto writer = OpenWriter(scene.b, pipe,
                           {.pipe = small, .sleep = Sleep::kUninterruptible});
  EXPECT_EQ(writer->Write("full").value(), Outcome::kDone);
  EXPECT_EQ(writer->Write("more").value(), Outcome::kDone);
  scene.AwaitAsleep(pipe, 1);
  writer = nullptr;
  const auto reader = OpenReader(scene.a, pipe);
  const FileRead file = ReadFile(*reader);
  EXPECT_EQ(file.data, "fullmore");
  EXPECT_EQ(file.end.end, Outcome::kEndOfFile);
  EXPECT_TRUE(file.end.broken);
}

void WithoutReadersAWriteIsRefused(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const auto writer = OpenWriter(scene.b, pipe);
  auto reader = OpenReader(scene.a, pipe);
  EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
  EXPECT_EQ(reader->Read()->data, "abc");
  reader = nullptr;
  // Its close is on its way.
  absl::Status status;
  WaitUntil([&] {
    status = writer->Write("x").status();
    return !status.ok();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(status), "EPIPE");
  EXPECT_EQ(ErrorReason(writer->Close().status()), "EPIPE");
  EXPECT_EQ(ErrorReason(scene.b.Write(pipe, "x").status()), "EPIPE");
  EXPECT_TRUE(scene.b.Poll(pipe, {})->err);
}

void SeveralMegabytesArriveAsTheyWere(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const std::string bytes = ManyBytes((3 << 20) + 12345);
  const auto writer = OpenWriter(
      scene.b, pipe, {.pipe = PipeOptions{.capacity_bytes = 300'000}});
  const auto reader = OpenReader(scene.a, pipe);
  std::jthread producer([&] {
    const auto outcome = writer->Write(bytes);
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(writer->Close().value(), Outcome::kDone);
    EXPECT_EQ(writer->accepted_bytes(), bytes.size());
  });
  const FileRead file = ReadFile(*reader);
  EXPECT_EQ(file.end.end, Outcome::kEndOfFile);
  EXPECT_FALSE(file.end.broken);
  EXPECT_TRUE(file.data == bytes) << file.data.size() << " bytes";
}

void OneWriteOfMegabytesIsOneWrite(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const std::string bytes = ManyBytes(2 << 20);
  const PipeOptions large = {.capacity_bytes = 4 << 20};
  const auto written = scene.b.Write(pipe, bytes, {.pipe = large});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->accepted_bytes, bytes.size());
  const auto read = scene.a.Read(pipe, {.max_bytes = 4 << 20});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->data == bytes) << read->data.size() << " bytes";
}

void ARingTakesAndGivesInPieces(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const PipeOptions ring = {.capacity_bytes = 16,
                            .profile = PipeProfile::kScull};
  const std::string bytes = ManyBytes(60);
  const auto writer = OpenWriter(scene.b, pipe, {.pipe = ring});
  const auto reader = OpenReader(scene.a, pipe, {.max_bytes = bytes.size()});
  std::jthread producer([&] {
    EXPECT_EQ(writer->Write(bytes).value(), Outcome::kDone);
    EXPECT_EQ(writer->Close().value(), Outcome::kDone);
    EXPECT_EQ(writer->accepted_bytes(), bytes.size());
  });
  const FileRead file = ReadFile(*reader);
  EXPECT_EQ(file.end.end, Outcome::kDone);
  EXPECT_TRUE(file.data == bytes) << file.data.size() << " bytes";
}

void AReaderGivesBackWhatItReadAhead(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  auto reader = OpenReader(scene.a, pipe);
  EXPECT_TRUE(scene.b.Write(pipe, "first").ok());
  EXPECT_EQ(reader->Read()->data, "first");
  EXPECT_TRUE(scene.b.Write(pipe, "second").ok());
  reader = nullptr;
  const auto read = scene.b.Read(pipe);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->data, "second");
  EXPECT_EQ(read->offset, 5u);
}

void AWindowBoundsWhatIsOnItsWay(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  EXPECT_TRUE(scene.b.Write(pipe, "abcdefgh").ok());
  auto reader = OpenReader(scene.a, pipe, {.window_bytes = 3});
  EXPECT_EQ(reader->Read()->data, "abc");
  EXPECT_EQ(reader->Read()->data, "def");
  reader = nullptr;
  EXPECT_EQ(scene.b.Read(pipe)->data, "gh");
}

void AReaderEndsAsItsOptionsSay(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  EXPECT_TRUE(scene.b.Write(pipe, "abcdef").ok());
  {
    const auto reader = OpenReader(scene.a, pipe, {.max_bytes = 2});
    const FileRead file = ReadFile(*reader);
    EXPECT_EQ(file.data, "ab");
    EXPECT_EQ(file.end.end, Outcome::kDone);
  }
  {
    const auto reader = OpenReader(scene.a, pipe, {.nonblock = true});
    const FileRead file = ReadFile(*reader);
    EXPECT_EQ(file.data, "cdef");
    EXPECT_EQ(file.end.end, Outcome::kWouldBlock);
  }
  const auto reader =
      OpenReader(scene.a, pipe, {.timeout = absl::Milliseconds(10)});
  EXPECT_EQ(reader->Read()->end, Outcome::kTimedOut);
}

void AWriterThatTimesOutSaysHowFarItCame(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const auto writer = OpenWriter(scene.b, pipe,
                                 {.pipe = PipeOptions{.capacity_bytes = 4},
                                  .timeout = absl::Milliseconds(10)});
  EXPECT_EQ(writer->Write("abcdef").value(), Outcome::kDone) << "on its way";
  EXPECT_EQ(writer->Close().value(), Outcome::kTimedOut);
  EXPECT_EQ(writer->accepted_bytes(), 4u);
  const auto reader = OpenReader(scene.a, pipe);
  const FileRead file = ReadFile(*reader);
  EXPECT_EQ(file.data, "abcd");
  EXPECT_TRUE(file.end.broken);
}

void AMailboxOutlivesItsReadersAndWriters(Scene& scene) {
  const std::string pipe = scene.Name("pipe");
  const PipeOptions mailbox = {.profile = PipeProfile::kQueue};
  OpenReader(scene.a, pipe, {.pipe = mailbox});  // and closed
  {
    const auto writer = OpenWriter(scene.b, pipe);
    EXPECT_EQ(writer->Write("abc").value(), Outcome::kDone);
    EXPECT_EQ(writer->Close().value(), Outcome::kDone);
  }
  EXPECT_EQ(scene.a.Read(pipe)->data, "abc");
  EXPECT_EQ(scene.a.Read(pipe, {.nonblock = true})->outcome,
            Outcome::kWouldBlock);
}

}  // namespace

#define SCENARIO(claim, ...) \
  Scenario { #claim, &claim, ##__VA_ARGS__ }

const std::vector<Scenario>& PipeScenarios() {
  static const auto* const scenarios = new std::vector<Scenario>{
      SCENARIO(BytesArriveInTheirOrder),
      SCENARIO(MinBytesAreWaitedFor),
      SCENARIO(PacketsAreNeverCut),
      SCENARIO(PollSeesWhatCanBeDone),
      SCENARIO(AFullPipeStopsItsWriter),
      SCENARIO(AHoldIsAcceptedOrReleased),
      SCENARIO(WhatADeadClientDidNotTakeIsGivenToAnother),
      SCENARIO(AFileThatIsClosedIsWhole),
      SCENARIO(AFileWrittenBeforeItsReaderComesIsRead),
      SCENARIO(AFileWithoutACloseIsBroken),
      SCENARIO(AnUninterruptibleWriterThatIsGivenUpEndsTheFile),
      SCENARIO(WithoutReadersAWriteIsRefused),
      SCENARIO(SeveralMegabytesArriveAsTheyWere, true),
      SCENARIO(OneWriteOfMegabytesIsOneWrite),
      SCENARIO(ARingTakesAndGivesInPieces),
      SCENARIO(AReaderGivesBackWhatItReadAhead),
      SCENARIO(AWindowBoundsWhatIsOnItsWay),
      SCENARIO(AReaderEndsAsItsOptionsSay),
      SCENARIO(AWriterThatTimesOutSaysHowFarItCame),
      SCENARIO(AMailboxOutlivesItsReadersAndWriters),
  };
  return *scenarios;
}

}  // namespace waitq::test
