// waitq.v1.Sessions.Attach: a stream that carries a session.

#ifndef WAITQ_SERVER_RPC_SESSION_CALL_H_
#define WAITQ_SERVER_RPC_SESSION_CALL_H_

#include "server/rpc/stream_call.h"

namespace waitq::rpc {

// Takes one call of the method; when it comes, arms the next.
void ArmSessionCall(const StreamCall::Parts& parts);

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_SESSION_CALL_H_
