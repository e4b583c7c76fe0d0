#!/usr/bin/env python3
"""Runs core's benchmarks and prints them as ratios of the same run.

usage: ./bazelw run //bench:core_ratios [-- --short]

Each row is a ratio of two medians: of what the row is about, and of what it is
measured against, with the runs of both interleaved. Exit 1 if one is over its
bound. --short: fewer and shorter runs, for CI.
"""

import json
import statistics
import subprocess
import sys


def run(binary, name_filter, repetitions, seconds, prefix=()):
    """The median time of each benchmark in ns, and the counters of its last run."""
    command = [
        *prefix,
        binary,
        f"--benchmark_filter={name_filter}",
        f"--benchmark_repetitions={repetitions}",
        f"--benchmark_min_time={seconds}",
        "--benchmark_enable_random_interleaving=true",
        "--benchmark_format=json",
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    times, counters = {}, {}
    unit = {"ns": 1, "us": 1e3, "ms": 1e6}
    for row in json.loads(output)["benchmarks"]:
        if row["run_type"] != "iteration":
            continue
        name = row["name"].split("/repeats:")[0].removesuffix("/real_time")
        name = name.removeprefix("BM_")
        times.setdefault(name, []).append(row["real_time"] * unit[row["time_unit"]])
        counters[name] = row
    return {name: statistics.median(all_) for name, all_ in times.items()}, counters


class Table:
    def __init__(self):
        self.failed = []
        print(f"{'what':<58} {'measured':>10} {'against':>10} {'ratio':>7}  bound")

    def row(self, what, measured, against, bound, unit="ns", at_least=False):
        ratio = measured / against
        good = ratio >= bound if at_least else ratio <= bound
        if not good:
            self.failed.append(what)
        sign = ">=" if at_least else "<="
        print(
            f"{what:<58} {measured:>7.4g} {unit:<2} {against:>7.4g} {unit:<2} "
            f"{ratio:>7.2f}  {sign} {bound}{'' if good else '   MISSED'}"
        )


    def value(self, what, measured, bound, unit, at_least=False):
        good = measured >= bound if at_least else measured <= bound
        if not good:
            self.failed.append(what)
        sign = ">=" if at_least else "<="
        print(
            f"{what:<58} {measured:>7.4g} {unit:<2} {'':>10} {'':>7}  "
            f"{sign} {bound} {unit}{'' if good else '   MISSED'}"
        )


def ping_pong(table, binary, short, prefix, where):
    times, _ = run(binary, "PingPong", 9 if short else 41, 0.02 if short else 0.1, prefix)
    t = {name[len("PingPong<"):-1]: ns / 1e3 for name, ns in times.items()}
    ours, spinning = t["WaitqWaitQueue"], t["WaitqWaitQueueWhichSpins"]
    # Two virtual processors may share a core, or not, from one moment to the next:
    # in a short run one side has 2 us and the other 40. Long ones take medians.
    anything = float("inf") if short and where == "on two" else 0
    table.row(f"ping-pong {where}: a bare futex", ours, t["BareFutex"], max(anything, 1.25 if short else 1.1), "us")
    slack = max(anything, 1.1 if short else 1.0)
    table.row(f"ping-pong {where}: std::condition_variable", ours, t["StdConditionVariable"], slack, "us")
    table.row(f"ping-pong {where}: absl::CondVar", ours, t["AbslCondVar"], slack, "us")
    table.row(
        f"ping-pong {where}, 16 looks: std::atomic::wait",
        spinning, t["StdAtomicWaitWhichSpins"], max(anything, 2 if short else 1.1), "us",
    )


def wake(table, binary, short):
    t, counters = run(binary, ".*", 3 if short else 7, 0.05 if short else 0.2)
    table.row("WakeUp of nobody: lock and unlock", t["WakeUpOfNobody"], t["LockAndUnlock"], 1.5)
    table.row(
        "HasSleeper, then WakeUp, of nobody: fence and load",
        t["HasSleeperThenWakeUpOfNobody"], t["FenceAndLoad"], 3,
    )
    one = t["WakeUpOneOf/1"]
    table.row("WakeUp of one among 1,000: among 1", t["WakeUpOneOf/1000"], one, 1.2)
    # What is added is one miss of the cache, which costs what the machine's does.
    table.row("WakeUp of one among 1,000,000: among 1", t["WakeUpOneOf/1000000"], one, 4 if short else 1.2)
    for order, name in ((0, "as made"), (1, "shuffled")):
        all_ms = t[f"WakeUpAll/1000000/{order}"] / 1e6
        walk_ms = t[f"WalkAndTouch/1000000/{order}"] / 1e6
        # Each is woken by an atomic instruction, which costs 5 or 14 ns, by the machine,
        # and a walk in order nearly nothing: only the full form asks for the ratio of these.
        locks_ms = t["LockAndUnlock"]  # a million of them: ns are ms
        table.row(
            f"WakeUpAll of 1,000,000, {name}: that, locking each", all_ms, walk_ms + locks_ms, 1.5, "ms")
        if not short:
            table.row(f"WakeUpAll of 1,000,000, {name}: walk and touch", all_ms, walk_ms, 4, "ms")
    table.value("a sleeping callback's entry", counters["WakeUpAll/1000000/0"]["entry_bytes"], 64, "B")


def timers(table, binary, short):
    t, counters = run(binary, ".*", 3, 0.05 if short else 0.2)
    table.row(
        "arm and cancel, 1,000,000 armed: lock and unlock",
        t["ArmAndCancel/1000000"], t["LockAndUnlock"], 20 if short else 10,
    )
    expiry = next(row for name, row in counters.items() if name.startswith("Expiry"))
    table.value("lateness of 10,000 timers, p99", expiry["p99_us"], 5000 if short else 1000, "us")
    table.value("lateness of the first of them", expiry["earliest_us"], 0, "us", at_least=True)


def groups(binaries, short):
    """What is measured together: each prints its rows into a table."""
    ping_pong_bench, wake_bench, timer_bench = binaries
    return [
        lambda table: ping_pong(table, ping_pong_bench, short, ["taskset", "-c", "0"], "on one processor"),
        lambda table: ping_pong(table, ping_pong_bench, short, [], "on two"),
        lambda table: wake(table, wake_bench, short),
        lambda table: timers(table, timer_bench, short),
    ]


def main():
    short = "--short" in sys.argv
    binaries = [a for a in sys.argv[1:] if not a.startswith("--")]
    missed = groups(binaries, short)
    # A short run on a machine with other work may miss by chance, not thrice.
    for _ in range(3 if short else 1):
        table = Table()
        remaining = []
        for group in missed:
            before = len(table.failed)
            group(table)
            if len(table.failed) > before:
                remaining.append(group)
        missed = remaining
        if not missed:
            print("all within their bounds")
            return 0
        print(f"missed: {len(table.failed)}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
