"""The client for asyncio: the same calls, to be awaited.

>>> async with waitq.aio.AsyncClient("127.0.0.1:7411") as client:
...     await client.wait("flag", Condition.equal(1), then=Action.set(0))
"""

from __future__ import annotations

import asyncio
import weakref
from types import TracebackType
from typing import (
    Any, AsyncIterator, Callable, Concatenate, Coroutine, ParamSpec, TypeVar)

from waitq import _any, _calls, _grant, _objects, _streams
from waitq._aio import drive
from waitq._call import CancelToken, Plan, Steps, once
from waitq._core import Core
from waitq._poller import Poller, PollerEvent
from waitq.aio_kit import (
    AsyncBarrier, AsyncEvent, AsyncGrant, AsyncLatch, AsyncLock,
    AsyncSemaphore)
from waitq.client import DEFAULT_SERVER, Client, _as_method
from waitq.types import OnDeath, PipeChunk, PipeOptions, Seconds, Sleep

__all__ = [
    "AsyncClient", "AsyncPipeReader", "AsyncPipeWriter", "AsyncPoller",
    "AsyncGrant",
    "AsyncLock", "AsyncSemaphore", "AsyncEvent", "AsyncLatch", "AsyncBarrier",
]

P = ParamSpec("P")
T = TypeVar("T")


def _awaits(call: Callable[P, Plan[T]]
            ) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    async def method(self: AsyncClient, /, *args: P.args,
                     **kwargs: P.kwargs) -> T:
        return await drive(once(self._core, call(*args, **kwargs)))

    _as_method(method, call)
    return method


def _grants(call: Callable[P, Plan[_grant.Holding]]
            ) -> Callable[Concatenate[AsyncClient, P],
                          Coroutine[Any, Any, AsyncGrant]]:
    async def method(self: AsyncClient, /, *args: P.args,
                     **kwargs: P.kwargs) -> AsyncGrant:
        return await drive(once(self._core, _grant.as_kind(
            call(*args, **kwargs), AsyncGrant)))

    _as_method(method, call, returns="AsyncGrant")
    return method


def _does(steps: Callable[Concatenate[Core, P], Steps[T]]
          ) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    async def method(self: AsyncClient, /, *args: P.args,
                     **kwargs: P.kwargs) -> T:
        return await drive(steps(self._core, *args, **kwargs))

    _as_method(method, steps, skip=1)
    return method


class AsyncClient:
    """As `waitq.Client`, whose contract is this one's: sessions, order, errors,
    fork. The methods are coroutines.

    Cancelling a task cancels its call at once: what it took is given back. (If
      the result has come already, and the task is cancelled before it runs, so
      is that.)
    Event loops: tasks of any loop may use it; it has a thread of its own and
      blocks none.
    """

    def __init__(self, server: str = DEFAULT_SERVER, *, caller: str = "",
                 grace: Seconds = 30.0) -> None:
        """As Client's. Does not connect."""
        self._client = Client(server, caller=caller, grace=grace)
        self._core = self._client._core
        self.start = self._client.start  # whose grants are for threads

    async def close(self) -> None:
        """As Client.close()."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._client.close)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    # Wait queues.
    wait = _awaits(_calls.wait)
    acquire = _grants(_grant.acquire)
    wake_up = _awaits(_calls.wake_up)
    get = _awaits(_calls.get)
    store = _awaits(_calls.store)
    # Completions.
    await_done = _awaits(_calls.await_done)
    try_wait = _awaits(_calls.try_wait)
    complete = _awaits(_calls.complete)
    complete_all = _awaits(_calls.complete_all)
    reinit = _awaits(_calls.reinit)
    done = _awaits(_calls.done)
    # Pipes.
    read = _awaits(_calls.read)
    accept = _awaits(_calls.accept)
    release = _awaits(_calls.release)
    write = _awaits(_calls.write)
    poll = _awaits(_calls.poll)
    # Any of several of these.
    wait_any = _awaits(_any.wait_any)
    # Objects and tasks.
    create_wait_queue = _awaits(_objects.create_wait_queue)
    create_completion = _awaits(_objects.create_completion)
    create_pipe = _awaits(_objects.create_pipe)
    remove = _awaits(_objects.remove)
    stat = _awaits(_objects.stat)
    list = _does(_objects.list_objects)
    tasks = _does(_objects.tasks)
    signal = _awaits(_objects.signal)

    # What is made of them.

    def lock(self, name: str) -> AsyncLock:
        """As Client.lock()."""
        return AsyncLock(self, name)

    def semaphore(self, name: str, permits: int) -> AsyncSemaphore:
        """As Client.semaphore()."""
        return AsyncSemaphore(self, name, permits)

    def event(self, name: str) -> AsyncEvent:
        """As Client.event()."""
        return AsyncEvent(self, name)

    def latch(self, name: str, count: int) -> AsyncLatch:
        """As Client.latch()."""
        return AsyncLatch(self, name, count)

    def barrier(self, name: str, parties: int,
                on_death: OnDeath = OnDeath.WITHDRAW) -> AsyncBarrier:
        """As Client.barrier()."""
        return AsyncBarrier(self, name, parties, on_death)

    def poller(self) -> AsyncPoller:
        """As Client.poller()."""
        return AsyncPoller(self._core)

    async def open_reader(
            self, name: str, *, pipe: PipeOptions | None = None,
            max_bytes: int | None = None, window_bytes: int | None = None,
            timeout: Seconds | None = None, nonblock: bool = False,
            sleep: Sleep = Sleep.INTERRUPTIBLE,
            cancel: CancelToken | None = None) -> AsyncPipeReader:
        """As Client.open_reader()."""
        stream = _streams.Reading(
            self._core, name,
            _streams.options_of(pipe, timeout, nonblock, sleep, cancel),
            max_bytes, window_bytes)
        await drive(stream.open())
        return AsyncPipeReader(stream)

    async def open_writer(
            self, name: str, *, pipe: PipeOptions | None = None,
            timeout: Seconds | None = None, nonblock: bool = False,
            sleep: Sleep = Sleep.INTERRUPTIBLE,
            cancel: CancelToken | None = None) -> AsyncPipeWriter:
        """As Client.open_writer()."""
        stream = _streams.Writing(
            self._core, name,
            _streams.options_of(pipe, timeout, nonblock, sleep, cancel))
        await drive(stream.open())
        return AsyncPipeWriter(stream)


class AsyncPoller(Poller):
    """As `waitq.Poller`, whose other methods do not block.

    >>> with client.poller() as poller:
    ...     poller.watch("jobs/a", readable=True)
    ...     for event in await poller.ready():
    ...         await client.read(event.name, nonblock=True)
    """

    def wait(self, timeout: Seconds | None = None,
             most: int | None = None) -> list[PollerEvent]:
        """Would block the loop: RuntimeError. See ready()."""
        raise RuntimeError("await ready() instead")

    async def ready(self, most: int | None = None) -> list[PollerEvent]:
        """As take(), but sleeps until there is one. One task at a time."""
        loop = asyncio.get_running_loop()
        while not (events := self.take(most)):
            readable = loop.create_future()
            descriptor = self.fileno()
            loop.add_reader(descriptor, lambda: readable.done()
                            or readable.set_result(None))
            try:
                await readable
            finally:
                loop.remove_reader(descriptor)
        return events


class AsyncPipeReader:
    """As `waitq.PipeReader`: one task at a time.

    >>> async with await client.open_reader("p") as reader:
    ...     async for chunk in reader: ...
    """

    def __init__(self, stream: _streams.Reading) -> None:
        self._stream = stream
        self._finalizer = weakref.finalize(self, _streams.finish_quietly,
                                           stream)

    async def read_chunk(self) -> PipeChunk:
        """The next data, as it comes. Cancelled, nothing is lost: the read goes
        on, and is that of the next call."""
        return await drive(self._stream.read())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := self._stream.data_of(await self.read_chunk()):
            yield data

    async def read_all(self) -> bytes:
        """All until the end."""
        return b"".join([data async for data in self])

    @property
    def sleeps(self) -> int:
        return self._stream.sleeps

    def close(self) -> None:
        """As PipeReader.close(): does not wait."""
        self._finalizer()

    async def __aenter__(self) -> AsyncPipeReader:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()


class AsyncPipeWriter:
    """As `waitq.PipeWriter`: one task at a time."""

    def __init__(self, stream: _streams.Writing) -> None:
        self._stream = stream
        self._finalizer = weakref.finalize(self, _streams.finish_quietly,
                                           stream)

    async def write(self, data: bytes) -> int:
        """As PipeWriter.write(). Cancelled, the file is broken."""
        await drive(self._stream.write(data))
        return len(data)

    async def close(self) -> None:
        """As PipeWriter.close()."""
        await drive(self._stream.close())
        self._finalizer.detach()

    def abort(self) -> None:
        """Breaks the file. Does not wait."""
        self._finalizer()

    @property
    def accepted_bytes(self) -> int:
        return self._stream.accepted_bytes

    @property
    def offset(self) -> int:
        return self._stream.offset

    @property
    def incarnation(self) -> int:
        return self._stream.incarnation

    @property
    def sleeps(self) -> int:
        return self._stream.sleeps

    async def __aenter__(self) -> AsyncPipeWriter:
        return self

    async def __aexit__(self, kind: type[BaseException] | None,
                        exception: BaseException | None,
                        traceback: TracebackType | None) -> None:
        if kind is None:
            await self.close()
        else:
            self.abort()
