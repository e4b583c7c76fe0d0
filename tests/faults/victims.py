"""Servers and victims as processes, and what their records say."""

import collections
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

# How long what is sure to come may take: used up only by a failure.
BOUND_S = 60

HERE = os.path.dirname(os.path.abspath(__file__))


def built(path):
    """A program that Bazel built; or the one that $WAITQ_BIN_... names."""
    name = os.path.basename(path)
    return os.environ.get("WAITQ_BIN_" + name.upper(), os.path.abspath(path))


class Stuck(Exception):
    """What had to come did not."""


def await_that(state, what, bound_s=BOUND_S):
    end = time.monotonic() + bound_s
    while not state():
        if time.monotonic() > end:
            raise Stuck(what)
        time.sleep(0.005)


def free_port():
    """Below those that the kernel gives to connections: it stays free."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


def _listens(address):
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


class Process:
    """A child that dies with this program."""

    def __init__(self, command, log):
        self.errors = log
        with open(log, "ab") as file:
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True)
        self.pid = self._child.pid
        self.stopped = False

    def signal(self, number):
        # Not waited for: the child is there at least as a zombie.
        if self._child.returncode is None:
            os.kill(self._child.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)

    def stop(self):
        self.stopped = True
        self.signal(signal.SIGSTOP)

    def go_on(self):
        self.stopped = False
        self.signal(signal.SIGCONT)

    def is_running(self):
        return self._child.poll() is None

    def wait(self, bound_s=BOUND_S):
        try:
            return self._child.wait(bound_s)
        except subprocess.TimeoutExpired:
            raise Stuck(f"{self._child.args[:2]} did not end") from None

    def end(self, bound_s=BOUND_S):
        self.signal(signal.SIGTERM)
        return self.wait(bound_s)

    def close(self):
        self.go_on()
        self.kill()
        self._child.wait()


# --- servers -----------------------------------------------------------------


def _run(*command):
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True,
                   timeout=BOUND_S)


def may_cut_links():
    """Whether this program may make network namespaces, and links to them."""
    try:
        _run("unshare", "-n", "ip", "link", "set", "lo", "up")
    except (OSError, subprocess.SubprocessError):
        return False
    return os.geteuid() == 0


class Waitqd:
    framed = True
    name = "waitq"

    def __init__(self, folder, behind_link=False):
        """`behind_link`: in a network namespace of its own."""
        self._folder = folder
        self.port = free_port()
        self.host = "127.0.0.1"
        self.process = None
        self._link = None
        if behind_link:
            # Addresses for tests of networks (RFC 2544).
            self.host = (f"198.18.{self.port >> 6 & 255}."
                         f"{(self.port << 2 & 255) + 2}")
            self._link = f"waitq{self.port}"
        self.start()

    def start(self):
        command = [built("server/waitqd"), "--listen", self.address(),
                   "--grace", "10s"]
        if self._link is not None:
            # It is there when the link is.
            command = ["unshare", "-n", "sh", "-c",
                       'until ip -o addr | grep -q "$0"; do sleep 0.01; done; '
                       'exec "$@" --insecure', self.host, *command]
        self.process = Process(command, os.path.join(self._folder, "server"))
        if self._link is not None:
            self._make_link()
        await_that(lambda: _listens((self.host, self.port)), "a server")

    def address(self):
        return f"{self.host}:{self.port}"

    def _make_link(self):
        pid = str(self.process.pid)
        await_that(lambda: os.readlink(f"/proc/{pid}/ns/net") !=
                   os.readlink("/proc/self/ns/net"), "a namespace")
        here = self.host.rsplit(".", 1)[0] + "." + str(
            (self.port << 2 & 255) + 1)
        inside = ("nsenter", "-t", pid, "-n")
        # It goes with the namespace, which goes with the server.
        _run("ip", "link", "add", self._link, "type", "veth", "peer", "name",
             "inside", "netns", pid)
        _run("ip", "addr", "add", here + "/30", "dev", self._link)
        _run("ip", "link", "set", self._link, "up")
        _run(*inside, "ip", "link", "set", "inside", "up")
        _run(*inside, "ip", "addr", "add", self.host + "/30", "dev",
             "inside")

    def cut_link(self, cut):
        _run("ip", "link", "set", self._link, "down" if cut else "up")

    def drain(self):
        """Until it has ended."""
        self.process.signal(signal.SIGTERM)
        self.process.wait()

    def close(self):
        self.process.close()

    def _stat(self, name):
        done = subprocess.run(
            [built("client/cli/waitq"), "stat", name, "--json",
             f"--server={self.address()}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=BOUND_S)
        return (json.loads(done.stdout).get("object", {})
                if done.returncode == 0 else {})

    def is_empty(self, name, kind):
        """Whether nothing is left that a reader could get."""
        if kind == "completion":
            return True  # the collector looks at each
        pipe = self._stat(name).get("pipe", {})
        return not any(int(pipe.get(key, 0))
                       for key in ("unreadBytes", "heldBytes"))


class Peer:
    """What Redis and beanstalkd have in common."""

    framed = False
    host = "127.0.0.1"
    command = ()

    def __init__(self, folder):
        self._folder = folder
        self.port = free_port()
        self.process = None
        self.start()

    def start(self):
        self.process = Process(
            [word.format(port=self.port, folder=self._folder)
             for word in self.command], os.path.join(self._folder, "server"))
        await_that(lambda: _listens((self.host, self.port)), "a server")

    def close(self):
        self.process.close()

    def _ask(self, text):
        with socket.create_connection(("127.0.0.1", self.port),
                                      timeout=10) as sock:
            sock.sendall(text)
            return sock.recv(1 << 16).decode()


class Redis(Peer):
    name = "redis"
    # In memory only, as waitq.
    command = ("redis-server", "--bind", "127.0.0.1", "--port", "{port}",
               "--save", "", "--appendonly", "no", "--dir", "{folder}")

    def drain(self):
        # It knows no drain: SIGTERM is its orderly end.
        self.process.signal(signal.SIGTERM)
        self.process.wait()

    def is_empty(self, name, kind):
        return self._ask(f"LLEN {name}\r\n".encode()).startswith(":0")


class Beanstalkd(Peer):
    name = "beanstalkd"
    command = ("beanstalkd", "-l", "127.0.0.1", "-p", "{port}")

    def drain(self):
        # It takes no more jobs, and does not end by itself.
        self.process.signal(signal.SIGUSR1)
        try:
            await_that(lambda: self.is_empty(None, None), "an empty server", 10)
        except Stuck:
            pass  # as a grace that is over
        self.process.signal(signal.SIGTERM)
        self.process.wait()

    def is_empty(self, name, kind):
        answer = self._ask(b"stats\r\n")
        counts = dict(line.split(": ", 1) for line in answer.splitlines()
                      if ": " in line)
        return not any(int(counts[f"current-jobs-{state}"]) for state in
                       ("ready", "reserved", "delayed", "buried", "urgent"))


# --- victims -----------------------------------------------------------------


class RecordFile:
    """What a program has written down (record.h)."""

    def __init__(self, path):
        self.path = path
        self._offset = 0
        self._rest = b""
        self.lines = []  # [what, word, ..., time in ns]

    def read(self):
        """What has come since; all of it is in `lines`."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        new = [line.decode().split() for line in whole]
        self.lines += new
        return new


class Victim(Process, RecordFile):
    """A reader or a writer, and its record."""

    _count = collections.Counter()

    def __init__(self, role, setup, address, first=1, **options):
        Victim._count[setup.folder] += 1
        self.role = role
        self.first = first
        self.options = options
        RecordFile.__init__(self, os.path.join(
            setup.folder, f"{Victim._count[setup.folder]:04d}.{role}"))
        if setup.mode in ("redis", "beanstalkd"):
            program = [sys.executable, "-S", "-E",
                       os.path.join(HERE, "peer_victim.py")]
        else:
            program = [built("tests/faults/victim")]
        arguments = dict(
            server=address, mode=setup.mode, kind=setup.kind, name=setup.name,
            log=self.path, first=first, seed=setup.random.randrange(1 << 30),
            grace=setup.grace_s, hold=setup.hold_s, timeout=setup.timeout_s,
            pace=setup.pace_us)
        arguments.update(options)
        command = program + [role]
        for key, value in arguments.items():
            values = value if isinstance(value, list) else [value]
            command += [f"--{key}={one}" for one in values]
        Process.__init__(self, command, self.path + ".err")

    # --- what it would know if it began again ---

    def has_begun(self):
        return any(line[0] in "SW" for line in self.lines)

    def last_item(self):
        """The last that it was about, and 0 if there was none."""
        for line in reversed(self.lines):
            if line[0] in "SW":
                return int(line[1])
        return 0

    def under_way(self):
        """The S or W line of a call whose end it has not seen."""
        for line in reversed(self.lines):
            if line[0] in "SW":
                return line
            if line[0] in "AURTNL":
                return None
        return None

    def holds(self):
        """Those of which it does not know that they are its own."""
        open_holds = []
        for line in self.lines:
            if line[0] == "T" and line[3] != "0":
                open_holds.append(line[3])
            elif line[0] in "CE" and line[1] in open_holds:
                open_holds.remove(line[1])
        return open_holds


class Verdict:
    """What became of the items, from the records of all victims."""

    def __init__(self, victims, ordered):
        sent, accepted = set(), set()
        taken = collections.defaultdict(list)  # item: [(time, mark, ...)]
        own = {}  # (victim, hold): time
        stale = set()  # (victim, hold)
        turned = []  # (item, later item) that one reader got in this order
        self.bad = []
        # Why a victim does not know what became of a call: how often.
        self.reasons = collections.Counter()
        for number, victim in enumerate(victims):
            victim.read()
            last = 0
            for line in victim.lines:
                what, when = line[0], int(line[-1])
                if what == "S":
                    sent.add(int(line[1]))
                elif what == "A":
                    accepted.add(int(line[1]))
                elif what == "U":
                    self.reasons[line[2]] += 1
                elif what == "L":
                    self.reasons[line[2]] += 1
                elif what == "X":
                    self.bad.append(line[1])
                elif what == "C":
                    own[number, line[1]] = when
                elif what == "E":
                    stale.add((number, line[1]))
                elif what == "T":
                    # (Without a hold there is nothing to be certain of.)
                    for item in map(int, line[1].split(",")):
                        taken[item].append(
                            (when, line[2] == "1", number, line[3]))
                        if line[2] != "1":
                            if item < last:
                                turned.append((item, last))
                            last = max(last, item)
        if ordered:
            # A write of which its writer does not know may come later.
            self.bad += [f"order:{item}<{last}" for item, last in turned
                         if item in accepted and last in accepted]
        self.items = len(sent)
        self.accepted = len(accepted)
        self.unknown = len(sent - accepted)
        self.lost = sorted(accepted - set(taken))
        self.again = sum(mark for item in taken.values()
                         for _, mark, _, _ in item)
        self.doubled = []
        # Marked copies that were taken before the unmarked one.
        self.late = []
        for item, times in sorted(taken.items()):
            times.sort()
            if item not in sent:
                self.bad.append(f"never sent:{item}")
            unmarked = [t for t in times if not t[1]]
            if len(unmarked) > 1:
                self.doubled.append(item)
            elif unmarked and unmarked[0] is not times[0]:
                self.late.append(item)
            # Who was too late with his Accept does not count: he knows.
            last = max((t[0] for t in times if t[2:] not in stale), default=0)
            if any(own.get(t[2:], last) < last for t in times):
                self.doubled.append(item)
