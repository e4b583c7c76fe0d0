"""Locks, semaphores, events, latches and barriers between machines, for
threads. `waitq.aio` has them for asyncio.

What is said of threads here: any thread may call any method.
"""

from __future__ import annotations

import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Callable

from waitq import _calls, _grant
from waitq._call import CancelToken, drive, once
from waitq._grant import Holding
from waitq._kit_steps import (
    Asked, BarrierSteps, Entered, Named, take_lock, take_permits)
from waitq.errors import WaitqError
from waitq.types import (
    Action, BarrierResult, Condition, OnDeath, Seconds, Sleep, WaitResult,
    WakeResult)

if TYPE_CHECKING:
    from waitq.client import Client

__all__ = ["Grant", "Lock", "Semaphore", "Event", "Latch", "Barrier"]


class Grant:
    """The success of an acquire(): a lock that is held, a semaphore's permit.
    True while it is held.

    >>> with lock.acquire(timeout=10) as grant:
    ...     if grant: ...

    Given back: at the end of the `with` block, by give_back(), or when nobody
      has this object any more: so keep it. At the program's end, too.
    Lost: with the client's session. That happens if the program dies, if
      nothing is heard from the server for 0.9 of the client's `grace`, if the
      server is restarted, or by Client.close(). The server gives it to others
      only when the whole grace is over since it has heard from the client, so
      on_lost() and `lost` have a tenth of the grace to stop what the grant was
      for. A program that stands still, or whose writes are still on their way,
      does not hear of it in time: if two at once do harm, what they write to
      has to check `token` (docs/locks.md).
    """

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._finalizer = weakref.finalize(self, Holding.finish_quietly,
                                           holding)

    @property
    def token(self) -> int:
        """The number of the grant, and its fencing token: a later grant of the
        same word has a higher one, also after a restart of the server."""
        return self._holding.result.generation

    @property
    def result(self) -> WaitResult:
        """The wait's. Of a grant that was never held: why not."""
        return self._holding.result

    @property
    def held(self) -> bool:
        """Neither lost nor given back, as far as this program knows."""
        return self._holding.is_held

    def __bool__(self) -> bool:
        return self.held

    @property
    def lost(self) -> threading.Event:
        """Is set when the grant is lost. Not to be set by programs."""
        return self._holding.lost

    def on_lost(self, listener: Callable[[WaitqError], object]) -> None:
        """`listener(why)` comes once if the grant is lost: on the client's
        thread, whose other callbacks wait meanwhile (so it must not wait for
        calls); at once and on this one if it is lost already. Not if it is
        given back, but that may cross. Replaces the listener before it.

        (A grant that its own listener refers to is not dropped before it is
        lost.)"""
        self._holding.on_lost(listener)

    def give_back(self, update: Action | None = None) -> WakeResult:
        """Gives it back, once: as it would be undone, or by `update`. The
        result is that of the wake that goes with it. Interrupted (Ctrl-C), it
        is given back all the same.

        Stale, or why it was lost: it is not held, or its object was removed,
        and nothing has changed."""
        self._holding.check_may_wait()
        return drive(self._holding.give_back(update))

    def keep(self) -> None:
        """It stays as it is for good: nobody gives it back. Does not wait."""
        self._holding.keep()

    def __enter__(self) -> Grant:
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exception: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Gives it back, if that is not done, and raises why it was lost, if
        it was: then the block was not alone to its end. If an exception leaves
        the block that is the one, and nothing is waited for."""
        if kind is not None:
            self._holding.send_back()
        elif self._holding.is_due:
            self.give_back()


class _Granting(Named):
    """Something that is acquired. As a `with` block it is acquired for that
    long; each thread leaves its own."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(client, name)
        self._entered: Entered[Grant] = Entered()

    def acquire(self) -> Grant:
        raise NotImplementedError

    def __enter__(self) -> Grant:
        grant = self.acquire()
        self._entered.enter(threading.get_ident(), grant)
        return grant

    def __exit__(self, kind: type[BaseException] | None,
                 exception: BaseException | None,
                 traceback: TracebackType | None) -> None:
        grant = self._entered.leave(threading.get_ident())
        grant.__exit__(kind, exception, traceback)


class Lock(_Granting):
    """One at a time: the one who made the word of the wait queue `name` 1 when
    it was 0. First come, first served, but for who comes when it is free.

    >>> with client.lock("backup") as grant:
    ...     ...

    Whoever holds it and dies, or is not heard of for the grace, lets go of it:
    see `Grant`, also for what a lock cannot promise. Not recursive. Somebody
    who stores into the word breaks it: what the holder then gives back is
    nothing.
    """

    def acquire(self, *, timeout: Seconds | None = None, nonblock: bool = False,
                sleep: Sleep = Sleep.INTERRUPTIBLE,
                cancel: CancelToken | None = None) -> Grant:
        """Held, if the grant is true; if not, it timed out or would have
        blocked. Arguments and errors as of Client.wait()."""
        plan = take_lock(self._name, Asked(timeout, nonblock, sleep, cancel))
        return drive(once(self._core, _grant.as_kind(plan, Grant)))


class Semaphore(_Granting):
    """At most `permits` at a time. The word of the wait queue `name` counts
    those that are out, so that 0 is a fresh one, and nobody has to make it.
    Whoever holds some and dies, or is not heard of for the grace, gives them
    back: see `Grant`. A `with` block has one.

    All who use it should say the same `permits`, 1 or more: each looks only
    whether with his there would be more out than he says.
    """

    def __init__(self, client: Client, name: str, permits: int) -> None:
        super().__init__(client, name)
        self._permits = permits

    def acquire(self, n: int = 1, *, timeout: Seconds | None = None,
                nonblock: bool = False, sleep: Sleep = Sleep.INTERRUPTIBLE,
                cancel: CancelToken | None = None) -> Grant:
        """`n`, 1 to `permits`, all at once. Who asks for many may wait for as
        long as others come and ask for few: a newcomer goes ahead when what he
        asks for is there. The rest as Lock.acquire(). InvalidArgument: so many
        never could be there."""
        plan = take_permits(self._name, n, self._permits,
                            Asked(timeout, nonblock, sleep, cancel))
        return drive(once(self._core, _grant.as_kind(plan, Grant)))


class Event(Named):
    """It has happened, or it has not: the word of the wait queue `name` is 1
    while the event is set."""

    def set(self, *, cancel: CancelToken | None = None) -> None:
        """Wakes all who wait; it stays set."""
        drive(once(self._core, _calls.wake_up(
            self._name, Action.set(1), all=True, cancel=cancel)))

    def set_for_one(self, *, cancel: CancelToken | None = None) -> None:
        """Sets it for one: wakes one take_one() and all wait()s."""
        drive(once(self._core, _calls.wake_up(
            self._name, Action.set(1), cancel=cancel)))

    def clear(self, *, cancel: CancelToken | None = None) -> None:
        """It has not happened (any more). Who waits sleeps on."""
        drive(once(self._core, _calls.store(self._name, 0, cancel=cancel)))

    def wait(self, *, timeout: Seconds | None = None, nonblock: bool = False,
             sleep: Sleep = Sleep.INTERRUPTIBLE,
             cancel: CancelToken | None = None) -> WaitResult:
        """Sleeps until it is set. True if it is: see Client.wait()."""
        asked = Asked(timeout, nonblock, sleep, cancel)
        return drive(once(self._core, asked.wait(
            self._name, Condition.not_equal(0))))

    def take_one(self, *, timeout: Seconds | None = None,
                 nonblock: bool = False, sleep: Sleep = Sleep.INTERRUPTIBLE,
                 cancel: CancelToken | None = None) -> WaitResult:
        """The same, and clears it in the same step: it wakes one of those who
        take."""
        asked = Asked(timeout, nonblock, sleep, cancel)
        return drive(once(self._core, asked.wait(
            self._name, Condition.not_equal(0), Action.set(0))))


class Latch(Named):
    """Open once `count` have arrived, and for good. The word of the wait queue
    `name` counts them, so that nobody has to make it. What has arrived stays
    so, whatever becomes of its program: that is what a latch is for (a
    `Barrier` can take it back). `count`: 1 or more, the same for all."""

    def __init__(self, client: Client, name: str, count: int) -> None:
        super().__init__(client, name)
        self._count = count

    def count_down(self, n: int = 1, *,
                   cancel: CancelToken | None = None) -> None:
        """`n` have arrived. An error with `outcome_unknown`: perhaps; said
        again they might count twice."""
        drive(once(self._core, _calls.wake_up(
            self._name, Action.add(n), all=True, cancel=cancel)))

    def wait(self, *, timeout: Seconds | None = None, nonblock: bool = False,
             sleep: Sleep = Sleep.INTERRUPTIBLE,
             cancel: CancelToken | None = None) -> WaitResult:
        """Sleeps until it is open. True if it is: see Client.wait()."""
        asked = Asked(timeout, nonblock, sleep, cancel)
        return drive(once(self._core, asked.wait(
            self._name, Condition.greater_or_equal(self._count))))


class Barrier(Named):
    """All go on when all have come, again and again. The word of the wait queue
    `name` counts those who have come, over all rounds: of `parties` it lets
    through rounds of so many. 0 is a fresh one, and nobody has to make it. A
    round that was passed is passed for all who came in it, whatever becomes of
    one of them then.

    All who use it must say the same `parties`, 1 or more, and `on_death`.
    """

    def __init__(self, client: Client, name: str, parties: int,
                 on_death: OnDeath = OnDeath.WITHDRAW) -> None:
        super().__init__(client, name)
        self._steps = BarrierSteps(client._core, name, parties, on_death)

    def arrive(self, *, timeout: Seconds | None = None, nonblock: bool = False,
               sleep: Sleep = Sleep.INTERRUPTIBLE,
               cancel: CancelToken | None = None) -> BarrierResult:
        """Comes, and sleeps until all of the round have: then the result is
        true. If it times out, fails or is interrupted the caller has not come,
        unless the error has `outcome_unknown`: perhaps he has. OwnerDied: the
        barrier is broken, or the server was restarted; Stale: the session was
        lost, and with it the arrival, if the round is not passed before the
        server sees that."""
        return drive(self._steps.arrive(
            Asked(timeout, nonblock, sleep, cancel)))

    def reset(self, *, cancel: CancelToken | None = None) -> None:
        """A broken barrier begins again, at round 0. Does nothing to
        another."""
        drive(once(self._core, self._steps.reset(cancel)))
