"""Waits for any of several objects: the calls of _calls.py as alternatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Union

from waitq import _calls, _wire
from waitq._call import CancelToken, Plan
from waitq.types import (
    Action, AwaitResult, Condition, Outcome, PipeOptions, ReadResult, Seconds,
    Sleep, Timing, WaitResult, _Outcome, to_seconds)
from waitq.v1 import objects_pb2, sessions_pb2

__all__ = ["Alternative", "WaitAnyResult"]


class Alternative:
    """One of the things that `wait_any` waits for. Made by its class methods,
    whose arguments are those of the client's methods of the same names:

    >>> Alternative.await_done("shutdown")
    <waitq.Alternative await_done 'shutdown'>
    """

    __slots__ = ("_kind", "_plan")

    def __init__(self, kind: str, plan: Plan[WaitResult] | Plan[AwaitResult]
                 | Plan[ReadResult]) -> None:
        self._kind = kind
        self._plan = plan

    @classmethod
    def wait(cls, name: str, condition: Condition | None = None,
             then: Action | None = None, *, exclusive: bool | None = None,
             then_wake: bool = False, key: int = 0) -> Alternative:
        return cls("wait", _calls.wait(
            name, condition, then, exclusive=exclusive, then_wake=then_wake,
            key=key))

    @classmethod
    def await_done(cls, name: str) -> Alternative:
        return cls("await_done", _calls.await_done(name))

    @classmethod
    def read(cls, name: str, max_bytes: int = 64 << 10, *, min_bytes: int = 1,
             pipe: PipeOptions | None = None,
             hold: Seconds | None = None) -> Alternative:
        return cls("read", _calls.read(
            name, max_bytes, min_bytes=min_bytes, pipe=pipe, hold=hold))

    @property
    def name(self) -> str:
        return self._plan.name

    @property
    def _restartable(self) -> bool:
        return self._plan.restartable

    def _to_wire(self) -> objects_pb2.Alternative:
        operation = self._plan.operation
        kind = operation.WhichOneof("request")
        message = objects_pb2.Alternative()
        request = getattr(message, kind)
        request.CopyFrom(getattr(operation, kind))
        request.ClearField("sleep")  # that is the whole's
        return message

    def __repr__(self) -> str:
        return f"<waitq.Alternative {self._kind} {self.name!r}>"


@dataclass(frozen=True)
class WaitAnyResult(_Outcome):
    outcome: Outcome
    # With DONE and END_OF_FILE: which alternative has ended the call, from 0,
    # and its own result, without its timing. The others have taken nothing.
    alternative: int | None
    result: Union[WaitResult, AwaitResult, ReadResult, None]
    remaining: float | None  # of `timeout`, where there is one
    slept: bool
    timing: Timing | None = None  # if it was wanted


def wait_any(alternatives: Sequence[Alternative], *,
             timeout: Seconds | None = None, nonblock: bool = False,
             sleep: Sleep = Sleep.INTERRUPTIBLE, want_timing: bool = False,
             cancel: CancelToken | None = None) -> Plan[WaitAnyResult]:
    """Sleeps until one of these holds, and takes from that one only: 1 to 64,
    of any kinds, in the order in which they are tested.

    >>> client.wait_any([Alternative.read("work"),
    ...                  Alternative.await_done("shutdown")])

    The rest as wait()'s. ObjectRemoved: one of the objects was. Should the
    session be lost it begins anew, with what is left of its time, if each of
    the alternatives would by itself.
    """
    alternatives = list(alternatives)
    plan = Plan("", _read_wait_any, timeout=to_seconds(timeout), sleeper=True,
                restartable=all(one._restartable for one in alternatives),
                cancel=cancel)
    request = plan.operation.wait_any
    request.SetInParent()  # also if there are none, which the server refuses
    for one in alternatives:
        request.alternatives.append(one._to_wire())
    _wire.set_sleep(request, plan.timeout, nonblock, sleep, want_timing)
    return plan


def _read_wait_any(result: sessions_pb2.Result) -> WaitAnyResult:
    response = result.wait_any
    # The fields are called as those of a session's result.
    read = {"wait": _calls.read_wait, "completion_wait": _calls.read_await,
            "read": _calls.read_read}.get(response.WhichOneof("response"))
    return WaitAnyResult(
        outcome=_wire.outcome_of(response),
        alternative=(response.alternative if response.HasField("alternative")
                     else None),
        result=read(response) if read else None,
        remaining=_wire.remaining_of(response),
        slept=response.slept,
        timing=_wire.timing_of(response))
