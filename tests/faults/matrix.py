"""The matrix: each fault on each way of moving each kind of thing, and what was
lost, or came twice, beside what docs/session.md and docs/semantics.md promise.

    matrix.py                             a share of it, as in CI
    matrix.py --faults 200 --long         by hand
    matrix.py --cells 'reset/session/*'   some cells
"""

import argparse
import concurrent.futures
import dataclasses
import fnmatch
import json
import os
import random
import shutil
import sys
import time

import lab
import lock_lab
from victims import may_cut_links

FAULTS = {
    "killed_reader": "reader killed",
    "killed_writer": "writer killed",
    "killed_server": "server killed",
    "stopped_reader": "reader stopped",
    "half_open": "half-open",
    "blackholed": "blackholed",
    "reset": "reset in a frame",
    "cut_link": "link cut",
    "drained_server": "server drained",
    "restarted_client": "client restarted",
    "slow_holder": "slow to die",
}
MODES = ("unary", "request_id", "hold", "session")
PEERS = lab.PEERS
KINDS = ("stream", "packet", "completion")

LOCKS = ("lock", "semaphore")

# What cannot be: the first pattern that matches says why.
_OF_SESSIONS = "a grant is of a session: without one nobody gives it back"
_HOLDS = "whoever takes it gives it back: as reader killed"
_HOLDS_NOTHING = "only a holder can be slow to let go"
ABSENT = (
    ("*/unary/lock", _OF_SESSIONS),
    ("*/unary/semaphore", _OF_SESSIONS),
    ("*/request_id/lock", _OF_SESSIONS),
    ("*/request_id/semaphore", _OF_SESSIONS),
    ("*/hold/lock", "only Read knows `hold`"),
    ("*/hold/semaphore", "the same"),
    ("killed_writer/*/lock", _HOLDS),
    ("killed_writer/*/semaphore", _HOLDS),
    ("restarted_client/*/lock", _HOLDS),
    ("restarted_client/*/semaphore", _HOLDS),
    ("slow_holder/*/stream", _HOLDS_NOTHING),
    ("slow_holder/*/packet", _HOLDS_NOTHING),
    ("slow_holder/*/completion", _HOLDS_NOTHING),
    ("cut_link/redis/*", "the peers' servers are not put behind a link"),
    ("cut_link/beanstalkd/*", "the same"),
    ("*/hold/completion", "only Read knows `hold`"),
)
ALL_KINDS = KINDS + LOCKS

# Where two may believe at a time that they hold a lock, and why. Everywhere
# else: never. (A store that checks tokens is never written by both.)
TWO_HOLDERS = (
    ("stopped_reader/*", "who goes on does not know yet that time has passed"),
    ("killed_server/*", "its memory is gone; its clients are told when they "
     "reach the next one"),
)

# Where something may be lost, and why. Everywhere else: nothing. Nothing comes
# twice without its mark anywhere.
LOSSES = (
    ("killed_server/*/*", "it is in the server's memory; who asks is told"),
    ("drained_server/*/completion", "what is done and not awaited is gone"),
    ("killed_reader/unary/*", "handed to who died"),
    ("killed_reader/request_id/*", "handed to who died, and never asks again"),
    ("restarted_client/unary/*", "handed to who died"),
    ("half_open/unary/*", "on its way; the caller knows that it does not know"),
    ("blackholed/unary/*", "on its way; the same"),
    ("reset/unary/*", "on its way; the same"),
    ("cut_link/unary/*", "on its way; the same"),
)

# Where nothing comes with the mark: nobody has died, and no grace was over.
UNMARKED = (
    ("*/unary/*", "there is no hold"),
    ("*/request_id/*", "the same"),
    ("half_open/session/*", "the session outlives it"),
    ("cut_link/session/*", "the same"),
)

# Where a caller may only be left in the dark for these reasons: the server has
# died, a grace was over by the client's clock. After a cut, who asks again is
# told.
REASONS = (
    ("killed_server/request_id/*", ("EOWNERDEAD",)),
    ("killed_server/session/*", ("EOWNERDEAD", "ESTALE")),
    ("half_open/request_id/*", ()),
    ("blackholed/request_id/*", ()),
    ("reset/request_id/*", ()),
    ("cut_link/request_id/*", ()),
    ("half_open/session/*", ()),
    ("cut_link/session/*", ()),
)


def find(patterns, name):
    for pattern, reason in patterns:
        if fnmatch.fnmatch(name, pattern):
            return reason
    return None


def cells(pattern):
    """(fault, mode, kind, why it is not run or None)."""
    for fault in FAULTS:
        for mode in MODES + PEERS:
            # A list's element and a job are packets.
            for kind in ("packet",) if mode in PEERS else ALL_KINDS:
                if fault == "slow_holder" and mode in PEERS:
                    continue
                name = f"{fault}/{mode}/{kind}"
                if fnmatch.fnmatch(name, pattern):
                    yield fault, mode, kind, find(ABSENT, name)


@dataclasses.dataclass
class Budget:
    faults: int
    seconds: float
    settings: dict


def budget_of(fault, arguments):
    if fault != "blackholed" or not arguments.long:
        faults = arguments.faults
        if fault == "blackholed":
            faults = max(1, faults // 2)
        return Budget(faults, arguments.budget, {})
    # 30 s, beside a grace and a hold of as much: either may be over first.
    # Who writes through it is to be caught up with.
    return Budget(5, 600, {"blackhole_s": (29.5, 30.5), "grace_s": 30.0,
                           "hold_s": 30.0, "pace_us": 40_000})


def red_of(outcome):
    """What is wrong with a cell; empty: nothing."""
    name = f"{outcome.fault}/{outcome.mode}/{outcome.kind}"
    wrong = []
    if outcome.stuck:
        wrong.append(f"stuck: {outcome.stuck}")
    if outcome.bad:
        wrong.append("bad: " + ", ".join(outcome.bad))
    if outcome.kind in LOCKS:
        if outcome.overlaps and find(TWO_HOLDERS, name) is None:
            wrong.append(f"two holders {outcome.overlaps}")
        return "; ".join(wrong)
    if outcome.lost and find(LOSSES, name) is None:
        wrong.append(f"lost {outcome.lost}")
    if outcome.again and find(UNMARKED, name):
        wrong.append(f"marked {outcome.again}")
    allowed = find(REASONS, name)
    if allowed is not None and set(outcome.reasons) - set(allowed):
        wrong.append(f"untold: {outcome.reasons}")
    if outcome.doubled:
        wrong.append(f"doubled {outcome.doubled}")
    return "; ".join(wrong)


def describe(outcome):
    red = red_of(outcome)
    promise = "" if outcome.mode in PEERS else (
        "RED " + red if red else "as promised")
    if outcome.kind in LOCKS:
        return (f"{outcome.fault}/{outcome.mode}/{outcome.kind}: "
                f"{outcome.faults} faults, {outcome.grants} grants, "
                f"{outcome.acts} acts, too many at a time {outcome.overlaps} "
                f"(for {outcome.window_ms} ms at most), "
                f"old {outcome.old}, {outcome.reasons}, "
                f"{outcome.seconds:.0f} s {promise} {outcome.stuck} "
                f"{' '.join(outcome.bad)} {outcome.folder}").rstrip()
    return (f"{outcome.fault}/{outcome.mode}/{outcome.kind}: "
            f"{outcome.faults} faults, {outcome.items} items, "
            f"lost {outcome.lost}, doubled {outcome.doubled}, "
            f"marked {outcome.again}, late {outcome.late}, "
            f"untold {outcome.unknown}, {outcome.seconds:.0f} s {promise} "
            f"{outcome.stuck} {' '.join(outcome.bad)} "
            f"{outcome.folder}").rstrip()


def table(outcomes):
    """The tables of docs/reliability.md."""
    by_name = {(o.fault, o.mode, o.kind): o for o in outcomes}
    lines = []
    for kind in KINDS:
        modes = MODES + (PEERS if kind == "packet" else ())
        lines += [f"**{kind}**", "",
                  "| fault | " + " | ".join(modes) + " |",
                  "| --- |" + " --- |" * len(modes)]
        for fault, label in FAULTS.items():
            row = [label]
            for mode in modes:
                outcome = by_name.get((fault, mode, kind))
                if outcome is None:
                    row.append("–")
                    continue
                text = f"{outcome.lost} / {outcome.doubled}"
                if outcome.again:
                    text += f" ({outcome.again})"
                text += f" of {outcome.items}; {outcome.faults}"
                if outcome.stuck:
                    text += " stuck"
                if mode not in PEERS and red_of(outcome):
                    text = f"**red** {text}"
                row.append(text)
            lines.append("| " + " | ".join(row) + " |")
        lines.append("")
    return "\n".join(lines + lock_table(by_name))


def lock_table(by_name):
    lines = []
    for kind in LOCKS:
        lines += [f"**{kind}**", "",
                  "| fault | faults | grants | too many at a time | for at most"
                  " | of so many acts, refused as too late |",
                  "| --- | --- | --- | --- | --- | --- |"]
        for fault, label in FAULTS.items():
            outcome = by_name.get((fault, "session", kind))
            if outcome is None:
                continue
            label = label.replace("reader", "holder")
            # A semaphore's tokens are not in the order in which they end.
            old = (f"{outcome.acts}, {outcome.old}" if kind == "lock" else "–")
            window = f"{outcome.window_ms} ms" if outcome.overlaps else "–"
            red = "**red** " if red_of(outcome) else ""
            lines.append(
                f"| {label} | {outcome.faults} | {outcome.grants} | "
                f"{red}{outcome.overlaps} | {window} | {old} |")
        lines.append("")
    return lines


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=4,
                        help="so many in each cell")
    parser.add_argument("--budget", type=float, default=10,
                        help="and not more than fit into so many seconds")
    parser.add_argument("--long", action="store_true",
                        help="black holes of 30 s, five of them")
    parser.add_argument("--cells", default="*", help="fault/mode/kind")
    parser.add_argument("--jobs", type=int, default=4, help="cells at a time")
    parser.add_argument("--keep", action="store_true",
                        help="keep the records of all cells")
    parser.add_argument("--json", help="add the outcomes to this file")
    parser.add_argument("--table", action="store_true",
                        help="run nothing, show the outcomes of --json")
    return parser.parse_args()


def load(path):
    if not path or not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        outcomes = [json.loads(line) for line in file]
    return [(lock_lab.LockOutcome if outcome["kind"] in LOCKS else lab.Outcome)(
        **outcome) for outcome in outcomes]


def work(cell):
    fault, mode, kind, seed, budget, keep = cell
    if kind in LOCKS:
        settings = {key: value for key, value in budget.settings.items()
                    if key in ("blackhole_s", "grace_s", "pace_us")}
        return lock_lab.run(fault, kind, seed, budget.faults, budget.seconds,
                            keep, **settings)
    return lab.run(fault, mode, kind, seed, budget.faults, budget.seconds,
                   keep, **budget.settings)


def main():
    arguments = parse()
    if arguments.table:
        print(table(load(arguments.json)))
        return 0
    seed = int(os.environ.get("WAITQ_SEED") or random.randrange(1 << 31))
    print(f"seed {seed}", flush=True)
    missing = {mode for mode, program in (("redis", "redis-server"),
                                          ("beanstalkd", "beanstalkd"))
               if shutil.which(program) is None}
    for mode in sorted(missing):
        print(f"SKIPPED: {mode}: its server is not installed")
    may_cut = may_cut_links()
    if not may_cut:
        print("SKIPPED: cut_link: no right to make network namespaces")
    todo = []
    for fault, mode, kind, absent in cells(arguments.cells):
        if absent is not None:
            print(f"{fault}/{mode}/{kind}: {absent}")
        elif mode not in missing and (may_cut or fault != "cut_link"):
            todo.append((fault, mode, kind, seed, budget_of(fault, arguments),
                         arguments.keep))
    # The slow ones first.
    todo.sort(key=lambda cell: -cell[4].settings.get("grace_s", 0))
    red, outcomes = [], []
    began = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs) as pool:
        for future in concurrent.futures.as_completed(
                [pool.submit(work, cell) for cell in todo]):
            outcome = future.result()
            outcomes.append(outcome)
            print(describe(outcome), flush=True)
            if outcome.mode not in PEERS and red_of(outcome):
                red.append(outcome)
            if arguments.json:
                with open(arguments.json, "a", encoding="utf-8") as file:
                    print(json.dumps(dataclasses.asdict(outcome)), file=file)
    print()
    print(table(outcomes))
    for outcome in red:
        print("RED", describe(outcome))
    print(f"{sum(o.faults for o in outcomes)} faults, "
          f"{sum(o.items for o in outcomes)} items, "
          f"{time.monotonic() - began:.0f} s")
    print(f"CASES {len(outcomes)}", flush=True)
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())
