// gRPC's own thread pools, brought to a number that stays.

#ifndef WAITQ_SERVER_RPC_GRPC_THREADS_H_
#define WAITQ_SERVER_RPC_GRPC_THREADS_H_

namespace waitq::rpc {

// Makes gRPC's executor as large as it will ever be, two threads a core. It
// starts with one and adds more, for good, at the first burst of work: then the
// number of the server's threads would depend on what has been asleep.
//
// Takes a millisecond. gRPC must have been initialised.
void FillGrpcExecutor();

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_GRPC_THREADS_H_
