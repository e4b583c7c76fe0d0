"""Calls on objects as such, and on tasks; as _calls.py.

What only looks is a unary call on a connection of its own: it needs no session,
and sleepers do not stand before it.
"""

from __future__ import annotations

from typing import Any, Callable, TypeVar

from waitq import _wire
from waitq._call import CancelToken, Plan, Steps, once
from waitq._core import Core
from waitq.types import (
    CreateResult, ObjectInfo, PipeOptions, TaskInfo, TaskSignal)
from waitq.v1 import objects_pb2, sessions_pb2, tasks_pb2

T = TypeVar("T")


def _create(name: str, cancel: CancelToken | None) -> Plan[CreateResult]:
    plan = Plan(name, _read_create, cancel=cancel)
    plan.operation.create.name = name
    return plan


def _read_create(result: sessions_pb2.Result) -> CreateResult:
    return CreateResult(created=result.create.created,
                        object=_wire.object_from_wire(result.create.object))


def create_wait_queue(name: str, *, cancel: CancelToken | None = None
                      ) -> Plan[CreateResult]:
    """Makes a wait queue that stays until remove()."""
    plan = _create(name, cancel)
    plan.operation.create.wait_queue.SetInParent()
    return plan


def create_completion(name: str, *, cancel: CancelToken | None = None
                      ) -> Plan[CreateResult]:
    """Makes a completion that stays until remove()."""
    plan = _create(name, cancel)
    plan.operation.create.completion.SetInParent()
    return plan


def create_pipe(name: str, pipe: PipeOptions = PipeOptions(), *,
                cancel: CancelToken | None = None) -> Plan[CreateResult]:
    """Makes a pipe that stays until remove(). AlreadyExists: it is there with
    other options."""
    plan = _create(name, cancel)
    plan.operation.create.pipe.CopyFrom(_wire.options_to_wire(pipe))
    return plan


def remove(name: str, *, force: bool = False,
           cancel: CancelToken | None = None) -> Plan[int]:
    """Removes an object; how many sleepers ended with ObjectRemoved. Busy:
    writer handles are open, bytes are held, or grants are out, and no
    `force`."""
    plan = Plan(name, lambda result: int(result.remove.ended), cancel=cancel)
    plan.operation.remove.name = name
    plan.operation.remove.force = force
    return plan


def stat(name: str, *, cancel: CancelToken | None = None) -> Plan[ObjectInfo]:
    """What an object is like now. NotFound: there is none of that name."""
    return Plan(name, lambda answer: _wire.object_from_wire(answer.object),
                cancel=cancel, method="/waitq.v1.Objects/Stat",
                request=objects_pb2.StatRequest(name=name),
                answer=objects_pb2.StatResponse)


def signal(task_id: int, signal: TaskSignal, *,
           cancel: CancelToken | None = None) -> Plan[bool]:
    """Sends a signal to the sleeping call of that id (`TaskInfo.id`). True if
    its sleep is over; False if its state does not admit the signal. NotFound
    (ESRCH): no such call sleeps."""
    return Plan("", lambda answer: bool(answer.ended), cancel=cancel,
                method="/waitq.v1.Tasks/Signal", changes=True,
                request=tasks_pb2.SignalRequest(id=task_id, signal=int(signal)),
                answer=tasks_pb2.SignalResponse)


def list_objects(core: Core, prefix: str = "", *,
                 cancel: CancelToken | None = None) -> Steps[list[ObjectInfo]]:
    """All objects whose names begin with `prefix`, in order of their names."""
    return _pages(core, prefix, "/waitq.v1.Objects/List",
                  objects_pb2.ListObjectsRequest(prefix=prefix),
                  objects_pb2.ListObjectsResponse,
                  lambda answer: [_wire.object_from_wire(stat)
                                  for stat in answer.objects], cancel)


def tasks(core: Core, name: str = "", *,
          cancel: CancelToken | None = None) -> Steps[list[TaskInfo]]:
    """Who sleeps: on that object, or everywhere if it is "". In order of
    arrival."""
    return _pages(core, name, "/waitq.v1.Tasks/List",
                  tasks_pb2.ListTasksRequest(name=name),
                  tasks_pb2.ListTasksResponse,
                  lambda answer: [_wire.task_from_wire(task)
                                  for task in answer.tasks], cancel)


def _pages(core: Core, name: str, method: str, request: Any, answer: Any,
           read: Callable[[Any], list[T]],
           cancel: CancelToken | None) -> Steps[list[T]]:
    result: list[T] = []
    while True:
        page, request.page_token = yield from once(core, Plan(
            name, lambda answer: (read(answer), answer.next_page_token),
            method=method, request=request, answer=answer, cancel=cancel))
        result += page
        if not request.page_token:
            return result
