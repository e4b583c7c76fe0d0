"""As victim.cc, for Redis lists and beanstalkd: raw sockets, the same record."""

import os
import random
import signal
import socket
import sys
import time

_over = False


def _end(*_):
    global _over
    _over = True


class Lost(Exception):
    """The connection is gone; what became of the request is not known."""


class Refused(Exception):
    """The server has said no."""


class Connection:

    def __init__(self, address, timeout_s):
        host, port = address.rsplit(":", 1)
        self._address = (host, int(port))
        self._timeout_s = timeout_s
        self._socket = None
        self._buffer = b""

    def drop(self):
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer = b""

    def open(self):
        """Not sent yet, so it may be tried as often as it takes."""
        while self._socket is None and not _over:
            try:
                self._socket = socket.create_connection(
                    self._address, timeout=self._timeout_s + 2)
                self._socket.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.settimeout(self._timeout_s + 2)
            except OSError:
                time.sleep(0.02)
        return self._socket is not None

    def send(self, data):
        try:
            self._socket.sendall(data)
        except OSError as error:
            self.drop()
            raise Lost from error

    def line(self):
        while b"\r\n" not in self._buffer:
            self._more()
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line

    def exactly(self, size):
        while len(self._buffer) < size + 2:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size + 2:]
        return data

    def _more(self):
        try:
            data = self._socket.recv(4096)
        except OSError as error:
            self.drop()
            raise Lost from error
        if not data:
            self.drop()
            raise Lost
        self._buffer += data


class Redis:
    """LPUSH and BRPOP."""

    def __init__(self, connection, options):
        self._connection = connection
        self._name = options["name"].encode()
        self._timeout = options["timeout"].encode()

    def _command(self, *words):
        self._connection.send(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(word), word) for word in words))

    def put(self, item):
        self._command(b"LPUSH", self._name, b"%015d" % item)
        if not self._connection.line().startswith(b":"):
            raise Refused

    def take(self):
        self._command(b"BRPOP", self._name, self._timeout)
        head = self._connection.line()
        if head == b"*-1":
            return None
        if head != b"*2":
            raise Refused
        for _ in range(2):
            value = self._connection.exactly(int(self._connection.line()[1:]))
        return int(value), "0"

    def accept(self, hold):
        pass


class Beanstalkd:
    """put, reserve and delete; a job is its taker's for a second, the least."""

    def __init__(self, connection, options):
        self._connection = connection
        self._timeout = max(1, round(float(options["timeout"])))

    def put(self, item):
        data = b"%015d" % item
        self._connection.send(b"put 0 0 1 %d\r\n%s\r\n" % (len(data), data))
        if not self._connection.line().startswith(b"INSERTED"):
            raise Refused

    def take(self):
        self._connection.send(b"reserve-with-timeout %d\r\n" % self._timeout)
        words = self._connection.line().split()
        if words[0] in (b"TIMED_OUT", b"DEADLINE_SOON"):
            return None
        if words[0] != b"RESERVED":
            raise Refused
        data = self._connection.exactly(int(words[2]))
        return int(data), words[1].decode()

    def accept(self, hold):
        self._connection.send(b"delete %s\r\n" % hold.encode())
        if self._connection.line() != b"DELETED":
            raise Refused


class Record:

    def __init__(self, path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(path, flags, 0o644)

    def say(self, *words):
        line = " ".join(map(str, words + (time.monotonic_ns(),))) + "\n"
        os.write(self._file, line.encode())


def write(way, connection, record, options):
    dice = random.Random(int(options["seed"]))
    pace_s = int(options["pace"]) / 1e6
    item, left = int(options["first"]), 0
    while not _over and connection.open():
        record.say("S", item, "-", 0)
        try:
            way.put(item)
            record.say("A", item)
        except Lost:
            record.say("U", item, "lost")
        except Refused:
            record.say("R", item, "refused")
            time.sleep(0.01)
            continue
        item += 1
        left -= 1
        if left < 0:
            left = dice.randrange(6)
            time.sleep(dice.random() * 2 * pace_s)


def read(way, connection, record):
    while not _over and connection.open():
        record.say("W", 0, "-", 0)
        try:
            got = way.take()
        except Lost:
            record.say("L", 0, "lost")
            continue
        except Refused:
            record.say("N", 0, "refused")
            time.sleep(0.01)
            continue
        if got is None:
            record.say("N", 0, "TIMED_OUT")
            continue
        item, hold = got
        record.say("T", item, 0, hold)
        if hold == "0":
            continue
        try:
            way.accept(hold)
            record.say("C", hold)
        except Lost:
            record.say("E", hold, "unknown")
        except Refused:
            record.say("E", hold, "NOT_FOUND")


def main():
    signal.signal(signal.SIGTERM, _end)
    role = sys.argv[1]
    options = dict(word[2:].split("=", 1) for word in sys.argv[2:])
    record = Record(options["log"])
    connection = Connection(options["server"], float(options["timeout"]))
    ways = {"redis": Redis, "beanstalkd": Beanstalkd}
    way = ways[options["mode"]](connection, options)
    if role == "writer":
        write(way, connection, record, options)
    else:
        read(way, connection, record)


if __name__ == "__main__":
    main()
