// gRPC's own thread pools, brought to a number that stays.

#ifndef WAITQ_SERVER_RPC_GRPC_THREADS_H_
#define WAITQ_SERVER_RPC_GRPC_THREADS_H_

namespace waitq::rpc {

// Makes gRPC's executor as large as it will ever be, two threads a core, and
// lets its timers start their second thread. Both start with one and add more,
// for good, when there is work: then the number of the server's threads would
// depend on what has been asleep.
//
// Takes some milliseconds. gRPC must have been initialised.
void FillGrpcThreads();

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_GRPC_THREADS_H_
