#include "client/cli/file_io.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "client/error.h"
#include "gtest/gtest.h"

namespace waitq::cli {
namespace {

class FileIoTest : public testing::Test {
 protected:
  FileIoTest() {
    signal(SIGPIPE, SIG_IGN);
    EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0);
  }
  ~FileIoTest() override {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  void Close(int end) {
    close(ends_[end]);
    ends_[end] = -1;
  }

  int ends_[2] = {-1, -1};
  std::stop_source stop_;
};

TEST_F(FileIoTest, ReadReturnsWhatIsThere) {
  const StopEvent stop(stop_.get_token());
  ASSERT_EQ(write(ends_[1], "abc", 3), 3);
  char buffer[10];
  EXPECT_EQ(ReadSome(ends_[0], buffer, sizeof(buffer), stop).value(), 3u);
  Close(1);
  EXPECT_EQ(ReadSome(ends_[0], buffer, sizeof(buffer), stop).value(), 0u);
}

TEST_F(FileIoTest, StopEndsARead) {
  const StopEvent stop(stop_.get_token());
  std::jthread stopper([this] { stop_.request_stop(); });
  char buffer[10];
  EXPECT_EQ(ReadSome(ends_[0], buffer, sizeof(buffer), stop).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(FileIoTest, StopEndsAWriteThatNobodyReads) {
  const StopEvent stop(stop_.get_token());
  std::jthread stopper([this] { stop_.request_stop(); });
  EXPECT_EQ(WriteAll(ends_[1], std::string(1 << 20, 'x'), stop).code(),
            absl::StatusCode::kCancelled);
}

TEST_F(FileIoTest, AStopThatCameBeforeCountsToo) {
  stop_.request_stop();
  const StopEvent stop(stop_.get_token());
  EXPECT_EQ(WriteAll(ends_[1], "x", stop).code(), absl::StatusCode::kCancelled);
}

TEST_F(FileIoTest, EverythingIsWrittenInOrder) {
  const StopEvent stop(stop_.get_token());
  std::string data;
  for (int i = 0; i < 100'000; ++i) data += std::to_string(i);
  std::string got;
  std::jthread reader([&] {
    char buffer[1000];
    ssize_t bytes;
    while ((bytes = read(ends_[0], buffer, sizeof(buffer))) > 0) {
      got.append(buffer, static_cast<size_t>(bytes));
    }
  });
  EXPECT_TRUE(WriteAll(ends_[1], data, stop).ok());
  Close(1);
  reader.join();
  EXPECT_EQ(got, data);
}

TEST_F(FileIoTest, AReaderThatWentIsEpipe) {
  const StopEvent stop(stop_.get_token());
  Close(0);
  EXPECT_EQ(ErrorReason(WriteAll(ends_[1], "x", stop)), "EPIPE");
}

TEST_F(FileIoTest, AFolderCannotBeRead) {
  const StopEvent stop(stop_.get_token());
  const int folder = open("/", O_RDONLY | O_CLOEXEC);
  char buffer[10];
  EXPECT_FALSE(ReadSome(folder, buffer, sizeof(buffer), stop).ok());
  close(folder);
}

}  // namespace
}  // namespace waitq::cli
