#include "transport/channel_arguments.h"

#include "grpc/impl/codegen/compression_types.h"
#include "grpc/impl/codegen/grpc_types.h"

namespace waitq {
namespace {

struct Argument {
  const char* name;
  int value;
};

// What both ends must do alike.
constexpr Argument kShared[] = {
    // A vanished host would otherwise hold its sleepers for two hours.
    {GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs},
    {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs},
    {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1},
    // By default a client gives up after two pings without data, and then never
    // notices that the server of its sleeping calls is gone.
    {GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0},
    // Without these, bandwidth probing announces windows of 4 MB, and a hundred
    // streams that nobody reads pin 600 MB. Fixed windows also mean that no
    // pings are sent but keepalive's.
    {GRPC_ARG_HTTP2_BDP_PROBE, 0},
    {GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 64 << 10},
    // Too long metadata (8 KB by default) costs all calls of the connection,
    // not only the one that sends it.
    {GRPC_ARG_MAX_METADATA_SIZE, 64 << 10},
    // Identity only: gRPC inflates a message before it checks its size.
    {GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
     1 << GRPC_COMPRESS_NONE},
};

constexpr Argument kServer[] = {
    // A client that pings a little early, by its clock, is not an attacker.
    {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
     kKeepaliveTimeMs * 9 / 10},
    // A second server on the port must fail, not take half the connections.
    {GRPC_ARG_ALLOW_REUSEPORT, 0},
    // Who connects and says nothing is sent away.
    {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000},
    // Per connection. At this limit clients queue calls silently, and a waker
    // among them would never come: so it is far above the sleepers that one
    // client should have, and the server's own limits speak first.
    {GRPC_ARG_MAX_CONCURRENT_STREAMS, 100'000},
    // Never fires while a call sleeps.
    {GRPC_ARG_MAX_CONNECTION_IDLE_MS, 600'000},
};

constexpr Argument kClient[] = {
    // Repeats are for those who know what may happen twice; and a call without
    // retries is smaller by 5 KB.
    {GRPC_ARG_ENABLE_RETRIES, 0},
    // Channels to one address would share a connection otherwise, and a waking
    // call could queue behind the sleepers that it is to wake.
    {GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1},
    // A server that restarts is found again quickly.
    {GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200},
    {GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000},
    // In spite of its name: how long one attempt to connect may take.
    {GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs},
    // Proxies cut connections that are silent for a while.
    {GRPC_ARG_ENABLE_HTTP_PROXY, 0},
};

}  // namespace

void SetServerArguments(grpc::ServerBuilder& builder) {
  for (const Argument& a : kShared) builder.AddChannelArgument(a.name, a.value);
  for (const Argument& a : kServer) builder.AddChannelArgument(a.name, a.value);
  builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
}

grpc::ChannelArguments ClientArguments() {
  grpc::ChannelArguments arguments;
  for (const Argument& a : kShared) arguments.SetInt(a.name, a.value);
  for (const Argument& a : kClient) arguments.SetInt(a.name, a.value);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  return arguments;
}

}  // namespace waitq
