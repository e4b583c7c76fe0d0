"""Which results the application has taken, and what the server is yet to be
told of it."""

from __future__ import annotations

from waitq.v1 import sessions_pb2


class Acknowledgements:
    """Results have numbers from 1. Each is settled once: taken, or returned."""

    def __init__(self) -> None:
        self._up_to = 0  # all of these are settled
        self._others: set[int] = set()  # and these above
        self._new_others: list[int] = []  # of these, unsaid
        # Not known to have arrived: a number that was returned must not be said
        # to be taken by `_up_to` alone. The first so many have been said.
        self._returned: list[int] = []
        self._returned_said = 0
        self._returned_marked = 0
        self.unsaid = 0  # how many were settled and not said

    def take(self, number: int) -> None:
        self._settle(number, taken=True)

    def give_back(self, number: int) -> None:
        """Nobody will take it."""
        self._returned.append(number)
        self._settle(number, taken=False)

    def _settle(self, number: int, taken: bool) -> None:
        self.unsaid += 1
        if number == self._up_to + 1:
            self._up_to += 1
            while self._up_to + 1 in self._others:
                self._up_to += 1
                self._others.remove(self._up_to)
        elif number > self._up_to and number not in self._others:
            self._others.add(number)
            if taken:
                self._new_others.append(number)

    def say(self, message: sessions_pb2.SessionRequest,
            numbers_max: int) -> None:
        """Says what is unsaid, by that many numbers at most. If something stays
        unsaid the next messages say it."""
        if self.unsaid == 0:
            return
        begin = self._returned_said
        self._returned_said = min(begin + numbers_max, len(self._returned))
        message.returned.extend(self._returned[begin:self._returned_said])
        self.unsaid = len(self._returned) - self._returned_said
        if self.unsaid > 0:
            return  # what follows would say that those are taken
        message.taken_up_to = self._up_to
        room = numbers_max - (self._returned_said - begin)
        others = [n for n in self._new_others if n > self._up_to]
        message.taken.extend(others[:room])
        self._new_others = others[room:]
        self.unsaid = 1 if self._new_others else 0

    def unsay(self) -> None:
        """A message may have been lost with its connection: all that is not
        known to have arrived is unsaid again."""
        self._returned_said = self._returned_marked = 0
        returned = set(self._returned)
        self._new_others = sorted(self._others - returned)
        self.unsaid = 0 if self._up_to == 0 and not self._others else 1

    def mark(self) -> None:
        """Something is said now that will be answered."""
        self._returned_marked = self._returned_said

    def arrived(self) -> None:
        """It has been answered: so all that was said before has arrived."""
        del self._returned[:self._returned_marked]
        self._returned_said -= self._returned_marked
        self._returned_marked = 0
