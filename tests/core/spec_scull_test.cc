// The specification's case of the scull pipe, by number.

#include <array>
#include <cerrno>
#include <csignal>
#include <string>

#include "core/atomic_context.h"
#include "core/fasync.h"
#include "core/pause.h"
#include "core/poll_events.h"
#include "core/scull_pipe.h"
#include "core/task.h"
#include "gtest/gtest.h"
#include "tests/core/stage.h"
#include "tests/support/wait_until.h"

namespace waitq {
namespace {

using test::Actor;
using test::Stage;

constexpr size_t kSize = 10;
constexpr size_t kFits = kSize - 1;

class SpecScullTest : public testing::Test {
 protected:
  // The pipe checks itself that nobody sleeps on it when it dies.
  void TearDown() override { stage_.Clear(); }

  int64_t Write(size_t n, char c = '.') {
    const std::string bytes(n, c);
    return pipe_.Write(bytes.data(), n, /*nonblock=*/true);
  }
  // -EAGAIN if there is nothing.
  int64_t Read(size_t n) {
    std::string bytes(n, '\0');
    return pipe_.Read(bytes.data(), n, /*nonblock=*/true);
  }

  // Bodies of actors.
  auto reads(size_t n) {
    return [this, n] {
      Task::Current().dispositions().handled = SignalSet::Of(SIGUSR1);
      std::string bytes(n, '\0');
      return pipe_.Read(bytes.data(), n);
    };
  }
  auto writes(size_t n) {
    return [this, n] {
      Task::Current().dispositions().handled = SignalSet::Of(SIGUSR1);
      const std::string bytes(n, '.');
      return pipe_.Write(bytes.data(), n);
    };
  }

  ScullPipe pipe_{kSize};
  Stage stage_;
};

TEST_F(SpecScullTest, Spec67_AWriteWakesAllReadersAndOneGetsTheData) {
  std::array<Actor*, 3> readers;
  for (Actor*& reader : readers) reader = &stage_.EnterAsleep(reads(kSize));
  for (Actor* reader : readers) reader->StopAt(PausePoint::kAfterSleep);
  EXPECT_EQ(Write(4), 4);
  for (Actor* reader : readers) reader->AwaitStopped();
  readers[1]->GoOn();
  EXPECT_EQ(readers[1]->Result(), 4);
  for (Actor* late : {readers[0], readers[2]}) {
    late->GoOn();
    late->AwaitAsleep();
    EXPECT_EQ(late->sleeps(), 2);
  }
  EXPECT_EQ(Write(1), 1);
  test::WaitUntil(
      [&] { return readers[0]->returned() || readers[2]->returned(); });
  EXPECT_EQ(Write(1), 1);
  EXPECT_EQ(readers[0]->Result(), 1);
  EXPECT_EQ(readers[2]->Result(), 1);
}

TEST_F(SpecScullTest, Spec67_AWriteStopsAtTheEndOfTheRing) {
  ASSERT_EQ(Write(8), 8);
  ASSERT_EQ(Read(8), 8);
  EXPECT_EQ(Write(5, 'a'), 2) << "two bytes are left before the end";
  EXPECT_EQ(Write(5, 'b'), 5);
  EXPECT_EQ(Read(5), 2) << "a read stops there, too";
  EXPECT_EQ(Read(5), 5);
}

TEST_F(SpecScullTest, Spec67_OpeningAgainLosesTheData) {
  ASSERT_EQ(Write(kFits), kFits);
  ASSERT_EQ(Write(1), -EAGAIN);
  pipe_.Open();
  EXPECT_EQ(Read(1), -EAGAIN);
  EXPECT_EQ(Write(kFits), kFits);
}

TEST_F(SpecScullTest, Spec67_WithoutWritersAReadSleeps) {
  Actor& reader = stage_.EnterAsleep(reads(1));
  EXPECT_FALSE(reader.returned()) << "there is no end of file";
  pipe_.Open();
  EXPECT_TRUE(reader.asleep());
  reader.task().SendSignal(SIGUSR1);
  EXPECT_EQ(reader.Result(), -kErestartsys);
}

TEST_F(SpecScullTest, Spec67_ASignalBeatsSpace) {
  ASSERT_EQ(Write(kFits), kFits);
  Actor& writer = stage_.EnterAsleep(writes(1));
  writer.StopAt(PausePoint::kAfterSleep);
  writer.task().SendSignal(SIGUSR1);
  writer.AwaitStopped();
  EXPECT_EQ(Read(kFits), kFits);
  writer.GoOn();
  EXPECT_EQ(writer.Result(), -kErestartsys);
  EXPECT_EQ(Read(1), -EAGAIN) << "nothing was written";
}

TEST_F(SpecScullTest, Spec67_DataBeatsASignal) {
  Actor& reader = stage_.EnterAsleep(reads(1));
  reader.StopAt(PausePoint::kAfterSleep);
  reader.task().SendSignal(SIGUSR1);
  reader.AwaitStopped();
  EXPECT_EQ(Write(1), 1);
  reader.GoOn();
  EXPECT_EQ(reader.Result(), 1);
}

TEST_F(SpecScullTest, Spec67_AReadWakesAllWritersAndOneGetsTheSpace) {
  ASSERT_EQ(Write(kFits), kFits);
  std::array<Actor*, 3> writers;
  for (Actor*& writer : writers) writer = &stage_.EnterAsleep(writes(1));
  for (Actor* writer : writers) writer->StopAt(PausePoint::kAfterSleep);
  EXPECT_EQ(Read(1), 1);
  for (Actor* writer : writers) writer->AwaitStopped();
  writers[2]->GoOn();
  EXPECT_EQ(writers[2]->Result(), 1);
  for (Actor* late : {writers[0], writers[1]}) {
    late->GoOn();
    late->AwaitAsleep();
    EXPECT_EQ(late->sleeps(), 2);
  }
  EXPECT_EQ(Read(kSize), kFits);
  EXPECT_EQ(writers[0]->Result(), 1);
  EXPECT_EQ(writers[1]->Result(), 1);
}

TEST_F(SpecScullTest, Spec67_NothingIsReadAndWrittenLikeAnythingElse) {
  EXPECT_EQ(Read(0), -EAGAIN) << "it would sleep";
  Actor& reader = stage_.EnterAsleep(reads(0));
  ASSERT_EQ(Write(kFits), kFits);
  EXPECT_EQ(reader.Result(), 0);
  EXPECT_EQ(Write(0), -EAGAIN);
  // Who reads nothing wakes writers all the same, for nothing.
  Actor& writer = stage_.EnterAsleep(writes(1));
  EXPECT_EQ(Read(0), 0);
  test::WaitUntil([&] { return writer.sleeps() == 2; });
  writer.AwaitAsleep();
  EXPECT_EQ(Read(1), 1);
  EXPECT_EQ(writer.Result(), 1);
}

TEST_F(SpecScullTest, Spec67_OpensAreCountedAndTheLastReleaseLosesTheData) {
  pipe_.Open(ScullPipe::kRead);
  pipe_.Open(ScullPipe::kWrite);
  EXPECT_EQ(pipe_.readers(), 1u);
  EXPECT_EQ(pipe_.writers(), 1u);
  ASSERT_EQ(Write(3), 3);
  pipe_.Release(ScullPipe::kWrite);
  EXPECT_EQ(Read(1), 1);
  pipe_.Release(ScullPipe::kRead);
  EXPECT_EQ(pipe_.readers() + pipe_.writers(), 0u);
  EXPECT_EQ(Read(1), -EAGAIN);
}

TEST_F(SpecScullTest, Spec67_WhoHasAskedIsToldOfWritesAndNotOfSpace) {
  int told = 0;
  const FasyncCallback callback = [&](PollEvents events) {
    EXPECT_EQ(events, kPollIn);
    EXPECT_TRUE(InAtomicContext());
    ++told;
  };
  pipe_.Open(ScullPipe::kRead);
  pipe_.Fasync(&callback, true);
  pipe_.Fasync(&callback, true);
  EXPECT_EQ(Write(1), 1);
  EXPECT_EQ(Write(2), 2);
  EXPECT_EQ(told, 2);
  EXPECT_EQ(Read(kFits), 3);
  EXPECT_EQ(told, 2);
  pipe_.Fasync(&callback, false);
  EXPECT_EQ(Write(1), 1);
  EXPECT_EQ(told, 2);
  pipe_.Fasync(&callback, true);
  pipe_.Release(ScullPipe::kRead, &callback);
  EXPECT_EQ(Write(1), 1);
  EXPECT_EQ(told, 2);
}

TEST_F(SpecScullTest, Spec67_PollNeverTellsOfAnEnd) {
  EXPECT_EQ(pipe_.Poll(nullptr), kPollOut | kPollWrNorm);
  ASSERT_EQ(Write(1), 1);
  EXPECT_EQ(pipe_.Poll(nullptr),
            kPollIn | kPollRdNorm | kPollOut | kPollWrNorm);
  ASSERT_EQ(Write(kFits), kFits - 1);
  EXPECT_EQ(pipe_.Poll(nullptr), kPollIn | kPollRdNorm);
}

}  // namespace
}  // namespace waitq
