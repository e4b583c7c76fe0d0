"""Where the tests happen: servers, a proxy that cuts connections, and the two
clients of a scenario."""

import contextlib
import faulthandler
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import waitq

# How long something that is sure to come may take: used up only by a failure.
BOUND_S = 60

# Low enough for scenarios to reach them.
LIMITS = ("--operations-per-session=256", "--sleepers-per-object=300",
          f"--pipe-bytes={8 << 20}")

_check = unittest.TestCase()
_check.maxDiff = 2000
eq = _check.assertEqual
ne = _check.assertNotEqual
ge = _check.assertGreaterEqual
gt = _check.assertGreater
true = _check.assertTrue
false = _check.assertFalse
is_in = _check.assertIn


def error_of(function, *args, **kwargs):
    """The WaitqError that the call raises."""
    try:
        result = function(*args, **kwargs)
    except waitq.WaitqError as error:
        return error
    raise AssertionError(f"no error, but {result!r}")


def reason_of(function, *args, **kwargs):
    return error_of(function, *args, **kwargs).reason


def await_that(state, what="a state"):
    """Asks `state` until it is true."""
    end = time.monotonic() + BOUND_S
    while not state():
        if time.monotonic() > end:
            raise AssertionError(f"did not come: {what}")
        time.sleep(0.003)


def seed():
    """WAITQ_SEED, or a new one; printed."""
    value = int(os.environ.get("WAITQ_SEED") or random.randrange(1 << 31))
    print(f"seed {value}", flush=True)
    return value


@contextlib.contextmanager
def no_longer_than(seconds, what):
    """What hangs ends the program, and says what it was."""
    print(f"... {what}", file=sys.stderr, flush=True)
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


class Server:
    """A waitqd of its own, which can be killed and started anew."""

    def __init__(self, *flags, listen="127.0.0.1:0"):
        self._folder = tempfile.mkdtemp(prefix="waitq", dir="/tmp")
        if listen == "unix":
            listen = f"unix:{self._folder}/s"
        self._flags = flags
        self.address = listen
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            [os.environ["WAITQD"], "--listen", self.address, *self._flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        greeting = "waitqd listening on "
        line = self._process.stdout.readline()
        if not line.startswith(greeting):
            raise RuntimeError(f"waitqd did not come up: {line!r}")
        self.address = line[len(greeting):].strip()

    def send_signal(self, number):
        self._process.send_signal(number)

    def await_end(self):
        self._process.wait(BOUND_S)
        self._process.stdout.close()

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def close(self):
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class CuttingProxy:
    """TCP between clients and a server, which understands as much of HTTP/2 as
    it needs to count messages: DATA frames with data, in both directions."""

    _PREFACE_BYTES = 24

    def __init__(self, upstream):
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._mu = threading.Lock()
        self._sockets = set()
        self._silent = set()  # those whose messages are dropped
        self._closed = self._blocked = False
        self.set_cut(None)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set_cut(self, message, every=None, lost=True, told=True):
        """Cuts the connection that the so manieth message from now is on (None:
        none), and after that every so manieth. `lost`: it does not arrive.
        `told`: the server sees the cut, too."""
        with self._mu:
            self._count, self.cuts = 0, 0
            self._cut_at, self._every = message, every
            self._lost, self._told = lost, told

    def stall(self):
        """What is connected now carries nothing any more, and is not closed."""
        with self._mu:
            self._silent |= self._sockets

    def block(self, blocked=True):
        """Cuts all that is connected, and whatever connects from now on."""
        self._blocked = blocked
        with self._mu:
            sockets = list(self._sockets)
        if blocked:
            for sock in sockets:
                _end(sock)

    def close(self):
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._mu:
            sockets = list(self._sockets)
        for sock in sockets:
            _end(sock)

    def _accept(self):
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._blocked:
                client.close()
                continue
            try:
                server = socket.create_connection(self._upstream)
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._mu:
                self._sockets.update((client, server))
            # What was not told to the server stays open, until it says so.
            pair = (client, server)
            for source, to, preface in ((client, server, self._PREFACE_BYTES),
                                        (server, client, 0)):
                threading.Thread(target=self._pump, daemon=True,
                                 args=(source, to, preface, pair)).start()

    def _pump(self, source, to, preface, pair):
        told = True
        try:
            if preface:
                to.sendall(_read(source, preface))
            while True:
                head = _read(source, 9)
                frame = head + _read(source, int.from_bytes(head[:3], "big"))
                cut, lost, told = False, False, True
                if head[3] == 0 and len(frame) > 9:
                    cut, lost, told = self._message()
                if not lost and source not in self._silent:
                    to.sendall(frame)
                if cut:
                    break
        except OSError:
            pass
        client, server = pair
        _end(client)
        if told:
            _end(server)

    def _message(self):
        """Whether it is to be cut here, and how."""
        with self._mu:
            self._count += 1
            if self._count != self._cut_at:
                return False, False, True
            self.cuts += 1
            self._cut_at = self._cut_at + self._every if self._every else None
            return True, self._lost, self._told


def _read(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise OSError("end")
        data += more
    return data


def _end(sock):
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class World:
    """Where a scenario happens: a server, perhaps behind a proxy."""

    def __init__(self, listen="127.0.0.1:0", cutting=False):
        self.server = Server(*LIMITS, listen=listen)
        self.proxy = CuttingProxy(self.server.address) if cutting else None
        # No connection is lost: who is asleep can be woken at once.
        self.is_calm = not cutting
        self._looking = waitq.Client(self.server.address)
        self._runs = 0

    def new_client(self, **options):
        address = (self.proxy or self.server).address
        return waitq.Client(address, **options)

    def asleep(self, name):
        return len(self._looking.tasks(name))

    def await_asleep(self, name, count):
        await_that(lambda: self.asleep(name) == count,
                   f"{count} asleep on {name}")

    def grants(self, name):
        return self._looking.stat(name).state.grants

    def signal(self, name, number):
        """Sends it to all that sleep there; how many it ended."""
        return sum(self._looking.signal(task.id, number)
                   for task in self._looking.tasks(name))

    def restart_server(self):
        self.stop_server()
        self.start_server()

    def stop_server(self):
        self.server.kill()

    def start_server(self):
        self.server.start()

        def answers():
            try:
                self._looking.list()
            except waitq.Unavailable:
                return False
            return True
        await_that(answers, "the new server")

    def run(self, scenario, what):
        """Runs it between two new clients."""
        self._runs += 1
        name = scenario.__name__
        with no_longer_than(BOUND_S, f"{name}, {what}"):
            with self.new_client(caller="a") as a, \
                    self.new_client(caller="b") as b:
                scene = Scene(self, a, b, f"{name}/{self._runs}")
                # The first call brings the session.
                for client in (a, b):
                    error_of(client.get, scene.name("nothing"))
                scenario(scene)

    def close(self):
        self._looking.close()
        if self.proxy:
            self.proxy.close()
        self.server.close()


class Scene:
    """Two clients, and objects of this run's own."""

    def __init__(self, world, a, b, prefix):
        self.world = world
        self.a = a
        self.b = b
        self._prefix = prefix

    def name(self, name):
        return f"{self._prefix}/{name}"

    def await_asleep(self, name, count):
        self.world.await_asleep(name, count)


def file_bytes(size):
    """Bytes that are nowhere the same as a little further on."""
    return random.Random(88172645463325252).randbytes(size)


def read_file(reader):
    """Reads to the end, and looks that nothing is missing in between."""
    data, offset = b"", None
    while True:
        chunk = reader.read_chunk()
        eq(chunk.offset, chunk.offset if offset is None else offset)
        offset = chunk.offset + len(chunk.data)
        data += chunk.data
        if chunk.end is not None:
            return data, chunk
