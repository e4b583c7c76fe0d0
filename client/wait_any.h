// What goes into Client::WaitAny(), and comes out of it.
//
//   auto result = client.WaitAny({Alternative::Read("work"),
//                                 Alternative::Await("shutdown")});
//   if (!result.ok()) ...
//   if (result->alternative == 1) return;  // shutdown
//   Do(std::get<ReadResult>(result->result).data);

#ifndef WAITQ_CLIENT_WAIT_ANY_H_
#define WAITQ_CLIENT_WAIT_ANY_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/time/time.h"
#include "client/grant.h"
#include "client/types.h"

namespace waitq {

// One of the things that such a call waits for. The options' `timeout`,
// `nonblock`, `sleep` and `want_timing` stay as they are: the whole has them.
struct Alternative {
  static Alternative Wait(std::string name, WaitOptions options = {}) {
    return {std::move(name), std::move(options)};
  }
  // As Client::Acquire().
  static Alternative Acquire(std::string name, WaitOptions options,
                             Undo undo = {}) {
    return {std::move(name), std::move(options), std::move(undo)};
  }
  static Alternative Await(std::string name) {
    return {std::move(name), AwaitOptions()};
  }
  static Alternative Read(std::string name, ReadOptions options = {}) {
    return {std::move(name), std::move(options)};
  }

  std::string name;
  std::variant<WaitOptions, AwaitOptions, ReadOptions> options;
  // Of a wait: its success is a grant.
  std::optional<Undo> undo = {};
};

struct WaitAnyOptions {
  std::optional<absl::Duration> timeout = {};
  bool nonblock = false;
  Sleep sleep = Sleep::kInterruptible;
  // The result is to have its `timing`.
  bool want_timing = false;
};

struct WaitAnyResult {
  Outcome outcome = Outcome::kDone;
  // With kDone and kEndOfFile: which alternative has ended the call, and its
  // own result, without its timing. The others have taken nothing.
  size_t alternative = 0;
  std::variant<std::monostate, WaitResult, AwaitResult, ReadResult> result = {};
  // If that is of an Acquire: held.
  Grant grant = {};
  // Of `timeout`, where there is one.
  std::optional<absl::Duration> remaining = {};
  bool slept = false;
  // If it was wanted.
  std::optional<Timing> timing = {};
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_WAIT_ANY_H_
