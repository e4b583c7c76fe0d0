"""Calls that are under way, and what cancels them."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Callable, Generator, Generic, TypeVar

from waitq.errors import Failure
from waitq.types import Seconds, to_seconds
from waitq.v1 import sessions_pb2

if TYPE_CHECKING:
    from waitq._core import Core
    from waitq._operation import Operation, Receipt

T = TypeVar("T")

# Python's signal handlers run in the main thread, and only when that looks up. A
# signal that comes just before it sleeps, or to another thread, does not wake
# it: so it looks up by itself.
_LOOK_UP = 0.2

_log = logging.getLogger("waitq")


class CancelToken:
    """Cancels every call that it was given to, also those yet to be made.

    Thread safety: any thread may call any method, a signal's handler cancel().
    """

    def __init__(self) -> None:
        # Of its own thread's handlers it must not wait for itself: what
        # _add() returns, it looks at last.
        self._mu = threading.RLock()
        self._cancelled = False
        self._calls: weakref.WeakSet[Call[Any]] = weakref.WeakSet()

    def cancel(self) -> None:
        """They end with `Cancelled`, within a second. Does not wait."""
        with self._mu:
            self._cancelled = True
            calls = list(self._calls)
            self._calls.clear()
        for call in calls:
            call.cancel()

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def _add(self, call: Call[Any]) -> bool:
        """False: it has been cancelled."""
        with self._mu:
            if not self._cancelled and not call.done():
                self._calls.add(call)
            return not self._cancelled

    def _remove(self, call: Call[Any]) -> None:
        with self._mu:
            self._calls.discard(call)


@dataclasses.dataclass
class Plan(Generic[T]):
    """A call that is to be made: an operation of the session, or a look, which
    is a unary call on a connection of its own."""

    name: str  # for errors
    read: Callable[[Any], T]  # makes what the program sees of the answer
    # It makes that of the call which has it, as it needs more than the answer.
    reads_call: bool = False
    operation: sessions_pb2.Operation = dataclasses.field(
        default_factory=sessions_pb2.Operation)
    timeout: float | None = None
    restartable: bool = False
    sleeper: bool = False
    session: int = 0
    cancel: CancelToken | None = None
    # Of a look.
    method: str = ""
    request: Any = None
    answer: Any = None
    changes: bool = False  # so its outcome may be unknown


class Call(Generic[T]):
    """A call that was started and may be waited for later.

    Taken: what it took is the program's when result() returns. Should nobody
      ask for the result, it is given back when this is gone.
    Thread safety: any thread may call any method.
    """

    def __init__(self, core: Core, plan: Plan[T]) -> None:
        self._core = core
        self._name = plan.name
        self._make = plan.read
        self._reads_call = plan.reads_call
        self._made: list[T] | None = None  # by that, once
        self._token = plan.cancel
        self._mu = threading.RLock()  # signals' handlers ask, too
        self._ended = threading.Event()
        self._callbacks: list[Callable[[Call[T]], object]] = []
        self._failure: Failure | None = None
        self._answer: Any = None
        self._receipt: Receipt | None = None
        # The core's thread's: what stops it, and whether its result is settled.
        self._operation: Operation | None = None
        self._future: Any = None
        self._settled = False

    # --- For programs ---------------------------------------------------------

    def done(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    def result(self, timeout: Seconds | None = None) -> T:
        """Waits for its end, and takes the result. A WaitqError if it failed.

        TimeoutError: it has not ended within `timeout`; it goes on."""
        if not self.wait(timeout):
            raise TimeoutError(f"{self._name}: the call has not ended")
        value = self._value()
        self._take()
        return value

    def cancel(self) -> None:
        """It is to end with `Cancelled`, which takes a second at most. What it
        would have taken is not taken, or given back. Does not wait. Does
        nothing if it has ended."""
        self._core.post(self._cancel)

    def add_done_callback(self, callback: Callable[[Call[T]], object]) -> None:
        """`callback(call)` comes once when it has ended, on the client's thread
        (at once and on this one, if it has ended already). It may ask for the
        result and start calls; until it returns all others of the client wait,
        so it must not wait for another: `Deadlock`."""
        with self._mu:
            if not self._ended.is_set():
                self._callbacks.append(callback)
                return
        self._call_back(callback)

    def wait(self, timeout: Seconds | None = None) -> bool:
        """Waits for its end. False: it has not ended within `timeout`."""
        if not self._ended.is_set():
            self._core.check_may_wait(self._name)
        seconds = to_seconds(timeout)
        if threading.current_thread() is not threading.main_thread():
            return self._ended.wait(seconds)
        end = math.inf if seconds is None else time.monotonic() + seconds
        while not self._ended.wait(min(_LOOK_UP, end - time.monotonic())):
            if time.monotonic() >= end:
                return False
        return True

    def abandon(self) -> None:
        """Nobody wants its result: what it took is given to others, and if it
        has not ended it is to end. Does not wait."""
        self._core.post(self._settle, False)

    # --- For the library ------------------------------------------------------

    def _value(self) -> T:
        """Of one that has ended: its result, which is not taken with that."""
        if self._failure is not None:
            raise self._failure.error()
        with self._mu:
            if self._made is None:
                self._made = [
                    self._make(self if self._reads_call else self._answer)]
            return self._made[0]

    def _take(self) -> None:
        """The program has the result."""
        if self._receipt is not None:
            self._core.post(self._settle, True)

    def __del__(self) -> None:
        try:
            if self._receipt is not None and not self._settled:
                self._core.post(self._core.settle, self._receipt, False)
        except Exception:  # pylint: disable=broad-except
            pass  # the process ends, or is a child

    # --- On the core's thread -------------------------------------------------

    def _finish(self, failure: Failure | None, answer: Any,
                receipt: Receipt | None) -> None:
        if failure is not None and not failure.object:
            failure = failure.but(object=self._name)
        self._failure, self._answer, self._receipt = failure, answer, receipt
        if self._settled and receipt is not None:
            self._core.settle(receipt, False)
        with self._mu:
            self._ended.set()
            callbacks, self._callbacks = self._callbacks, []
        if self._token is not None:
            self._token._remove(self)
        for callback in callbacks:
            self._call_back(callback)

    def _call_back(self, callback: Callable[[Call[T]], object]) -> None:
        try:
            callback(self)
        except Exception:  # pylint: disable=broad-except
            _log.exception("%s: a done-callback failed", self._name)

    def _cancel(self) -> None:
        if self._operation is not None:
            self._core.machine.cancel(self._operation)
        if self._future is not None:
            self._future.cancel()

    def _settle(self, taken: bool) -> None:
        if self._settled:
            return
        self._settled = True
        if self._receipt is not None:
            self._core.settle(self._receipt, taken)
        elif not self._ended.is_set():
            self._cancel()


# A procedure of several calls, without saying how to wait for them: it yields
# each that has to end before it goes on. An exception that interrupts the wait
# is thrown into it.
Steps = Generator[Call[Any], None, T]


def once(core: Core, plan: Plan[T]) -> Steps[T]:
    """The procedure of one call."""
    call = core.start(plan)
    try:
        yield call
    except BaseException:
        call.abandon()
        raise
    value = call._value()
    call._take()
    return value


def drive(steps: Steps[T]) -> T:
    """Does it, by waiting in this thread. Ctrl-C interrupts that."""
    try:
        call = next(steps)
        while True:
            try:
                call.wait()
            except BaseException as error:  # pylint: disable=broad-except
                call = steps.throw(error)
            else:
                call = next(steps)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
