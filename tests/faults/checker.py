"""Real servers, clients that do random things, faults between them, and the
question whether what the clients saw can have happened.

    checker.py                       the stored histories, and a few short runs
    checker.py --runs 20 --rounds 9  more and longer ones
    checker.py --runs 1 --keep       keeps what was written down

A run is a `waitqd`, and `actors` (actors.cc): unary callers, sessions by the
stub alone and C++ clients, each behind a proxy of its own. Their calls are in a
history (tests/history/text.h), to which this adds when the server lost its
memory; `judge` looks whether it can be.
"""

import argparse
import dataclasses
import glob
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

from stage import Stage
from victims import BOUND_S, HERE, Process, Stuck, Waitqd, built

# What is done between the clients and the server, and how often.
FAULTS = (
    ("reset", 5),
    ("half_open", 3),
    ("blackholed", 2),
    ("calm", 3),
    ("killed_server", 1),
    ("drained_server", 1),
)
CLIENTS = 6
# Of a run, which does not hang.
RUN_BOUND_S = 180


@dataclasses.dataclass
class Setup:
    folder: str
    random: random.Random
    blackhole_s: tuple = (0.05, 0.9)
    ghost_s: float = 0.5


class Play(Stage):
    """A server, and the ways of the clients to it."""

    def __init__(self, setup):
        server = Waitqd(setup.folder)
        super().__init__(setup, server,
                         tuple(f"client{i}" for i in range(CLIENTS)))
        self.restarts = []

    def calm(self):
        time.sleep(self.random.uniform(0, 0.4))

    def killed_server(self):
        self.at_a_frame(self.some_door(),
                        lambda _: self.server.process.kill())
        self.server.process.kill()
        self.server.process.wait()
        self.restarts.append(time.monotonic_ns())
        self.server.start()

    def drained_server(self):
        self.server.drain()
        self.restarts.append(time.monotonic_ns())
        self.server.start()

    def await_progress(self):
        # The clients go on by themselves, or the run does not end.
        time.sleep(self.random.uniform(0, 0.2))


@dataclasses.dataclass
class Result:
    seed: int
    calls: int = 0
    unknown: int = 0
    objects: int = 0
    undecided: int = 0
    faults: int = 0
    restarts: int = 0
    # What is wrong, and the first line of why; "": nothing.
    wrong: str = ""
    rule: str = ""
    folder: str = ""


def judge(files, *options):
    """Its exit code, and what it says."""
    done = subprocess.run(
        [built("tests/history/judge"), *options, *files],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=RUN_BOUND_S)
    return done.returncode, done.stdout + done.stderr


def rule_of(text):
    """Why a history is refused, in a few words."""
    found = re.search(r"^REFUSED (.*)$", text, re.MULTILINE)
    return found.group(1) if found else ""


def play(seed, rounds, steps, faulty=True, keep=False):
    """One run, and what judge says of it."""
    folder = tempfile.mkdtemp(prefix="waitq-checker-", dir="/tmp")
    result = Result(seed)
    history = os.path.join(folder, "history")
    setup = Setup(folder, random.Random(f"{seed}/checker"))
    stage = actors = None
    try:
        stage = Play(setup)
        actors = Process(
            [built("tests/faults/actors"), f"--server={stage.server.address()}",
             *(f"--door={stage.doors[role].address}" for role in stage.roles),
             f"--history={history}", f"--seed={seed}", f"--rounds={rounds}",
             f"--steps={steps}"], os.path.join(folder, "actors"))
        names = [name for name, times in FAULTS for _ in range(times)]
        end = time.monotonic() + RUN_BOUND_S
        while actors.is_running():
            if time.monotonic() > end:
                raise Stuck("the clients do not end")
            stage.inject(setup.random.choice(names) if faulty else "calm")
        if actors.wait(BOUND_S) != 0:
            with open(actors.errors, encoding="utf-8") as file:
                raise Stuck(f"the clients failed: {file.read()[-1500:]}")
    except Stuck as error:
        result.wrong = result.rule = str(error)
    finally:
        if actors is not None:
            actors.close()
        if stage is not None:
            if not result.wrong and not stage.server.process.is_running():
                result.wrong = result.rule = "the server has died"
            result.faults, result.restarts = stage.faults, len(stage.restarts)
            with open(history, "a", encoding="ascii") as file:
                for moment in stage.restarts:
                    print(f"restart at={moment}", file=file)
            stage.close()
    if not result.wrong:
        look(result, history)
    if keep or result.wrong:
        result.folder = folder
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def look(result, history):
    code, text = judge([history], f"--shrunk={history}.shrunk",
                       "--max-steps=300000")
    found = re.search(r"(\d+) calls \((\d+) unknown\) of (\d+) objects", text)
    if found:
        result.calls, result.unknown, result.objects = map(int, found.groups())
    result.undecided = text.count("UNDECIDED")
    # That the search takes too long for one says nothing.
    if code not in (0, 3):
        result.wrong = text
        result.rule = rule_of(text) or text[-200:]


def too_little(results, rounds):
    """What would make them green without a proof, with much room to what they
    have been: 120 calls a round, a thirtieth of them unknown, two restarts a
    run, hardly an object undecided."""
    def total(name):
        return sum(getattr(result, name) for result in results)

    wrong = []
    if total("calls") < 30 * rounds * len(results):
        wrong.append(f"only {total('calls')} calls")
    if total("unknown") > 0.3 * total("calls"):
        wrong.append(f"{total('unknown')} calls are unknown")
    if total("undecided") > 2 + 0.02 * total("objects"):
        wrong.append(f"{total('undecided')} objects are undecided")
    if len(results) >= 5 and not (total("faults") and total("restarts")):
        wrong.append("no fault, or no restart")
    return wrong


def describe(result):
    return (f"seed {result.seed}: {result.calls} calls of {result.objects} "
            f"objects, {result.unknown} unknown, {result.faults} faults, "
            f"{result.restarts} restarts, {result.undecided} undecided"
            + (f"\nRED {result.wrong}\nin {result.folder}" if result.wrong
               else ""))


def check_stored():
    """The stored histories: each is refused, for its reason, or accepted. How
    many, and what is wrong."""
    wrong = []
    files = sorted(glob.glob(os.path.join(HERE, "planted", "*.history")))
    for file in files:
        name = os.path.basename(file)
        with open(file, encoding="ascii") as stored:
            reason = rule_of(stored.readline().lstrip("# "))
        code, text = judge([file])
        if code != (1 if reason else 0) or rule_of(text) != reason:
            wrong.append(f"{name} is to be {reason or 'accepted'!r}: {text}")
        else:
            print(f"{name}: {'refused: ' + reason if reason else 'accepted'}")
    for patch in glob.glob(os.path.join(HERE, "planted", "*.patch")):
        if patch.removesuffix(".patch") + ".history" not in files:
            wrong.append(f"{os.path.basename(patch)} has no history")
    if not any("clean" in file for file in files):
        wrong.append("there is no clean history")
    return len(files), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=5, help="of each run")
    parser.add_argument("--steps", type=int, default=20,
                        help="of each client, in each round")
    parser.add_argument("--calm", action="store_true", help="no faults")
    parser.add_argument("--keep", action="store_true",
                        help="keep the histories of all runs")
    arguments = parser.parse_args()
    seed = int(os.environ.get("WAITQ_SEED") or random.randrange(1 << 31))
    runs = arguments.runs or 5 * int(os.environ.get("WAITQ_TIMES") or 1)
    print(f"seed {seed}", flush=True)
    stored, wrong = check_stored()
    results = []
    for number in range(runs):
        result = play(seed + number, arguments.rounds, arguments.steps,
                      not arguments.calm, arguments.keep)
        print(describe(result), result.folder, flush=True)
        results.append(result)
        if result.wrong:
            wrong.append(f"WAITQ_SEED={result.seed}")
    if not wrong and not arguments.calm:
        wrong = too_little(results, arguments.rounds)
    for line in wrong:
        print("RED", line)
    # Histories that were judged: stored ones, and those of runs.
    print(f"{sum(result.calls for result in results)} calls")
    print(f"CASES {stored + runs}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
