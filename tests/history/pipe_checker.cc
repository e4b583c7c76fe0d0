#include "tests/history/pipe_checker.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/history/pipe_holds.h"
#include "tests/history/pipe_layout.h"

namespace waitq::history {
namespace {

using Kind = PipeCall::Kind;

bool Done(const PipeCall& call) { return call.outcome == Outcome::kDone; }
bool Unknown(const PipeCall& call) { return call.outcome == Outcome::kUnknown; }
bool SurelyTaken(const PipeCall& read) {
  return read.taken && !read.may_be_redelivered;
}
uint64_t Begin(const PipeCall& call) {
  return call.kind == Kind::kRead ? call.offset
                                  : call.offset - call.accepted_bytes;
}
uint64_t End(const PipeCall& call) {
  return call.kind == Kind::kRead ? call.offset + call.data.size()
                                  : call.offset;
}

// One incarnation.
struct Part {
  PipeContents contents;
  std::vector<const PipeCall*> writes;  // DONE, in one piece
  std::vector<const PipeCall*> large;   // DONE, perhaps in several
  std::vector<const PipeCall*> reads;   // DONE
  const PipeLeft* left = nullptr;

  uint64_t size() const { return contents.bytes.size(); }
};

// Part of a pipe that the same calls had: [begin, end).
struct Stretch {
  uint64_t begin;
  uint64_t end;
  std::vector<const PipeCall*> reads;
  bool left = false;
};

class PipeChecker {
 public:
  PipeChecker(std::string object, std::vector<const PipeCall*> calls,
              const History& history, const Lives& lives,
              const CheckOptions& options, Report& report)
      : object_(std::move(object)),
        calls_(std::move(calls)),
        lives_(lives),
        options_(options),
        report_(report) {
    const auto found = history.pipe_options.find(object_);
    if (found != history.pipe_options.end()) pipe_ = found->second;
    for (const PipeLeft& left : history.left) {
      if (left.object == object_) part(left.incarnation).left = &left;
    }
  }

  void Run() {
    for (const PipeCall* call : calls_) Sort(*call);
    if (failed_) return;
    for (auto& [incarnation, one] : parts_) {
      FindLives(one);
      if (!failed_) Fill(one);
    }
    // What follows relies on what each byte is.
    if (failed_) return;
    FindLayout();
    CheckEmptiness();
    for (const auto& [incarnation, one] : parts_) {
      CheckWriteOrder(one);
      CheckReadOrder(one);
      CheckPutBack(one);
      CheckDeliveries(one);
    }
  }

 private:
  Part& part(uint64_t incarnation) {
    Part& one = parts_[incarnation];
    one.contents.incarnation = incarnation;
    return one;
  }

  void Fail(const std::string& what,
            const std::vector<const PipeCall*>& calls) {
    failed_ = true;
    std::string text = what;
    for (const PipeCall* call : calls) {
      absl::StrAppend(&text, "\n    ", ToString(*call));
    }
    report_.violations.push_back({object_, text});
  }

  bool Whole(const PipeCall& write) const {
    return pipe_.packets || write.data.size() <= pipe_.atomic_max_bytes;
  }

  // Puts a call where it belongs, if its answer makes sense by itself.
  void Sort(const PipeCall& call) {
    if (call.kind == Kind::kWrite && (Done(call) || Unknown(call))) {
      written_max_ += call.data.size();
    }
    if (Unknown(call)) {
      (call.kind == Kind::kWrite ? unknown_writes_ : unknown_reads_)
          .push_back(&call);
      return;
    }
    if (!Done(call)) {
      if (call.kind == Kind::kRead && call.outcome != Outcome::kNoEffect &&
          call.outcome != Outcome::kInterrupted) {
        empty_reads_.push_back(&call);
      }
      return;
    }
    if (call.kind == Kind::kWrite) {
      const uint64_t accepted = call.accepted_bytes;
      if (accepted > call.data.size() || accepted > call.offset) {
        return Fail("more was accepted than can be", {&call});
      }
      if (Whole(call) && accepted != call.data.size()) {
        return Fail("accepted only in part", {&call});
      }
      if (accepted == 0) return;
      Part& one = part(call.incarnation);
      (Whole(call) ? one.writes : one.large).push_back(&call);
    } else {
      if (call.data.size() > call.max_bytes) {
        return Fail("more was read than asked for", {&call});
      }
      if (call.data.empty()) return;
      part(call.incarnation).reads.push_back(&call);
    }
  }

  // An incarnation does not outlive its server.
  void FindLives(Part& one) {
    int first = 0;
    int last = static_cast<int>(lives_.restarts().size());
    for (const auto* calls : {&one.writes, &one.large, &one.reads}) {
      for (const PipeCall* call : *calls) {
        first = std::max(first, lives_.First(*call));
        last = std::min(last, lives_.Last(*call));
      }
    }
    // They are generations, which rise.
    for (const auto& [incarnation, earlier] : parts_) {
      if (incarnation == one.contents.incarnation) break;
      if (earlier.contents.first_life <= last) {
        first = std::max(first, earlier.contents.first_life);
        continue;
      }
      return Fail(absl::StrCat("incarnation ", one.contents.incarnation,
                               " was there before the lower ", incarnation),
                  one.writes.empty() ? one.reads : one.writes);
    }
    if (first > last) {
      Fail(absl::StrCat("incarnation ", one.contents.incarnation,
                        " was there before and after a restart"),
           one.writes.empty() ? one.reads : one.writes);
    }
    one.contents.first_life = first;
    one.contents.last_life = last;
  }

  // Sets what is known of each byte.
  void Fill(Part& one) {
    uint64_t size = 0;
    for (const auto* calls : {&one.writes, &one.large, &one.reads}) {
      for (const PipeCall* call : *calls) {
        // Also in front of an offset so large that it wraps.
        if (End(*call) > written_max_ || call->offset > written_max_) {
          return Fail("an offset beyond all that was written", {call});
        }
        size = std::max(size, End(*call));
      }
    }
    if (one.left != nullptr) {
      for (const PipeLeft::Chunk& chunk : one.left->chunks) {
        if (chunk.offset > written_max_ ||
            chunk.offset + chunk.data.size() > written_max_) {
          return Fail(absl::StrCat("left beyond all that was written: offset ",
                                   chunk.offset),
                      {});
        }
        size = std::max<uint64_t>(size, chunk.offset + chunk.data.size());
      }
    }
    one.contents.bytes.resize(size);
    for (const PipeCall* write : one.writes) {
      for (uint64_t i = Begin(*write); i < End(*write); ++i) {
        if (one.contents.bytes[i].fixed) {
          std::vector<const PipeCall*> both = Around(one.writes, i);
          return Fail(absl::StrCat("two writes at offset ", i), both);
        }
        one.contents.bytes[i].fixed = true;
      }
      if (!Put(one, Begin(*write), write->data)) return;
    }
    for (const PipeCall* read : one.reads) {
      for (uint64_t i = Begin(*read); i < End(*read); ++i) {
        PipeContents::Byte& byte = one.contents.bytes[i];
        byte.seen = std::min(byte.seen, read->returned);
      }
      if (!Put(one, read->offset, read->data)) return;
      if (pipe_.packets) MarkPacket(one, *read);
    }
    bool lossy = false;
    for (const PipeCall* read : unknown_reads_) lossy |= read->lost_if_unknown;
    one.contents.closed = pipe_.packets || (one.left != nullptr && !lossy);
    if (one.left == nullptr) return;
    for (const PipeLeft::Chunk& chunk : one.left->chunks) {
      if (!Put(one, chunk.offset, chunk.data)) return;
    }
  }

  bool Put(Part& one, uint64_t offset, const std::string& data) {
    for (uint64_t i = 0; i < data.size(); ++i) {
      PipeContents::Byte& byte = one.contents.bytes[offset + i];
      if (byte.known && byte.value != data[i]) {
        std::vector<const PipeCall*> calls = Around(one.writes, offset + i);
        for (const PipeCall* read : Around(one.reads, offset + i)) {
          calls.push_back(read);
        }
        Fail(absl::StrCat("the byte at offset ", offset + i,
                          " is not the same for all"),
             calls);
        return false;
      }
      byte.known = true;
      byte.value = data[i];
    }
    return true;
  }

  static void MarkPacket(Part& one, const PipeCall& read) {
    one.contents.bytes[read.offset].begins = true;
    for (uint64_t i = read.offset + 1; i < End(read); ++i) {
      one.contents.bytes[i].goes_on = true;
    }
    // What follows is another one, whether read or not.
    if (End(read) < one.size()) one.contents.bytes[End(read)].begins = true;
  }

  static std::vector<const PipeCall*> Around(
      const std::vector<const PipeCall*>& calls, uint64_t offset) {
    std::vector<const PipeCall*> found;
    for (const PipeCall* call : calls) {
      if (Begin(*call) <= offset && offset < End(*call)) found.push_back(call);
    }
    return found;
  }

  // Whether all that is there was written, once.
  void FindLayout() {
    std::vector<PipeContents> contents;
    for (auto& [incarnation, one] : parts_) {
      contents.push_back(std::move(one.contents));
    }
    const std::vector<PipeSource> sources = FindSources();
    PipeLayout layout(contents, sources, options_.max_steps);
    const bool found = layout.Find();
    report_.steps += layout.steps();
    size_t i = 0;
    for (auto& [incarnation, one] : parts_) {
      one.contents = std::move(contents[i++]);
    }
    if (found) return CheckPackets();
    if (layout.undecided()) {
      report_.undecided.push_back(object_);
    } else {
      ExplainLayout(layout);
    }
  }

  std::vector<PipeSource> FindSources() const {
    std::vector<PipeSource> sources;
    const auto add = [&](const PipeCall* write) -> PipeSource& {
      PipeSource& source = sources.emplace_back();
      source.call = write;
      source.whole = Whole(*write);
      source.first_life = lives_.First(*write);
      source.last_life = lives_.Last(*write);
      for (const auto& [incarnation, one] : parts_) {
        source.not_before.push_back(EndBefore(one, write->invoked));
      }
      return source;
    };
    size_t index = 0;
    for (const auto& [incarnation, one] : parts_) {
      for (const PipeCall* write : one.large) {
        PipeSource& source = add(write);
        source.done = true;
        source.pipe = index;
        source.accepted = write->accepted_bytes;
        source.end = write->offset;
      }
      ++index;
    }
    for (const PipeCall* write : unknown_writes_) {
      if (!write->data.empty()) add(write);
    }
    return sources;
  }

  // Where what had been written at that time ends for certain.
  static uint64_t EndBefore(const Part& one, int64_t time) {
    uint64_t end = 0;
    for (const auto* writes : {&one.writes, &one.large}) {
      for (const PipeCall* write : *writes) {
        if (write->returned < time) end = std::max(end, write->offset);
      }
    }
    return end;
  }

  void ExplainLayout(const PipeLayout& layout) {
    if (layout.worst_pipe() >= parts_.size()) {
      return Fail("writes that are DONE are not there as a whole", {});
    }
    auto found = parts_.begin();
    std::advance(found, layout.worst_pipe());
    const Part& one = found->second;
    const uint64_t offset = layout.worst_offset();
    std::string bytes;
    for (uint64_t i = offset; i < one.size() && bytes.size() < 40; ++i) {
      if (!one.contents.bytes[i].known) break;
      bytes.push_back(one.contents.bytes[i].value);
    }
    std::vector<const PipeCall*> calls = Around(one.reads, offset);
    // Perhaps they are of one of these, which cannot be.
    for (const PipeCall* call : calls_) {
      if (call->kind == Kind::kWrite && !bytes.empty() &&
          (call->data.find(bytes) != std::string::npos ||
           bytes.starts_with(call->data))) {
        calls.push_back(call);
      }
    }
    Fail(absl::StrCat("no write explains what is at offset ", offset, " of ",
                      found->first, ": \"", absl::CHexEscape(bytes), "\""),
         calls);
  }

  // Packets whose place is known are read as they were written.
  void CheckPackets() {
    if (!pipe_.packets) return;
    for (const auto& [incarnation, one] : parts_) {
      for (const PipeCall* write : one.writes) {
        for (uint64_t i = Begin(*write); i < End(*write); ++i) {
          const PipeContents::Byte& byte = one.contents.bytes[i];
          const bool first = i == Begin(*write);
          if (first ? !byte.goes_on : !byte.begins) continue;
          std::vector<const PipeCall*> calls = Around(one.reads, i);
          calls.push_back(write);
          return Fail("a packet was not read as it was written", calls);
        }
      }
    }
  }

  void CheckWriteOrder(const Part& one) {
    std::vector<const PipeCall*> writes = one.writes;
    writes.insert(writes.end(), one.large.begin(), one.large.end());
    // Where the pieces of a large one begin is the layout's to find out.
    CheckOrder(writes, "a write stands before one that had returned before");
    for (const PipeCall* write : one.writes) {
      for (uint64_t i = Begin(*write); i < End(*write); ++i) {
        if (one.contents.bytes[i].seen >= write->invoked) continue;
        std::vector<const PipeCall*> calls = Around(one.reads, i);
        calls.push_back(write);
        return Fail("read before it was written", calls);
      }
    }
  }

  void CheckReadOrder(const Part& one) {
    std::vector<const PipeCall*> reads;
    for (const PipeCall* read : one.reads) {
      if (!read->redelivered) reads.push_back(read);
    }
    CheckOrder(reads,
               "a read is before one that had returned before it was invoked");
  }

  // What was put back is read before what stands behind it.
  void CheckPutBack(const Part& one) {
    for (const PipeCall* returned : one.reads) {
      if (returned->taken || returned->put_back_by == kNever) continue;
      // The earliest that somebody can have had it after that.
      int64_t again = kNever;
      for (const PipeCall* read : Around(one.reads, returned->offset)) {
        if (read == returned || !read->redelivered) continue;
        if (read->returned > returned->invoked) {
          again = std::min(again, read->invoked);
        }
      }
      for (const PipeCall* read : unknown_reads_) {
        if (CanHaveBeenIn(*read, one)) again = std::min(again, read->invoked);
      }
      for (const PipeCall* read : one.reads) {
        if (read->offset <= returned->offset ||
            read->invoked <= returned->put_back_by || read->returned >= again) {
          continue;
        }
        return Fail("what was put back is passed over", {returned, read});
      }
    }
  }

  // For each call, the one with the greatest offset that returned before it.
  void CheckOrder(std::vector<const PipeCall*> calls, const char* what) {
    std::vector<const PipeCall*> by_return = calls;
    std::sort(calls.begin(), calls.end(),
              [](auto* a, auto* b) { return a->invoked < b->invoked; });
    std::sort(by_return.begin(), by_return.end(),
              [](auto* a, auto* b) { return a->returned < b->returned; });
    const PipeCall* last = nullptr;
    size_t next = 0;
    for (const PipeCall* call : calls) {
      for (;
           next < by_return.size() && by_return[next]->returned < call->invoked;
           ++next) {
        if (last == nullptr || by_return[next]->offset > last->offset) {
          last = by_return[next];
        }
      }
      if (last != nullptr && last->offset >= call->offset) {
        return Fail(what, {last, call});
      }
    }
  }

  std::vector<Stretch> Stretches(const Part& one) const {
    std::set<uint64_t> borders = {0, one.size()};
    const auto add = [&](uint64_t begin, uint64_t end) {
      borders.insert(begin);
      borders.insert(end);
    };
    for (const PipeCall* write : one.writes) add(Begin(*write), End(*write));
    for (const PipeCall* read : one.reads) add(Begin(*read), End(*read));
    if (one.left != nullptr) {
      for (const PipeLeft::Chunk& chunk : one.left->chunks) {
        add(chunk.offset, chunk.offset + chunk.data.size());
      }
    }
    std::vector<Stretch> stretches;
    std::map<uint64_t, size_t> index;
    for (auto it = borders.begin(); std::next(it) != borders.end(); ++it) {
      index[*it] = stretches.size();
      stretches.push_back({*it, *std::next(it), {}});
    }
    index[one.size()] = stretches.size();
    for (const PipeCall* read : one.reads) {
      for (size_t i = index[Begin(*read)]; i < index[End(*read)]; ++i) {
        stretches[i].reads.push_back(read);
      }
    }
    if (one.left == nullptr) return stretches;
    for (const PipeLeft::Chunk& chunk : one.left->chunks) {
      const size_t end = index[chunk.offset + chunk.data.size()];
      for (size_t i = index[chunk.offset]; i < end; ++i) {
        stretches[i].left = true;
      }
    }
    return stretches;
  }

  // How much an unknown read can have had.
  uint64_t Most(const PipeCall& read) const {
    return pipe_.packets ? 1 : read.max_bytes;
  }
  uint64_t Weight(const Stretch& stretch) const {
    return pipe_.packets ? 1 : stretch.end - stretch.begin;
  }

  bool CanHaveBeenIn(const PipeCall& unknown, const Part& one) const {
    return one.contents.first_life <= lives_.Last(unknown) &&
           lives_.First(unknown) <= one.contents.last_life;
  }

  void CheckDeliveries(const Part& one) {
    // Had by an unknown read first: the earliest return after that, how much.
    std::multimap<int64_t, const Stretch*> had_before;
    uint64_t lost = 0;
    uint64_t may_be_lost = 0;
    for (const PipeCall* read : unknown_reads_) {
      if (read->lost_if_unknown && CanHaveBeenIn(*read, one)) {
        may_be_lost += Most(*read);
      }
    }
    const std::vector<Stretch> stretches = Stretches(one);
    for (const Stretch& stretch : stretches) {
      if (!CheckStretch(stretch)) return;
      const auto& reads = stretch.reads;
      const auto is_marked = [](auto* read) { return read->redelivered; };
      if (!reads.empty() &&
          std::all_of(reads.begin(), reads.end(), is_marked)) {
        int64_t returned = kNever;
        for (auto* read : reads) returned = std::min(returned, read->returned);
        had_before.emplace(returned, &stretch);
      }
      if (one.left == nullptr || stretch.left) continue;
      if (std::any_of(reads.begin(), reads.end(),
                      [](auto* read) { return read->taken; })) {
        continue;
      }
      lost += Weight(stretch);
      if (lost <= may_be_lost) continue;
      std::vector<const PipeCall*> calls = Around(one.writes, stretch.begin);
      calls.insert(calls.end(), reads.begin(), reads.end());
      return Fail(absl::StrCat("lost: offsets ", stretch.begin, " to ",
                               stretch.end, " of ", one.contents.incarnation),
                  calls);
    }
    // The k-th of them needs as much that was invoked before it returned.
    uint64_t needed = 0;
    for (const auto& [returned, stretch] : had_before) {
      needed += Weight(*stretch);
      uint64_t most = 0;
      for (const PipeCall* read : unknown_reads_) {
        if (read->invoked > returned || !CanHaveBeenIn(*read, one)) continue;
        most += std::min(Most(*read), written_max_);
      }
      if (needed <= most) continue;
      return Fail("marked as redelivered, but nobody can have had it before",
                  stretch->reads);
    }
  }

  // At most one for certain, which is the last; at most one without the mark,
  // which is the first.
  bool CheckStretch(const Stretch& stretch) {
    const PipeCall* first = nullptr;
    const PipeCall* last = nullptr;
    for (const PipeCall* read : stretch.reads) {
      if (SurelyTaken(*read)) {
        if (last != nullptr) {
          Fail("taken twice", {last, read});
          return false;
        }
        last = read;
      }
      if (!read->redelivered) {
        if (first != nullptr) {
          Fail("delivered twice without a mark", {first, read});
          return false;
        }
        first = read;
      }
    }
    for (const PipeCall* read : stretch.reads) {
      if (read != last && last != nullptr &&
          (last == first || last->returned < read->invoked)) {
        Fail("delivered again after it was taken", {last, read});
        return false;
      }
      if (read != first && first != nullptr &&
          read->returned < first->invoked) {
        Fail("redelivered before it was delivered", {read, first});
        return false;
      }
    }
    if (last == nullptr || !stretch.left) return true;
    Fail("taken, and left in the pipe", {last});
    return false;
  }

  // Bytes or a packet that are unread from one time to another for certain.
  struct Unread {
    int64_t from;
    int64_t to;
    uint64_t weight;
    const PipeCall* write;
  };

  std::vector<Unread> FindUnread() const {
    std::vector<Unread> unread;
    for (const auto& [incarnation, one] : parts_) {
      // Of several in one life nobody knows when one followed the other.
      bool alone = true;
      for (const auto& [other, another] : parts_) {
        alone =
            alone && (other == incarnation ||
                      another.contents.last_life < one.contents.first_life ||
                      another.contents.first_life > one.contents.last_life);
      }
      if (!alone) continue;
      const std::vector<Stretch> stretches = Stretches(one);
      for (const PipeCall* write : one.writes) {
        auto it = std::lower_bound(
            stretches.begin(), stretches.end(), Begin(*write),
            [](const Stretch& a, uint64_t b) { return a.begin < b; });
        for (; it != stretches.end() && it->begin < End(*write); ++it) {
          int64_t to = lives_.End(one.contents.first_life);
          for (auto* read : it->reads) to = std::min(to, read->invoked);
          if (to > write->returned) {
            unread.push_back({write->returned, to, Weight(*it), write});
          }
        }
      }
    }
    return unread;
  }

  void CheckEmptiness() {
    if (empty_reads_.empty()) return;
    const std::vector<Unread> unread = FindUnread();
    for (const PipeCall* read : empty_reads_) {
      uint64_t min = read->outcome == Outcome::kEndOfFile || pipe_.packets
                         ? 1
                         : std::max<uint64_t>(read->min_bytes, 1);
      // Others may have some of it, or wait for more before it.
      bool behind = false;
      for (const PipeCall* call : calls_) {
        if (call == read || call->kind != Kind::kRead ||
            call->invoked > read->returned) {
          continue;
        }
        if (Unknown(*call)) min += std::min(Most(*call), written_max_);
        if ((Unknown(*call) || call->returned >= read->invoked) &&
            !pipe_.packets && call->min_bytes > 1) {
          behind = true;
        }
      }
      if (!behind) CheckEmptyRead(*read, min, unread);
    }
  }

  void CheckEmptyRead(const PipeCall& read, uint64_t min,
                      const std::vector<Unread>& unread) {
    // It is least at one of these moments.
    std::set<int64_t> moments = {read.invoked, read.returned};
    std::vector<const Unread*> near;
    for (const Unread& one : unread) {
      if (one.to < read.invoked || one.from > read.returned) continue;
      near.push_back(&one);
      if (one.from >= read.invoked) moments.insert(one.from);
      if (one.to <= read.returned) moments.insert(one.to);
    }
    std::set<const PipeCall*> calls;
    for (const int64_t moment : moments) {
      uint64_t there = 0;
      for (const Unread* one : near) {
        if (moment <= one->from || one->to <= moment) continue;
        there += one->weight;
        calls.insert(one->write);
      }
      if (there < min) return;
    }
    std::vector<const PipeCall*> all = {&read};
    for (const PipeCall* write : calls) {
      if (all.size() < 6) all.push_back(write);
    }
    Fail("found nothing, though the pipe was not empty at any moment", all);
  }

  const std::string object_;
  const std::vector<const PipeCall*> calls_;
  const Lives& lives_;
  const CheckOptions& options_;
  Report& report_;
  PipeOptions pipe_;
  bool failed_ = false;
  std::map<uint64_t, Part> parts_;  // by incarnation
  std::vector<const PipeCall*> unknown_writes_;
  std::vector<const PipeCall*> unknown_reads_;
  std::vector<const PipeCall*> empty_reads_;
  uint64_t written_max_ = 0;  // if all unknown writes were done
};

}  // namespace

Report CheckPipes(const History& history, const CheckOptions& options) {
  Report report;
  const Lives lives(history.restarts);
  std::map<std::string, std::vector<const PipeCall*>> objects;
  for (const PipeCall& call : history.pipes) {
    objects[call.object].push_back(&call);
    ++report.calls;
    if (call.outcome == Outcome::kUnknown) ++report.unknown;
  }
  for (const PipeLeft& left : history.left) objects[left.object];
  report.objects = static_cast<int64_t>(objects.size());
  for (const auto& [object, calls] : objects) {
    const ResolvedHolds holds = ResolveHolds(calls);
    if (!holds.wrong.empty()) {
      std::string what = holds.wrong;
      for (const PipeCall& call : holds.wrong_calls) {
        absl::StrAppend(&what, "\n    ", ToString(call));
      }
      report.violations.push_back({object, what});
      continue;
    }
    std::vector<const PipeCall*> resolved;
    for (const PipeCall& call : holds.calls) resolved.push_back(&call);
    PipeChecker(object, std::move(resolved), history, lives, options, report)
        .Run();
  }
  return report;
}

}  // namespace waitq::history
