"""The client for threads. `waitq.aio` is the one for asyncio."""

from __future__ import annotations

import functools
import inspect
import io
import weakref
from types import TracebackType
from typing import (
    Any, Callable, Concatenate, Iterator, ParamSpec, TypeVar)

from waitq import _any, _calls, _grant, _objects, _streams
from waitq._call import Call, CancelToken, Plan, Steps, drive, once
from waitq._core import Core
from waitq._poller import Poller
from waitq.kit import Barrier, Event, Grant, Latch, Lock, Semaphore
from waitq.types import (
    OnDeath, PipeChunk, PipeOptions, Seconds, Sleep, to_seconds)

__all__ = ["Client", "Starter", "PipeReader", "PipeWriter", "DEFAULT_SERVER"]

DEFAULT_SERVER = "127.0.0.1:7411"

P = ParamSpec("P")
T = TypeVar("T")


def _as_method(method: Callable[..., Any], call: Callable[..., Any],
               skip: int = 0, returns: str = "{}") -> None:
    """Gives it the name, the docstring and the signature of the call."""
    functools.update_wrapper(method, call)
    signature = inspect.signature(call)
    self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = list(signature.parameters.values())[skip:]
    # Plan[X] or Steps[X], as a string
    result = returns.format(signature.return_annotation.partition("[")[2][:-1])
    method.__annotations__ = {**call.__annotations__, "return": result}
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[self, *parameters], return_annotation=result)


def _waits(call: Callable[P, Plan[T]]) -> Callable[Concatenate[Client, P], T]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return drive(once(self._core, call(*args, **kwargs)))

    _as_method(method, call)
    return method


def _grants(call: Callable[P, Plan[_grant.Holding]]
            ) -> Callable[Concatenate[Client, P], Grant]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Grant:
        return drive(once(self._core, _grant.as_kind(call(*args, **kwargs),
                                                     Grant)))

    _as_method(method, call, returns="Grant")
    return method


def _does(steps: Callable[Concatenate[Core, P], Steps[T]]
          ) -> Callable[Concatenate[Client, P], T]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return drive(steps(self._core, *args, **kwargs))

    _as_method(method, steps, skip=1)
    return method


def _starts(call: Callable[P, Plan[T]]
            ) -> Callable[Concatenate[Starter, P], Call[T]]:
    def method(self: Starter, /, *args: P.args, **kwargs: P.kwargs) -> Call[T]:
        return self._core.start(call(*args, **kwargs))

    _as_method(method, call, returns="Call[{}]")
    return method


def _starts_grant(call: Callable[P, Plan[_grant.Holding]]
                  ) -> Callable[Concatenate[Starter, P], Call[Grant]]:
    def method(self: Starter, /, *args: P.args,
               **kwargs: P.kwargs) -> Call[Grant]:
        return self._core.start(_grant.as_kind(call(*args, **kwargs), Grant))

    _as_method(method, call, returns="Call[Grant]")
    return method


class Starter:
    """`client.start`: starts calls and does not wait. Each method is as the
    client's of the same name, and returns a `Call`: with result(), cancel() and
    add_done_callback(). Sleepers cost no thread: start as many as you like."""

    def __init__(self, core: Core) -> None:
        self._core = core

    wait = _starts(_calls.wait)
    acquire = _starts_grant(_grant.acquire)
    wake_up = _starts(_calls.wake_up)
    get = _starts(_calls.get)
    store = _starts(_calls.store)
    await_done = _starts(_calls.await_done)
    try_wait = _starts(_calls.try_wait)
    complete = _starts(_calls.complete)
    complete_all = _starts(_calls.complete_all)
    reinit = _starts(_calls.reinit)
    done = _starts(_calls.done)
    read = _starts(_calls.read)
    accept = _starts(_calls.accept)
    release = _starts(_calls.release)
    write = _starts(_calls.write)
    poll = _starts(_calls.poll)
    wait_any = _starts(_any.wait_any)
    create_wait_queue = _starts(_objects.create_wait_queue)
    create_completion = _starts(_objects.create_completion)
    create_pipe = _starts(_objects.create_pipe)
    remove = _starts(_objects.remove)
    stat = _starts(_objects.stat)
    signal = _starts(_objects.signal)


class Client:
    """One program's way to a server: a session (docs/session.md), which is made
    at the first call and outlives its connection.

    >>> with waitq.Client("127.0.0.1:7411") as client:
    ...     client.wait("flag", Condition.equal(1), then=Action.set(0))

    Thread safety: any thread may call any method at any time. One client is
      enough for a program; it has a few threads of its own, however many calls
      sleep.
    Blocking: a method waits for the server's answer. Those that sleep there may
      take as long as their `timeout` says, without one for ever. `client.start`
      has the same methods, which do not wait.
    Ctrl-C, or whatever a signal handler of the program raises, ends the wait in
      the main thread: the call is cancelled, and what it took is given back.
    Order: calls of one thread arrive in the order in which they are made. Where
      the server takes no more of a session, those that wake go before those
      that sleep.
    Connection lost: calls go on when it is found again, their places in line
      kept, each done once. After 0.9 of `grace` without it the session is given
      up: what cannot happen twice (waits for a condition that take nothing,
      or whose `then` is a grant; reads, completions) is begun anew with what is
      left of its time; the rest raises `Stale`. If the server was restarted
      all that was sent raises `OwnerDied`. Both have `outcome_unknown`. A
      server that is not there at the first call is `Unavailable` at once, and
      not unknown.
    Server replaced: what a draining server refuses has taken nothing, and is
      begun anew on the next server at that address, with what is left of its
      time; without a timeout it waits for one for ever. `ShuttingDown`, not
      done: none came in that time; or the call is not to sleep; or its pipe was
      open at that server.
    Taken: what a call took is the program's when it returns; should the program
      die before that, it is given to somebody else.
    Errors: every call may raise `InvalidArgument`, `WrongKind`, `LimitReached`,
      `ShuttingDown`, `OwnerDied`, `Stale`, `Cancelled`, `Unavailable`;
      `NotFound` and others where they say so. ValueError or TypeError: what
      cannot even be sent.
    Fork: a client is its process's. In a child every call raises `ForkedError`
      and close() does nothing: the child makes a client of its own, and since
      gRPC does not survive a fork either, that is sure to work only in a child
      that was started anew (subprocess, multiprocessing's "spawn"). A child
      made with os.fork() should leave with os._exit(), as multiprocessing's do.
    The end: close(), the end of the `with` block, or of the program.
    """

    def __init__(self, server: str = DEFAULT_SERVER, *, caller: str = "",
                 grace: Seconds = 30.0) -> None:
        """Does not connect.

        server  HOST:PORT, [IPV6]:PORT or unix:PATH; ValueError: none of these
        caller  who this is, as shown by `waitq ps`: at most 128 bytes. Not
                verified
        grace   how long the server keeps what this client has under way when it
                does not hear from it: calls that sleep, open pipes, results on
                their way. 100 ms to a day
        """
        seconds = to_seconds(grace)
        if seconds is None or not 0.1 <= seconds <= 86400:
            raise ValueError("grace: 100 ms to a day")
        if len(caller.encode()) > 128:
            raise ValueError("caller: at most 128 bytes")
        self._core = Core(server, caller, seconds)
        self.start = Starter(self._core)
        self._finalizer = weakref.finalize(self, Core.close, self._core)

    def close(self) -> None:
        """Ends the session: calls under way raise `Cancelled`, writers that are
        open break, grants are lost. Waits until the server knows, two
        seconds at most. Again: does nothing."""
        self._finalizer()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Wait queues.
    wait = _waits(_calls.wait)
    acquire = _grants(_grant.acquire)
    wake_up = _waits(_calls.wake_up)
    get = _waits(_calls.get)
    store = _waits(_calls.store)
    # Completions.
    await_done = _waits(_calls.await_done)
    try_wait = _waits(_calls.try_wait)
    complete = _waits(_calls.complete)
    complete_all = _waits(_calls.complete_all)
    reinit = _waits(_calls.reinit)
    done = _waits(_calls.done)
    # Pipes.
    read = _waits(_calls.read)
    accept = _waits(_calls.accept)
    release = _waits(_calls.release)
    write = _waits(_calls.write)
    poll = _waits(_calls.poll)
    # Any of several of these.
    wait_any = _waits(_any.wait_any)
    # Objects and tasks.
    create_wait_queue = _waits(_objects.create_wait_queue)
    create_completion = _waits(_objects.create_completion)
    create_pipe = _waits(_objects.create_pipe)
    remove = _waits(_objects.remove)
    stat = _waits(_objects.stat)
    list = _does(_objects.list_objects)
    tasks = _does(_objects.tasks)
    signal = _waits(_objects.signal)

    # What is made of them.

    def lock(self, name: str) -> Lock:
        """A lock. Does not ask the server."""
        return Lock(self, name)

    def semaphore(self, name: str, permits: int) -> Semaphore:
        """A semaphore. Does not ask the server."""
        return Semaphore(self, name, permits)

    def event(self, name: str) -> Event:
        """An event. Does not ask the server."""
        return Event(self, name)

    def latch(self, name: str, count: int) -> Latch:
        """A latch. Does not ask the server."""
        return Latch(self, name, count)

    def barrier(self, name: str, parties: int,
                on_death: OnDeath = OnDeath.WITHDRAW) -> Barrier:
        """A barrier. Does not ask the server."""
        return Barrier(self, name, parties, on_death)

    def poller(self) -> Poller:
        """Watches many pipes, for a program's own loop. Does not ask the
        server."""
        return Poller(self._core)

    def open_reader(self, name: str, *, pipe: PipeOptions | None = None,
                    max_bytes: int | None = None,
                    window_bytes: int | None = None,
                    timeout: Seconds | None = None, nonblock: bool = False,
                    sleep: Sleep = Sleep.INTERRUPTIBLE,
                    cancel: CancelToken | None = None) -> PipeReader:
        """Opens a pipe to read; it is open when this returns.

        max_bytes     read so many in all; None: until the end of file
        window_bytes  the server sends at most so many bytes (of packets, one)
                      beyond what has been used, and only when asked. None: one
                      read is always under way
        timeout       bounds each of its sleeps, not the whole
        cancel        for all that is done with the reader
        """
        stream = _streams.Reading(
            self._core, name,
            _streams.options_of(pipe, timeout, nonblock, sleep, cancel),
            max_bytes, window_bytes)
        drive(stream.open())
        return PipeReader(stream)

    def open_writer(self, name: str, *, pipe: PipeOptions | None = None,
                    timeout: Seconds | None = None, nonblock: bool = False,
                    sleep: Sleep = Sleep.INTERRUPTIBLE,
                    cancel: CancelToken | None = None) -> PipeWriter:
        """Opens a pipe to write; it is open when this returns. Arguments as of
        open_reader()."""
        stream = _streams.Writing(
            self._core, name,
            _streams.options_of(pipe, timeout, nonblock, sleep, cancel))
        drive(stream.open())
        return PipeWriter(stream)


class PipeReader:
    """An open pipe: while it is there, writers do not see `BrokenPipe`.

    >>> with client.open_reader("p") as reader:
    ...     for chunk in reader: ...

    Used: asking for more says that what came before has been used. Until then
      it takes up room in the pipe, and is given to somebody else should the
      program die.
    Ends: iteration, read() and as_file() raise `StreamEnded` at an end that is
      not whole (a broken file, a sleep that timed out or would have blocked);
      read_chunk() returns it.
    Thread safety: one thread at a time.
    Memory: what the program has, and one read ahead: 128 KiB or one packet.
    """

    def __init__(self, stream: _streams.Reading) -> None:
        self._stream = stream
        self._rest = b""  # of a chunk, behind what read() returned
        self._finalizer = weakref.finalize(self, _streams.finish_quietly,
                                           stream)

    def read_chunk(self) -> PipeChunk:
        """The next data, as it comes: sleeps while there is none. After the
        end: the end again. Interrupted (Ctrl-C), nothing is lost."""
        return drive(self._stream.read())

    def __iter__(self) -> Iterator[bytes]:
        """The data as it comes; of packets, one by one."""
        while data := self._next():
            yield data

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, at least one; -1: all until the end. b"": the
        end."""
        if size == 0:
            return b""
        if size > 0:
            data = self._next()
            data, self._rest = data[:size], data[size:]
            return data
        return b"".join(self)

    def _next(self) -> bytes:
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        return self._stream.data_of(self.read_chunk())

    def as_file(self) -> io.BufferedReader:
        """As a buffered binary file, for lines and for io.TextIOWrapper.
        Closing it closes the reader."""
        return io.BufferedReader(_ReaderFile(self))

    @property
    def sleeps(self) -> int:
        """How often the server has put it to sleep for data, as is known."""
        return self._stream.sleeps

    def close(self) -> None:
        """What was read has been used; what was read ahead is given back for
        others. Does not wait."""
        self._finalizer()

    def __enter__(self) -> PipeReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _ReaderFile(io.RawIOBase):

    def __init__(self, reader: PipeReader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        data = self._reader.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._reader.close()
        super().close()


class PipeWriter:
    """An open pipe: while it is there, readers do not see an end of file.

    >>> with client.open_writer("p") as writer:
    ...     writer.write(b"abc")

    Ends: the `with` block closes it, and so ends the file cleanly; if it is
      left by an exception the file is broken. So it is if the writer is
      dropped, or the program dies. The stream also ends by one of its sleeps
      timing out or being refused (nonblock): `StreamEnded`; or by an error.
      Whatever it is, every later call raises the same.
    Thread safety: one thread at a time.
    Packets: in a pipe of packets each write() is one, 4 MiB - 1 KiB at most: a
      longer one is InvalidArgument (EMSGSIZE), and ends the stream.
    """

    def __init__(self, stream: _streams.Writing) -> None:
        self._stream = stream
        self._finalizer = weakref.finalize(self, _streams.finish_quietly,
                                           stream)

    def write(self, data: bytes) -> int:
        """Sends it all; its length. That says that it is on its way, not yet
        that it is in the pipe: close() says that. Sleeps while the pipe is
        full. Interrupted (Ctrl-C), the file is broken."""
        drive(self._stream.write(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits for company: does nothing. For what wants a file."""

    def close(self) -> None:
        """Ends the file cleanly, once all of it is in the pipe; then does
        nothing again."""
        drive(self._stream.close())
        self._finalizer.detach()

    def abort(self) -> None:
        """Breaks the file. Does not wait."""
        self._finalizer()

    @property
    def accepted_bytes(self) -> int:
        """How much of what was written is known to be in the pipe, or to have
        gone through it. Exact after the end, unless the connection was lost."""
        return self._stream.accepted_bytes

    @property
    def offset(self) -> int:
        """The pipe's offset after the last of it."""
        return self._stream.offset

    @property
    def incarnation(self) -> int:
        """Which pipe of this name it is: the generation of its creation."""
        return self._stream.incarnation

    @property
    def sleeps(self) -> int:
        """How often the server has put it to sleep for room."""
        return self._stream.sleeps

    def __enter__(self) -> PipeWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exception: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
