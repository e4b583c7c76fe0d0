#include "tests/core/fifo_script.h"

#include <algorithm>
#include <iterator>

#include "core/fifo.h"
#include "core/poll_events.h"

namespace waitq::test {
namespace {

using Kind = Step::Kind;

std::string OpenFlags(uint32_t flags) {
  const bool reads = (flags & Fifo::kRead) != 0;
  const bool writes = (flags & Fifo::kWrite) != 0;
  std::string text = !writes ? "O_RDONLY" : reads ? "O_RDWR" : "O_WRONLY";
  if ((flags & Fifo::kNonblock) != 0) text += "|O_NONBLOCK";
  return text;
}

std::string Events(uint32_t events) {
  std::string text;
  if ((events & kPollIn) != 0) text += "|POLLIN";
  if ((events & kPollOut) != 0) text += "|POLLOUT";
  return text.empty() ? "0" : text.substr(1);
}

}  // namespace

std::string ToString(const Step& step) {
  const std::string actor = "actor " + std::to_string(step.actor) + ": ";
  const std::string file = "f" + std::to_string(step.file);
  switch (step.kind) {
    case Kind::kOpen:
      return actor + file + " = open(" + OpenFlags(step.flags) + ")";
    case Kind::kRead:
      return actor + "read(" + file + ", " + std::to_string(step.n) + ")";
    case Kind::kWrite:
      return actor + "write(" + file + ", " + std::to_string(step.n) + ")";
    case Kind::kPoll: {
      std::string files = file;
      if (step.file2 >= 0) files += "+f" + std::to_string(step.file2);
      return actor + "poll(" + files + ", " + Events(step.flags) + ", " +
             (step.sleeps ? "-1" : "0") + ")";
    }
    case Kind::kClose:
      return actor + "close(" + file + ")";
    case Kind::kSetNonblock:
      return actor + "O_NONBLOCK " + (step.flags != 0 ? "on" : "off") + " " +
             file;
    case Kind::kSignal:
      return actor + "gets a signal" +
             (step.flags != 0 ? " with SA_RESTART" : "");
  }
  return "?";
}

namespace {

// What one script does often, and what it does not do at all.
struct Habits {
  explicit Habits(Random& random) {
    static constexpr size_t kSizes[] = {
        0,    1,    2,     10,    4086,  4090,  4095,  4096,  4097,
        8000, 8192, 12288, 61450, 65535, 65536, 65537, 100000};
    for (int64_t i = random.Between(1, 5); i > 0; --i) {
      read_sizes.push_back(kSizes[random.Below(std::size(kSizes))]);
      write_sizes.push_back(kSizes[random.Below(std::size(kSizes))]);
    }
    // Scripts about many small writes, too: pages that are not full.
    static constexpr int kWeights[] = {0, 1, 2, 4};
    const auto weight = [&](Kind kind, int least) {
      const int drawn = kWeights[random.Below(std::size(kWeights))];
      kinds.insert(kinds.end(), std::max(drawn, least), kind);
    };
    weight(Kind::kOpen, 1);
    weight(Kind::kRead, 1);
    weight(Kind::kRead, 0);
    weight(Kind::kWrite, 1);
    weight(Kind::kWrite, 0);
    weight(Kind::kPoll, 0);
    weight(Kind::kClose, 0);
    weight(Kind::kSetNonblock, 0);
    weight(Kind::kSignal, 0);
    nonblock_one_in = static_cast<uint64_t>(random.Between(1, 6));
    sleeps_one_in = static_cast<uint64_t>(random.Between(1, 4));
  }

  std::vector<size_t> read_sizes;
  std::vector<size_t> write_sizes;
  std::vector<Kind> kinds;
  uint64_t nonblock_one_in;
  uint64_t sleeps_one_in;
};

template <class T>
const T& OneOf(const std::vector<T>& all, Random& random) {
  return all[random.Below(all.size())];
}

Step RandomStep(const Habits& habits, Random& random) {
  Step step{.kind = OneOf(habits.kinds, random),
            .actor = static_cast<int>(random.Below(kActors)),
            .file = static_cast<int>(random.Below(kFiles))};
  switch (step.kind) {
    case Kind::kOpen:
      step.flags = static_cast<uint32_t>(random.Between(1, 3));
      if (random.OneIn(habits.nonblock_one_in)) step.flags |= Fifo::kNonblock;
      break;
    case Kind::kRead:
      step.n = OneOf(habits.read_sizes, random);
      break;
    case Kind::kWrite:
      step.n = OneOf(habits.write_sizes, random);
      break;
    case Kind::kPoll:
      step.flags = static_cast<uint32_t>(random.Below(2)) * kPollIn |
                   static_cast<uint32_t>(random.Below(2)) * kPollOut;
      step.sleeps = random.OneIn(habits.sleeps_one_in);
      if (random.OneIn(3)) step.file2 = static_cast<int>(random.Below(kFiles));
      break;
    case Kind::kSetNonblock:
      step.flags = static_cast<uint32_t>(random.Below(2));
      break;
    case Kind::kSignal:
      step.flags = random.OneIn(3) ? 1 : 0;
      break;
    case Kind::kClose:
      break;
  }
  return step;
}

}  // namespace

Script RandomScript(uint64_t seed) {
  Random random(seed);
  const Habits habits(random);
  Script script;
  // Mostly it begins with a FIFO that is open: otherwise little happens.
  const auto open = [&](int file, uint32_t flags) {
    script.push_back(
        {.kind = Kind::kOpen, .actor = file, .file = file, .flags = flags});
  };
  switch (random.Below(4)) {
    case 0:
      break;
    case 1:
      open(0, Fifo::kRead | Fifo::kWrite |
                  (random.OneIn(2) ? uint32_t{Fifo::kNonblock} : 0));
      break;
    default:
      open(0, Fifo::kRead | Fifo::kNonblock);
      open(1, Fifo::kWrite | (random.OneIn(2) ? uint32_t{Fifo::kNonblock} : 0));
      script.push_back({.kind = Kind::kSetNonblock,
                        .actor = 0,
                        .file = 0,
                        .flags = random.OneIn(2) ? 1u : 0u});
  }
  for (int64_t i = random.Between(10, 80); i > 0; --i) {
    script.push_back(RandomStep(habits, random));
  }
  return script;
}

std::string_view BytesOf(size_t step, size_t n) {
  // One long noise, and each step begins elsewhere in it.
  static const std::string* const noise = [] {
    auto* made = new std::string(1 << 20, '\0');
    Random random(1);
    for (char& c : *made) c = static_cast<char>(random.Below(256));
    return made;
  }();
  const size_t begin = step * 7919 % (noise->size() - kMaxWrite);
  return std::string_view(*noise).substr(begin, n);
}

}  // namespace waitq::test
