"""A TCP proxy that does to its connections what networks do, at chosen moments.

It knows HTTP/2's frames (or, `framed=False`, takes each chunk for one): a fault
comes before a frame, in the middle of it, or behind it. One thread does it all,
so what an action does happens exactly there.
"""

import os
import queue
import select
import socket
import struct
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UP, DOWN = "up", "down"  # from the client to the server, and back
_CHUNK = 64 << 10


def _close(sock, reset):
    if sock is None:
        return
    if reset:
        # Nothing that is on its way arrives.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
    sock.close()


class Flow:
    """One direction of a connection."""

    def __init__(self, source, sink, direction, framed):
        self.source = source
        self.sink = sink
        self.direction = direction
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.ended = False  # the source has
        self.told = False   # and the sink knows
        self.mute_until = 0.0
        self._framed = framed
        self._preface = framed and direction == UP

    def frames(self):
        """Takes the whole frames out of the inbox, with their types."""
        while self.inbox:
            if not self._framed:
                size, kind = len(self.inbox), 0
            elif self._preface:
                size, kind = len(PREFACE), -1
            elif len(self.inbox) < 9:
                return
            else:
                size = 9 + int.from_bytes(self.inbox[:3], "big")
                kind = self.inbox[3]
            if len(self.inbox) < size:
                return
            self._preface = False
            frame = bytes(self.inbox[:size])
            del self.inbox[:size]
            yield frame, kind


class Link:
    """A connection of a client, and the one to the server behind it."""

    def __init__(self, client, server, framed):
        self.client = client
        self.server = server
        self.up = Flow(client, server, UP, framed)
        self.down = Flow(server, client, DOWN, framed)
        self.dead = False
        # What is left of it is dropped then.
        self.ends_at = None

    def flows(self):
        return () if self.dead else (self.up, self.down)

    # --- actions: on the proxy's thread only ---

    def reset(self):
        self.close(reset=True)

    def close(self, reset=False):
        for sock in (self.client, self.server):
            _close(sock, reset)
        self.client = self.server = None
        self.dead = True

    def ghost(self, side, seconds):
        """`side` ("client", "server") goes on believing in a connection of
        which the other has been told that it is gone."""
        if self.dead:
            return
        if side == "server":
            _close(self.client, reset=True)
            self.client = None
        else:
            _close(self.server, reset=True)
            self.server = None
        self.dead = True
        self.ends_at = time.monotonic() + seconds

    def half_close(self, side, seconds):
        """`side` is told that its peer will say no more; what it says still
        arrives."""
        if self.dead:
            return
        flow = self.up if side == "server" else self.down
        try:
            flow.sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        # What the peer says is not passed on any more.
        flow.told = flow.ended = True
        flow.outbox.clear()
        self.ends_at = time.monotonic() + seconds

    def mute(self, seconds):
        for flow in self.flows():
            flow.mute_until = time.monotonic() + seconds


class Trigger:
    """A fault at a frame: the one after `skip` others that match."""

    def __init__(self, action, direction=None, part="before", skip=0,
                 kinds=None, fraction=0.5):
        self.action = action
        self.direction = direction
        self.part = part
        self.skip = skip
        self.kinds = kinds
        self.fraction = fraction
        self.fired = threading.Event()

    def matches(self, direction, kind):
        if self.direction not in (None, direction) or kind == -1 or (
                self.kinds is not None and kind not in self.kinds):
            return False
        self.skip -= 1
        return self.skip < 0


class Proxy:
    """Passes connections on to `address`, with faults. close() ends it."""

    def __init__(self, address, framed=True):
        self._server = address
        self._framed = framed
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setblocking(False)
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._links = []
        self._trigger = None
        self._mute_until = 0.0
        self._delay_s = 0.0
        self._trickle = 0
        self._weather_until = 0.0
        self._calls = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        self._over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        self._call(lambda: setattr(self, "_over", True))
        self._thread.join()
        for link in self._links:
            link.reset()
        self._listener.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def arm(self, trigger):
        """The next frame that it means fires it; None disarms."""
        self._call(lambda: setattr(self, "_trigger", trigger))

    def blackhole(self, seconds):
        """Nothing passes, and nobody comes in."""
        def begin():
            self._mute_until = time.monotonic() + seconds
            for link in self._links:
                link.mute(seconds)
        self._call(begin)

    def weather(self, seconds, delay_s=0.0, trickle=0):
        """For so long each frame is late, or bytes come `trickle` at a time."""
        def begin():
            self._weather_until = time.monotonic() + seconds
            self._delay_s, self._trickle = delay_s, trickle
        self._call(begin)

    def on_each(self, action):
        """Does it to each connection, now."""
        def begin():
            for link in list(self._links):
                if not link.dead:
                    action(link)
        self._call(begin)

    # --- its thread ---

    def _call(self, function):
        done = threading.Event()
        self._calls.put((function, done))
        os.write(self._wake_write, b"x")
        done.wait(30)

    def _serve(self):
        while not self._over:
            now = time.monotonic()
            self._drop_dead(now)
            readers = [self._wake_read]
            if now >= self._mute_until:
                readers.append(self._listener)
            writers = []
            soonest = now + 0.25
            flows = {}
            for link in self._links:
                for flow in link.flows():
                    if now < flow.mute_until:
                        soonest = min(soonest, flow.mute_until)
                        continue
                    if not flow.ended and len(flow.outbox) < _CHUNK:
                        readers.append(flow.source)
                        flows[flow.source] = (link, flow)
                    if flow.outbox:
                        writers.append(flow.sink)
                    elif flow.ended and not flow.told:
                        flow.told = True
                        try:
                            flow.sink.shutdown(socket.SHUT_WR)
                        except OSError:
                            link.reset()
                            break
            readers = [r for r in readers
                       if isinstance(r, int) or r.fileno() >= 0]
            writers = [w for w in writers if w.fileno() >= 0]
            ready, _, _ = select.select(readers, [], [],
                                        0 if writers else
                                        max(0, soonest - now))
            for source in ready:
                if source is self._wake_read:
                    os.read(self._wake_read, 1)
                    function, done = self._calls.get()
                    function()
                    done.set()
                elif source is self._listener:
                    self._accept()
                else:
                    link, flow = flows[source]
                    if not link.dead:
                        self._receive(link, flow)
            for link in self._links:
                for flow in link.flows():
                    if flow.outbox and time.monotonic() >= flow.mute_until:
                        self._flush(link, flow)
            if writers and not ready:
                time.sleep(0.0005)

    def _drop_dead(self, now):
        for link in self._links:
            if link.ends_at is not None and now >= link.ends_at:
                link.reset()
            elif not link.dead and link.up.told and link.down.told and (
                    link.ends_at is None):
                link.close()
        self._links = [link for link in self._links
                       if link.client is not None or link.server is not None]

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        try:
            server = socket.create_connection(self._server, timeout=1)
        except OSError:
            _close(client, reset=True)
            return
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links.append(Link(client, server, self._framed))

    def _receive(self, link, flow):
        try:
            data = flow.source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            link.reset()
            return
        if not data:
            flow.ended = True
            # What is no whole frame is passed on, too.
            flow.outbox += flow.inbox
            flow.inbox.clear()
            return
        flow.inbox += data
        for frame, kind in flow.frames():
            if flow.told:
                continue  # half closed
            self._pass(link, flow, frame, kind)
            if link.dead:
                return

    def _pass(self, link, flow, frame, kind):
        trigger = self._trigger
        if trigger is None or not trigger.matches(flow.direction, kind):
            flow.outbox += frame
            self._flush(link, flow)
            return
        self._trigger = None
        cut = {"before": 0, "after": len(frame)}.get(trigger.part)
        if cut is None:
            cut = min(len(frame) - 1,
                      max(1, int(len(frame) * trigger.fraction)))
        flow.outbox += frame[:cut]
        self._flush(link, flow)
        if not link.dead:
            trigger.action(link)
        trigger.fired.set()
        if not link.dead and not flow.told:
            flow.outbox += frame[cut:]

    def _flush(self, link, flow):
        if link.dead or not flow.outbox or flow.sink is None:
            return
        size = len(flow.outbox)
        now = time.monotonic()
        if now < self._weather_until:
            if self._trickle:
                size = self._trickle
            flow.mute_until = max(flow.mute_until,
                                  now + (self._delay_s or 0.001))
        try:
            sent = flow.sink.send(flow.outbox[:size])
        except BlockingIOError:
            return
        except OSError:
            link.reset()
            return
        del flow.outbox[:sent]
