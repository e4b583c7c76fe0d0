"""The operations of a session that have not ended, in the order in which they
are sent, and when they are given up."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import Iterator

from waitq._operation import Operation, append_operation
from waitq.errors import Failure

# What one message has of operations, at most, but for one that is longer: so
# that a wake does not wait behind megabytes.
_MESSAGE_BYTES = 128 << 10
# What a server takes; and what beside the longest operation fits into that.
_MESSAGE_BYTES_MAX = (4 << 20) - 16
_ALONE_BYTES = 512


class Operations:
    """Numbers are given from 1, and in their order operations are sent. Where
    the server takes no more they wait without one: who sleeps behind who
    wakes."""

    def __init__(self) -> None:
        # By number, in its order.
        self.numbered: dict[int, Operation] = {}
        self._waiting_wakers: deque[Operation] = deque()
        self._waiting_sleepers: deque[Operation] = deque()
        self.most = 1000  # that the server takes
        # Refused by a server that drained: they wait for the next one. No
        # others are numbered before that, when it is waited for.
        self._drained: list[Operation] = []
        self.between_servers = False
        self._asked = itertools.count(1)
        self._last_number = 0  # given to an operation
        self.sent_number = 0  # on this connection
        self._ever_sent = 0  # on any
        # When they end here at the latest. Those that have ended, or end at
        # another time, are passed over.
        self._give_ups: list[tuple[float, int, Operation]] = []
        self._count = itertools.count()

    def __len__(self) -> int:
        return (len(self.numbered) + len(self._waiting_wakers)
                + len(self._waiting_sleepers) + len(self._drained))

    def any_under_way(self) -> bool:
        return bool(self.numbered) or any(
            operation.tell is not None
            for operation in (*self.waiting(), *self._drained))

    def add(self, operation: Operation, unsettled: int) -> None:
        """`unsettled`: results that take up room, too."""
        operation.asked = operation.asked or next(self._asked)
        if not self._is_full(operation.sleeper, unsettled):
            self.number(operation)
        elif operation.sleeper:
            self._waiting_sleepers.append(operation)
        else:
            self._waiting_wakers.append(operation)

    def _is_full(self, sleeper: bool, unsettled: int) -> bool:
        if self.between_servers:
            return True
        # Who wakes goes before who sleeps, also when the server takes no more.
        reserve = min(1000, self.most // 16) if sleeper else 0
        return len(self.numbered) + unsettled + reserve >= self.most

    def number(self, operation: Operation) -> None:
        self._last_number += 1
        operation.number = self._last_number
        self.numbered[self._last_number] = operation

    def admit_waiting(self, unsettled: int) -> None:
        """Those that waited for room go on."""
        for sleeper, waiting in ((False, self._waiting_wakers),
                                 (True, self._waiting_sleepers)):
            while waiting and not self._is_full(sleeper, unsettled):
                operation = waiting.popleft()
                if operation.tell is not None:
                    self.number(operation)

    def keep_waiting(self, operations: list[Operation]) -> None:
        """They had a number, and were not sent: they go before those that have
        never had one."""
        for operation in reversed(operations):
            operation.number = 0
            (self._waiting_sleepers if operation.sleeper
             else self._waiting_wakers).appendleft(operation)

    def keep_drained(self, operation: Operation, failure: Failure) -> None:
        operation.drained = failure
        operation.number = operation.epoch = 0  # that server has not done it
        operation.own_give_up = operation.give_up
        until = min(operation.give_up, operation.end())
        if until != math.inf:
            self.give_up_at(operation, until)
        self._drained.append(operation)

    def drained(self) -> list[Operation]:
        return [operation for operation in self._drained
                if operation.tell is not None]

    def forget_drained(self) -> None:
        self._drained.clear()

    def begin_drained_anew(self, now: float, unsettled: int) -> None:
        """With what is left of their time, in the order in which they were
        asked for."""
        drained = sorted(self.drained(), key=lambda operation: operation.asked)
        self._drained.clear()
        for operation in drained:
            operation.drained = None
            operation.give_up = math.inf
            if operation.own_give_up != math.inf:
                self.give_up_at(operation, operation.own_give_up)
            operation.restart_with_less(now)
            self.add(operation, unsettled)

    def waiting(self) -> list[Operation]:
        return [*self._waiting_wakers, *self._waiting_sleepers]

    def forget_waiting(self) -> None:
        self._waiting_wakers.clear()
        self._waiting_sleepers.clear()

    def forget_session(self) -> list[Operation]:
        """Numbers begin anew. Those that had one, in its order: `was_sent` no
        more says what it said of them before."""
        operations = list(self.numbered.values())
        self.numbered = {}
        self._last_number = self.sent_number = self._ever_sent = 0
        return operations

    # --- Sending --------------------------------------------------------------

    def was_sent(self, operation: Operation) -> bool:
        return 0 < operation.number <= self._ever_sent

    def any_to_send(self) -> bool:
        return self.sent_number < self._last_number

    def append_to(self, body: bytearray, said: int) -> None:
        """Appends what is to be sent to a message that has so many bytes."""
        while self.any_to_send():
            operation = self.numbered.get(self.sent_number + 1)
            # One that has ended asks for nothing; its number is sent.
            encoded = operation.encoded if operation else b""
            if body and len(body) + len(encoded) > _MESSAGE_BYTES:
                break
            # One that fills a message by itself waits for the next.
            if said + len(encoded) > _MESSAGE_BYTES_MAX and said > _ALONE_BYTES:
                break
            append_operation(body, encoded)
            self.sent_number += 1
        self._ever_sent = max(self._ever_sent, self.sent_number)

    # --- Giving up ------------------------------------------------------------

    def give_up_at(self, operation: Operation, when: float) -> None:
        operation.give_up = when
        heapq.heappush(self._give_ups, (when, next(self._count), operation))

    def next_give_up(self) -> float:
        while self._give_ups:
            when, _, operation = self._give_ups[0]
            if operation.tell is not None and operation.give_up == when:
                return when
            heapq.heappop(self._give_ups)
        return math.inf

    def due(self, now: float) -> Iterator[Operation]:
        while self.next_give_up() <= now:
            yield heapq.heappop(self._give_ups)[2]
