// What a session's message is taken apart into is what protobuf says of it,
// whatever its bytes are. (The results that are written by hand, every test of
// sessions reads with protobuf.)

#include "server/rpc/session_input.h"

#include <cstdint>
#include <string>

#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "tests/support/random.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::rpc {
namespace {

using test::Random;
using Input = SessionInput;

// The operation that this stands for.
v1::Operation Of(const Input::Operation& operation) {
  v1::Operation result;
  if (operation.request == nullptr) {
    if (operation.field == v1::Operation::kReadFieldNumber) {
      v1::ReadRequest& read = *result.mutable_read();
      read.set_name(std::string(operation.plain.name));
      if (operation.plain.has_max_bytes()) {
        read.set_max_bytes(operation.plain.max_bytes());
      }
    } else if (operation.field == v1::Operation::kWriteFieldNumber) {
      v1::WriteRequest& write = *result.mutable_write();
      write.set_name(std::string(operation.plain.name));
      write.set_data(std::string(operation.plain.data));
    }
  } else {
    std::string bytes;
    bytes.push_back(
        static_cast<char>(0x80 | ((operation.field << 3 | 2) & 0x7f)));
    bytes.push_back(static_cast<char>(operation.field >> 4));
    if (operation.field < 16) bytes = std::string(1, operation.field << 3 | 2);
    const std::string request = operation.request->SerializeAsString();
    for (size_t size = request.size();; size >>= 7) {
      bytes.push_back(static_cast<char>(size < 0x80 ? size : size | 0x80));
      if (size < 0x80) break;
    }
    EXPECT_TRUE(result.ParseFromString(bytes + request));
  }
  result.set_handle(operation.handle);
  return result;
}

v1::SessionRequest Whole(const Input& input) {
  v1::SessionRequest whole = input.head();
  whole.clear_operations();
  for (const Input::Operation& operation : input.operations()) {
    *whole.add_operations() = Of(operation);
  }
  return whole;
}

// Both say the same of these bytes. (Of an operation, what nobody knows is not
// kept.)
void ExpectSame(const std::string& bytes) {
  v1::SessionRequest expected;
  const bool is_one = expected.ParseFromString(bytes);
  Input input;
  ASSERT_EQ(input.Parse(bytes), is_one) << testing::PrintToString(bytes);
  if (!is_one) return;
  for (v1::Operation& operation : *expected.mutable_operations()) {
    operation.DiscardUnknownFields();
  }
  v1::SessionRequest whole = Whole(input);
  for (v1::Operation& operation : *whole.mutable_operations()) {
    operation.DiscardUnknownFields();
  }
  EXPECT_EQ(whole.SerializeAsString(), expected.SerializeAsString())
      << whole.DebugString() << expected.DebugString();
}

void MakeOperation(Random& random, v1::Operation& operation) {
  constexpr const char* kNames[] = {"", "q", "jobs/of-today", "\xc3\xa9"};
  const char* const name = kNames[random.Below(4)];
  if (random.OneIn(3)) operation.set_handle(random.Log(64));
  switch (random.Below(5)) {
    case 0:
      operation.mutable_wait()->set_name(name);
      break;
    case 1:
    case 2: {
      v1::ReadRequest& read = *operation.mutable_read();
      read.set_name(name);
      if (random.OneIn(2)) read.set_max_bytes(random.Log(40));
      if (random.OneIn(4)) read.set_min_bytes(random.Log(3));
      if (random.OneIn(4)) read.mutable_timeout()->set_seconds(1);
      break;
    }
    case 3: {
      v1::WriteRequest& write = *operation.mutable_write();
      write.set_name(name);
      write.set_data(std::string(random.Log(9), 'd'));
      if (random.OneIn(4)) write.set_nonblock(true);
      break;
    }
    default:
      break;  // it asks for nothing
  }
}

TEST(SessionInputTest, IsWhatProtobufSays) {
  const google::protobuf::LogSilencer silence;  // of what is no UTF-8
  Random random(test::Seed());
  for (int i = 0; i < test::Times(20'000); ++i) {
    v1::SessionRequest message;
    message.set_first_operation(random.Log(40));
    if (random.OneIn(2)) message.set_taken_up_to(random.Log(64));
    for (uint64_t n = random.Below(3); n > 0; --n) {
      message.add_taken(random.Log(20));
    }
    if (random.OneIn(8)) message.mutable_hello()->set_caller("me");
    for (uint64_t n = random.Below(4); n > 0; --n) {
      MakeOperation(random, *message.add_operations());
    }
    std::string bytes = message.SerializeAsString();
    if (random.OneIn(4)) bytes += bytes;
    ASSERT_NO_FATAL_FAILURE(ExpectSame(bytes));
    // And of what is broken somewhere.
    for (int change = 0; change < 3 && !bytes.empty(); ++change) {
      const size_t at = random.Below(bytes.size());
      switch (random.Below(3)) {
        case 0:
          bytes[at] = static_cast<char>(random.Below(256));
          break;
        case 1:
          bytes.resize(at);
          break;
        default:
          bytes.insert(at, 1, static_cast<char>(random.Below(256)));
      }
      ASSERT_NO_FATAL_FAILURE(ExpectSame(bytes));
    }
  }
}

// Two bytes of a message would be a hundred of memory.
TEST(SessionInputTest, AMessageHasNotAnyNumberOfThem) {
  for (const char tag : {'\x1a', '\x42'}) {  // operations, signals
    std::string bytes;
    for (size_t i = 0; i < SessionInput::kEntriesMax; ++i) {
      bytes += tag;
      bytes += '\0';
    }
    const std::string beat = "\x48\x01";
    SessionInput most;
    EXPECT_TRUE(most.Parse(bytes + beat)) << "and something else behind them";
    EXPECT_FALSE(most.has_too_many());
    bytes += tag;
    bytes += '\0';
    SessionInput more;
    EXPECT_FALSE(more.Parse(bytes));
    EXPECT_TRUE(more.has_too_many());
  }
}

TEST(SessionInputTest, WhateverIsBeforeThemTheyAreCounted) {
  std::string many;
  for (size_t i = 0; i <= SessionInput::kEntriesMax; ++i) {
    many += std::string("\x1a\0", 2);
  }
  // A group, which no version has had, with another in it; it is gone over.
  const std::string group = "\x7b\x7b\x08\x01\x7c\x7c";
  SessionInput behind_a_group;
  EXPECT_FALSE(behind_a_group.Parse(group + many));
  EXPECT_TRUE(behind_a_group.has_too_many());
  SessionInput few;
  EXPECT_TRUE(few.Parse(group + std::string("\x1a\0\x48\x01", 4)));
  EXPECT_EQ(few.operations().size(), 1u);
  EXPECT_EQ(few.head().heartbeat(), 1u);
  // A tag with bits that no tag has, which protobuf drops: it is asked if the
  // message is short.
  const std::string odd = "\xc8\x80\x80\x80\x10\x01";
  SessionInput alone;
  EXPECT_TRUE(alone.Parse(odd));
  EXPECT_EQ(alone.head().heartbeat(), 1u);
  SessionInput behind_that;
  EXPECT_FALSE(behind_that.Parse(odd + many));
}

TEST(SessionInputTest, OfEachKindOfPlainOperationNothingIsParsed) {
  v1::SessionRequest message;
  message.set_first_operation(7);
  message.add_operations()->mutable_read()->set_name("q");
  message.mutable_operations(0)->mutable_read()->set_max_bytes(5);
  message.add_operations()->mutable_write()->set_data("bytes");
  message.mutable_operations(1)->set_handle(3);
  message.add_operations()->mutable_get()->set_name("w");
  const std::string bytes = message.SerializeAsString();
  SessionInput input;
  ASSERT_TRUE(input.Parse(bytes));
  ASSERT_EQ(input.operations().size(), 3);
  EXPECT_EQ(input.operations()[0].request, nullptr);
  EXPECT_EQ(input.operations()[1].request, nullptr);
  EXPECT_EQ(input.operations()[1].handle, 3);
  EXPECT_NE(input.operations()[2].request, nullptr);
  EXPECT_EQ(input.head().first_operation(), 7);
}

}  // namespace
}  // namespace waitq::rpc
