"""A client's one thread: it runs the session's machine, and tells calls their
ends. So the machine needs no lock, and Ctrl-C never meets it."""

from __future__ import annotations

import logging
import math
import os
import queue
import threading
import time
from typing import Any, Callable, TypeVar

import grpc

from waitq import _status, errors
from waitq._address import target_of
from waitq._call import Call, Plan
from waitq._link import CHANNEL_OPTIONS, GrpcLink
from waitq._machine import Machine, Options, State
from waitq._operation import Operation, Receipt

T = TypeVar("T")
_log = logging.getLogger("waitq")

# How long the server has to hear that the session is over.
_GOODBYE = 2.0
# What comes together goes out together; but not for ever.
_BATCH_MAX = 1000
_LONGEST_WAIT = 3600.0


def give_up_after(timeout: float | None) -> float:
    """How long the answer of a call with this timeout is waited for: for long
    sleeps a share more, as its machine's clock may be another."""
    return math.inf if timeout is None else timeout + 5 + timeout / 32


class Core:
    """Thread safety: any thread may call any method, but for settle(), which is
    the core's thread's."""

    def __init__(self, server: str, caller: str, grace: float) -> None:
        self._server = server
        self._target = target_of(server)
        self._pid = os.getpid()
        self._queue: queue.SimpleQueue[tuple[Callable[..., Any],
                                       tuple[Any, ...]]] = (
            queue.SimpleQueue())
        self._link = GrpcLink(self._target, server, self.post)
        self.machine = Machine(self._link, Options(caller, grace, server))
        self._link.start(self.machine)
        self._looking: grpc.Channel | None = None
        self._mu = threading.RLock()
        self._closed = threading.Event()  # the machine is
        self._stopping = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="waitq",
                                        daemon=True)
        self._thread.start()

    # --- Calls ----------------------------------------------------------------

    def start(self, plan: Plan[T]) -> Call[T]:
        self._check_process()
        call = Call(self, plan)
        token = plan.cancel
        if token is not None and token.cancelled:
            call._finish(errors.cancelled(sent=False, name=plan.name),
                         None, None)
            return call
        if plan.method:
            self.post(self._look, plan, call)
        else:
            call._operation = Operation(
                plan.operation, call._finish, give_up_after(plan.timeout),
                plan.restartable, plan.sleeper, plan.session)
            self.post(self.machine.submit, call._operation)
        # Behind that: a cancel that comes before it would find nothing to
        # cancel. If it has come meanwhile, it is made up for.
        if token is not None and not token._add(call):
            call.cancel()
        return call

    def _look(self, plan: Plan[T], call: Call[T]) -> None:
        if self._stopping:
            return call._finish(errors.cancelled(sent=False, name=plan.name),
                                None, None)
        if self._looking is None:
            self._looking = grpc.insecure_channel(self._target, CHANNEL_OPTIONS)
        call._future = self._looking.unary_unary(
            plan.method,
            request_serializer=type(plan.request).SerializeToString,
            response_deserializer=plan.answer.FromString).future(plan.request)
        call._future.add_done_callback(
            lambda future: self.post(self._looked, plan, call, future))

    def _looked(self, plan: Plan[T], call: Call[T], future: Any) -> None:
        if future.code() is grpc.StatusCode.OK:
            return call._finish(None, future.result(), None)
        if future.cancelled():
            failure = errors.cancelled(plan.changes, plan.name)
        else:
            failure = _status.failure_of(future, self._server, plan.name,
                                         sent=plan.changes)
        call._finish(failure, None, None)

    def settle(self, receipt: Receipt, taken: bool) -> None:
        self.machine.settle(receipt, taken)

    def check_may_wait(self, name: str) -> None:
        """Raises where nobody would end the wait."""
        self._check_process()
        if threading.current_thread() is self._thread:
            raise errors.deadlock(name).error()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise errors.ForkedError(
                "this waitq client was made by the parent of this process")

    # --- The thread -----------------------------------------------------------

    def post(self, function: Callable[..., Any], *args: Any) -> None:
        """Has the thread do it, after what was posted before. May be called
        anywhere, also by a signal's handler and by __del__."""
        self._check_process()
        self._queue.put((function, args))
        if self._stopped:  # nobody else does it any more
            self._do_rest()

    def _run(self) -> None:
        while not self._stopping:
            left = self.machine.next_work() - time.monotonic()
            try:
                item = self._queue.get(
                    timeout=min(max(left, 0.0), _LONGEST_WAIT))
                for _ in range(_BATCH_MAX):
                    self._do(*item)
                    item = self._queue.get_nowait()
                self._do(*item)
            except queue.Empty:
                pass
            if self.machine.next_work() <= time.monotonic():
                self._do(self.machine.on_timer, ())
            self._do(self.machine.pump, ())
            if self.machine.state is State.CLOSED:
                self._closed.set()
        with self._mu:
            self._stopped = True
        self._do_rest()

    def _do_rest(self) -> None:
        with self._mu:
            while True:
                try:
                    self._do(*self._queue.get_nowait())
                except queue.Empty:
                    break
            self._do(self.machine.pump, ())

    def _do(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            function(*args)
        except Exception:  # pylint: disable=broad-except
            _log.exception("this is a bug of waitq's client")

    # --- The end --------------------------------------------------------------

    def close(self) -> None:
        """Calls under way end with Cancelled, and the server is told. Waits for
        that, but not long. In a child of the process: nothing."""
        if os.getpid() != self._pid:
            return
        if threading.current_thread() is self._thread:
            raise errors.deadlock("").error()
        try:
            self.post(self.machine.close)
            # What was taken is said with the goodbye: it is worth a moment.
            self._closed.wait(_GOODBYE)
        finally:
            self.post(self._stop)
        self._thread.join()

    def kill(self) -> None:
        """As if the program died now: nothing is said. For tests."""
        self.post(self._stop)

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self.machine.close()
        self._link.stop()
        if self._looking is not None:
            self._looking.close()
