"""One cell of the matrix: a server, victims behind proxies, one fault after the
other, and the count at the end."""

import dataclasses
import os
import random
import shutil
import subprocess
import tempfile
import time

from stage import Stage
from victims import (Beanstalkd, Redis, Stuck, Verdict, Victim, Waitqd,
                     await_that)

SERVERS = {"redis": Redis, "beanstalkd": Beanstalkd}
PEERS = tuple(SERVERS)


@dataclasses.dataclass
class Setup:
    """How the victims of a cell work."""
    mode: str
    kind: str
    folder: str
    random: random.Random
    name: str = "lab"
    grace_s: float = 0.6
    hold_s: float = 0.6
    timeout_s: float = 0.5
    pace_us: int = 8000
    blackhole_s: tuple = (0.2, 2.0)
    cut_s: tuple = (0.05, 1.5)
    ghost_s: float = 2.0
    # A reader that is stopped: either for less than the grace, or for more.
    stop_s: tuple = (0.02, 0.4)
    stop_long_s: tuple = (0.7, 1.1)


class Lab(Stage):
    """A cell while it runs."""

    def __init__(self, setup, behind_link=False):
        if setup.mode in SERVERS:
            server = SERVERS[setup.mode](setup.folder)
        else:
            server = Waitqd(setup.folder, behind_link)
        super().__init__(setup, server, ("reader", "writer"))
        self.victims = []
        self.readers = []
        self.reader = self.writer = None
        self.writer = self.start("writer")
        self.reader = self.start("reader")
        self.sent = 0  # the highest item, as far as that is known
        self.await_progress()

    def close(self):
        for victim in self.victims:
            victim.close()
        super().close()

    # --- victims ---

    def start(self, role, first=1, **options):
        victim = Victim(role, self.setup, self.doors[role].address, first,
                        **options)
        self.victims.append(victim)
        if role == "reader":
            self.readers.append(victim)
        return victim

    def replace(self, victim, as_itself=False):
        """Another one goes on where that one, dead now, was; or the same one
        comes back with what it had written down."""
        victim.wait()
        victim.read()
        role = victim.role
        if role == "writer":
            self.sent = max(self.sent, victim.last_item())
        if not victim.has_begun():
            new = self.start(role, victim.first, **victim.options)
            setattr(self, role, new)
            return new
        first = max(victim.first, victim.last_item() + (role == "writer"))
        options = {}
        if as_itself:
            call = victim.under_way()
            if self.setup.mode == "request_id" and call is not None:
                first = int(call[1])
                options.update(resume=call[2], epoch=call[3])
            options["accept"] = victim.holds()
        new = self.start(role, first, **options)
        setattr(self, role, new)
        return new

    def await_progress(self, what="an item after a fault"):
        """Until something is taken that was sent from now on."""
        self.writer.read()
        self.sent = sent = max(self.sent, self.writer.last_item())

        def is_taken():
            for reader in self.readers:
                for line in reader.read():
                    if line[0] == "T" and any(
                            int(item) > sent for item in line[1].split(",")):
                        return True
            return False
        await_that(is_taken, what)

    # --- faults ---

    def killed_reader(self):
        self.at_a_frame("reader", lambda _: self.reader.kill())
        self.reader.kill()
        self.replace(self.reader)

    def killed_writer(self):
        self.at_a_frame("writer", lambda _: self.writer.kill())
        self.writer.kill()
        self.replace(self.writer)

    def stopped_reader(self):
        # Longer than a hold or the grace: then somebody else is there.
        long = (self.setup.mode in ("hold", "session", "beanstalkd") and
                self.random.random() < 0.5)
        stopped = self.reader
        self.at_a_frame("reader", lambda _: stopped.stop())
        stopped.stop()
        if long:
            stopped.read()
            self.reader = self.start("reader", max(1, stopped.last_item()))
        time.sleep(self.random.uniform(
            *(self.setup.stop_long_s if long else self.setup.stop_s)))
        stopped.go_on()
        if long:
            stopped.end()

    def restarted_client(self):
        role = self.random.choice(("reader", "reader", "writer"))
        victim = getattr(self, role)
        self.at_a_frame(role, lambda _: victim.kill())
        victim.kill()
        self.replace(victim, as_itself=True)

    # --- the end ---

    def settle(self):
        self.writer.end()
        setup = self.setup
        await_that(lambda: self.server.is_empty(setup.name, setup.kind),
                   "an empty pipe")
        if setup.kind == "completion":
            # Sessions of the dead give back what they had.
            time.sleep(min(setup.grace_s, 1) + 0.3)
        self.reader.end()
        verdict = self.verdict()
        if setup.kind != "completion":
            return verdict
        # A server that has stood still gives a session that much longer: what a
        # dead one had may come late. It is lost if it does not come.
        late_s = 20 if setup.mode == "session" else 0
        end = time.monotonic() + late_s
        while True:
            self._collect(verdict.lost)
            verdict = self.verdict()
            if not verdict.lost or time.monotonic() >= end:
                return verdict

    def verdict(self):
        # A session's reader has several reads under way, and nobody promises
        # which of them is answered first; beanstalkd has another order.
        return Verdict(self.victims,
                       ordered=self.setup.mode not in PEERS + ("session",))

    def _collect(self, items):
        """Takes the completions that no reader has come back to."""
        for i in range(0, len(items), 500):
            self.start("reader", collect=items[i:i + 500],
                       timeout=0.05).wait()


@dataclasses.dataclass
class Outcome:
    """What a cell's faults have done."""
    fault: str
    mode: str
    kind: str
    seed: int
    faults: int = 0
    items: int = 0
    lost: int = 0
    doubled: int = 0
    again: int = 0
    unknown: int = 0
    late: int = 0
    reasons: dict = dataclasses.field(default_factory=dict)
    bad: tuple = ()
    seconds: float = 0.0
    stuck: str = ""
    folder: str = ""


def run(fault, mode, kind, seed, faults, budget_s, keep=False, **settings):
    """Injects `faults` faults, or as many as fit into the time."""
    began = time.monotonic()
    outcome = Outcome(fault, mode, kind, seed)
    folder = tempfile.mkdtemp(prefix="waitq-lab-", dir="/tmp")
    setup = Setup(mode, kind, folder,
                  random.Random(f"{seed}/{fault}/{mode}/{kind}"), **settings)
    if mode == "session" and fault in ("half_open", "cut_link"):
        # Long enough for keepalive to find a dead connection (10 s + 4 s).
        setup.grace_s = setup.timeout_s = 20.0
    if mode == "beanstalkd":
        # Its least time to run is a second.
        setup.stop_long_s = (1.2, 1.6)
    if kind == "completion":
        # Nothing stops a writer that is ahead of its reader.
        setup.timeout_s = max(0.15, setup.timeout_s - 0.35)
        setup.pace_us *= 3
    lab = None
    try:
        lab = Lab(setup, behind_link=fault == "cut_link")
        while lab.faults < faults and (
                time.monotonic() - began < budget_s or lab.faults == 0):
            lab.inject(fault)
        verdict = lab.settle()
    except (Stuck, subprocess.SubprocessError) as error:
        outcome.stuck = str(error)
        verdict = lab.verdict() if lab else None
    finally:
        if lab is not None:
            outcome.faults = lab.faults
            lab.close()
    if verdict is not None:
        outcome.items = verdict.items
        outcome.lost = len(verdict.lost)
        outcome.doubled = len(verdict.doubled)
        outcome.again = verdict.again
        outcome.unknown = verdict.unknown
        outcome.late = len(verdict.late)
        outcome.reasons = dict(verdict.reasons)
        outcome.bad = tuple(verdict.bad[:5])
        with open(os.path.join(folder, "verdict"), "w",
                  encoding="ascii") as file:
            print("lost", *verdict.lost, file=file)
            print("doubled", *verdict.doubled, file=file)
            print("late", *verdict.late, file=file)
            print("bad", *verdict.bad, file=file)
    outcome.seconds = time.monotonic() - began
    if keep or outcome.stuck or outcome.bad or outcome.doubled:
        outcome.folder = folder
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome
