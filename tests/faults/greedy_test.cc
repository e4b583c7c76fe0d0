// Clients that take all they can get: each limit refuses more by its name, what
// they cost stays under the limits' sum, others are served meanwhile, and when
// they are gone all of it is there again. (How quickly others are served is for
// greedy.cc: it is about time.)

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/faults/greedy_stage.h"
#include "tests/server/client.h"
#include "tests/support/process.h"
#include "tests/support/waitqd.h"

namespace waitq::test {
namespace {

using Had = GreedyClient::Had;

class GreedyTest : public testing::Test {
 protected:
  void Start(const engine::Limits& limits) {
    limits_ = limits;
    server_ = std::make_unique<Waitqd>("127.0.0.1:0", FlagsOf(limits));
    client_ = std::make_unique<Client>(grpc::CreateChannel(
        server_->address(), grpc::InsecureChannelCredentials()));
  }
  void TearDown() override {
    EXPECT_TRUE(server_->process().IsRunning());
    EXPECT_TRUE(Await([&] { return Asleep() == 0; })) << Sleepers();
  }

  Waitqd& server() { return *server_; }
  Client& client() { return *client_; }
  const engine::Limits& limits() const { return limits_; }

  uint64_t Asleep() {
    return static_cast<uint64_t>(
        Call<v1::ListTasksRequest>(client(), "page_size: 10000")
            .response.tasks_size());
  }
  std::string Sleepers() {
    const auto all = Call<v1::ListTasksRequest>(client(), "page_size: 100");
    return all.response.DebugString();
  }
  uint64_t Objects() {
    return static_cast<uint64_t>(
        Call<v1::ListObjectsRequest>(client(), "page_size: 10000")
            .response.objects_size());
  }

  // Their processes are gone; what they have left is removed.
  void Clear() {
    EXPECT_TRUE(Await([&] { return Asleep() == 0; })) << Sleepers();
    const auto all = Call<v1::ListObjectsRequest>(
        client(), "prefix: 'greedy/' page_size: 10000");
    for (const v1::ObjectStat& object : all.response.objects()) {
      v1::RemoveRequest request;
      request.set_name(object.name());
      request.set_force(true);
      EXPECT_THAT(Call(client(), request).status, IsOk()) << object.name();
    }
    for (uint64_t n = 0; n < limits_.kept_answers; ++n) {
      v1::CancelRequest forget;
      forget.set_method("WaitQueues/Store");
      forget.set_name("greedy/kept");
      forget.set_request_id(absl::StrCat("00000000-0000-0000-0000-",
                                         absl::Dec(n, absl::kZeroPad12)));
      Call(client(), forget);
    }
  }

 private:
  engine::Limits limits_;
  std::unique_ptr<Waitqd> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(GreedyTest, EachLimitRefusesByItsNameAndAllOfItIsThereAgainAfterwards) {
  Start(GreedyLimits());
  std::map<std::string, Had> first;
  {
    GreedyClient greedy(server().address());
    first = greedy.AwaitFull();
    EXPECT_EQ(Objects(), limits().objects);
  }
  EXPECT_EQ(first["unacknowledged"],
            (Had{limits().operations_per_session, "operations-per-session"}));
  EXPECT_EQ(first["parked"], (Had{4 * limits().operations_per_session,
                                  "operations-per-session"}));
  // With those of the other kinds.
  EXPECT_EQ(first["sessions"], (Had{limits().sessions - 6, "sessions"}));
  EXPECT_EQ(first["sleepers"],
            (Had{limits().sleepers_per_caller, "sleepers-per-caller"}));
  EXPECT_EQ(first["bytes-asleep"],
            (Had{limits().bytes_per_caller, "bytes-per-caller"}));
  EXPECT_EQ(first["unread-streams"].limit, "bytes-per-caller");
  EXPECT_EQ(first["unread-polls"].limit, "sleepers-per-caller");
  EXPECT_EQ(first["kept-answers"],
            (Had{limits().kept_answers, "kept-answers"}));
  EXPECT_EQ(first["pipe-bytes"].limit, "pipe-bytes-in-all");
  EXPECT_EQ(first["objects"].limit, "objects");

  // Whoever comes next gets as much, to the last byte.
  Clear();
  GreedyClient greedy(server().address());
  std::map<std::string, Had> second = greedy.AwaitFull();
  // But for what depends on who was quicker.
  for (auto* const had : {&first, &second}) had->erase("unread-streams");
  EXPECT_EQ(second, first);
}

TEST_F(GreedyTest, SeveralOfThemMeetTheLimitsOfAll) {
  engine::Limits limits = GreedyLimits();
  limits.sleepers = limits.sleepers_per_caller * 3 / 2;
  limits.sleepers_per_object = limits.sleepers;
  limits.bytes_asleep = limits.bytes_per_caller * 3 / 2;
  limits.bytes_unsent = limits.bytes_per_caller * 3 / 2;
  Start(limits);
  for (int round = 0; round < 2; ++round) {
    {
      GreedyClient one(server().address(), {"sleepers"});
      EXPECT_EQ(one.AwaitFull()["sleepers"],
                (Had{limits.sleepers_per_caller, "sleepers-per-caller"}));
      GreedyClient other(server().address(), {"sleepers"});
      EXPECT_EQ(
          other.AwaitFull()["sleepers"],
          (Had{limits.sleepers - limits.sleepers_per_caller, "sleepers"}));
    }
    Clear();
    {
      GreedyClient one(server().address(), {"bytes-asleep"});
      EXPECT_EQ(one.AwaitFull()["bytes-asleep"],
                (Had{limits.bytes_per_caller, "bytes-per-caller"}));
      GreedyClient other(server().address(), {"bytes-asleep"});
      EXPECT_EQ(
          other.AwaitFull()["bytes-asleep"],
          (Had{limits.bytes_asleep - limits.bytes_per_caller, "bytes-asleep"}));
    }
    Clear();
    {
      GreedyClient one(server().address(), {"unread-streams"});
      EXPECT_EQ(one.AwaitFull()["unread-streams"].limit, "bytes-per-caller");
      GreedyClient other(server().address(), {"unread-streams"});
      EXPECT_EQ(other.AwaitFull()["unread-streams"].limit, "bytes-unsent");
    }
    Clear();
  }
}

TEST_F(GreedyTest, AllTogetherCostLessThanTheLimitsSumAndOthersAreServed) {
  Start(GreedyLimits());
  HonestClient honest(server().address());
  ResetPeak(server().pid());
  const int64_t before_kib = server().Figures().resident_kib;
  const auto sum_kib = static_cast<int64_t>(SumOfLimitsBytes(limits()) / 1024);
  GreedyClient greedy(server().address());
  EXPECT_FALSE(greedy.AwaitFull().empty());
  // While they go on asking for more.
  for (int i = 0; i < 300; ++i) {
    for (const auto& [job, name] : HonestClient::Jobs()) {
      EXPECT_TRUE(honest.Do(job).ok()) << name;
    }
  }
  const int64_t more_kib = server().Figures().peak_resident_kib - before_kib;
  std::printf(
      "%lld KiB more than the %lld at the start; the limits' sum is "
      "%lld KiB\n",
      static_cast<long long>(more_kib), static_cast<long long>(before_kib),
      static_cast<long long>(sum_kib));
  EXPECT_LT(more_kib, sum_kib);
}

}  // namespace
}  // namespace waitq::test
