"""A session, as its client sees it: operations that outlive their connection.

            submit()              hello answered
   NONE ───────────► CONNECTING ─────────────────► ATTACHED
    ▲                   ▲  │ no server, and           │ connection lost
    │                   │  │ no session yet:          ▼
    │                   │  ▼ operations fail       WAITING ─► CONNECTING ─►
    └───────────────────┴─ the session is over: the server says so, or nothing
                           was answered for 0.9 of its grace

What a server refuses because it drains has taken nothing there: it is begun anew
on the server that comes in its place. A first hello that has no answer may have
made a session: that is asked for again.

The machine knows no network, no thread and no lock: a Link carries its messages
and tells it the time, and one thread calls it. docs/session.md describes it,
and the other end.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import random
from collections import deque
from typing import Callable, Protocol

from waitq import _wire, errors
from waitq._acknowledgements import Acknowledgements
from waitq._lease import Lease
from waitq._operation import Operation, Receipt
from waitq._operations import Operations
from waitq.errors import Failure
from waitq.v1 import sessions_pb2

# Taken results are said with the next message, or after this time.
_ACKNOWLEDGE_WITHIN = 0.010
_UNSAID_MAX = 1000

# The first try is at once.
_BACKOFF_MIN = 0.050
_BACKOFF_MAX = 2.0

# What one message has of acknowledgements, and of cancels: so many numbers, of
# 10 bytes at most. The rest comes with the next ones.
_NUMBERS_MAX = 8192

# How long an operation that is to end may take to say so.
_CANCEL_TIME = 1.0


# Is told, once, why a session is over.
Lost = Callable[[Failure], None]


class Link(Protocol):
    """What the machine knows of the network: connections, one at a time, that
    carry messages; and a clock.

    What it has to say it tells the machine by its on_...() methods, and never
    from within these calls.
    """

    def connect(self, connection: int) -> None:
        """Makes a connection, which is called by that number from now on. It
        may be written to at once; on_closed() says if nothing comes of it."""

    def write(self, connection: int, message: bytes) -> None:
        """Sends a SessionRequest. The next one comes after on_written()."""

    def disconnect(self, connection: int) -> None:
        """Nothing that it says counts any more."""

    def may_have_arrived(self, connection: int) -> bool:
        """Whether anything that was written to it may have reached the server:
        not while it is still being made."""

    def now(self) -> float:
        """Seconds of a clock that is never set, and begins anywhere."""


@dataclasses.dataclass(frozen=True)
class Options:
    caller: str = ""
    grace: float = 30.0  # asked for; the server decides
    server: str = ""  # for error messages


class State(enum.Enum):
    NONE = 0
    CONNECTING = 1
    ATTACHED = 2
    WAITING = 3
    CLOSED = 4


class Machine:
    """One thread. After each call, or several, pump(), and on_timer() at
    next_work(): what is submitted in between goes out together."""

    def __init__(self, link: Link, options: Options) -> None:
        self._link = link
        self._options = options
        # Which tells this session from others: see Hello.
        self._program = _new_program()
        self.state = State.NONE
        self._closing = False
        self._end_sent = False
        self._tellings: deque[Callable[[], None]] = deque()

        self._connection = 0  # the last one
        self._writing = False
        self._hello_due = False
        # No operations before the hello is answered: another server may be
        # there.
        self._hold_operations = False
        # A hello without a token was sent, and had no answer; and how that
        # ended.
        self._asked_before = False
        self._no_answer = errors.expired(options.server)
        self._ask_again_until = 0.0
        self._connected = 0.0
        self._retry_at = 0.0
        self._backoff = _BACKOFF_MIN
        # The last server drained, and no other has answered yet
        # (Operations.between_servers): until then, who comes now waits, too.
        self._patience_end = 0.0

        self.session = 1  # how manieth it is
        # What the handles of the last one are told.
        self._last_end = errors.expired(options.server)
        self.token = b""  # empty: there is none
        self.epoch = 0
        self._lease = Lease(options.grace)
        self._operations = Operations()
        self._results_received = 0
        self._acknowledgements = Acknowledgements()
        self._acknowledge_at = math.inf
        self._cancels: deque[int] = deque()  # numbers, unsaid
        self._numbers_max = _NUMBERS_MAX  # in one message
        self._unsettled = 0  # results
        # Of this session, in the order in which they came.
        self._watches: dict[Lost, None] = {}

    # --- Operations -----------------------------------------------------------

    def submit(self, operation: Operation) -> None:
        now = operation.started = self._link.now()
        if self._closing:
            return self._tell(operation, errors.cancelled(sent=False))
        if operation.session not in (0, self.session):
            return self._tell(operation, self._last_end)
        if operation.give_up_after != math.inf:
            self._operations.give_up_at(operation,
                                        now + operation.give_up_after)
        self._operations.add(operation, self._unsettled)
        if self.state is State.NONE:
            self._connect()

    def cancel(self, operation: Operation) -> None:
        """It is to end, having consumed nothing, unless it ends in another way
        before that. Without a connection, at once. Nothing if it has ended."""
        if operation.tell is None or operation.cancelled:
            return
        sent = self._end_there(operation)
        if sent and self.state is State.ATTACHED:
            self._operations.give_up_at(operation,
                                        self._link.now() + _CANCEL_TIME)
        else:
            self._tell(operation, errors.cancelled(sent))

    def _end_there(self, operation: Operation) -> bool:
        """It is to end at the server; whether it may have come there."""
        operation.cancelled = True
        if self._operations.was_sent(operation):
            self._cancels.append(operation.number)
            return True
        operation.encoded = b""  # its number is sent, and asks for nothing
        return False

    def settle(self, receipt: Receipt, taken: bool) -> None:
        """The application has taken a result, or nobody will."""
        if receipt.session != self.session:
            return  # that one is over
        self._unsettled -= 1
        if taken:
            self._acknowledgements.take(receipt.number)
        else:
            self._acknowledgements.give_back(receipt.number)
        if (receipt.urgent or not taken
                or self._acknowledgements.unsaid >= _UNSAID_MAX):
            self._acknowledge_at = -math.inf
        elif self._acknowledge_at == math.inf:
            self._acknowledge_at = self._link.now() + _ACKNOWLEDGE_WITHIN
        self._operations.admit_waiting(self._unsettled)

    def watch(self, session: int, lost: Lost) -> None:
        """`lost` is to be told when that session is over for this client: the
        server has ended it, or nothing was answered for 0.9 of its grace, and
        so before the server gives to others what it had; or close() was called.
        If it is over already, at once."""
        if session == self.session and not self._closing:
            self._watches[lost] = None
        else:
            self._tellings.append(functools.partial(
                lost, errors.cancelled(sent=True) if self._closing
                else errors.expired(self._options.server)))

    def unwatch(self, lost: Lost) -> None:
        """It is not told any more."""
        self._watches.pop(lost, None)

    def _tell_watches(self, failure: Failure) -> None:
        for lost in self._watches:
            self._tellings.append(functools.partial(lost, failure))
        self._watches.clear()

    def close(self) -> None:
        """No more operations: those under way end, and the server is told what
        was taken and that the session is over; if the connection is lost before
        that, on another one. CLOSED when it knows; or there is no session, and
        none that a hello may have made; or it has ended by itself, 0.9 of its
        grace later at the latest."""
        if self._closing:
            return
        self._closing = True
        self._tell_watches(errors.cancelled(sent=True))
        for operation in self._all():
            self._tell(operation, errors.cancelled(
                self._operations.was_sent(operation)))
        self._operations.forget_waiting()
        self._operations.forget_drained()
        if not self._may_have_session():
            self.state = State.CLOSED
            self._link.disconnect(self._connection)
        elif self.state is State.WAITING:
            self._backoff = _BACKOFF_MIN  # there is not much time
            self._wait()

    def _may_have_session(self) -> bool:
        """There is one; or a hello was sent, and its answer is on its way or was
        lost, so that the server may have one: with what was sent at once asleep
        in it, and maybe with a lock."""
        return (bool(self.token) or self._asked_before
                or (self.state is State.CONNECTING and not self._hello_due
                    and self._link.may_have_arrived(self._connection)))

    def _is_goodbye_due(self) -> bool:
        """Who closes says so to a session that he knows, or behind the hello
        that may have made it."""
        return self._closing and (self.state is State.ATTACHED
                                  or not self.token)

    def operations(self) -> int:
        """How many are under way, for tests."""
        return len(self._operations)

    def _all(self) -> list[Operation]:
        return [*self._operations.numbered.values(),
                *self._operations.waiting(), *self._operations.drained()]

    def _tell(self, operation: Operation, failure: Failure) -> None:
        """Its end, here: nobody waits for its result any more."""
        tell, operation.tell = operation.tell, None
        operation.give_up = math.inf
        if tell is not None:
            self._tellings.append(functools.partial(tell, failure, None, None))

    # --- Messages out ---------------------------------------------------------

    def pump(self) -> None:
        """Tells what there is to tell, then sends what there is to send."""
        while self._tellings:
            self._tellings.popleft()()
        if self.state not in (State.CONNECTING, State.ATTACHED):
            return
        if not self._writing and self._anything_to_send():
            self._writing = True
            self._link.write(self._connection, self._make_message())

    def _anything_to_send(self) -> bool:
        if self._end_sent:
            return False  # that was the last message
        if self._hello_due or self._lease.due:
            return True
        if self.state is not State.ATTACHED and self.token:
            return False
        # Operations have ended here: those that were not sent never are.
        if self._closing:
            return self._is_goodbye_due()
        if self._cancels:
            return self.state is State.ATTACHED
        if not self._hold_operations and self._operations.any_to_send():
            return True
        return (self._acknowledgements.unsaid > 0
                and self._acknowledge_at <= self._link.now())

    def _make_message(self) -> bytes:
        head = sessions_pb2.SessionRequest()
        if self._hello_due:
            self._hello_due = False
            if self.token:
                head.hello.token = self.token
                head.hello.server_epoch = self.epoch
                head.hello.results_received = self._results_received
            else:
                head.hello.grace.CopyFrom(
                    _wire.to_duration(self._options.grace))
                head.hello.caller = self._options.caller
                head.hello.again = self._asked_before
            head.hello.program = self._program
            head.hello.attempt = self._connection
            self._connected = self._link.now()
        self._acknowledgements.say(head, self._numbers_max)
        all_said = self._acknowledgements.unsaid == 0
        self._acknowledge_at = math.inf if all_said else -math.inf
        if self._is_goodbye_due():
            if all_said:
                head.end = self._end_sent = True
        elif self.state is State.ATTACHED:
            for _ in range(min(len(self._cancels), self._numbers_max)):
                head.cancels.append(self._cancels.popleft())
        if self._lease.due:
            head.heartbeat = self._lease.send(self._link.now())
            self._acknowledgements.mark()
        body = bytearray()
        if (not self._hold_operations and not self._closing
                and self._operations.any_to_send()):
            head.first_operation = self._operations.sent_number + 1
            self._operations.append_to(body, head.ByteSize())
        return head.SerializeToString() + bytes(body)

    def on_written(self, connection: int) -> None:
        if connection == self._connection:
            self._writing = False

    # --- Messages in ----------------------------------------------------------

    def _is_current(self, connection: int) -> bool:
        # What a connection says that was just given up would be of another
        # session, whose results have the same numbers.
        return (connection == self._connection
                and self.state in (State.CONNECTING, State.ATTACHED))

    def on_message(self, connection: int,
                   message: sessions_pb2.SessionResponse) -> None:
        if not self._is_current(connection):
            return
        if message.HasField("hello"):
            self._on_hello(message.hello)
        if self._lease.answer(message.heartbeat):
            self._acknowledgements.arrived()
        if self._link.now() >= self._lease.end():
            # This program has stood still, and its timer comes late: what these
            # results gave may be somebody else's by now.
            self._expire()
        else:
            self._on_results(message)
        self._operations.admit_waiting(self._unsettled)

    def _on_hello(self, hello: sessions_pb2.SessionResponse.Hello) -> None:
        if self._asked_before and hello.operations_received == 0:
            # This server has not had what was sent. Another, which is gone, may
            # have.
            program = self._program
            self._lose(self._no_answer, self._no_answer, restart=True)
            self._program = program  # this session's
        self._asked_before = False
        begins = not self.token
        self.state = State.ATTACHED
        self.token = hello.token
        self.epoch = hello.server_epoch
        self._lease.begin(_wire.to_float(hello.grace), self._connected)
        self._operations.most = max(hello.operations_max, 1)
        # Of a message that has returns or takings and cancels, a third.
        self._numbers_max = (max(hello.message_bytes_max // 32, 1)
                             if hello.message_bytes_max else _NUMBERS_MAX)
        self._numbers_max = min(self._numbers_max, _NUMBERS_MAX)
        self._backoff = _BACKOFF_MIN
        self._operations.between_servers = False
        # Not on the session that they were refused in: its server drains still.
        if begins:
            self._operations.begin_drained_anew(self._link.now(),
                                                self._unsettled)
        if not self._hold_operations:
            return
        self._hold_operations = False
        # What the server has had is not sent again; what it has not, is.
        self._operations.sent_number = hello.operations_received
        self._cancels.clear()
        for number, operation in self._operations.numbered.items():
            if operation.cancelled:
                if number <= self._operations.sent_number:
                    self._cancels.append(number)
                else:  # it never came there, and asks for nothing now
                    self._tell(operation, errors.cancelled(sent=False))
                    operation.encoded = b""
            elif operation.epoch not in (0, self.epoch):
                unknown = errors.owner_dead(self._options.server)
                self._tell(operation, unknown.but(outcome_unknown=True))
                operation.encoded = b""

    def _on_results(self, message: sessions_pb2.SessionResponse) -> None:
        for number, result in enumerate(message.results, message.first_result):
            if number <= self._results_received:
                continue  # it came on another stream
            self._results_received = number
            self._unsettled += 1
            receipt = Receipt(
                self.session, number,
                urgent=(result.HasField("read") and bool(result.read.data)
                        or result.HasField("wait_any")
                        and bool(result.wait_any.read.data)))
            operation = self._operations.numbered.pop(result.operation, None)
            if operation is None:
                # A handle's own end, which its calls tell.
                self.settle(receipt, taken=True)
            elif operation.tell is None:  # nobody waits for it any more
                self.settle(receipt, taken=False)
                if result.HasField("open"):
                    self._close_handle(result.operation)
            elif result.HasField("failure"):  # there is nothing to take
                failure = _wire.failure_from_wire(result.failure)
                # A handle is gone with its server.
                if (failure.reason == "ESHUTDOWN" and operation.session == 0
                        and not operation.cancelled):
                    self._operations.keep_drained(operation, failure)
                else:
                    self._tell(operation, failure)
                self.settle(receipt, taken=True)
            else:
                self._tell_result(operation, result, receipt)

    def _close_handle(self, handle: int) -> None:
        """Which nobody has: its pipe would have a reader or a writer for as
        long as the session lives."""
        operation = sessions_pb2.Operation()
        operation.close.handle = handle
        operation.close.broken = True
        self.submit(Operation(operation, lambda *_: None, session=self.session))

    def _tell_result(self, operation: Operation, result: sessions_pb2.Result,
                     receipt: Receipt) -> None:
        tell, operation.tell = operation.tell, None
        operation.give_up = math.inf
        assert tell is not None
        self._tellings.append(functools.partial(tell, None, result, receipt))

    # --- Connections ----------------------------------------------------------

    def _connect(self) -> None:
        if self._connection > 0:
            self._link.disconnect(self._connection)
        self._connection += 1
        self._link.connect(self._connection)
        self.state = State.CONNECTING
        self._connected = self._link.now()
        self._writing = False
        self._hello_due = True
        self._lease.due = False
        self._operations.sent_number = 0
        self._end_sent = False
        self._acknowledgements.unsay()
        # Another server may be there by now: that is seen first.
        self._hold_operations = (
            bool(self.token) or self._asked_before
            or any(operation.epoch
                   for operation in self._operations.numbered.values()))

    def _wait(self, at_least: float = 0.0) -> None:
        """The connection is lost: another is made, not before that."""
        self.state = State.WAITING
        self._writing = False
        first = self._backoff == _BACKOFF_MIN
        self._retry_at = self._link.now() + max(
            0.0 if first else self._backoff, at_least)
        self._backoff = min(self._backoff * 2, _BACKOFF_MAX)

    def on_closed(self, connection: int, failure: Failure | None,
                  sent: bool) -> None:
        """The stream has ended; None: with OK. `sent`: whether the server may
        have been reached."""
        if not self._is_current(connection):
            return
        self._writing = False
        server = self._options.server
        reason = failure.reason if failure else ""
        # gRPC's own word for a message that is too large: it would be so again.
        too_large = (failure is not None and not reason
                     and failure.code.name == "RESOURCE_EXHAUSTED")
        network = failure is not None and not reason and not too_large
        if self._closing:
            # What was taken is to be said, and the end: on another connection.
            # (If the end has arrived, the server knows nothing of the session
            # there.)
            # (And where a hello has had no answer, perhaps there is one.)
            if network and failure.code.name != "UNIMPLEMENTED" and (
                    self.token or ((sent or self._asked_before)
                                   and self._ask_again())):
                return self._wait()
            self.state = State.CLOSED
            return
        if not self.token:
            return self._on_no_answer(failure or errors.expired(server), reason,
                                      sent, too_large)
        if network:
            return self._wait()  # the session lives on
        if reason == "ESHUTDOWN":
            # It has said of each that it has ended, as far as it could.
            self._lose(errors.owner_dead(server), errors.handle_gone(server),
                       restart=False)
            # It is about to go, and what comes in its place is about to come.
            if self._operations.any_under_way():
                self._wait(failure.retry_after or _BACKOFF_MIN)
            return
        if reason == "EOWNERDEAD":
            end, restart = errors.owner_dead(server), False
        elif reason == "ESTALE":
            end, restart = errors.expired(server), True
        else:
            end, restart = failure or errors.expired(server), False
        self._lose(end, end, restart)
        if self._operations:
            self._connect()

    def _on_no_answer(self, failure: Failure, reason: str, sent: bool,
                      too_large: bool) -> None:
        """There is no session yet; but the server may have made one, and have
        done what was sent with the hello."""
        unimplemented = failure.code.name == "UNIMPLEMENTED"
        if (self._operations.between_servers and reason in ("", "ESHUTDOWN")
                and not unimplemented and not too_large):
            return self._await_server(failure)
        # One that knows no sessions will not do so later.
        if not sent or reason or unimplemented or too_large:
            unknown = self._asked_before or (too_large and sent)
            return self._fail_all(failure.but(outcome_unknown=False), unknown)
        self._no_answer = failure
        if self._ask_again():
            return self._wait()
        self._lose(failure, failure, restart=True)
        # Not at once for ever: a server may do that to all of them.
        if self._operations.any_under_way():
            self._wait()

    def _ask_again(self) -> bool:
        """A hello had no answer: whether to ask again for that session. Not for
        longer than such a one lives."""
        now = self._link.now()
        if not self._asked_before:
            self._asked_before = True
            self._ask_again_until = now + self._lease.seconds
        return now < self._ask_again_until

    def _await_server(self, failure: Failure) -> None:
        """The last server drained, and no other was there just now."""
        now = self._link.now()
        if now >= self._patience_end:
            self._fail_others(failure.but(outcome_unknown=False), unknown=False)
        if self._operations.any_under_way():
            self._wait()
        else:  # the next call looks again
            self.state = State.NONE
            self._operations.between_servers = now < self._patience_end

    def _lose(self, failure: Failure, unsent: Failure, restart: bool) -> None:
        """The session is over: what was sent ends so, unless `restart` and it
        can be begun anew; what names a handle of it and was not, with
        `unsent`."""
        self._last_end = unsent.but(outcome_unknown=False)
        between = (unsent.reason == "ESHUTDOWN"
                   or bool(self._operations.drained()))
        if between and not self._operations.between_servers:
            self._operations.between_servers = True
            self._patience_end = self._link.now() + self._lease.seconds
        waiting = []
        sent = {number for number, operation
                in self._operations.numbered.items()
                if self._operations.was_sent(operation)}
        epoch = self.epoch
        operations = self._forget_session()
        self._tell_watches(failure)  # first: it may be urgent
        for operation in operations:
            if operation.tell is None:
                continue
            was_sent = operation.number in sent
            if operation.session != 0 or (
                    was_sent and not (restart and operation.restartable
                                      and not operation.cancelled)):
                self._tell(operation, failure.but(outcome_unknown=True)
                           if was_sent else self._last_end)
                continue
            if was_sent:
                operation.epoch = epoch
                operation.restart_with_less(self._link.now())
            elif between:
                # Behind those that were refused, as they were asked for. (What
                # was sent is numbered: whether the next server is another is
                # seen before it is sent again.)
                waiting.append(operation)
                continue
            self._operations.number(operation)
        self._operations.keep_waiting(waiting)
        # Those that wait for room, too: another session's handle of that number
        # would be another file.
        for operation in self._operations.waiting():
            if operation.session != 0:
                self._tell(operation, self._last_end)

    def _fail_all(self, failure: Failure, unknown: bool) -> None:
        """There is no session, and none comes of this try. `unknown`: but what
        was sent may have been done."""
        self._fail_others(failure, unknown)
        for operation in self._operations.drained():
            self._tell(operation, failure)
        self._operations.forget_drained()
        self._operations.between_servers = False

    def _fail_others(self, failure: Failure, unknown: bool) -> None:
        """The same, but for those that a server has refused because it
        drained."""
        for operation in (*self._operations.numbered.values(),
                          *self._operations.waiting()):
            sent = self._operations.was_sent(operation)
            self._tell(operation, failure.but(outcome_unknown=unknown and sent))
        self._operations.forget_waiting()
        self._forget_session()

    def _forget_session(self) -> list[Operation]:
        """Those that it had."""
        self.state = State.NONE
        self.session += 1
        self.token = b""
        self._asked_before = False
        # Whoever asks again means a session with these numbers, and not one
        # that this machine has given up and the server has not.
        self._program = _new_program()
        self._results_received = self._unsettled = 0
        self._acknowledgements = Acknowledgements()
        self._acknowledge_at = math.inf
        self._cancels.clear()
        self._lease.lose()
        return self._operations.forget_session()

    # --- Time -----------------------------------------------------------------

    def next_work(self) -> float:
        """When on_timer() is to come, or a little later."""
        if self.state is State.CLOSED:
            return math.inf
        soonest = min(self._lease.end(), self._operations.next_give_up())
        if self.state is State.CONNECTING:
            return min(soonest, self._connected + self._lease.answer_time)
        if self.state is State.WAITING:
            return min(soonest, self._retry_at)
        if self.state is State.ATTACHED:
            soonest = min(soonest, self._lease.next_look())
            # What is to be said is said when the message under way is written.
            if (not self._writing and not self._end_sent
                    and self._acknowledgements.unsaid > 0):
                soonest = min(soonest, self._acknowledge_at)
        return soonest

    def on_timer(self) -> None:
        if self.state is State.CLOSED:
            return
        now = self._link.now()
        self._give_up(now)
        if now >= self._lease.end():
            self._expire()
        elif self.state is State.WAITING and now >= self._retry_at:
            self._connect()
        elif (self.state is State.CONNECTING
              and now >= self._connected + self._lease.answer_time):
            self._link.disconnect(self._connection)
            silent = Failure(errors.code_of(14),
                             f"{self._options.server} does not answer")
            if self.token:
                self._wait()
            elif self._closing:
                if self._ask_again():
                    self._wait()
                else:
                    self.state = State.CLOSED
            elif self._operations.between_servers:
                self._await_server(silent)
            else:
                self._fail_all(silent, unknown=True)
        elif self.state is State.ATTACHED and not self._lease.look(now):
            self._link.disconnect(self._connection)
            self._wait()

    def _expire(self) -> None:
        """Nothing was answered for too long: the session counts as over."""
        self._link.disconnect(self._connection)
        expired = errors.expired(self._options.server)
        self._lose(expired, expired, restart=True)
        if self._closing:
            self.state = State.CLOSED
        elif self._operations:
            self._connect()

    def _give_up(self, now: float) -> None:
        for operation in self._operations.due(now):
            if operation.cancelled:
                self._tell(operation, errors.cancelled(sent=True))
            elif operation.drained is not None:
                self._tell(operation, operation.drained)
            else:
                # What the server does with it is not known any more; its
                # result, should it come, is given back.
                sent = self._end_there(operation)
                self._tell(operation,
                           errors.no_answer(self._options.server, sent))


def _new_program() -> int:
    return random.SystemRandom().randrange(1, 1 << 64)
