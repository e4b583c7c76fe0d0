#!/usr/bin/python3
"""Replaces a server under load: one waitqd drains, another comes in its place.

Callers of every kind are under way, as processes of their own, and items pass
from senders to receivers all the time. The server gets SIGTERM; when it has
ended, the next one is started on the same address. Then:

* every caller ends as done, as not done, or as "outcome unknown"; none hangs;
* those who slept sleep on the next server, without anybody's help, timed ones
  with what is left of their time, and are woken there;
* no item comes twice, and none is lost but those whose sender or receiver says
  that he does not know;
* whoever has a pipe open is told that it is over, and what was done until then.

    replace_server_test.py            on a port, and on a socket file
    replace_server_test.py 100        so many replacements of each
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

BOUND_S = 60
WAITQ = os.path.abspath("client/cli/waitq")
WAITQD = os.path.abspath("server/waitqd")

WAITERS = 4     # of each kind
SENDERS = 3
RECEIVERS = 3
TIMEOUT_S = 8   # of those who are not woken
ITEMS = 40      # of each sender, before the server drains and after that


class Wrong(Exception):
    """Something has not come out as promised."""


def await_state(what, state):
    """Asks again and again."""
    end = time.monotonic() + BOUND_S
    while not state():
        if time.monotonic() > end:
            raise Wrong(f"never: {what}")
        time.sleep(0.01)


class Server:
    def __init__(self, listen):
        self.process = subprocess.Popen(
            [WAITQD, "--listen", listen], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise Wrong(f"no server: {self.process.stderr.read()}")
        self.address = line.split()[-1]

    def drain(self):
        self.process.send_signal(signal.SIGTERM)

    def await_end(self):
        log = self.process.communicate(timeout=BOUND_S)[1]
        if self.process.returncode != 0:
            raise Wrong(f"the server has ended so: {log}")
        return log

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class Caller:
    """A waitq command, what it printed, and how and when it ended."""

    def __init__(self, address, *arguments, feed=False):
        self.arguments = arguments
        self.lines = []   # of its output, as they come
        self.errors = []
        self.begun = time.monotonic()
        self.took = None
        self.process = subprocess.Popen(
            [WAITQ, "--server", address, *arguments],
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.threads = [
            threading.Thread(target=self._collect, args=(stream, to))
            for stream, to in ((self.process.stdout, self.lines),
                               (self.process.stderr, self.errors))]
        self.threads.append(threading.Thread(target=self._await))
        for thread in self.threads:
            thread.start()

    def _collect(self, stream, to):
        for line in stream:
            to.append(line.rstrip("\n"))

    def _await(self):
        self.process.wait()
        self.took = time.monotonic() - self.begun

    def __str__(self):
        return (f"waitq {' '.join(self.arguments)}: exit "
                f"{self.process.returncode}, {self.errors}")

    def feed(self, text):
        """False: it does not read any more."""
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
            return True
        except BrokenPipeError:
            return False

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def is_running(self):
        return self.process.poll() is None

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def end(self):
        """Its exit code."""
        await_state(f"the end of {self}", lambda: not self.is_running())
        for thread in self.threads:
            thread.join()
        return self.process.returncode

    def is_unknown(self):
        return any("outcome unknown" in line for line in self.errors)

    def kill(self):
        if self.is_running():
            self.process.kill()
        for thread in self.threads:
            thread.join()


class Sender:
    """Sends numbered items one by one, and begins again where a command of it
    has ended. Each item was sent, was not, or may have been."""

    AHEAD = 8  # items on their way: a command that fails leaves so many unsent

    def __init__(self, world, name, receivers):
        self.world = world
        self.name = name
        self.receivers = receivers
        self.next = 0
        self.first = 0      # of the command that runs
        self.unknown = 0    # of its commands
        self.not_done = 0
        self.caller = None

    def step(self):
        """One item more."""
        if self.caller is not None and not self.caller.is_running():
            self.count()
        if self.caller is None:
            self.first = self.next
            self.caller = self.world.start("send", "items", feed=True)
        if self.next - self.first - self.came() >= self.AHEAD:
            return
        if self.caller.feed(f"{self.name}.{self.next}\n"):
            self.next += 1

    def came(self):
        """How many of the command's items."""
        lines = [line for receiver in self.receivers
                 for line in list(receiver.lines)]
        return sum(1 for line in lines
                   if line.startswith(self.name + ".") and
                   int(line.split(".")[1]) >= self.first)

    def count(self):
        code = self.caller.end()
        if code == 0:
            pass
        elif code == 1 and self.caller.is_unknown():
            self.unknown += 1
        elif code == 1:
            self.not_done += 1
        else:
            raise Wrong(f"a sender has ended so: {self.caller}")
        self.caller = None

    def finish(self):
        if self.caller is not None:
            self.caller.close()
            self.count()


class World:
    def __init__(self, listen):
        self.callers = []
        self.server = Server(listen)
        self.address = self.server.address

    def close(self):
        for caller in self.callers:
            caller.kill()
        self.server.kill()

    def start(self, *arguments, feed=False):
        caller = Caller(self.address, *arguments, feed=feed)
        self.callers.append(caller)
        return caller

    def run(self, *arguments):
        caller = self.start(*arguments)
        if caller.end() != 0:
            raise Wrong(str(caller))
        return caller.lines

    def asleep(self, name):
        """How many."""
        listing = subprocess.run(
            [WAITQ, "--server", self.address, "--json", "ps", name],
            capture_output=True, text=True, check=True).stdout
        return listing.count('"id"')

    def await_asleep(self, name, count):
        await_state(f"{count} asleep on {name}",
                    lambda: self.asleep(name) == count)

    def replace_server(self):
        self.server.drain()
        log = self.server.await_end()
        if "not read" in log or "not sent" in log:
            raise Wrong(f"the drain has left something: {log}")
        self.server = Server(self.address)


def check_sleepers(ended, kind):
    """Those who were to be woken."""
    for caller in ended:
        code = caller.end()
        if code == 1 and caller.is_unknown():
            raise Wrong(f"{kind}: was told so, and was asleep: {caller}")
        if code != 0:
            raise Wrong(f"{kind}: {caller}")


def check_items(senders, receivers):
    came = [line for receiver in receivers for line in receiver.lines]
    if len(came) != len(set(came)):
        twice = sorted({item for item in came if came.count(item) > 1})
        raise Wrong(f"came twice: {twice}")
    asked = {f"{s.name}.{n}" for s in senders for n in range(s.next)}
    strange = set(came) - asked
    if strange:
        raise Wrong(f"nobody has sent {strange}")
    # A sender's command that fails may have read ahead of the item that it
    # failed with: so what is missing of his is behind that one, without a gap
    # until the next command begins. What a receiver says that it does not know
    # may be lost, one for each.
    missing = asked - set(came)
    may_be = sum(r.is_unknown() for r in receivers)
    for sender in senders:
        mine = sorted(int(item.split(".")[1]) for item in missing
                      if item.split(".")[0] == sender.name)
        gaps = sum(1 for i, n in enumerate(mine) if i == 0 or n != mine[i - 1] + 1)
        may_be -= max(0, gaps - sender.unknown - sender.not_done)
    if may_be < 0:
        raise Wrong(f"lost: {sorted(missing)}")
    return len(came), len(missing)


def replace(listen):
    world = World(listen)
    try:
        flags = [world.start("wait", "flag", "--until", "==1")
                 for _ in range(WAITERS)]
        takers = [world.start("wait", "tokens", "--until", ">=1", "--then",
                              "add:-1") for _ in range(WAITERS)]
        jobs = [world.start("await", "job") for _ in range(WAITERS)]
        polls = [world.start("poll", "letters", "--in")
                 for _ in range(WAITERS)]
        timed = [world.start("wait", "never", "--until", "==1", "--timeout",
                             f"{TIMEOUT_S}s")]
        timed.append(world.start("recv", "none", "--timeout", f"{TIMEOUT_S}s"))
        receivers = [world.start("recv", "items", "--follow")
                     for _ in range(RECEIVERS)]
        reader = world.start("read", "file")
        writer = world.start("write", "file", feed=True)
        writer.feed("0123456789")
        sleeping = {"flag": WAITERS, "tokens": WAITERS, "job": WAITERS,
                    "letters": WAITERS, "never": 1, "none": 1}
        for name, count in sleeping.items():
            world.await_asleep(name, count)
        # (The reader prints whole lines to us at its end.)
        await_state("the reader has slept for more",
                    lambda: world.asleep("file") == 1)

        senders = [Sender(world, f"s{n}", receivers) for n in range(SENDERS)]
        load = threading.Event()

        def send():
            while not load.is_set():
                for sender in senders:
                    sender.step()
                load.wait(0.001)

        def sent():
            return min(sender.next for sender in senders)

        wrong = []

        def send_and_tell():
            try:
                send()
            except Wrong as error:
                wrong.append(error)

        thread = threading.Thread(target=send_and_tell)
        thread.start()
        try:
            await_state("items pass", lambda: all(r.lines for r in receivers)
                        and sent() >= ITEMS)
            world.replace_server()
            before = sum(len(r.lines) for r in receivers)
            # All by themselves.
            for name, count in sleeping.items():
                world.await_asleep(name, count)
            await_state("items pass again",
                        lambda: sum(len(r.lines) for r in receivers) >=
                        before + ITEMS or not any(r.is_running()
                                                  for r in receivers))
        finally:
            load.set()
            thread.join()
        if wrong:
            raise wrong[0]
        for sender in senders:
            sender.finish()

        world.run("wake", "flag", "--set", "1", "--all")
        world.run("wake", "tokens", "--set", str(WAITERS), "--all")
        world.run("complete", "job", "--nr", str(WAITERS))
        letters = world.start("write", "letters", feed=True)
        letters.feed("a")
        letters.close()
        check_sleepers(flags, "a wait")
        check_sleepers(takers, "a wait that takes")
        check_sleepers(jobs, "an await")
        check_sleepers(polls, "a poll")
        tokens = world.run("get", "tokens")[0].split()[0]
        if tokens != "0":
            raise Wrong(f"{tokens} tokens are left of {WAITERS}: each takes one")

        # Whoever has a pipe open knows where he stands.
        writer.feed("abc")
        writer.close()
        if reader.end() != 1 or writer.end() != 1:
            raise Wrong(f"an open pipe: {reader}; {writer}")
        if not any(re.search(r"wrote 10 of 1[03] bytes: ", line)
                   for line in writer.errors):
            raise Wrong(f"a writer does not say what it wrote: {writer}")
        if "".join(reader.lines) != "0123456789":
            raise Wrong(f"a reader has {reader.lines}")

        for caller in timed:
            if caller.end() != 124:
                raise Wrong(f"timed out: {caller}")
            if not TIMEOUT_S <= caller.took < TIMEOUT_S + 3:
                raise Wrong(f"after {caller.took:.1f}s: {caller}")

        # What is left is read; then the receivers have had all.
        await_state("the items are read",
                    lambda: world.asleep("items") ==
                    sum(r.is_running() for r in receivers))
        for receiver in receivers:
            if receiver.is_running():
                receiver.interrupt()
            if receiver.end() != 130 and not receiver.is_unknown():
                raise Wrong(f"a receiver: {receiver}")
        left = world.start("recv", "items", "--follow", "--nonblock")
        left.end()
        came, missing = check_items(senders, receivers + [left])
        unknown = (sum(s.unknown for s in senders) +
                   sum(r.is_unknown() for r in receivers))
        print(f"{world.address}: {came} items came, {missing} may not have; "
              f"{unknown} callers do not know, "
              f"{sum(s.not_done for s in senders)} senders know that not",
              flush=True)
    finally:
        world.close()


def main():
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory(prefix="waitq-") as folder:
        for _ in range(times):
            for listen in ("127.0.0.1:0", f"unix:{folder}/socket"):
                try:
                    replace(listen)
                except Wrong as wrong:
                    print(f"FAILED on {listen}: {wrong}", flush=True)
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
