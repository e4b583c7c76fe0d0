"""What calls take and give: plain values, immutable.

Times are seconds: as an argument an int, a float, a `datetime.timedelta` or a
`Deadline`; in results always a float.
"""

from __future__ import annotations

import datetime
import enum
import math
import time
from dataclasses import dataclass
from typing import Union

__all__ = [
    "Outcome", "Sleep", "ObjectKind", "PipeMode", "PipeProfile", "TaskSignal",
    "Condition", "Action", "Undo", "OnDeath", "Deadline", "Seconds", "Timing",
    "WaitResult", "WakeResult", "GetResult", "StoreResult", "AwaitResult",
    "CompleteResult", "BarrierResult", "PipeOptions", "ReadResult",
    "WriteResult", "Readiness", "PollResult", "PipeChunk", "WaitQueueInfo",
    "CompletionInfo", "PipeInfo", "ObjectInfo", "CreateResult", "TaskInfo",
]


class Outcome(enum.Enum):
    """How a blocking call ended, when that is an expected end."""

    DONE = 1  # the condition held, or bytes moved
    TIMED_OUT = 2  # the call's `timeout` ran out first
    WOULD_BLOCK = 3  # it would have slept, and had `nonblock` set
    END_OF_FILE = 4  # a read reached the end of what the writers wrote


class Sleep(enum.Enum):
    """Which signals end a sleep (of `Client.signal`, as Linux's task state)."""

    INTERRUPTIBLE = 1
    KILLABLE = 2
    UNINTERRUPTIBLE = 3  # runs on when its caller is gone


class ObjectKind(enum.Enum):
    WAIT_QUEUE = 1
    COMPLETION = 2
    PIPE = 3


class PipeMode(enum.Enum):
    """What is between two writes: nothing, or the border of a packet."""

    STREAM = 1
    PACKET = 2


class PipeProfile(enum.Enum):
    FIFO = 1  # ends of file, EPIPE
    QUEUE = 2  # neither: a mailbox that outlives its readers and writers
    SCULL = 3  # neither, and a ring: that of "Linux Device Drivers"


class TaskSignal(enum.IntEnum):
    """What `Client.signal` can send to a sleeping call; Linux's numbers."""

    INT = 2
    KILL = 9
    TERM = 15


@dataclass(frozen=True)
class Condition:
    """A test of a wait queue's word or generation. Made by its class methods:

    >>> Condition.greater_or_equal(1)
    Condition(test='greater_or_equal', operand=1)
    """

    test: str
    operand: int

    @classmethod
    def equal(cls, value: int) -> Condition:
        return cls("equal", value)

    @classmethod
    def not_equal(cls, value: int) -> Condition:
        return cls("not_equal", value)

    @classmethod
    def less(cls, value: int) -> Condition:
        return cls("less", value)

    @classmethod
    def less_or_equal(cls, value: int) -> Condition:
        return cls("less_or_equal", value)

    @classmethod
    def greater(cls, value: int) -> Condition:
        return cls("greater", value)

    @classmethod
    def greater_or_equal(cls, value: int) -> Condition:
        return cls("greater_or_equal", value)

    @classmethod
    def all_bits(cls, mask: int) -> Condition:
        """Every bit of the mask is set in the word. Not 0."""
        return cls("all_bits", mask)

    @classmethod
    def any_bits(cls, mask: int) -> Condition:
        """At least one bit of the mask is set in the word. Not 0."""
        return cls("any_bits", mask)

    @classmethod
    def changed_since(cls, generation: int) -> Condition:
        """The queue's generation is another one: something was changed or
        woken."""
        return cls("changed_since", generation)


@dataclass(frozen=True)
class Action:
    """A change of a wait queue's word. Made by its class methods."""

    change: str
    operand: int

    @classmethod
    def set(cls, value: int) -> Action:
        return cls("set", value)

    @classmethod
    def add(cls, value: int) -> Action:
        """Overflow of the signed 64-bit word is ERANGE, and changes nothing."""
        return cls("add", value)

    @classmethod
    def and_bits(cls, mask: int) -> Action:
        return cls("and_bits", mask)

    @classmethod
    def or_bits(cls, mask: int) -> Action:
        return cls("or_bits", mask)


@dataclass(frozen=True)
class Undo:
    """How what a wait's `then` did is undone."""

    # Only if this holds of the word at that moment. None: however the word is.
    only_while: Condition | None = None
    # Done then. None: an `add` is undone by its opposite; a `set` puts back the
    # word as it was, unless it has been changed since. Required for bits.
    instead: Action | None = None


class OnDeath(enum.Enum):
    """What becomes of a barrier when one who waits at it dies, or is not heard
    of for the grace."""

    # He has not come: another one in his place will do.
    WITHDRAW = 1
    # The barrier is broken, for all who wait and for all who come: OwnerDied
    # (EOWNERDEAD), until it is reset. So it is by one whose time is over, or
    # who is cancelled.
    BREAK = 2
    # He has come, and counts.
    COUNT = 3


class Deadline:
    """A moment by which several calls are to end. As their `timeout` it stands
    for what is left of it when each is made, and 0 when it is over.

    The clock is `time.monotonic()`: setting the wall clock changes nothing.
    """

    __slots__ = ("_at",)

    def __init__(self, after: Union[int, float, datetime.timedelta]) -> None:
        """So long from now."""
        seconds = to_seconds(after)
        self._at = time.monotonic() + (math.inf if seconds is None else seconds)

    def remaining(self) -> float:
        """Seconds that are left; never negative."""
        return max(self._at - time.monotonic(), 0.0)

    def __repr__(self) -> str:
        return f"<waitq.Deadline in {self.remaining():.3f} s>"


Seconds = Union[int, float, datetime.timedelta, Deadline]


def to_seconds(time_: Seconds | None) -> float | None:
    """None: for ever, which infinity says, too."""
    if time_ is None:
        return None
    if isinstance(time_, Deadline):
        seconds = time_.remaining()
    elif isinstance(time_, datetime.timedelta):
        seconds = time_.total_seconds()
    else:
        seconds = float(time_)
    if math.isnan(seconds):
        raise ValueError("a time that is not a number")
    return None if seconds == math.inf else seconds


class _Outcome:
    """Results of blocking calls are true if the call is done."""

    __slots__ = ()
    outcome: Outcome

    def __bool__(self) -> bool:
        return self.outcome is Outcome.DONE


@dataclass(frozen=True)
class Timing:
    """Where the time of a blocking call went, in seconds, as the server saw
    it."""

    asleep: float  # from the call's start to its end; 0 if it did not sleep
    wake_to_send: float  # from that end until the answer was given to gRPC
    overshoot: float  # with TIMED_OUT: how much later than `timeout` it ended
    place: int  # how many sleepers a wake would have come to first


@dataclass(frozen=True)
class WaitResult(_Outcome):
    outcome: Outcome  # DONE, TIMED_OUT or WOULD_BLOCK
    value_before: int  # the word when the call ended, before `then`
    value_after: int  # and after it
    generation: int
    remaining: float | None  # of `timeout`, where there is one
    slept: bool
    timing: Timing | None = None  # if it was wanted


@dataclass(frozen=True)
class WakeResult:
    woken: int  # how many calls this ended
    woken_exclusive: int  # of these
    value: int
    generation: int


@dataclass(frozen=True)
class GetResult:
    value: int
    generation: int


@dataclass(frozen=True)
class StoreResult:
    value_before: int
    generation: int


@dataclass(frozen=True)
class AwaitResult(_Outcome):
    outcome: Outcome  # DONE, TIMED_OUT or WOULD_BLOCK
    remaining: float | None
    slept: bool
    generation: int
    # Somebody else was given this one, and may have used it: his session ended
    # before he had said that he has it.
    redelivered: bool
    timing: Timing | None = None


@dataclass(frozen=True)
class CompleteResult:
    woken: int
    done: int  # not taken yet; 4294967295 after complete_all
    generation: int


@dataclass(frozen=True)
class BarrierResult(_Outcome):
    outcome: Outcome  # DONE, or TIMED_OUT, WOULD_BLOCK: then he has not come
    round: int  # how manieth it is, from 0
    # How many had come before him in this round, as it was then: parties - 1 for
    # the last one, who is one. One who came and has gone (WITHDRAW; or his time
    # was over) makes room, and a place before the last is then given again.
    place: int


@dataclass(frozen=True)
class PipeOptions:
    """Of a pipe that is made by the call that names them. None: the server's
    defaults (64 KiB, 4 KiB, a stream; FIFO for streams, QUEUE for packets). A
    pipe that is there keeps its own, and must have the mode and profile that
    are named: AlreadyExists."""

    capacity_bytes: int | None = None
    atomic_max_bytes: int | None = None
    mode: PipeMode | None = None
    profile: PipeProfile | None = None


@dataclass(frozen=True)
class ReadResult(_Outcome):
    outcome: Outcome
    data: bytes
    offset: int  # where in the pipe `data` begins
    incarnation: int  # which pipe of this name it was
    broken: bool  # with END_OF_FILE: a writer went away without closing
    hold_id: int  # what accept() and release() name it by, if held; else 0
    # Somebody had this before, and has not accepted or acknowledged it.
    redelivered: bool
    slept: bool
    timing: Timing | None = None


@dataclass(frozen=True)
class WriteResult(_Outcome):
    outcome: Outcome  # DONE if any byte was accepted, or TIMED_OUT, WOULD_BLOCK
    accepted_bytes: int
    # What cut a write short that is DONE: an outcome; or, for what would be an
    # error had nothing been accepted, the errno's name, else "".
    ended_by: Outcome | None
    ended_by_error: str
    ended_by_signal: int  # with "EINTR"
    offset: int  # the pipe's, after the last accepted byte
    incarnation: int
    slept: bool
    timing: Timing | None = None


@dataclass(frozen=True)
class Readiness:
    """What can be done with a pipe. True if anything can."""

    readable: bool = False  # a byte, or a packet, is unread
    writable: bool = False  # a write of up to the atomic size would not sleep
    hup: bool = False  # writers have been there, and none is
    err: bool = False  # the last reader has left

    def __bool__(self) -> bool:
        return self.readable or self.writable or self.hup or self.err


@dataclass(frozen=True)
class PollResult(_Outcome):
    """What there was, of what was asked for; `hup` and `err` always."""

    outcome: Outcome  # DONE, TIMED_OUT or WOULD_BLOCK
    readable: bool
    writable: bool
    hup: bool  # writers have been there, and none is
    err: bool  # the last reader has left
    slept: bool
    timing: Timing | None = None


@dataclass(frozen=True)
class PipeChunk:
    """Data, or the end of a reader's stream."""

    data: bytes
    offset: int  # where `data` begins; at the end, where the reader stands
    incarnation: int
    # Set at the end, and then `data` is empty: END_OF_FILE, DONE (`max_bytes`
    # were read), TIMED_OUT or WOULD_BLOCK.
    end: Outcome | None = None
    broken: bool = False  # with END_OF_FILE: a writer went without closing


@dataclass(frozen=True)
class WaitQueueInfo:
    value: int
    grants: int  # that are out


@dataclass(frozen=True)
class CompletionInfo:
    done: int  # as CompleteResult.done


@dataclass(frozen=True)
class PipeInfo:
    capacity_bytes: int
    atomic_max_bytes: int
    unread_bytes: int
    held_bytes: int
    read_offset: int  # bytes ever taken out
    write_offset: int  # and put in
    readers: int  # handles open now
    writers: int
    mode: PipeMode
    profile: PipeProfile


@dataclass(frozen=True)
class ObjectInfo:
    name: str
    kind: ObjectKind
    incarnation: int  # the generation of its creation
    generation: int  # and of its last change
    created: bool  # by a create call, and so there until remove()
    sleepers: int
    state: Union[WaitQueueInfo, CompletionInfo, PipeInfo]


@dataclass(frozen=True)
class CreateResult:
    created: bool  # False: it was there already, with these options
    object: ObjectInfo


@dataclass(frozen=True)
class TaskInfo:
    """A call that is asleep on the server."""

    id: int
    peer: str
    caller: str
    state: Sleep
    object: str
    kind: ObjectKind
    condition: str  # for people: "value == 1"
    age: float
    remaining: float | None  # None: it may sleep for ever
    place: int  # 0 is the next in line
    exclusive: bool
    detached: bool  # its caller has gone, and may come back
    # Of a call that waits for any of several, which is listed once for each:
    # which of them this is.
    alternative: int | None = None
