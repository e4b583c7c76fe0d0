"""Whose clock: how long a session lives, as its client sees it.

The client gives a session up at the send time of its last answered heartbeat
+ 0.9 of the grace; the server at the receipt of the last message + the grace.
So the client is first: what it believes to have is nobody else's yet.
"""

from __future__ import annotations

import math

# A server that is there answers a hello within this, in seconds.
HELLO_TIME = 15.0
_SHARE = 0.9


class Lease:
    """Times are seconds of the link's clock."""

    def __init__(self, grace: float) -> None:
        self._held = False
        self._from = 0.0
        self._asked_for = grace
        self._seconds = _SHARE * grace
        # How long a server that is well may take to answer.
        self.answer_time = HELLO_TIME
        self.heartbeat = 0  # the number of the last one that was sent
        self.sent = 0.0  # when
        self.due = False  # one is to be sent with the next message
        self.answered = True

    def begin(self, grace: float, hello_sent: float) -> None:
        """A hello is answered."""
        self._held = True
        self._seconds = _SHARE * grace
        self.answer_time = grace / 4
        self._from = self.sent = hello_sent
        self.answered = True

    @property
    def seconds(self) -> float:
        """How long it lasts without a word."""
        return self._seconds

    def lose(self) -> None:
        """There is no session any more."""
        self._held = False
        self._seconds = _SHARE * self._asked_for
        self.answer_time = HELLO_TIME
        self.due = False
        self.answered = True

    def send(self, now: float) -> int:
        """A heartbeat goes out; its number."""
        self.due = False
        self.answered = False
        self.heartbeat += 1
        self.sent = now
        return self.heartbeat

    def answer(self, heartbeat: int) -> bool:
        """True if it is the answer of the last one: the lease is prolonged."""
        if heartbeat == 0 or heartbeat != self.heartbeat:
            return False
        self.answered = True
        self._from = self.sent
        return True

    def end(self) -> float:
        return self._from + self._seconds if self._held else math.inf

    def next_look(self) -> float:
        """When there is something to do about heartbeats."""
        # One that is due waits for the message under way, but not for ever.
        return self.sent + (2 if self.due else 1) * self.answer_time

    def look(self, now: float) -> bool:
        """False: this connection is dead, or as good as that."""
        if now < self.sent + self.answer_time:
            return True
        if self.answered and not self.due:
            self.due = True
            return True
        return self.due and now < self.sent + 2 * self.answer_time
