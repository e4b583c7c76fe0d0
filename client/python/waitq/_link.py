"""The network of a session: one gRPC stream at a time, each on a channel of its
own.

A channel of its own for each attempt: gRPC would otherwise make its own pauses
between attempts. And because Python's gRPC does not tell whether a call that
failed had reached the server, nothing is given to gRPC before the channel is
connected: what was not given was not sent.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Callable, Iterator

import grpc

from waitq import _status
from waitq._machine import Machine
from waitq.v1 import sessions_pb2

_METHOD = "/waitq.v1.Sessions/Attach"

# As transport/channel_arguments.cc, which says why.
CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 64 << 10),
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", (4 << 20) + (64 << 10)),
)

# gRPC's thread that watches a channel looks up every 0.2 s whether it still has
# to, and until then complains loudly should the channel be closed.
_WATCHED_FOR = 1.0

Post = Callable[..., None]


class GrpcLink:
    """The machine's calls come on one thread; what is told it is posted to that
    thread."""

    def __init__(self, target: str, server: str, post: Post) -> None:
        self._target = target
        self._server = server
        self._post = post
        self._machine: Machine | None = None
        self._connection: _Connection | None = None

    def start(self, machine: Machine) -> None:
        self._machine = machine

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.end()
            self._connection = None

    def connect(self, connection: int) -> None:
        assert self._machine is not None
        self._connection = _Connection(connection, self._target, self._server,
                                       self._machine, self._post)

    def write(self, connection: int, message: bytes) -> None:
        if self._connection and self._connection.number == connection:
            self._connection.write(message)

    def disconnect(self, connection: int) -> None:
        if self._connection and self._connection.number == connection:
            self.stop()

    def may_have_arrived(self, connection: int) -> bool:
        # (Who asks and stops then, while gRPC takes the first message, loses
        # the race with that: what is in it ends with the grace.)
        return (self._connection is None
                or self._connection.number != connection
                or self._connection.sent)

    def now(self) -> float:
        return time.monotonic()


class _Connection:
    """One stream. A thread reads it, and ends with it."""

    def __init__(self, number: int, target: str, server: str, machine: Machine,
                 post: Post) -> None:
        self.number = number
        self._server = server
        self._machine = machine
        self._post = post
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._connected = threading.Event()  # or over
        self.sent = False  # gRPC has a message of it
        self._unwatched: float | None = None  # since when
        self._channel = grpc.insecure_channel(target, CHANNEL_OPTIONS)
        self._channel.subscribe(self._on_state, try_to_connect=True)
        # Bytes as they are: the machine encodes them.
        self._call = self._channel.stream_stream(
            _METHOD,
            response_deserializer=sessions_pb2.SessionResponse.FromString)(
                self._requests())
        threading.Thread(target=self._read, daemon=True,
                         name=f"waitq-read-{number}").start()

    def write(self, message: bytes) -> None:
        self._messages.put(message)

    def end(self) -> None:
        """Nothing that it says counts any more."""
        self._call.cancel()

    def _on_state(self, state: grpc.ChannelConnectivity) -> None:
        if state is grpc.ChannelConnectivity.READY:
            self._unwatch()
            self._connected.set()

    def _unwatch(self) -> None:
        if self._unwatched is None:
            self._unwatched = time.monotonic()
            self._channel.unsubscribe(self._on_state)

    def _requests(self) -> Iterator[bytes]:
        # gRPC asks for the next one when it has written the one before.
        self._connected.wait()
        first = True
        while True:
            if not first:
                self._post(self._machine.on_written, self.number)
            first = False
            message = self._messages.get()
            if message is None:
                return
            self.sent = True
            yield message

    def _read(self) -> None:
        failure = None
        try:
            for response in self._call:
                self._post(self._machine.on_message, self.number, response)
        except grpc.RpcError:
            failure = _status.failure_of(self._call, self._server, "",
                                         self.sent)
        self._messages.put(None)
        self._connected.set()  # or its thread would wait for ever
        self._post(self._machine.on_closed, self.number, failure, self.sent)
        self._unwatch()
        # The stream is over; the channel has time.
        still = (self._unwatched or 0.0) + _WATCHED_FOR - time.monotonic()
        if still > 0:
            time.sleep(still)
        self._channel.close()
