// The insides of PipeReader and PipeWriter, for Client, which makes them.

#ifndef WAITQ_CLIENT_PIPE_STREAMS_H_
#define WAITQ_CLIENT_PIPE_STREAMS_H_

#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "client/call.h"
#include "client/pipe_reader.h"
#include "client/pipe_writer.h"
#include "waitq/v1/pipes.grpc.pb.h"

namespace waitq {

// `server` and `stub` must outlive the result. Waits until the server has
// opened the handle.
absl::StatusOr<std::unique_ptr<PipeReader>> OpenPipeReader(
    const ServerName& server, v1::Pipes::StubInterface& stub,
    const v1::ReadStreamRequest::Open& open, std::stop_token stop);

absl::StatusOr<std::unique_ptr<PipeWriter>> OpenPipeWriter(
    const ServerName& server, v1::Pipes::StubInterface& stub,
    const v1::WriteStreamRequest::Open& open, std::stop_token stop);

}  // namespace waitq

#endif  // WAITQ_CLIENT_PIPE_STREAMS_H_
