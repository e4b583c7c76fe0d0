"""Many pipes in a program's own loop."""

from __future__ import annotations

import functools
import itertools
import math
import os
import select
import threading
import weakref
from dataclasses import dataclass

from waitq import _calls
from waitq._call import Call
from waitq._core import Core
from waitq.errors import WaitqError
from waitq.types import PollResult, Readiness, Seconds, to_seconds

__all__ = ["Poller", "PollerEvent"]

_NOTHING = Readiness()


@dataclass(frozen=True)
class PollerEvent:
    name: str
    ready: Readiness  # what can be done
    # Set: the name is not watched any more, and why (ObjectRemoved; WrongKind:
    # it is no pipe; others, as poll()). This is given once.
    error: WaitqError | None = None


class _Name:

    def __init__(self, readable: bool, writable: bool, number: int) -> None:
        self.readable = readable
        self.writable = writable
        self.number = number  # of the poll under way; another one for each
        self.call: Call[PollResult] | None = None  # None: it is being begun
        self.known: Readiness | None = None
        self.error: WaitqError | None = None


class _State:
    """What a poller and its polls share. They outlive it: what they bring is
    then of no name."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._mu = threading.RLock()  # signals' handlers ask, too
        self._names: dict[str, _Name] = {}
        self._ready: dict[str, None] = {}  # in the order of their turns
        self._signalled = False
        self._numbers = itertools.count(1)

    def watch(self, name: str, readable: bool, writable: bool) -> None:
        with self._mu:
            self._check_open()
            old = self._names.get(name)
            entry = _Name(readable, writable, next(self._numbers))
            self._names[name] = entry
            self._set_ready(name, False)
        self._abandon(old)
        self._poll(name, entry.number, entry, None)

    def unwatch(self, name: str) -> None:
        with self._mu:
            old = self._names.pop(name, None)
            self._set_ready(name, False)
        self._abandon(old)

    def close(self) -> None:
        with self._mu:
            if self.fd < 0:
                return
            names = list(self._names.values())
            self._names.clear()
            self._ready.clear()
            self._signalled = False
            os.close(self.fd)
            self.fd = -1
        for entry in names:
            self._abandon(entry)

    def __len__(self) -> int:
        with self._mu:
            return len(self._names)

    def take(self, most: int | None) -> list[PollerEvent]:
        events = []
        with self._mu:
            self._check_open()
            for name in list(itertools.islice(self._ready, most)):
                entry = self._names[name]
                events.append(PollerEvent(name, entry.known or _NOTHING,
                                          entry.error))
                del self._ready[name]
                if entry.error is None:
                    self._ready[name] = None  # the others first, the next time
                else:
                    del self._names[name]
            self._signal()
        return events

    def _check_open(self) -> None:
        if self.fd < 0:
            raise ValueError("the poller is closed")

    @staticmethod
    def _abandon(entry: _Name | None) -> None:
        if entry is not None and entry.call is not None:
            entry.call.abandon()

    def _poll(self, name: str, number: int, entry: _Name,
              known: Readiness | None) -> None:
        call = self._core.start(_calls.poll(
            name, readable=entry.readable, writable=entry.writable,
            known=known))
        with self._mu:
            now = self._names.get(name)
            wanted = now is entry and entry.number == number
            if wanted:
                entry.call = call
        if wanted:
            call.add_done_callback(
                functools.partial(self._on_polled, name, number))
        else:
            call.abandon()

    def _on_polled(self, name: str, number: int,
                   call: Call[PollResult]) -> None:
        result, error = None, None
        try:
            result = call.result()
        except WaitqError as raised:
            error = raised
        with self._mu:
            entry = self._names.get(name)
            if entry is None or entry.number != number:
                return
            entry.call = None
            known = entry.known = None if result is None else Readiness(
                result.readable, result.writable, result.hup, result.err)
            # Of a server that was restarted: the next one is asked.
            if error is not None and error.reason != "EOWNERDEAD":
                entry.error = error
            self._set_ready(name, bool(known) or entry.error is not None)
            if entry.error is not None:
                return
            number = entry.number = next(self._numbers)
        self._poll(name, number, entry, known)

    def _set_ready(self, name: str, ready: bool) -> None:
        if ready:
            self._ready.setdefault(name)
        else:
            self._ready.pop(name, None)
        self._signal()

    def _signal(self) -> None:
        """The descriptor can be read while there is something to be taken."""
        if self._signalled == bool(self._ready):
            return
        self._signalled = bool(self._ready)
        if self._signalled:
            os.eventfd_write(self.fd, 1)
        else:
            os.eventfd_read(self.fd)


class Poller:
    """Watches names, as an epoll instance watches descriptors: it can be read
    while something can be done with one of them, so it goes into select, a
    `selectors` loop, or whatever the program's loop is made of.

    >>> with client.poller() as poller:
    ...     poller.watch("jobs/a", readable=True)
    ...     for event in poller.wait():
    ...         client.read(event.name, nonblock=True)

    Level-triggered: take() gives a name for as long as something can be done
      with it, as far as the server has told. Nothing is consumed, so others may
      be faster: what is done then must not block. After a read that empties a
      pipe it is given until the server's word comes, a round trip later.
    A name costs the server one sleeping call, and each change one message. Lost
      connections, and servers that drain, are the client's to mend; after a
      restart of the server its names are asked for anew.
    Thread safety: any thread may call any method. None but wait() blocks.
    """

    def __init__(self, core: Core) -> None:
        self._state = _State(core)
        self._finalizer = weakref.finalize(self, _State.close, self._state)

    def watch(self, name: str, *, readable: bool = False,
              writable: bool = False) -> None:
        """From now on; `hup` and `err` are always told. Of a name that is
        watched already it replaces the interest."""
        self._state.watch(name, readable, writable)

    def unwatch(self, name: str) -> None:
        """take() does not give it any more."""
        self._state.unwatch(name)

    def __len__(self) -> int:
        """Names that are watched."""
        return len(self._state)

    def __bool__(self) -> bool:
        return True

    def take(self, most: int | None = None) -> list[PollerEvent]:
        """Those with which something can be done, at most so many: who asks for
        fewer than there are gets others the next time."""
        return self._state.take(most)

    def wait(self, timeout: Seconds | None = None,
             most: int | None = None) -> list[PollerEvent]:
        """The same, but sleeps until there is one; none after `timeout`.
        Ctrl-C interrupts it."""
        if self.fileno() >= 0:
            # Not select(), which knows no descriptors above 1023.
            poll = select.poll()
            poll.register(self, select.POLLIN)
            seconds = to_seconds(timeout)
            poll.poll(None if seconds is None else math.ceil(1000 * seconds))
        return self.take(most)

    def fileno(self) -> int:
        """The poller's own, to be waited for and not to be read. -1: it is
        closed."""
        return self._state.fd

    def close(self) -> None:
        """Watches nothing any more. Does not wait."""
        self._finalizer()

    def __enter__(self) -> Poller:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
