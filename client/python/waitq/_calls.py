"""Every call, said once: what it takes, what it sends, what comes of it.

`Client`, `Client.start` and `AsyncClient` have these as their methods, each
waiting in its own way; the docstrings are theirs, too. `cancel` is a token
whose cancel() ends the call.
"""

from __future__ import annotations

from typing import Any, Union

from waitq import _wire, errors
from waitq._call import CancelToken, Plan
from waitq.types import (
    Action, AwaitResult, CompleteResult, Condition, GetResult, Outcome,
    PipeOptions, PollResult, Readiness, ReadResult, Seconds, Sleep, StoreResult,
    WaitResult, WakeResult, WriteResult, to_seconds)
from waitq.v1 import objects_pb2, sessions_pb2, wait_queues_pb2

# The most data that one write may carry: a message, less what else is in it.
WRITE_BYTES_MAX = (4 << 20) - 1024

# What has a response in the field of its request's name.
_HasResponse = Union[sessions_pb2.Result, objects_pb2.WaitAnyResponse]


# --- Wait queues --------------------------------------------------------------


def wait(name: str, condition: Condition | None = None,
         then: Action | None = None, *, exclusive: bool | None = None,
         then_wake: bool = False, key: int = 0, seen_generation: int = 0,
         timeout: Seconds | None = None, nonblock: bool = False,
         sleep: Sleep = Sleep.INTERRUPTIBLE, want_timing: bool = False,
         cancel: CancelToken | None = None) -> Plan[WaitResult]:
    """Sleeps until the condition holds, then changes the word in the same step.

    condition   None: sleep until a wake reaches this call
    then        done in the step in which the condition is found true
    exclusive   whether this sleeper uses up one of a wake's `nr`; None: if it
                has a `then`
    then_wake   after `then` the sleepers are walked once more
    key         which wakes reach it: 0 in either key matches all, otherwise
                they must have a bit in common
    seen_generation  only of the queue that has had this one: ObjectRemoved if
                it has been removed since, also where another has its name
    timeout     how long it may sleep; None: for ever; 0: one test. Never ended
                early
    nonblock    never sleep: WOULD_BLOCK instead; beats `timeout`
    sleep       which signals end it

    The result is true if it is DONE; TIMED_OUT and WOULD_BLOCK have changed
    nothing. Raises Interrupted, ObjectRemoved, Cancelled, and what every call
    may raise (see `Client`). Should the session be lost it begins anew, with
    what is left of its time, if it has a condition and no `then`; otherwise its
    outcome is unknown: `then` may have been done, or the wake may have come.
    """
    # What changes the word is not known to have been undone; and the wake that
    # a wait without a condition is for does not come again.
    plan = Plan(name, read_wait, timeout=to_seconds(timeout), sleeper=True,
                restartable=condition is not None and then is None,
                cancel=cancel)
    request = plan.operation.wait
    request.name = name
    if condition is not None:
        request.condition.CopyFrom(_wire.condition_to_wire(condition))
    if then is not None:
        request.then.CopyFrom(_wire.action_to_wire(then))
    if exclusive is not None:
        request.exclusive = exclusive
    request.then_wake = then_wake
    request.key = key
    request.seen_generation = seen_generation
    _wire.set_sleep(request, plan.timeout, nonblock, sleep, want_timing)
    return plan


def read_wait(result: _HasResponse) -> WaitResult:
    response = result.wait
    return WaitResult(
        outcome=_wire.outcome_of(response),
        value_before=response.value_before,
        value_after=response.value_after,
        generation=response.generation,
        remaining=_wire.remaining_of(response),
        slept=response.slept,
        timing=_wire.timing_of(response))


def wake_up(name: str, update: Action | None = None, *, nr: int = 1,
            all: bool = False,  # pylint: disable=redefined-builtin
            interruptible_only: bool = False, sync: bool = False, key: int = 0,
            grant: int = 0,
            cancel: CancelToken | None = None) -> Plan[WakeResult]:
    """Changes the word, if asked to, and wakes those whose condition holds.

    update              done before anybody is woken
    nr                  how many exclusive sleepers to wake at most; ignored
                        with `all`
    interruptible_only  leave killable sleepers asleep
    sync                the caller is about to sleep: a hint
    key                 whom it reaches: as wait()'s
    grant               the one that this gives back (`Grant.token`): with an
                        `update` the word is changed by that, without as if it
                        were undone. 0: none. Stale: it is not out any more,
                        nothing has happened

    InvalidArgument (ERANGE): the update would overflow; nobody was woken.
    """
    plan = Plan(name, _read_wake_up, cancel=cancel)
    request = plan.operation.wake_up
    request.name = name
    if update is not None:
        request.update.CopyFrom(_wire.action_to_wire(update))
    kinds = wait_queues_pb2.WakeUpRequest
    request.mode = (kinds.MODE_INTERRUPTIBLE if interruptible_only
                    else kinds.MODE_NORMAL)
    if all:
        request.all = True
    else:
        request.nr = nr
    request.sync = sync
    request.key = key
    request.grant = grant
    return plan


def _read_wake_up(result: sessions_pb2.Result) -> WakeResult:
    response = result.wake_up
    return WakeResult(
        woken=response.woken,
        woken_exclusive=response.woken_exclusive,
        value=response.value,
        generation=response.generation)


def get(name: str, *, cancel: CancelToken | None = None) -> Plan[GetResult]:
    """Reads the word. NotFound: nobody has used the queue yet."""
    plan = Plan(name, lambda result: GetResult(
        value=result.get.value, generation=result.get.generation),
        restartable=True, cancel=cancel)
    plan.operation.get.name = name
    return plan


def store(name: str, value: int, *,
          cancel: CancelToken | None = None) -> Plan[StoreResult]:
    """Changes the word and wakes nobody."""
    plan = Plan(name, lambda result: StoreResult(
        value_before=result.store.value_before,
        generation=result.store.generation), cancel=cancel)
    plan.operation.store.name = name
    plan.operation.store.value = value
    return plan


# --- Completions --------------------------------------------------------------


def await_done(name: str, *, timeout: Seconds | None = None,
               nonblock: bool = False, sleep: Sleep = Sleep.INTERRUPTIBLE,
               want_timing: bool = False,
               cancel: CancelToken | None = None) -> Plan[AwaitResult]:
    """Sleeps until something is done, and takes it: `wait_for_completion`.

    Arguments and result as of wait(). Should the session be lost, it begins
    anew with what is left of its time."""
    plan = Plan(name, read_await, timeout=to_seconds(timeout), sleeper=True,
                restartable=True, cancel=cancel)
    plan.operation.completion_wait.name = name
    _wire.set_sleep(plan.operation.completion_wait, plan.timeout, nonblock,
                    sleep, want_timing)
    return plan


def read_await(result: _HasResponse) -> AwaitResult:
    response = result.completion_wait
    return AwaitResult(
        outcome=_wire.outcome_of(response),
        remaining=_wire.remaining_of(response),
        slept=response.slept,
        generation=response.generation,
        redelivered=response.redelivered,
        timing=_wire.timing_of(response))


def try_wait(name: str, *, cancel: CancelToken | None = None) -> Plan[bool]:
    """Takes one if there is one to take, and says so; never sleeps."""
    plan = Plan(name, lambda result: bool(result.try_wait.taken), cancel=cancel)
    plan.operation.try_wait.name = name
    return plan


def complete(name: str, nr: int = 1, *,
             cancel: CancelToken | None = None) -> Plan[CompleteResult]:
    """Something is done: `nr` times, 1 or more."""
    plan = Plan(name, _read_complete, cancel=cancel)
    plan.operation.complete.name = name
    plan.operation.complete.nr = nr
    return plan


def complete_all(name: str, *, cancel: CancelToken | None = None
                 ) -> Plan[CompleteResult]:
    """It is done for good: for every waiter, now and later, until reinit()."""
    plan = Plan(name, _read_complete, cancel=cancel)
    plan.operation.complete.name = name
    plan.operation.complete.all = True
    return plan


def _read_complete(result: sessions_pb2.Result) -> CompleteResult:
    response = result.complete
    return CompleteResult(woken=response.woken, done=response.done,
                          generation=response.generation)


def reinit(name: str, *, cancel: CancelToken | None = None) -> Plan[int]:
    """Forgets what is done. Sleepers stay asleep. The new generation."""
    plan = Plan(name, lambda result: int(result.reinit.generation),
                cancel=cancel)
    plan.operation.reinit.name = name
    return plan


def done(name: str, *, cancel: CancelToken | None = None) -> Plan[bool]:
    """Whether an await_done() would return at once. Takes nothing. NotFound:
    there is no such completion."""
    plan = Plan(name, lambda result: bool(result.done.done), restartable=True,
                cancel=cancel)
    plan.operation.done.name = name
    return plan


# --- Pipes, by name -----------------------------------------------------------


def read(name: str, max_bytes: int = 64 << 10, *, min_bytes: int = 1,
         pipe: PipeOptions | None = None, hold: Seconds | None = None,
         timeout: Seconds | None = None, nonblock: bool = False,
         sleep: Sleep = Sleep.INTERRUPTIBLE, want_timing: bool = False,
         cancel: CancelToken | None = None) -> Plan[ReadResult]:
    """Takes what is there, and sleeps only while nothing is.

    min_bytes  fewer only where the file ends; unmet at the timeout: nothing is
               taken
    pipe       options, should the pipe have to be made
    hold       what is read is not gone, but held for so long, at most a day:
               until accept() or release(), or it is put back for others. 0:
               30 s

    The rest as wait()'s. END_OF_FILE: `data` is empty, and `broken` says
    whether a writer went without closing. InvalidArgument (EMSGSIZE): the next
    packet is longer than `max_bytes`, and stays.
    """
    # What was read and not acknowledged is given back; what is held by its id,
    # only when the session ends at the server, too.
    plan = Plan(name, read_read, timeout=to_seconds(timeout), sleeper=True,
                restartable=True, cancel=cancel)
    request = plan.operation.read
    request.name = name
    request.max_bytes = max_bytes
    if min_bytes != 1:
        request.min_bytes = min_bytes
    if pipe is not None:
        request.options.CopyFrom(_wire.options_to_wire(pipe))
    if hold is not None:
        request.hold.CopyFrom(_wire.to_duration(to_seconds(hold) or 0.0))
    _wire.set_sleep(request, plan.timeout, nonblock, sleep, want_timing)
    return plan


def read_read(result: _HasResponse) -> ReadResult:
    response = result.read
    return ReadResult(
        outcome=_wire.outcome_of(response),
        data=response.data,
        offset=response.offset,
        incarnation=response.incarnation,
        broken=response.broken,
        hold_id=response.hold_id,
        redelivered=response.redelivered,
        slept=response.slept,
        timing=_wire.timing_of(response))


def accept(name: str, hold_id: int, up_to_offset: int | None = None, *,
           cancel: CancelToken | None = None) -> Plan[None]:
    """What a read with `hold` took is gone for good: all of it, or what stands
    below `up_to_offset`. Stale: it is not held any more, nothing has
    changed."""
    plan = Plan(name, _nothing, cancel=cancel)
    request = plan.operation.accept
    request.name = name
    request.hold_id = hold_id
    if up_to_offset is not None:
        request.up_to_offset = up_to_offset
    return plan


def release(name: str, hold_id: int, *,
            cancel: CancelToken | None = None) -> Plan[None]:
    """What a read with `hold` took is put back for others, in the place of its
    offset. Stale: as accept()."""
    plan = Plan(name, _nothing, cancel=cancel)
    plan.operation.release.name = name
    plan.operation.release.hold_id = hold_id
    return plan


def _nothing(_: Any) -> None:
    return None


def write(name: str, data: bytes, *, pipe: PipeOptions | None = None,
          timeout: Seconds | None = None, nonblock: bool = False,
          sleep: Sleep = Sleep.INTERRUPTIBLE, want_timing: bool = False,
          cancel: CancelToken | None = None) -> Plan[WriteResult]:
    """Appends `data`, 4 MiB - 1 KiB at most, and sleeps while it does not fit.

    Up to the pipe's `atomic_max_bytes` it is whole or nothing; more is DONE if
    any byte was accepted: `accepted_bytes` says how many, `ended_by` and
    `ended_by_error` why not all. BrokenPipe: the last reader has left.
    """
    check_write_size(name, data)
    plan = Plan(name, read_write, timeout=to_seconds(timeout), cancel=cancel)
    request = plan.operation.write
    request.name = name
    request.data = bytes(memoryview(data))  # no number, no text
    if pipe is not None:
        request.options.CopyFrom(_wire.options_to_wire(pipe))
    _wire.set_sleep(request, plan.timeout, nonblock, sleep, want_timing)
    return plan


def check_write_size(name: str, data: bytes) -> None:
    # The server says so too, but to a session only by its end.
    if len(data) > WRITE_BYTES_MAX:
        raise errors.invalid(
            f"one write of {len(data)} bytes; at most {WRITE_BYTES_MAX} fit "
            "into a message", name, "EMSGSIZE").error()


def read_write(result: sessions_pb2.Result) -> WriteResult:
    response = result.write
    return WriteResult(
        outcome=_wire.outcome_of(response),
        accepted_bytes=response.accepted_bytes,
        ended_by=Outcome(response.ended_by) if response.ended_by else None,
        ended_by_error=response.ended_by_error,
        ended_by_signal=response.ended_by_signal,
        offset=response.offset,
        incarnation=response.incarnation,
        slept=response.slept,
        timing=_wire.timing_of(response))


def poll(name: str, *, readable: bool = False, writable: bool = False,
         known: Readiness | None = None, timeout: Seconds | None = None,
         nonblock: bool = False, sleep: Sleep = Sleep.INTERRUPTIBLE,
         want_timing: bool = False,
         cancel: CancelToken | None = None) -> Plan[PollResult]:
    """Sleeps until something can be done with the pipe: `poll(2)`. Takes
    nothing, so what it saw may be gone by now.

    readable   a byte, or a packet, is unread
    writable   a write of up to the atomic size would not sleep
    known      sleeps until what there is, of what is asked for, is something
               else than this, be it nothing. None: until there is something
    """
    plan = Plan(name, _read_poll, timeout=to_seconds(timeout), sleeper=True,
                restartable=True, cancel=cancel)
    request = plan.operation.poll
    request.name = name
    setattr(request, "in", readable)
    request.out = writable
    if known is not None:
        setattr(request.known, "in", known.readable)
        request.known.out = known.writable
        request.known.hup = known.hup
        request.known.err = known.err
        request.known.SetInParent()
    _wire.set_sleep(request, plan.timeout, nonblock, sleep, want_timing)
    return plan


def _read_poll(result: sessions_pb2.Result) -> PollResult:
    response = result.poll
    return PollResult(
        outcome=_wire.outcome_of(response),
        readable=getattr(response, "in"),
        writable=response.out,
        hup=response.hup,
        err=response.err,
        slept=response.slept,
        timing=_wire.timing_of(response))
