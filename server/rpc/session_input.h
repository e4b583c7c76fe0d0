// A message of a session's client, taken apart.

#ifndef WAITQ_SERVER_RPC_SESSION_INPUT_H_
#define WAITQ_SERVER_RPC_SESSION_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/arena.h"
#include "google/protobuf/message_lite.h"
#include "server/rpc/plain_pipes.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::rpc {

// A v1::SessionRequest: to a client the same as if protobuf had parsed it,
// which it does with all but the plain reads and writes of pipes.
//
// Thread safety: none.
// Lifetime: the bytes must outlive it.
class SessionInput {
 public:
  struct Operation {
    uint64_t handle = 0;
    uint8_t field = 0;  // v1::Operation::request_case()
    // Unless it is a plain one.
    const google::protobuf::MessageLite* request = nullptr;
    PlainRequest plain = {};
    // It is a WaitAny of more than kWaitAnyBytesMax, and was not looked at.
    bool too_long = false;
  };

  SessionInput() = default;
  SessionInput(const SessionInput&) = delete;
  SessionInput& operator=(const SessionInput&) = delete;

  // So many operations, and so many signals, are in a message at most: each
  // takes many times the memory of the two bytes that it may be.
  static constexpr size_t kEntriesMax = 65'536;
  // What protobuf reads and this does not, as tags that are longer than they
  // have to be, is no message if it is longer: entries are not counted there
  // before they are made.
  static constexpr size_t kUncountedBytesMax = 64 << 10;

  // Once. False: it is no such message, or has too many of something.
  bool Parse(absl::string_view bytes);
  bool has_too_many() const { return has_too_many_; }

  // Without its operations, as far as anybody may look.
  const v1::SessionRequest& head() const { return head_; }
  const std::vector<Operation>& operations() const { return operations_; }

 private:
  // False: what is there is for protobuf to say.
  bool Split(absl::string_view bytes,
             std::vector<absl::string_view>& operations, std::string& rest);
  void Add(const v1::Operation& operation);

  v1::SessionRequest head_;
  std::vector<Operation> operations_;
  std::optional<google::protobuf::Arena> arena_;
  bool has_too_many_ = false;
};

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_SESSION_INPUT_H_
