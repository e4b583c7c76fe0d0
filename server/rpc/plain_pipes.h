// Reads and writes of pipes in sessions, as nearly all of them are: of nothing
// but a name, the bytes, and how many at most. A session moves hundreds of
// thousands of these in a second, most of whose time protobuf took; so these
// are read and answered here, byte by byte. What says anything else goes the
// way of every other operation, which these are the same as (pipes_service.cc).

#ifndef WAITQ_SERVER_RPC_PLAIN_PIPES_H_
#define WAITQ_SERVER_RPC_PLAIN_PIPES_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "server/engine/operation.h"
#include "server/engine/pipe_object.h"
#include "server/engine/ref.h"
#include "server/rpc/invocation.h"

namespace waitq::rpc {

// A plain v1::ReadRequest or v1::WriteRequest.
struct PlainRequest {
  absl::string_view name;
  absl::string_view data;  // of a write
  // Of a read, as the message has them.
  bool has_max_bytes() const { return says_max_bytes; }
  uint64_t max_bytes() const { return max; }

  bool says_max_bytes = false;
  uint64_t max = 0;
};

// Takes the bytes of a v1::Operation apart, if it is a plain one; false: it is
// not, or it is no operation at all.
bool ParsePlain(absl::string_view bytes, uint64_t& handle, uint8_t& field,
                PlainRequest& request);

// Serves one of a session: `field` is kReadFieldNumber or kWriteFieldNumber of
// v1::Operation. `last`: the pipe that was used last, as most name the same
// again; to be kept for no longer than one message.
void ServePlain(Invocation& call, uint8_t field, const PlainRequest& request,
                engine::Ref<engine::PipeObject>& last);

// Appends the result of a session's operation to a v1::SessionResponse, if it
// is a read or a write that is done and nothing else; false: it is not.
bool AppendPlainResult(std::string& out, uint64_t operation, uint8_t field,
                       engine::Operation& op);

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_PLAIN_PIPES_H_
