// How gRPC is set up at the two ends, side by side: many of the arguments only
// work if the other end agrees.

#ifndef WAITQ_TRANSPORT_CHANNEL_ARGUMENTS_H_
#define WAITQ_TRANSPORT_CHANNEL_ARGUMENTS_H_

#include "grpcpp/server_builder.h"
#include "grpcpp/support/channel_arguments.h"

namespace waitq {

// The most data that one message may carry.
inline constexpr int kMaxMessageBytes = 4 << 20;

// gRPC's own limit on what it receives: a little more, so that a message above
// ours reaches the code that can name the limit.
inline constexpr int kMaxReceiveBytes = kMaxMessageBytes + (64 << 10);

// A peer is pinged, by both ends, this long after its last sign of life, and is
// dead if it does not answer in time.
inline constexpr int kKeepaliveTimeMs = 10'000;
inline constexpr int kKeepaliveTimeoutMs = 4'000;

// How long a client tries one address before it says that nobody is there.
inline constexpr int kConnectTimeoutMs = 5'000;

// Sets all arguments that are not a matter of flags.
void SetServerArguments(grpc::ServerBuilder& builder);

// For a channel to such a server. Each channel made with them has a connection
// of its own.
grpc::ChannelArguments ClientArguments();

}  // namespace waitq

#endif  // WAITQ_TRANSPORT_CHANNEL_ARGUMENTS_H_
