"""An operation of a session, as its client keeps it until its end."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Callable, Optional

from waitq import _wire
from waitq.errors import Failure
from waitq.v1 import sessions_pb2


@dataclasses.dataclass(frozen=True)
class Receipt:
    """A result that the application may take."""

    session: int
    number: int
    urgent: bool = False  # somebody may wait for it to be taken


# Is told the end of an operation, once: a failure, or a result with a receipt,
# which is settled later.
Tell = Callable[
    [Optional[Failure], Optional[sessions_pb2.Result], Optional[Receipt]], None]


class Operation:
    """What is submitted to a session's machine.

    give_up_after  after so many seconds it ends here, whatever became of it
                   there
    restartable    if the session is lost it is begun anew with what is left of
                   its time: it cannot happen twice, or what it took was given
                   back
    sleeper        it sleeps until somebody does something: others may go before
                   it, where the server takes no more
    session        only in this session (Receipt.session): it names a handle of
                   it. 0: in any
    """

    __slots__ = ("encoded", "tell", "give_up_after", "restartable", "sleeper",
                 "session", "number", "asked", "started", "give_up",
                 "cancelled", "epoch", "drained", "own_give_up")

    def __init__(self, operation: sessions_pb2.Operation, tell: Tell,
                 give_up_after: float = math.inf, restartable: bool = False,
                 sleeper: bool = False, session: int = 0) -> None:
        self.encoded = operation.SerializeToString()
        self.tell: Tell | None = tell  # None: nobody wants its result any more
        self.give_up_after = give_up_after
        self.restartable = restartable
        self.sleeper = sleeper
        self.session = session
        # The machine's.
        self.number = 0  # 0: it has none yet
        self.asked = 0  # how manieth
        self.started = 0.0
        self.give_up = math.inf
        self.cancelled = False
        self.epoch = 0  # of the server that had it before; 0: none
        # Why a draining server has refused it: it waits for the next one.
        self.drained: Failure | None = None
        self.own_give_up = math.inf  # until then `give_up` may be less

    def request(self) -> tuple[sessions_pb2.Operation, Any]:
        """Decoded, with its request; None if it has none."""
        operation = sessions_pb2.Operation.FromString(self.encoded)
        kind = operation.WhichOneof("request")
        return operation, getattr(operation, kind) if kind else None

    def end(self) -> float:
        """When its own time is over; its start, if it is not to sleep."""
        _, request = self.request()
        if request is None or getattr(request, "nonblock", False):
            return self.started
        # All requests that may sleep have this field.
        if ("timeout" in request.DESCRIPTOR.fields_by_name
                and request.HasField("timeout")):
            return self.started + _wire.to_float(request.timeout)
        return math.inf

    def restart_with_less(self, now: float) -> None:
        """It begins anew: what has passed of its time is gone."""
        operation, request = self.request()
        # All requests that may sleep have this field.
        if (request is not None
                and "timeout" in request.DESCRIPTOR.fields_by_name
                and request.HasField("timeout")):
            left = _wire.to_float(request.timeout) - (now - self.started)
            request.timeout.CopyFrom(_wire.to_duration(max(left, 0.0)))
            self.encoded = operation.SerializeToString()
        self.started = now


def append_operation(message: bytearray, encoded: bytes) -> None:
    """Appends it to an encoded SessionRequest: a message is the concatenation
    of its fields."""
    message.append(sessions_pb2.SessionRequest.OPERATIONS_FIELD_NUMBER << 3 | 2)
    size = len(encoded)
    while size >= 0x80:
        message.append(size & 0x7f | 0x80)
        size >>= 7
    message.append(size)
    message += encoded
