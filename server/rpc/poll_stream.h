#ifndef WAITQ_SERVER_RPC_POLL_STREAM_H_
#define WAITQ_SERVER_RPC_POLL_STREAM_H_

#include "server/rpc/stream_call.h"

namespace waitq::rpc {

// A call of waitq.v1.Pipes.PollStream.
StreamCall* MakePollStream(const StreamCall::Parts& parts);

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_POLL_STREAM_H_
