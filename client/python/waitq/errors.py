"""How calls fail.

What is to be expected of a sleep (it timed out, it would have blocked, the file
ends) is no error: see `waitq.Outcome`. Everything else is a `WaitqError`. A
program decides by its class or its `reason`, never by its message.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import grpc

__all__ = [
    "WaitqError", "Unavailable", "Cancelled", "DeadlineExceeded",
    "Interrupted", "ObjectRemoved", "OwnerDied", "Stale", "ShuttingDown",
    "BrokenPipe", "NotFound", "WrongKind", "AlreadyExists", "Busy",
    "InvalidArgument", "LimitReached", "Deadlock", "StreamEnded",
    "ForkedError",
]

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why an operation failed: what a WaitqError is made of, without being
    one, so that each caller can raise an error of its own."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    object: str = ""
    limit: str = ""
    signal: int | None = None
    accepted_bytes: int | None = None
    retry_after: float | None = None
    outcome_unknown: bool = False

    def but(self, **fields: Any) -> Failure:
        return dataclasses.replace(self, **fields)

    def error(self) -> WaitqError:
        kind = _BY_REASON.get(self.reason,
                              _BY_CODE.get(self.code, WaitqError))
        return kind(self)


class WaitqError(Exception):
    """A call failed.

    code             the kind of failure, as gRPC has it
    reason           the name of an errno ("EPIPE"); "" if the error does not
                     come from the server's own code or this library's
    object           the name of the object that the error is about, or ""
    limit            the limit that was reached (a flag of waitqd), or ""
    signal           with EINTR: the signal's number, else None
    accepted_bytes   of a write that was cut short: how many bytes are in the
                     pipe; None if that is not the question
    retry_after      after how many seconds a repeat may succeed; None if the
                     server did not say
    outcome_unknown  the call may or may not have been done
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self._failure = failure
        self.code = failure.code
        self.reason = failure.reason
        self.object = failure.object
        self.limit = failure.limit
        self.signal = failure.signal
        self.accepted_bytes = failure.accepted_bytes
        self.retry_after = failure.retry_after
        self.outcome_unknown = failure.outcome_unknown

    def __str__(self) -> str:
        text = self._failure.message
        if self.object and self.object not in text:
            text = f"{self.object}: {text}"
        return f"{text} ({self.reason})" if self.reason else text

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self._failure,)


class Unavailable(WaitqError):
    """There is no server, or it was lost on the way."""


class Cancelled(WaitqError):
    """ECANCELED: the call was cancelled, or its client closed. If it was on its
    way its outcome is unknown; what it would have taken is given back."""


class DeadlineExceeded(WaitqError):
    """ETIME: no answer, long after the call's timeout."""


class Interrupted(WaitqError):
    """EINTR: somebody has signalled the sleep (`signal`)."""


class ObjectRemoved(WaitqError):
    """EIDRM: the object was removed."""


class OwnerDied(WaitqError):
    """EOWNERDEAD: the server has been restarted and has forgotten everything.
    Whether the call was done before that is unknown. Or, without
    `outcome_unknown`: a barrier is broken (`OnDeath.BREAK`)."""


class Stale(WaitqError):
    """ESTALE: the session is over, because nothing was heard for its grace; or
    what is to be accepted, released or given back is not held any more."""


class ShuttingDown(WaitqError):
    """ESHUTDOWN: the server drains or stops."""


class BrokenPipe(WaitqError):
    """EPIPE: the last reader has left."""


class NotFound(WaitqError):
    """ENOENT: there is no object of that name. ESRCH: no such call sleeps."""


class WrongKind(WaitqError):
    """ENXIO: the name belongs to an object of another kind."""


class AlreadyExists(WaitqError):
    """EEXIST: the object is there with other options."""


class Busy(WaitqError):
    """EBUSY: the object is in use."""


class InvalidArgument(WaitqError):
    """EINVAL, EMSGSIZE, ERANGE: what was asked for cannot be."""


class LimitReached(WaitqError):
    """ENOSPC: a limit (`limit`)."""


class Deadlock(WaitqError):
    """EDEADLK: a done-callback must not wait for a call of the same client:
    nobody would tell it its end."""


class StreamEnded(WaitqError):
    """A pipe's stream has ended otherwise than by a clean end of file.

    outcome   END_OF_FILE: a writer went without closing, and the file is not
              whole. TIMED_OUT, WOULD_BLOCK: a sleep of the stream ended so.
    """

    def __init__(self, failure: Failure, outcome: object = None) -> None:
        super().__init__(failure)
        self.outcome = outcome

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self._failure, self.outcome)


class ForkedError(RuntimeError):
    """The client was made by a parent of this process. The connection and the
    threads are the parent's: a child makes a client of its own."""


_BY_REASON: dict[str, type[WaitqError]] = {
    "ECANCELED": Cancelled,
    "ETIME": DeadlineExceeded,
    "EINTR": Interrupted,
    "EIDRM": ObjectRemoved,
    "EOWNERDEAD": OwnerDied,
    "ESTALE": Stale,
    "ESHUTDOWN": ShuttingDown,
    "EPIPE": BrokenPipe,
    "ENOENT": NotFound,
    "ESRCH": NotFound,
    "ENXIO": WrongKind,
    "EEXIST": AlreadyExists,
    "EBUSY": Busy,
    "EINVAL": InvalidArgument,
    "EMSGSIZE": InvalidArgument,
    "ERANGE": InvalidArgument,
    "ENOSPC": LimitReached,
    "EDEADLK": Deadlock,
}
_BY_CODE: dict[grpc.StatusCode, type[WaitqError]] = {
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def code_of(number: int) -> grpc.StatusCode:
    return _CODES.get(number, grpc.StatusCode.UNKNOWN)


def with_metadata(failure: Failure, metadata: dict[str, str]) -> Failure:
    """With what an ErrorInfo's metadata says."""

    def integer(key: str) -> int | None:
        text = metadata.get(key, "")
        return int(text) if text.isdecimal() else None

    return failure.but(
        object=metadata.get("object", failure.object),
        limit=metadata.get("limit", ""),
        signal=integer("signal"),
        accepted_bytes=integer("accepted_bytes"))


# --- Errors that are made here ------------------------------------------------


def cancelled(sent: bool, name: str = "") -> Failure:
    # If it was sent, the cancellation may have met the answer on its way.
    return Failure(grpc.StatusCode.CANCELLED, "cancelled", "ECANCELED", name,
                   outcome_unknown=sent)


def expired(server: str) -> Failure:
    return Failure(
        grpc.StatusCode.ABORTED,
        f"outcome unknown: no word from {server} for the session's grace; "
        "what was held was given back", "ESTALE")


def owner_dead(server: str) -> Failure:
    return Failure(
        grpc.StatusCode.ABORTED,
        f"outcome unknown: {server} has been restarted, and has forgotten",
        "EOWNERDEAD")


def handle_gone(server: str) -> Failure:
    """Of what has not been done: it was not even sent."""
    return Failure(
        grpc.StatusCode.UNAVAILABLE,
        f"{server} has stopped, and what was open there is closed",
        "ESHUTDOWN")


def no_answer(server: str, sent: bool) -> Failure:
    unknown = "outcome unknown: " if sent else ""
    return Failure(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        f"{unknown}no answer from {server} in time", "ETIME",
        outcome_unknown=sent)


def not_granted(name: str, given_back: bool) -> Failure:
    text = "it was given back already" if given_back else "nothing was granted"
    return Failure(grpc.StatusCode.FAILED_PRECONDITION, f"{name}: {text}",
                   "ESTALE" if given_back else "", name)


def broken_barrier(name: str) -> Failure:
    return Failure(
        grpc.StatusCode.ABORTED,
        f"{name}: the barrier is broken: one who waited has died",
        "EOWNERDEAD", name)


def no_barrier(name: str, value: int) -> Failure:
    return Failure(grpc.StatusCode.FAILED_PRECONDITION,
                   f"{name}: its word, {value}, is no barrier's", "", name)


def deadlock(name: str) -> Failure:
    return Failure(
        grpc.StatusCode.FAILED_PRECONDITION,
        "a done-callback must not wait for a call: start one, with a callback",
        "EDEADLK", name)


def invalid(message: str, name: str = "", reason: str = "EINVAL") -> Failure:
    return Failure(grpc.StatusCode.INVALID_ARGUMENT, message, reason, name)
