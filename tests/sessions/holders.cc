#include "tests/sessions/holders.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/engine/wait_queue_object.h"

namespace waitq::sim {
namespace {

constexpr char kPrefix[] = "lock";

struct Word {
  std::string name;
  engine::WordResult word;
  int64_t permits;
  uint64_t sleepers;
};

std::vector<Word> WordsOf(engine::Engine& engine) {
  std::vector<Word> words;
  for (const engine::ObjectStat& stat : engine.List(kPrefix, {})) {
    uint32_t object = 0;
    if (!absl::SimpleAtoi(stat.name.substr(sizeof(kPrefix) - 1), &object)) {
      continue;
    }
    words.push_back({stat.name, std::get<engine::WordResult>(stat.state),
                     Holders::PermitsOf(object), stat.sleepers});
  }
  return words;
}

}  // namespace

std::string Holders::NameOf(uint32_t object) {
  return absl::StrCat(kPrefix, object);
}

void Holders::SetAcquire(uint32_t object, v1::WaitRequest& request) {
  request.set_name(NameOf(object));
  const int64_t permits = PermitsOf(object);
  if (permits == 1) {
    request.mutable_condition()->set_equal(0);
    request.mutable_then()->set_set(1);
  } else {
    request.mutable_condition()->set_less(permits);
    request.mutable_then()->set_add(1);
  }
  request.mutable_undo();
}

void Holders::SetGiveBack(const Held& held, v1::WakeUpRequest& request) {
  request.set_name(NameOf(held.object));
  request.set_grant(held.token);
}

std::string Holders::Add(const Held& held,
                         const std::function<bool(int)>& counts) {
  int64_t others = 0;
  for (const Held& other : held_) {
    // A server that was restarted knows nothing of the one before it.
    if (other.object == held.object && other.epoch == held.epoch &&
        counts(other.client)) {
      ++others;
    }
  }
  const auto last = std::find_if(
      last_.begin(), last_.end(),
      [&](const Held& other) { return other.object == held.object; });
  // Several at once may be told in any order.
  const bool falls = PermitsOf(held.object) == 1 && last != last_.end() &&
                     held.token <= last->token && held.epoch >= last->epoch;
  if (last == last_.end()) {
    last_.push_back(held);
  } else if (held.token > last->token) {
    *last = held;
  }
  held_.push_back(held);
  if (others >= PermitsOf(held.object)) {
    return absl::StrCat(NameOf(held.object), ": ", others + 1, " hold it");
  }
  if (falls) return absl::StrCat(NameOf(held.object), ": its token falls");
  return "";
}

std::optional<Held> Holders::Take(int client, int64_t which) {
  std::vector<size_t> theirs;
  for (size_t i = 0; i < held_.size(); ++i) {
    if (held_[i].client == client) theirs.push_back(i);
  }
  if (theirs.empty()) return std::nullopt;
  const size_t at = theirs[static_cast<size_t>(which) % theirs.size()];
  const Held held = held_[at];
  held_.erase(held_.begin() + static_cast<ptrdiff_t>(at));
  return held;
}

void Holders::Remove(size_t operation) {
  std::erase_if(held_,
                [&](const Held& held) { return held.operation == operation; });
}

void Holders::RemoveAllOf(int client) {
  std::erase_if(held_, [&](const Held& held) { return held.client == client; });
}

std::string Holders::CheckLeft(engine::Engine& engine) {
  for (const Word& word : WordsOf(engine)) {
    if (word.word.value != 0 || word.word.grants != 0) {
      return absl::StrCat(word.name, " is ", word.word.value, ", with ",
                          word.word.grants, " grants");
    }
  }
  return "";
}

std::string Holders::CheckSleepers(engine::Engine& engine) {
  for (const Word& word : WordsOf(engine)) {
    if (word.sleepers > 0 && word.word.value < word.permits) {
      return absl::StrCat(word.sleepers, " sleep for ", word.name,
                          ", which is ", word.word.value);
    }
  }
  return "";
}

}  // namespace waitq::sim
