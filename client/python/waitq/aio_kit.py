"""Locks, semaphores, events, latches and barriers between machines, for
asyncio: as kit.py, whose contracts are these, with methods to be awaited.
Cancelling a task is what an interrupt is there."""

from __future__ import annotations

import asyncio
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Callable

from waitq import _calls, _grant
from waitq._aio import drive
from waitq._call import CancelToken, once
from waitq._grant import Holding
from waitq._kit_steps import (
    Asked, BarrierSteps, Entered, Named, take_lock, take_permits)
from waitq.errors import WaitqError
from waitq.types import (
    Action, BarrierResult, Condition, OnDeath, Seconds, Sleep, WaitResult,
    WakeResult)

if TYPE_CHECKING:
    from waitq.aio import AsyncClient

__all__ = [
    "AsyncGrant", "AsyncLock", "AsyncSemaphore", "AsyncEvent", "AsyncLatch",
    "AsyncBarrier",
]


class AsyncGrant:
    """As `waitq.Grant`; of the event loop in which it was acquired.

    >>> async with await lock.acquire(timeout=10) as grant:
    ...     if grant: ...
    """

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._finalizer = weakref.finalize(self, Holding.finish_quietly,
                                           holding)
        self._lost = asyncio.Event()
        self._why: WaitqError | None = None
        self._listener: Callable[[WaitqError], object] | None = None
        loop = asyncio.get_running_loop()
        # While it is held the holding is there, and must not keep this.
        weak = weakref.ref(self)

        def tell_loop(why: WaitqError) -> None:
            try:
                loop.call_soon_threadsafe(_tell, weak, why)
            except RuntimeError:
                pass  # it is closed: nobody hears it any more

        holding.on_lost(tell_loop)

    @property
    def token(self) -> int:
        """As Grant.token."""
        return self._holding.result.generation

    @property
    def result(self) -> WaitResult:
        """As Grant.result."""
        return self._holding.result

    @property
    def held(self) -> bool:
        """As Grant.held."""
        return self._holding.is_held

    def __bool__(self) -> bool:
        return self.held

    @property
    def lost(self) -> asyncio.Event:
        """As Grant.lost, to be awaited."""
        return self._lost

    def on_lost(self, listener: Callable[[WaitqError], object]) -> None:
        """As Grant.on_lost(); the listener is called by the event loop."""
        self._listener = listener
        if self._why is not None:
            listener(self._why)

    async def give_back(self, update: Action | None = None) -> WakeResult:
        """As Grant.give_back(). Cancelled, it is given back all the same."""
        return await drive(self._holding.give_back(update))

    def keep(self) -> None:
        """As Grant.keep()."""
        self._holding.keep()

    async def __aenter__(self) -> AsyncGrant:
        return self

    async def __aexit__(self, kind: type[BaseException] | None,
                        exception: BaseException | None,
                        traceback: TracebackType | None) -> None:
        """As Grant's `with` block."""
        if kind is not None:
            self._holding.send_back()
        elif self._holding.is_due:
            await self.give_back()


def _tell(weak: weakref.ref[AsyncGrant], why: WaitqError) -> None:
    grant = weak()
    if grant is None:
        return
    grant._why = why
    grant._lost.set()
    if grant._listener is not None:
        grant._listener(why)


class _AsyncGranting(Named):
    """Something that is acquired. As an `async with` block it is acquired for
    that long; each task leaves its own."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        super().__init__(client, name)
        self._entered: Entered[AsyncGrant] = Entered()

    async def acquire(self) -> AsyncGrant:
        raise NotImplementedError

    async def __aenter__(self) -> AsyncGrant:
        grant = await self.acquire()
        self._entered.enter(asyncio.current_task(), grant)
        return grant

    async def __aexit__(self, kind: type[BaseException] | None,
                        exception: BaseException | None,
                        traceback: TracebackType | None) -> None:
        grant = self._entered.leave(asyncio.current_task())
        await grant.__aexit__(kind, exception, traceback)


class AsyncLock(_AsyncGranting):
    """As `waitq.Lock`.

    >>> async with client.lock("backup") as grant:
    ...     ...
    """

    async def acquire(self, *, timeout: Seconds | None = None,
                      nonblock: bool = False,
                      sleep: Sleep = Sleep.INTERRUPTIBLE,
                      cancel: CancelToken | None = None) -> AsyncGrant:
        """As Lock.acquire()."""
        plan = take_lock(self._name, Asked(timeout, nonblock, sleep, cancel))
        return await drive(once(self._core, _grant.as_kind(plan, AsyncGrant)))


class AsyncSemaphore(_AsyncGranting):
    """As `waitq.Semaphore`."""

    def __init__(self, client: AsyncClient, name: str, permits: int) -> None:
        super().__init__(client, name)
        self._permits = permits

    async def acquire(self, n: int = 1, *, timeout: Seconds | None = None,
                      nonblock: bool = False,
                      sleep: Sleep = Sleep.INTERRUPTIBLE,
                      cancel: CancelToken | None = None) -> AsyncGrant:
        """As Semaphore.acquire()."""
        plan = take_permits(self._name, n, self._permits,
                            Asked(timeout, nonblock, sleep, cancel))
        return await drive(once(self._core, _grant.as_kind(plan, AsyncGrant)))


class AsyncEvent(Named):
    """As `waitq.Event`."""

    async def set(self, *, cancel: CancelToken | None = None) -> None:
        """As Event.set()."""
        await drive(once(self._core, _calls.wake_up(
            self._name, Action.set(1), all=True, cancel=cancel)))

    async def set_for_one(self, *, cancel: CancelToken | None = None) -> None:
        """As Event.set_for_one()."""
        await drive(once(self._core, _calls.wake_up(
            self._name, Action.set(1), cancel=cancel)))

    async def clear(self, *, cancel: CancelToken | None = None) -> None:
        """As Event.clear()."""
        await drive(once(self._core, _calls.store(
            self._name, 0, cancel=cancel)))

    async def wait(self, *, timeout: Seconds | None = None,
                   nonblock: bool = False, sleep: Sleep = Sleep.INTERRUPTIBLE,
                   cancel: CancelToken | None = None) -> WaitResult:
        """As Event.wait()."""
        asked = Asked(timeout, nonblock, sleep, cancel)
        return await drive(once(self._core, asked.wait(
            self._name, Condition.not_equal(0))))

    async def take_one(self, *, timeout: Seconds | None = None,
                       nonblock: bool = False,
                       sleep: Sleep = Sleep.INTERRUPTIBLE,
                       cancel: CancelToken | None = None) -> WaitResult:
        """As Event.take_one()."""
        asked = Asked(timeout, nonblock, sleep, cancel)
        return await drive(once(self._core, asked.wait(
            self._name, Condition.not_equal(0), Action.set(0))))


class AsyncLatch(Named):
    """As `waitq.Latch`."""

    def __init__(self, client: AsyncClient, name: str, count: int) -> None:
        super().__init__(client, name)
        self._count = count

    async def count_down(self, n: int = 1, *,
                         cancel: CancelToken | None = None) -> None:
        """As Latch.count_down()."""
        await drive(once(self._core, _calls.wake_up(
            self._name, Action.add(n), all=True, cancel=cancel)))

    async def wait(self, *, timeout: Seconds | None = None,
                   nonblock: bool = False, sleep: Sleep = Sleep.INTERRUPTIBLE,
                   cancel: CancelToken | None = None) -> WaitResult:
        """As Latch.wait()."""
        asked = Asked(timeout, nonblock, sleep, cancel)
        return await drive(once(self._core, asked.wait(
            self._name, Condition.greater_or_equal(self._count))))


class AsyncBarrier(Named):
    """As `waitq.Barrier`."""

    def __init__(self, client: AsyncClient, name: str, parties: int,
                 on_death: OnDeath = OnDeath.WITHDRAW) -> None:
        super().__init__(client, name)
        self._steps = BarrierSteps(client._core, name, parties, on_death)

    async def arrive(self, *, timeout: Seconds | None = None,
                     nonblock: bool = False,
                     sleep: Sleep = Sleep.INTERRUPTIBLE,
                     cancel: CancelToken | None = None) -> BarrierResult:
        """As Barrier.arrive()."""
        return await drive(self._steps.arrive(
            Asked(timeout, nonblock, sleep, cancel)))

    async def reset(self, *, cancel: CancelToken | None = None) -> None:
        """As Barrier.reset()."""
        await drive(once(self._core, self._steps.reset(cancel)))
