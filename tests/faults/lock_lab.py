"""A cell of locks or semaphores: some holders, one fault after the other, and
whether ever more held it than may."""

import collections
import dataclasses
import os
import random
import shutil
import subprocess
import tempfile
import time

from stage import Stage
from victims import Process, RecordFile, Stuck, Waitqd, await_that, built

PERMITS = 3
ROLES = ("first", "second", "third", "fourth", "fifth")


@dataclasses.dataclass
class Setup:
    """How the holders of a cell work."""
    kind: str  # lock or semaphore
    folder: str
    random: random.Random
    # `waitq run` around a command that does not listen to SIGTERM.
    slow: bool = False
    name: str = "lab"
    grace_s: float = 0.6
    pace_us: int = 4000
    blackhole_s: tuple = (0.2, 2.0)
    cut_s: tuple = (0.05, 1.5)
    ghost_s: float = 2.0
    stop_s: tuple = (0.02, 1.5)  # of a grace of 0.6 s

    @property
    def permits(self):
        return PERMITS if self.kind == "semaphore" else 1


class Holder(Process, RecordFile):
    """A program that holds it again and again; or, `slow`, a shell that runs
    `waitq run` again and again."""

    _count = collections.Counter()

    def __init__(self, role, setup, address):
        Holder._count[setup.folder] += 1
        self.role = role
        RecordFile.__init__(self, os.path.join(
            setup.folder, f"{Holder._count[setup.folder]:04d}.{role}"))
        command = [
            built("tests/faults/holder"), f"--server={address}",
            f"--name={setup.name}", f"--log={self.path}",
            f"--store={os.path.join(setup.folder, 'store')}",
            f"--permits={setup.permits if setup.kind == 'semaphore' else 0}",
            f"--grace={setup.grace_s}", f"--pace={setup.pace_us}",
            f"--seed={setup.random.randrange(1 << 30)}"]
        if setup.slow:
            what = (f"--sem={setup.name}:{setup.permits}"
                    if setup.kind == "semaphore" else f"--lock={setup.name}")
            command = ["sh", "-c", 'while :; do "$@"; done', "again",
                       built("client/cli/waitq"), "run",
                       f"--server={address}", f"--grace={setup.grace_s}s",
                       what, "--", *command, "--child",
                       # For longer than the grace, if nobody stops it.
                       "--acts=400" if setup.random.random() < 0.5 else
                       "--acts=20"]
        Process.__init__(self, command, self.path + ".err")

    def holds(self):
        """Whether it has said so, and nothing against it."""
        self.read()
        for line in reversed(self.lines):
            if line[0] == "G":
                return True
            if line[0] in "BL":
                return False
        return False


class LockLab(Stage):
    """A cell while it runs."""

    def __init__(self, setup, behind_link=False):
        # One more than may hold it.
        super().__init__(setup, Waitqd(setup.folder, behind_link),
                         ROLES[:setup.permits + 2])
        self.all = []
        self.holders = {}
        for role in self.roles:
            self.start(role)
        self.await_progress()

    def close(self):
        for holder in self.all:
            holder.close()
        super().close()

    def start(self, role):
        holder = Holder(role, self.setup, self.doors[role].address)
        self.all.append(holder)
        self.holders[role] = holder

    def await_progress(self):
        """Until somebody has got it after now."""
        now = time.monotonic_ns()

        def is_held():
            return any(line[0] == "G" and int(line[-1]) > now
                       for holder in self.holders.values()
                       for line in holder.read())
        await_that(is_held, "a holder after a fault")

    # --- whom it meets: mostly one who holds it ---

    def some_door(self):
        holding = [role for role, holder in self.holders.items()
                   if holder.holds()]
        if holding and self.random.random() < 0.8:
            return self.random.choice(holding)
        return self.random.choice(self.roles)

    half_open_door = some_door

    # --- faults of their own ---

    def killed_reader(self):
        role = self.some_door()
        holder = self.holders[role]
        self.at_a_frame(role, lambda _: holder.kill())
        holder.kill()
        holder.wait()
        self.start(role)

    def stopped_reader(self):
        role = self.some_door()
        holder = self.holders[role]
        self.at_a_frame(role, lambda _: holder.stop())
        holder.stop()
        time.sleep(self.random.uniform(*self.setup.stop_s))
        holder.go_on()

    def slow_holder(self):
        """Cut off for longer than the grace, and deaf to SIGTERM."""
        role = self.some_door()
        seconds = self.setup.grace_s * self.random.uniform(0.8, 2)
        self.doors[role].blackhole(seconds)
        time.sleep(seconds)

    def verdict(self):
        return LockVerdict(self.all, self.setup.permits)


class LockVerdict:
    """What the records say: who believed that he held it, and when."""

    def __init__(self, holders, permits):
        self.bad = []
        self.reasons = collections.Counter()
        first, last = {}, {}  # token: when it was granted; last used
        self.acts = self.old = 0
        for holder in holders:
            holder.read()
            for what, *words, when in holder.lines:
                token, when = words[0], int(when)
                if what == "G":
                    if token in first:
                        self.bad.append(f"granted twice:{token}")
                    first[token] = last[token] = when
                elif what == "A":
                    self.acts += 1
                    last[token] = when
                    self.old += words[1] == "old"
                elif what == "L":
                    self.reasons[words[1]] += 1
        self.grants = len(first)
        # Moments at which more than may believe so: the one who came last, and
        # those who used theirs after that.
        self.overlaps = 0
        self.window_ns = 0
        events = sorted((when, token) for token, when in first.items())
        believing = []
        for when, token in events:
            believing = [other for other in believing if last[other] > when]
            if len(believing) >= permits:
                self.overlaps += 1
                ends = sorted(last[other] for other in believing)
                self.window_ns = max(self.window_ns,
                                     ends[len(ends) - permits] - when)
            believing.append(token)


@dataclasses.dataclass
class LockOutcome:
    """What a cell's faults have done."""
    fault: str
    mode: str
    kind: str
    seed: int
    faults: int = 0
    grants: int = 0
    acts: int = 0
    old: int = 0        # acts that a store which checks tokens refuses
    overlaps: int = 0   # grants at which more than may believed in theirs
    window_ms: float = 0.0
    reasons: dict = dataclasses.field(default_factory=dict)
    bad: tuple = ()
    seconds: float = 0.0
    stuck: str = ""
    folder: str = ""

    @property
    def items(self):
        return self.grants


def run(fault, kind, seed, faults, budget_s, keep=False, **settings):
    """Injects `faults` faults, or as many as fit into the time."""
    began = time.monotonic()
    outcome = LockOutcome(fault, "session", kind, seed)
    folder = tempfile.mkdtemp(prefix="waitq-lab-", dir="/tmp")
    setup = Setup(kind, folder, random.Random(f"{seed}/{fault}/{kind}"),
                  slow=fault == "slow_holder", **settings)
    if fault in ("half_open", "cut_link"):
        # Long enough for keepalive to find a dead connection (10 s + 4 s).
        setup.grace_s = 20.0
    lab, verdict = None, None
    try:
        lab = LockLab(setup, behind_link=fault == "cut_link")
        while lab.faults < faults and (
                time.monotonic() - began < budget_s or lab.faults == 0):
            lab.inject(fault)
    except (Stuck, subprocess.SubprocessError) as error:
        outcome.stuck = str(error)
    finally:
        if lab is not None:
            outcome.faults = lab.faults
            lab.close()
            verdict = lab.verdict()
    if verdict is not None:
        outcome.grants = verdict.grants
        outcome.acts = verdict.acts
        outcome.old = verdict.old
        outcome.overlaps = verdict.overlaps
        outcome.window_ms = round(verdict.window_ns / 1e6, 3)
        outcome.reasons = dict(verdict.reasons)
        outcome.bad = tuple(verdict.bad[:5])
    outcome.seconds = time.monotonic() - began
    if keep or outcome.stuck or outcome.bad:
        outcome.folder = folder
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome
