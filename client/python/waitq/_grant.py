"""What a wait was granted, without saying how one waits to give it back."""

from __future__ import annotations

import enum
import logging
import threading
from typing import Callable, TypeVar

from waitq import _calls, _wire, errors
from waitq._call import Call, CancelToken, Plan, Steps
from waitq._calls import read_wait
from waitq.errors import Failure, WaitqError
from waitq.types import (
    Action, Condition, Outcome, Seconds, Sleep, Undo, WaitResult, WakeResult)

T = TypeVar("T")

Listener = Callable[[WaitqError], object]


class _Standing(enum.Enum):
    NONE = 0  # nothing was granted
    HELD = 1
    GIVEN_BACK = 2
    LOST = 3


class Holding:
    """The end of an acquire().

    The core's thread tells it that it is lost; that races with whoever gives it
    back, and the first of them has it.
    """

    def __init__(self, call: Call[Holding], name: str,
                 result: WaitResult) -> None:
        self.name = name
        self.result = result
        self.lost = threading.Event()
        self._core = call._core
        # Also of the thread that is just collecting garbage.
        self._mu = threading.RLock()
        self._standing = _Standing.NONE
        self._session = 0
        self._why: Failure | None = None
        self._listener: Listener | None = None
        if result.outcome is Outcome.DONE:
            assert call._receipt is not None
            self._standing = _Standing.HELD
            self._session = call._receipt.session
            # Before it is said to be taken.
            self._core.post(self._core.machine.watch, self._session, self._lose)

    @property
    def is_held(self) -> bool:
        return self._standing is _Standing.HELD

    @property
    def is_due(self) -> bool:
        """It was granted, and this program has not given it back: if it is lost
        that is to be told."""
        return self._standing in (_Standing.HELD, _Standing.LOST)

    def give_back(self, update: Action | None = None) -> Steps[WakeResult]:
        if not self._end():
            raise self._not_held().error()
        call = self._core.start(self._plan(update))
        # Should nobody wait for its end, it goes on: it is given back.
        yield call
        value = call._value()
        call._take()
        return value

    def send_back(self, update: Action | None = None) -> None:
        """The same, if it is held, without waiting for the answer: if it does
        not arrive the session is lost, and the grant with it."""
        if self._end():
            self._core.start(self._plan(update))

    def keep(self) -> None:
        # Adding nothing is a change, which takes the place of the undoing.
        self.send_back(Action.add(0))

    def finish_quietly(self) -> None:
        """For __del__: the process may end, or be a child."""
        try:
            self.send_back()
        except Exception:  # pylint: disable=broad-except
            logging.getLogger("waitq").debug("not given back", exc_info=True)

    def on_lost(self, listener: Listener | None) -> None:
        """Instead of the listener before it."""
        with self._mu:
            self._listener = listener
            why = self._why
        if why is not None and listener is not None:
            listener(why.error())

    def check_may_wait(self) -> None:
        """Before it counts as given back, and nobody does so."""
        self._core.check_may_wait(self.name)

    def _end(self) -> bool:
        """Whoever makes it so is the one that acts."""
        with self._mu:
            if self._standing is not _Standing.HELD:
                return False
            self._standing = _Standing.GIVEN_BACK
        self._core.post(self._core.machine.unwatch, self._lose)
        return True

    def _not_held(self) -> Failure:
        with self._mu:
            return self._why or errors.not_granted(
                self.name, self._standing is _Standing.GIVEN_BACK)

    def _plan(self, update: Action | None) -> Plan[WakeResult]:
        plan = _calls.wake_up(self.name, update, grant=self.result.generation)
        plan.session = self._session
        return plan

    def _lose(self, failure: Failure) -> None:
        with self._mu:
            if self._standing is not _Standing.HELD:
                return
            self._standing = _Standing.LOST
            self._why = failure.but(object=self.name)
            listener = self._listener
        self.lost.set()
        if listener is not None:
            try:
                listener(self._why.error())
            except Exception:  # pylint: disable=broad-except
                logging.getLogger("waitq").exception(
                    "%s: the listener of a lost grant failed", self.name)


def acquire(name: str, condition: Condition | None, then: Action, *,
            undo: Undo = Undo(), exclusive: bool | None = None,
            then_wake: bool = False, key: int = 0, seen_generation: int = 0,
            timeout: Seconds | None = None, nonblock: bool = False,
            sleep: Sleep = Sleep.INTERRUPTIBLE, want_timing: bool = False,
            cancel: CancelToken | None = None) -> Plan[Holding]:
    """A wait() whose success, a change of the word by `then`, is undone when
    the grant is given back, or with the session: a lock, a permit (`Lock`,
    `Semaphore`).

    undo  how; the default: an `add` by its opposite, a `set` by the word as it
          was, unless it has been changed since

    The rest as wait()'s. A grant that is not held has timed out or would have
    blocked: its `result` says which. Should the session be lost while it
    sleeps, it begins anew with what is left of its time, if it has a condition
    and `undo` is the default; otherwise its outcome is unknown.
    """
    waits = _calls.wait(
        name, condition, then, exclusive=exclusive, then_wake=then_wake,
        key=key, seen_generation=seen_generation, timeout=timeout,
        nonblock=nonblock, sleep=sleep, want_timing=want_timing)
    waits.operation.wait.undo.CopyFrom(_wire.undo_to_wire(undo))

    def hold(call: Call[Holding]) -> Holding:
        return Holding(call, name, read_wait(call._answer))

    # What may be undone in another way is not known to have been.
    return Plan(name, hold, True, waits.operation, waits.timeout,
                restartable=condition is not None and undo == Undo(),
                sleeper=True, cancel=cancel)


def as_kind(plan: Plan[Holding], kind: Callable[[Holding], T]) -> Plan[T]:
    """The same, and what the program sees of it is of that kind."""
    return Plan(plan.name, lambda call: kind(plan.read(call)), True,
                plan.operation, plan.timeout, plan.restartable, plan.sleeper,
                cancel=plan.cancel)
