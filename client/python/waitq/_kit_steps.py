"""Locks and their like, without saying how one waits: each is thin over one
wait. kit.py and aio_kit.py are what programs see of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Generic, Hashable, TypeVar

from waitq import _calls, _grant, errors
from waitq._call import Call, CancelToken, Plan, Steps, once
from waitq._core import Core
from waitq._grant import Holding
from waitq.errors import NotFound, ObjectRemoved, WaitqError
from waitq.types import (
    Action, BarrierResult, Condition, OnDeath, Outcome, Seconds, Sleep, Undo,
    WaitResult)

if TYPE_CHECKING:
    from waitq.aio import AsyncClient
    from waitq.client import Client

G = TypeVar("G")

# The word of a broken barrier: it is beyond every round's end, so that all who
# wait see it.
_BROKEN = (1 << 63) - 1
# No word is below it.
_NEVER = -1 << 63


@dataclasses.dataclass(frozen=True)
class Asked:
    """How a lock, or what is like one, is waited for."""

    timeout: Seconds | None = None
    nonblock: bool = False
    sleep: Sleep = Sleep.INTERRUPTIBLE
    cancel: CancelToken | None = None

    def wait(self, name: str, condition: Condition,
             then: Action | None = None,
             seen_generation: int = 0) -> Plan[WaitResult]:
        return _calls.wait(name, condition, then,
                           seen_generation=seen_generation,
                           timeout=self.timeout, nonblock=self.nonblock,
                           sleep=self.sleep, cancel=self.cancel)

    def acquire(self, name: str, condition: Condition,
                then: Action) -> Plan[Holding]:
        return _grant.acquire(name, condition, then, timeout=self.timeout,
                              nonblock=self.nonblock, sleep=self.sleep,
                              cancel=self.cancel)


def take_lock(name: str, asked: Asked) -> Plan[Holding]:
    return asked.acquire(name, Condition.equal(0), Action.set(1))


def take_permits(name: str, n: int, most: int,
                 asked: Asked) -> Plan[Holding]:
    if not 1 <= n <= most:
        raise errors.invalid(f"{name}: {n} of {most} permits", name).error()
    return asked.acquire(name, Condition.less_or_equal(most - n), Action.add(n))


class Named:
    """A wait queue of this name, by way of that client."""

    def __init__(self, client: Client | AsyncClient, name: str) -> None:
        self._client = client  # with it it would be closed
        self._core = client._core
        self._name = name


class Entered(Generic[G]):
    """The grants of `with` blocks: each thread, or task, leaves its own, the
    innermost first."""

    def __init__(self) -> None:
        self._of: dict[Hashable, list[G]] = {}

    def enter(self, who: Hashable, grant: G) -> None:
        self._of.setdefault(who, []).append(grant)

    def leave(self, who: Hashable) -> G:
        grants = self._of[who]
        grant = grants.pop()
        if not grants:
            del self._of[who]
        return grant


class BarrierSteps:
    """A barrier. The word counts those who have come, over all rounds."""

    def __init__(self, core: Core, name: str, parties: int,
                 on_death: OnDeath) -> None:
        if parties < 1:
            raise errors.invalid(f"{name}: a barrier of {parties}",
                                 name).error()
        self._core = core
        self._name = name
        self._parties = parties
        self._on_death = on_death

    def arrive(self, asked: Asked) -> Steps[BarrierResult]:
        while True:
            value, generation = yield from self._look(asked.cancel)
            # While the word is below this it is of this round: nothing takes it
            # below the end of a round that was passed.
            threshold = (value // self._parties + 1) * self._parties
            this_round = Condition.less(threshold)
            undo = Undo(only_while=this_round)
            if self._on_death is OnDeath.BREAK:
                undo = Undo(this_round, Action.set(_BROKEN))
            # An arrival that counts in any case is one that is never undone.
            if self._on_death is OnDeath.COUNT:
                undo = Undo(only_while=Condition.less(_NEVER))
            # And below that there is no round of another barrier of this name,
            # which may come in its place between any two of the calls here.
            try:
                holding = yield from once(self._core, _grant.acquire(
                    self._name, this_round, Action.add(1), undo=undo,
                    then_wake=True, seen_generation=generation, nonblock=True,
                    cancel=asked.cancel))
            except ObjectRemoved:
                continue  # to the next one
            # Between the look and the arrival others may have passed the round.
            if holding.result.outcome is Outcome.DONE:
                return (yield from self._wait(holding, threshold, asked))

    def _look(self, cancel: CancelToken | None) -> Steps[tuple[int, int]]:
        """The word and its generation."""
        try:
            now = yield from once(self._core,
                                  _calls.get(self._name, cancel=cancel))
        except NotFound:
            return 0, 0
        if now.value == _BROKEN:
            raise errors.broken_barrier(self._name).error()
        if not 0 <= now.value < _BROKEN - self._parties:
            raise errors.no_barrier(self._name, now.value).error()
        return now.value, now.generation

    def _wait(self, holding: Holding, threshold: int,
              asked: Asked) -> Steps[BarrierResult]:
        before = holding.result.value_before
        result = BarrierResult(Outcome.DONE, before // self._parties,
                               before % self._parties)
        passed: WaitResult | None = None
        failure: WaitqError | None = None
        try:
            call = self._core.start(asked.wait(
                self._name, Condition.greater_or_equal(threshold),
                seen_generation=holding.result.generation))
            # The wait alone would be begun anew if the session is lost, or its
            # server replaced, and sleep for a round in which it has not come.
            holding.on_lost(lambda _: call.cancel())
            try:
                yield call
            except BaseException:
                call.abandon()
                raise
            try:
                passed = call._value()
                call._take()
            except WaitqError as error:
                failure = error
        except BaseException:  # interrupted: he does not wait for that either
            self._leave(holding, threshold)
            raise
        if passed:
            if passed.value_after == _BROKEN:
                # If it were undone when others have reset the barrier, it would
                # be broken anew.
                holding.keep()
                raise errors.broken_barrier(self._name).error()
            holding.keep()
            return result
        if failure is not None and failure.reason == "EIDRM":
            # With the barrier the arrival is gone, and there may be a new one
            # of that name by now, at which it never was.
            holding.keep()
            raise failure
        # He goes, and has not come; unless the last one comes at this moment:
        # who takes the arrival back sees that.
        lost = not holding.is_held
        try:
            value = yield from self._take_back(holding, threshold)
        except WaitqError as error:
            if failure is not None and not lost:
                raise failure
            # Until the server sees that, too, he counts; or for good.
            error.outcome_unknown |= lost and error.reason == "ESTALE"
            raise
        broken = value == _BROKEN
        if value >= threshold and not broken:
            return result
        if failure is not None:
            raise failure
        if broken and self._on_death is not OnDeath.BREAK:
            raise errors.broken_barrier(self._name).error()
        assert passed is not None
        return dataclasses.replace(result, outcome=passed.outcome)

    def _take_back(self, holding: Holding, threshold: int) -> Steps[int]:
        """The arrival is not to count; the word, by which it may have."""
        if self._on_death is not OnDeath.COUNT or not holding.is_held:
            return (yield from holding.give_back()).value
        holding.keep()  # it is not undone by itself
        while True:
            call = self._core.start(self._one_less(holding, threshold))
            try:
                yield call
            except BaseException:
                self._again(call, holding, threshold)
                raise
            gone = call._value()
            call._take()
            # Whose session was passed by at that moment has to ask again.
            if gone or gone.value_before >= threshold:
                return gone.value_before

    def _leave(self, holding: Holding, threshold: int) -> None:
        """The same, without waiting for it."""
        if self._on_death is not OnDeath.COUNT or not holding.is_held:
            holding.send_back()
        else:
            holding.keep()
            self._again(self._core.start(self._one_less(holding, threshold)),
                        holding, threshold)

    def _again(self, call: Call[WaitResult], holding: Holding,
               threshold: int) -> None:
        def look(ended: Call[WaitResult]) -> None:
            try:
                gone = ended.result()
            except WaitqError:
                return
            if not gone and gone.value_before < threshold:
                self._again(self._core.start(self._one_less(holding, threshold)),
                            holding, threshold)
        call.add_done_callback(look)

    def _one_less(self, holding: Holding,
                  threshold: int) -> Plan[WaitResult]:
        return _calls.wait(self._name, Condition.less(threshold),
                           Action.add(-1),
                           seen_generation=holding.result.generation,
                           nonblock=True)

    def reset(self, cancel: CancelToken | None) -> Plan[WaitResult]:
        return _calls.wait(self._name, Condition.equal(_BROKEN), Action.set(0),
                           nonblock=True, cancel=cancel)
