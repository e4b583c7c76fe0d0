#include "tests/history/pipe_holds.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

namespace waitq::history {
namespace {

using Kind = PipeCall::Kind;

// A hold is named by its pipe's incarnation and its number.
using HoldName = std::pair<uint64_t, uint64_t>;

bool Done(const PipeCall& call) { return call.outcome == Outcome::kDone; }

struct Endings {
  std::vector<const PipeCall*> all;
  // Answered: it is not held any more.
  const PipeCall* accepted = nullptr;
  const PipeCall* released = nullptr;
  // The earliest answer by which it was put back for certain.
  int64_t put_back_by = kNever;
  // Accepted for certain, and perhaps, below these.
  uint64_t certain = 0;
  uint64_t possible = 0;
};

// It says that nothing is held any more.
bool IsOver(const PipeCall& call) { return call.stale && call.up_to == 0; }

uint64_t EndOf(const PipeCall& read) { return read.offset + read.data.size(); }

// Of [begin, end) what the application has, for certain or not, or not at all.
void AddPart(const PipeCall& read, uint64_t begin, uint64_t end, bool taken,
             bool certain, const Endings& endings,
             std::vector<PipeCall>& calls) {
  if (begin >= end) return;
  PipeCall& part = calls.emplace_back(read);
  part.data = read.data.substr(begin - read.offset, end - begin);
  part.offset = begin;
  part.taken = taken;
  part.may_be_redelivered = !certain;
  part.put_back_by = taken ? kNever : endings.put_back_by;
}

class Resolver {
 public:
  explicit Resolver(const std::vector<const PipeCall*>& calls) {
    for (const PipeCall* call : calls) {
      if (call->kind != Kind::kAccept && call->kind != Kind::kRelease) continue;
      endings_[{call->incarnation, call->hold_id}].all.push_back(call);
    }
    for (const PipeCall* call : calls) {
      if (call->kind == Kind::kAccept || call->kind == Kind::kRelease) continue;
      if (call->kind == Kind::kRead && Done(*call) && call->hold_id != 0) {
        Resolve(*call);
      } else {
        found_.calls.push_back(*call);
      }
    }
  }

  ResolvedHolds Take() { return std::move(found_); }

 private:
  void Fail(const char* what, std::vector<PipeCall> calls) {
    if (!found_.wrong.empty()) return;
    found_.wrong = what;
    found_.wrong_calls = std::move(calls);
  }

  void Resolve(const PipeCall& read) {
    Endings& endings = endings_[{read.incarnation, read.hold_id}];
    const uint64_t end = EndOf(read);
    endings.certain = endings.possible = read.offset;
    for (const PipeCall* call : endings.all) {
      if (call->kind == Kind::kAccept) {
        NoteAccept(read, *call, endings);
      } else if (Done(*call)) {
        if (endings.released != nullptr) {
          Fail("released twice", {read, *endings.released, *call});
        }
        endings.released = call;
        endings.put_back_by = std::min(endings.put_back_by, call->returned);
      }
    }
    endings.possible = std::max(endings.possible, endings.certain);
    if (endings.accepted == nullptr) NoteStale(read, endings);
    CheckEnd(read, endings);
    AddPart(read, read.offset, endings.certain, true, true, endings,
            found_.calls);
    AddPart(read, endings.certain, endings.possible, true, false, endings,
            found_.calls);
    AddPart(read, endings.possible, end, false, false, endings, found_.calls);
  }

  void NoteAccept(const PipeCall& read, const PipeCall& call,
                  Endings& endings) {
    const uint64_t end = EndOf(read);
    const uint64_t up_to = call.up_to == 0 ? end : std::min(call.up_to, end);
    if (Done(call)) {
      if (up_to == end && endings.accepted != nullptr) {
        Fail("accepted twice", {read, *endings.accepted, call});
      }
      if (up_to == end) endings.accepted = &call;
      endings.certain = std::max(endings.certain, up_to);
    } else if (call.outcome == Outcome::kUnknown) {
      endings.possible = std::max(endings.possible, up_to);
    }
  }

  // Not held any more, though nobody has accepted the last of it: it was put
  // back when its time was over. (An accept that nobody knows of may be it.)
  static void NoteStale(const PipeCall& read, Endings& endings) {
    if (endings.possible == EndOf(read)) return;
    for (const PipeCall* call : endings.all) {
      if (!IsOver(*call)) continue;
      endings.put_back_by = std::min(endings.put_back_by, call->returned);
    }
  }

  void CheckEnd(const PipeCall& read, const Endings& endings) {
    if (endings.accepted != nullptr && endings.released != nullptr) {
      return Fail("accepted and put back",
                  {read, *endings.accepted, *endings.released});
    }
    for (const PipeCall* call : endings.all) {
      if (!Done(*call)) continue;
      if (call->kind == Kind::kAccept && call->invoked > endings.put_back_by) {
        return Fail("accepted after it was put back", {read, *call});
      }
      for (const PipeCall* other : endings.all) {
        if (IsOver(*other) && other->returned < call->invoked) {
          return Fail("accepted or put back though it was not held any more",
                      {read, *other, *call});
        }
      }
    }
  }

  std::map<HoldName, Endings> endings_;
  ResolvedHolds found_;
};

}  // namespace

ResolvedHolds ResolveHolds(const std::vector<const PipeCall*>& calls) {
  return Resolver(calls).Take();
}

}  // namespace waitq::history
