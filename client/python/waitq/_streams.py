"""What reader and writer handles do, without saying how they wait (_call.py).

A handle is one of the session: it lives through cuts of the connection, and
ends with the session.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import grpc

from waitq import _wire, errors
from waitq._call import Call, CancelToken, Plan, Steps
from waitq._calls import (
    WRITE_BYTES_MAX, check_write_size, read_read, read_write)
from waitq._core import Core
from waitq.errors import Failure, StreamEnded, WaitqError
from waitq.types import (
    Outcome, PipeChunk, PipeMode, PipeOptions, ReadResult, Seconds, Sleep,
    WriteResult, to_seconds)
from waitq.v1 import sessions_pb2

# What one read asks for, and one write carries: enough that its message costs
# little beside its bytes, little enough that it is not long on its way.
_CHUNK_BYTES = 128 << 10


@dataclasses.dataclass(frozen=True)
class Options:
    """How a handle's calls sleep; `cancel` is for all of them."""

    pipe: PipeOptions | None = None
    timeout: float | None = None
    nonblock: bool = False
    sleep: Sleep = Sleep.INTERRUPTIBLE
    cancel: CancelToken | None = None


class Handle:
    """An open pipe."""

    def __init__(self, core: Core, name: str, options: Options) -> None:
        self.core = core
        self.name = name
        self.options = options
        self.session = 0
        self.number = 0
        self.offset = 0
        self.incarnation = 0
        self.mode = PipeMode.STREAM
        self.closed = True

    def open(self, write: bool) -> Steps[None]:
        plan: Plan[sessions_pb2.Result] = Plan(
            self.name, lambda result: result, cancel=self.options.cancel)
        plan.operation.open.name = self.name
        plan.operation.open.write = write
        if self.options.pipe is not None:
            plan.operation.open.options.CopyFrom(
                _wire.options_to_wire(self.options.pipe))
        call = self.core.start(plan)
        try:
            yield call
            result = call._value()
        except BaseException:
            call.abandon()
            # Should it be opened all the same, nobody would close it.
            call.add_done_callback(self._close_unwanted)
            raise
        self._opened(call, result)
        call._take()

    def _opened(self, call: Call[Any], result: sessions_pb2.Result) -> None:
        assert call._receipt is not None
        self.session = call._receipt.session
        self.number = result.operation
        self.offset = result.open.offset
        self.incarnation = result.open.incarnation
        if result.open.mode == PipeMode.PACKET.value:
            self.mode = PipeMode.PACKET
        self.closed = False

    def _close_unwanted(self, call: Call[sessions_pb2.Result]) -> None:
        if call._failure is None:
            self._opened(call, call._value())
            self.close(broken=True)

    def plan(self, read: Any) -> Plan[Any]:
        """A call of this handle, without its request."""
        plan = Plan(self.name, read, timeout=self.options.timeout,
                    session=self.session, cancel=self.options.cancel)
        plan.operation.handle = self.number
        return plan

    def set_sleep(self, request: Any) -> None:
        _wire.set_sleep(request, self.options.timeout, self.options.nonblock,
                        self.options.sleep)

    def close_plan(self, broken: bool) -> Plan[None]:
        plan: Plan[None] = Plan(self.name, lambda _: None, session=self.session)
        plan.operation.close.handle = self.number
        plan.operation.close.broken = broken
        # It comes with the word that its handle's call is to end, and goes
        # before it; and one that is uninterruptible runs on.
        plan.operation.close.when_idle = True
        return plan

    def close(self, broken: bool) -> None:
        """Does not wait."""
        if self.closed:
            return
        self.closed = True
        self.core.start(self.close_plan(broken))


class Reading:
    """One read is always under way, while the program uses what the one before
    has brought. The bytes count for the pipe until the program asks for more.
    """

    def __init__(self, core: Core, name: str, options: Options,
                 max_bytes: int | None, window_bytes: int | None) -> None:
        if window_bytes == 0:
            raise errors.invalid("window_bytes: 0 would never read",
                                 name).error()
        self._handle = Handle(core, name, options)
        self._left = max_bytes  # None: no end
        self._window = window_bytes
        self._call: Call[ReadResult] | None = None  # under way
        self._read_ahead = False  # it is begun before the program asked for it
        self._used: Call[ReadResult] | None = None  # what the program has
        self._failure: Failure | None = None
        self._end: PipeChunk | None = None
        self.sleeps = 0

    def open(self) -> Steps[None]:
        yield from self._handle.open(write=False)
        self._begin_ahead()

    def read(self) -> Steps[PipeChunk]:
        # Asking for more says that what came before has been used.
        self._take_used()
        if self._failure is not None:
            raise self._failure.error()
        if self._end is not None:
            return self._end
        if self._left == 0:
            return self._ended(Outcome.DONE, False)
        # Should this be interrupted, the read goes on, and is next time's.
        call = self._call or self._begin()
        yield call
        if (self._read_ahead and call._failure is not None
                and call._failure.reason == "ESHUTDOWN"):
            # It may have been refused only because what came before was held:
            # now that it is not, the end may be there.
            call = self._begin()
            yield call
        self._call, self._used = None, call
        try:
            result = call._value()
        except WaitqError:
            self._used = None
            self._failure = call._failure
            self.finish()
            raise
        self.sleeps += result.slept
        if result.outcome is not Outcome.DONE:
            self._take_used()
            return self._ended(result.outcome, result.broken)
        if self._left is not None:
            self._left -= min(self._left, len(result.data))
        self._handle.offset = result.offset + len(result.data)
        self._begin_ahead()
        return PipeChunk(result.data, result.offset, result.incarnation)

    def _take_used(self) -> None:
        if self._used is not None:
            self._used._take()
            self._used = None

    def _begin_ahead(self) -> None:
        # A window says how much may be on its way: then nothing is read ahead.
        # Nor where a read must not sleep: as long as the program has not said
        # that it has used what came before, the end of the file is not there.
        options = self._handle.options
        if (self._left != 0 and self._window is None and not options.nonblock
                and options.timeout != 0):
            self._begin()
            self._read_ahead = True

    def _begin(self) -> Call[ReadResult]:
        plan = self._handle.plan(read_read)
        plan.sleeper = True
        packets = self._handle.mode is PipeMode.PACKET
        size = WRITE_BYTES_MAX if packets else _CHUNK_BYTES
        if self._left is not None:
            size = min(size, self._left)
        if self._window is not None and not packets:
            size = min(size, self._window)
        plan.operation.read.max_bytes = size
        self._handle.set_sleep(plan.operation.read)
        self._call = call = self._handle.core.start(plan)
        self._read_ahead = False
        return call

    def _ended(self, outcome: Outcome, broken: bool) -> PipeChunk:
        self._end = PipeChunk(b"", self._handle.offset,
                              self._handle.incarnation, outcome, broken)
        self.finish()
        return self._end

    def finish(self) -> None:
        """Closes the handle. What the program has was used; what was read ahead
        is given back for others."""
        self._take_used()
        if self._call is not None:
            self._call.abandon()
            self._call = None
        self._handle.close(broken=False)
        if self._failure is None and self._end is None:
            self._failure = errors.cancelled(sent=False, name=self._handle.name)

    def data_of(self, chunk: PipeChunk) -> bytes:
        """b"": the file is whole, or `max_bytes` were read."""
        if chunk.end in (None, Outcome.DONE) or (
                chunk.end is Outcome.END_OF_FILE and not chunk.broken):
            return chunk.data
        raise ended_early(self._handle.name, chunk.end)


def ended_early(name: str, outcome: Outcome | None) -> StreamEnded:
    text = ("the file is not whole: a writer went without closing"
            if outcome is Outcome.END_OF_FILE
            else f"the stream has ended: {outcome.name if outcome else ''}")
    return StreamEnded(Failure(grpc.StatusCode.ABORTED, text, object=name),
                       outcome)


# What may end a write that has moved bytes.
_CODES = {
    "EPIPE": grpc.StatusCode.FAILED_PRECONDITION,
    "EIDRM": grpc.StatusCode.ABORTED,
    "EINTR": grpc.StatusCode.ABORTED,
    "ESHUTDOWN": grpc.StatusCode.UNAVAILABLE,
    "ENOSPC": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "ECANCELED": grpc.StatusCode.CANCELLED,
}


class Writing:
    """One write is under way at a time: they have to arrive in order, and a
    long one is served in turns with others'."""

    def __init__(self, core: Core, name: str, options: Options) -> None:
        self._handle = Handle(core, name, options)
        self._call: Call[WriteResult] | None = None  # under way
        self._sent = b""  # by it
        self._failure: Failure | None = None
        self._outcome: Outcome | None = None
        self._closed_cleanly = False
        self.accepted_bytes = 0
        self.sleeps = 0

    @property
    def offset(self) -> int:
        return self._handle.offset

    @property
    def incarnation(self) -> int:
        return self._handle.incarnation

    def open(self) -> Steps[None]:
        return self._handle.open(write=True)

    def write(self, data: bytes) -> Steps[None]:
        self._check_ended()
        data = bytes(memoryview(data))  # no number, no text
        most = _CHUNK_BYTES
        if self._handle.mode is PipeMode.PACKET:  # one packet, whole
            check_write_size(self._handle.name, data)
            most = max(len(data), 1)
        try:
            for start in range(0, len(data), most):
                yield from self._await_write()
                self._begin(data[start:start + most])
        except BaseException:
            self.finish()  # what was to be written is not all there
            raise

    def close(self) -> Steps[None]:
        if self._closed_cleanly:
            return
        self._check_ended()
        try:
            yield from self._await_write()
            plan = self._handle.close_plan(broken=False)
            plan.cancel = self._handle.options.cancel
            call = self._handle.core.start(plan)
            yield call
            self._failure = call._failure
            self._check_ended()
        except BaseException:
            self.finish()
            raise
        call._take()
        self._handle.closed = self._closed_cleanly = True

    def _check_ended(self) -> None:
        if self._outcome is not None:
            raise ended_early(self._handle.name, self._outcome)
        if self._failure is not None:
            raise self._failure.but(
                accepted_bytes=self.accepted_bytes).error()
        if self._handle.closed:
            raise ValueError("write to a closed pipe")

    def _begin(self, data: bytes) -> None:
        plan = self._handle.plan(read_write)
        self._sent = data
        plan.operation.write.data = data
        self._handle.set_sleep(plan.operation.write)
        self._call = self._handle.core.start(plan)

    def _await_write(self) -> Steps[None]:
        """Until what was sent is in the pipe."""
        while self._call is not None:
            yield self._call
            call, self._call = self._call, None
            if call._failure is not None:
                self._failure = call._failure
            else:
                self._count(call._value())
                call._take()
            self._check_ended()
            # A pipe of the profile SCULL takes less where its ring ends.
            if self._sent:
                self._begin(self._sent)
        token = self._handle.options.cancel
        if token is not None and token.cancelled:
            self._failure = errors.cancelled(False, self._handle.name)
            self._check_ended()

    def _count(self, result: WriteResult) -> None:
        name = self._handle.name
        self.accepted_bytes += result.accepted_bytes
        self._sent = self._sent[result.accepted_bytes:]
        if result.accepted_bytes > 0:
            self._handle.offset = result.offset
        self.sleeps += result.slept
        if result.ended_by_error:
            self._failure = Failure(
                _CODES.get(result.ended_by_error, grpc.StatusCode.UNKNOWN),
                f"the write was cut short: {result.ended_by_error}",
                result.ended_by_error, name,
                signal=result.ended_by_signal or None)
        elif result.outcome is not Outcome.DONE:
            self._outcome = result.outcome
        elif result.ended_by is not None:
            self._outcome = result.ended_by
        elif result.accepted_bytes == 0:  # or this would go on for ever
            self._failure = Failure(
                grpc.StatusCode.INTERNAL,
                "a write was done, and nothing accepted", object=name)

    def finish(self) -> None:
        """Closes the handle; unless close() did, the file is broken."""
        if self._call is not None:
            self._call.abandon()
            self._call = None
        self._handle.close(broken=True)
        if self._failure is None and not self._closed_cleanly:
            self._failure = errors.cancelled(sent=False, name=self._handle.name)


def options_of(pipe: PipeOptions | None, timeout: Seconds | None,
               nonblock: bool, sleep: Sleep,
               cancel: CancelToken | None) -> Options:
    return Options(pipe, to_seconds(timeout), nonblock, sleep, cancel)


def finish_quietly(stream: Reading | Writing) -> None:
    """For __del__: the process may end, or be a child."""
    try:
        stream.finish()
    except Exception:  # pylint: disable=broad-except
        logging.getLogger("waitq").debug("not closed", exc_info=True)
