// Random histories of a pipe: those that a pipe made are accepted; those with
// one answer changed are not.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/history/pipe_checker.h"
#include "tests/history/world.h"
#include "tests/support/random.h"

namespace waitq::history {
namespace {

using Kind = PipeCall::Kind;

class PipeWorld final : public World<PipeCall> {
 public:
  PipeWorld(const WorldOptions& options, bool packets, test::Random& random)
      : World(options, random), packets_(packets) {}

  History Make() {
    Run();
    History history;
    history.pipes = TakeCalls();
    history.restarts = restarts();
    history.pipe_options["x"] = {packets_, kAtomicMax};
    // What is held is left, too.
    for (auto& [offset, piece] : held_) PutBack(offset, piece);
    if (made_) {
      PipeLeft left = {"x", incarnation_, {}};
      for (const auto& [offset, piece] : unread_) {
        left.chunks.push_back({offset, piece.data});
      }
      history.left.push_back(left);
    }
    return history;
  }

 private:
  static constexpr uint64_t kAtomicMax = 8;

  struct Piece {
    std::string data;
    bool redelivered = false;
  };

  PipeCall New() override {
    PipeCall call;
    if (random().OneIn(2)) {
      call.kind = Kind::kWrite;
      const uint64_t most = packets_ || !random().OneIn(4) ? kAtomicMax : 30;
      const uint64_t size = 1 + random().Below(most);
      // So few letters that writes can be mistaken for each other.
      while (call.data.size() < size) {
        call.data.push_back(static_cast<char>('a' + random().Below(8)));
      }
    } else {
      call.kind = Kind::kRead;
      call.max_bytes = packets_ ? 64 : 1 + random().Below(12);
      call.lost_if_unknown = random().OneIn(3);
    }
    return call;
  }

  void Arrive(Live& live) override {
    if (!made_) {
      made_ = true;
      incarnation_ = NextGeneration();
    }
    live.call.incarnation = incarnation_;
    if (live.call.kind == Kind::kWrite) {
      if (!packets_ && live.call.data.size() > kAtomicMax) return Turn(live);
      Append(live, live.call.data.size());
      Answer(live);
      ServeReaders();
    } else if (!unread_.empty()) {
      Take(live);
    } else if (random().OneIn(4)) {
      live.call.data.clear();
      Answer(live, Outcome::kWouldBlock);
    } else {
      Sleep(live);
    }
  }

  void Append(Live& live, uint64_t size) {
    PipeCall& call = live.call;
    unread_[end_] = {call.data.substr(call.accepted_bytes, size), false};
    call.accepted_bytes += size;
    call.offset = end_ += size;
  }

  // A large write goes to the tail after each piece.
  void Turn(Live& live) {
    const uint64_t rest = live.call.data.size() - live.call.accepted_bytes;
    Append(live, std::min(rest, 1 + random().Below(10)));
    if (live.call.accepted_bytes < live.call.data.size()) {
      Sleep(live);
    } else {
      Answer(live);
    }
    ServeReaders();
  }

  void ServeReaders() {
    for (Live* live : Sleepers()) {
      if (live->call.kind == Kind::kRead && !unread_.empty()) Take(*live);
    }
  }

  void Take(Live& live) {
    PipeCall& call = live.call;
    auto piece = unread_.begin();
    call.offset = piece->first;
    call.redelivered = piece->second.redelivered;
    while (piece != unread_.end() && call.data.size() < call.max_bytes &&
           piece->first == call.offset + call.data.size() &&
           piece->second.redelivered == call.redelivered) {
      std::string& data = piece->second.data;
      const uint64_t size =
          std::min<uint64_t>(data.size(), call.max_bytes - call.data.size());
      call.data += data.substr(0, size);
      if (size < data.size()) {
        unread_[piece->first + size] = {data.substr(size), call.redelivered};
      }
      piece = unread_.erase(piece);
      if (packets_) break;
    }
    Answer(live);
  }

  void Return(Live& live) override {
    PipeCall& call = live.call;
    if (call.kind != Kind::kRead || call.outcome != Outcome::kDone ||
        call.incarnation != incarnation_ || !made_) {
      return;
    }
    if (live.given_up) {
      if (!call.lost_if_unknown) held_[call.offset] = {call.data, true};
    } else if (random().OneIn(8)) {
      call.taken = false;
      held_[call.offset] = {call.data, true};
    } else if (random().OneIn(8)) {
      call.may_be_redelivered = true;
      if (random().OneIn(2)) held_[call.offset] = {call.data, true};
    }
  }

  void PutBack(uint64_t offset, const Piece& piece) { unread_[offset] = piece; }

  void Happen() override {
    for (Live* live : Sleepers()) {
      if (live->call.kind == Kind::kWrite && random().OneIn(6)) Turn(*live);
    }
    if (held_.empty() || !random().OneIn(10)) return;
    PutBack(held_.begin()->first, held_.begin()->second);
    held_.erase(held_.begin());
    ServeReaders();
  }

  void TimeOut(Live& live) override {
    if (live.call.kind == Kind::kWrite) {
      return Answer(live);  // in part
    }
    Answer(live, live.call.outcome);
  }

  void Forget() override {
    made_ = false;
    end_ = 0;
    unread_.clear();
    held_.clear();
  }

  const bool packets_;
  bool made_ = false;
  uint64_t incarnation_ = 0;
  uint64_t end_ = 0;
  std::map<uint64_t, Piece> unread_;  // by offset
  std::map<uint64_t, Piece> held_;    // by offset
};

WorldOptions RandomOptions(test::Random& random) {
  return {.clients = static_cast<int>(random.Between(2, 12)),
          .calls = static_cast<int>(random.Between(5, 200)),
          .unknown = static_cast<int>(random.Below(7)),
          .restarts = static_cast<int>(random.Below(3))};
}

TEST(PipeRandomTest, WhatAPipeDidIsAccepted) {
  test::Random random(test::Seed());
  Report all;
  for (int i = 0; i < test::Times(2000); ++i) {
    PipeWorld world(RandomOptions(random), /*packets=*/random.OneIn(2), random);
    const Report report = CheckPipes(world.Make());
    ASSERT_TRUE(report.violations.empty()) << report.ToString();
    all.Add(report);
  }
  std::printf("%s", all.ToString().substr(0, 200).c_str());
  EXPECT_LE(all.undecided.size(), static_cast<size_t>(all.objects) / 20);
}

// Changes one answer, or what is left.
void Mutate(History& history, test::Random& random) {
  auto& chunks = history.left.front().chunks;
  if (!chunks.empty() && random.OneIn(10)) {
    chunks.erase(chunks.begin());
    return;
  }
  for (;;) {
    PipeCall& call = history.pipes[random.Below(history.pipes.size())];
    if (call.outcome != Outcome::kDone) continue;
    if (call.kind == Kind::kWrite) {
      if (random.OneIn(2)) {
        call.outcome = Outcome::kNoEffect;
      } else {
        call.offset += random.OneIn(2) ? 1 : -1;
      }
      return;
    }
    switch (random.Below(5)) {
      case 0:
        ++call.data[random.Below(call.data.size())];
        return;
      case 1:
        ++call.offset;
        return;
      case 2:
        call.redelivered = !call.redelivered;
        return;
      case 3:  // lost
        if (call.may_be_redelivered || !call.taken) continue;
        call.data.pop_back();
        return;
      case 4: {  // delivered twice
        PipeCall again = call;
        again.taken = true;
        again.may_be_redelivered = false;
        if (call.may_be_redelivered || !call.taken) continue;
        history.pipes.push_back(again);
        return;
      }
    }
  }
}

TEST(PipeRandomTest, AChangedAnswerIsNoticed) {
  test::Random random(test::Seed());
  int noticed = 0;
  const int times = test::Times(500);
  for (int i = 0; i < times; ++i) {
    PipeWorld world({.clients = 6, .calls = 100}, /*packets=*/random.OneIn(2),
                    random);
    History history = world.Make();
    Mutate(history, random);
    if (!CheckPipes(history).violations.empty()) ++noticed;
  }
  std::printf("%d of %d noticed\n", noticed, times);
  EXPECT_GE(noticed, times * 9 / 10);
}

}  // namespace
}  // namespace waitq::history
