// Messages to and from the bytes that gRPC moves.

#ifndef WAITQ_BENCH_BYTE_BUFFER_H_
#define WAITQ_BENCH_BYTE_BUFFER_H_

#include <cstdint>

#include "google/protobuf/message_lite.h"
#include "grpc/slice.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "grpcpp/support/slice.h"

namespace waitq::bench {

// Straight into gRPC's memory, without a string in between.
inline grpc::ByteBuffer Serialize(
    const google::protobuf::MessageLite& message) {
  const grpc::Slice bytes(grpc_slice_malloc(message.ByteSizeLong()),
                          grpc::Slice::STEAL_REF);
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(bytes.begin()));
  return grpc::ByteBuffer(&bytes, 1);
}

// Whether `bytes` are such a message. A message that is parsed into again and
// again keeps its memory: then this allocates nothing, and is quicker than with
// an arena.
inline bool Parse(grpc::ByteBuffer bytes,
                  google::protobuf::MessageLite* message) {
  grpc::ProtoBufferReader reader(&bytes);
  return message->ParseFromZeroCopyStream(&reader);
}

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_BYTE_BUFFER_H_
