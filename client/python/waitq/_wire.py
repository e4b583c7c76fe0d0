"""Between what programs see (types.py) and what is sent (waitq.v1)."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf import duration_pb2

from waitq import errors
from waitq.types import (
    Action, CompletionInfo, Condition, ObjectInfo, ObjectKind, Outcome,
    PipeInfo, PipeMode, PipeOptions, PipeProfile, Seconds, Sleep, TaskInfo,
    Timing, Undo, WaitQueueInfo, to_seconds)
from waitq.v1 import objects_pb2, pipes_pb2, sessions_pb2, tasks_pb2
from waitq.v1 import wait_queues_pb2

_NANOS = 1_000_000_000
# The wire's range: 10,000 years.
_SECONDS_MAX = 315_576_000_000


def to_duration(seconds: float) -> duration_pb2.Duration:
    """Rounded up to whole nanoseconds: a sleep must not end early."""
    if abs(seconds) >= _SECONDS_MAX:
        return duration_pb2.Duration(
            seconds=int(math.copysign(_SECONDS_MAX, seconds)))
    nanos = math.ceil(seconds * _NANOS)
    sign = -1 if nanos < 0 else 1  # both fields have it
    whole, part = divmod(abs(nanos), _NANOS)
    return duration_pb2.Duration(seconds=sign * whole, nanos=sign * part)


def to_float(duration: duration_pb2.Duration) -> float:
    return float(duration.seconds + duration.nanos / _NANOS)


def condition_to_wire(condition: Condition) -> wait_queues_pb2.Condition:
    return wait_queues_pb2.Condition(**{condition.test: condition.operand})


def action_to_wire(action: Action) -> wait_queues_pb2.Action:
    return wait_queues_pb2.Action(**{action.change: action.operand})


def undo_to_wire(undo: Undo) -> wait_queues_pb2.Undo:
    return wait_queues_pb2.Undo(
        only_while=undo.only_while and condition_to_wire(undo.only_while),
        instead=undo.instead and action_to_wire(undo.instead))


def options_to_wire(options: PipeOptions) -> pipes_pb2.PipeOptions:
    return pipes_pb2.PipeOptions(
        capacity_bytes=options.capacity_bytes,
        atomic_max_bytes=options.atomic_max_bytes,
        mode=options.mode.value if options.mode else 0,
        profile=options.profile.value if options.profile else 0)


def set_sleep(request: Any, timeout: Seconds | None, nonblock: bool,
              sleep: Sleep, want_timing: bool = False) -> None:
    """The fields that all requests that may sleep have."""
    seconds = to_seconds(timeout)
    if seconds is not None:
        request.timeout.CopyFrom(to_duration(seconds))
    if nonblock:
        request.nonblock = True
    request.sleep = sleep.value
    if want_timing:
        request.want_timing = True


def outcome_of(response: Any) -> Outcome:
    return Outcome(response.outcome)


def remaining_of(response: Any) -> float | None:
    if not response.HasField("remaining"):
        return None
    return to_float(response.remaining)


def timing_of(response: Any) -> Timing | None:
    if not response.HasField("timing"):
        return None
    timing = response.timing
    return Timing(asleep=to_float(timing.asleep),
                  wake_to_send=to_float(timing.wake_to_send),
                  overshoot=to_float(timing.overshoot),
                  place=timing.place)


def failure_from_wire(failure: sessions_pb2.Failure) -> errors.Failure:
    result = errors.Failure(errors.code_of(failure.code), failure.message,
                            failure.reason)
    if failure.HasField("retry_after"):
        result = result.but(retry_after=to_float(failure.retry_after))
    return errors.with_metadata(result, dict(failure.metadata))


def object_from_wire(stat: objects_pb2.ObjectStat) -> ObjectInfo:
    state: WaitQueueInfo | CompletionInfo | PipeInfo
    if stat.HasField("pipe"):
        pipe = stat.pipe
        state = PipeInfo(
            capacity_bytes=pipe.capacity_bytes,
            atomic_max_bytes=pipe.atomic_max_bytes,
            unread_bytes=pipe.unread_bytes,
            held_bytes=pipe.held_bytes,
            read_offset=pipe.read_offset,
            write_offset=pipe.write_offset,
            readers=pipe.readers,
            writers=pipe.writers,
            mode=PipeMode(pipe.mode or 1),
            profile=PipeProfile(pipe.profile or 1))
    elif stat.HasField("completion"):
        state = CompletionInfo(done=stat.completion.done)
    else:
        state = WaitQueueInfo(value=stat.wait_queue.value,
                              grants=stat.wait_queue.grants)
    return ObjectInfo(
        name=stat.name,
        kind=ObjectKind(stat.kind),
        incarnation=stat.incarnation,
        generation=stat.generation,
        created=stat.created,
        sleepers=stat.sleepers,
        state=state)


def task_from_wire(task: tasks_pb2.Task) -> TaskInfo:
    return TaskInfo(
        id=task.id,
        peer=task.peer,
        caller=task.caller,
        state=Sleep(task.state or 1),
        object=task.object,
        kind=ObjectKind(task.kind),
        condition=task.condition,
        age=to_float(task.age),
        remaining=remaining_of(task),
        place=task.place,
        exclusive=task.exclusive,
        detached=task.detached,
        alternative=(task.alternative if task.HasField("alternative")
                     else None))
