// How many threads there are: ours, and gRPC's own pools, brought to a number
// that stays.

#ifndef WAITQ_SERVER_RPC_GRPC_THREADS_H_
#define WAITQ_SERVER_RPC_GRPC_THREADS_H_

#include "grpcpp/server_builder.h"

namespace waitq::rpc {

// How many completion queues, with a thread each: `asked`, or if that is 0 as
// many as suit the machine, four a core.
int QueueCount(int asked);

// Keeps the threads of gRPC's synchronous services few.
void BoundSyncThreads(grpc::ServerBuilder& builder);

// Makes gRPC's executor as large as it will ever be, two threads a core, and
// lets its timers start their second thread. Both start with one and add more,
// for good, when there is work: then the number of the server's threads would
// depend on what has been asleep.
//
// Takes some milliseconds. gRPC must have been initialised.
void FillGrpcThreads();

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_GRPC_THREADS_H_
