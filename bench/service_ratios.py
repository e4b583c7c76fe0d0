#!/usr/bin/env python3
"""Runs the same load on waitqd and on a bare gRPC server, and prints the ratios.

usage: ./bazelw run //bench:service_ratios [-- --short] [-- --json]

The bare server has waitqd's threads, completion queues and arguments and nothing
behind them: what gRPC itself costs. Rounds on the two alternate; a row shows the
medians of both, and as its ratio the median of the rounds' ratios, since a round
of the one and its neighbour of the other see the same machine. Exit 1 if one is
beyond its bound. --short: fewer, shorter and smaller rounds, for CI. --json: the
rows as JSON, each with the figures of all rounds, and no table.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys

# A queue of the server, chosen at random, serves all calls of a connection: with
# many connections no queue gets much more than its share.
SLEEPERS_CONNECTIONS = 16

# What must be reached, and with --short on a machine with other work.
SLEEPER_KB = 17
UNARY_RATIO, UNARY_RATIO_SHORT = 0.85, 0.7
WAKE_RATIO, WAKE_RATIO_SHORT = 1.25, 1.6


class Server:
    """A running server; a context."""

    def __init__(self, target, binary):
        self.target = target
        self._process = subprocess.Popen(
            [binary, "--listen", "127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        greeting = self._process.stdout.readline()
        if " listening on " not in greeting:
            raise SystemExit(f"{binary} did not start: {greeting!r}")
        self.address = greeting.split()[-1]
        self._proc = f"/proc/{self._process.pid}"

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._process.kill()
        self._process.wait()

    def figures(self):
        """Threads and resident bytes."""
        with open(f"{self._proc}/status", encoding="ascii") as status:
            fields = dict(line.split(":", 1) for line in status)
        return int(fields["Threads"]), int(fields["VmRSS"].split()[0]) * 1024

    def cpu_seconds(self):
        """What its threads have used so far."""
        total = 0
        for thread in os.listdir(f"{self._proc}/task"):
            with open(f"{self._proc}/task/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1e9


class Loads:
    """What can be done to a server, with the program that does it."""

    def __init__(self, binary):
        self._binary = binary

    def _command(self, server, load, options):
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return [self._binary, load, f"--target={server.target}", f"--server={server.address}", *flags]

    def run(self, server, load, **options):
        command = self._command(server, load, options)
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        return json.loads(run.stdout)

    def sleepers(self, server, steps, while_asleep):
        """Calls `while_asleep` at each step, then wakes all; the seconds to the last answer."""
        asleep = ",".join(str(step) for step in steps)
        command = self._command(
            server, "sleepers", {"asleep": asleep, "connections": SLEEPERS_CONNECTIONS})
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as load:
            for step in steps:
                if not load.stdout.readline():
                    break  # it has said why
                while_asleep(step)
                load.stdin.write("\n")
            last = load.stdout.readline()
        if load.returncode != 0:
            raise subprocess.CalledProcessError(load.returncode, command)
        return json.loads(last)["seconds"]


class Rounds:
    """Figures by what they are and whose, one of each round."""

    def __init__(self):
        self.all = {}

    def add(self, what, target, figure):
        self.all.setdefault(what, {}).setdefault(target, []).append(figure)

    def median(self, what, target):
        return statistics.median(self.all[what][target])

    def ratio(self, what):
        both = self.all[what]
        return statistics.median(w / b for w, b in zip(both["waitq"], both["bare"]))


# --- the jobs -------------------------------------------------------------------


def alternately(count):
    """The order of `count` rounds: neither target is always the first."""
    for i in range(count):
        yield ("waitq", "bare") if i % 2 == 0 else ("bare", "waitq")


def measure_unary(rounds, loads, servers, count, seconds):
    for order in alternately(count):
        for target in order:
            server = servers[target]
            before = server.cpu_seconds()
            calls = loads.run(server, "unary", in_flight=64, seconds=seconds)["calls"]
            used = server.cpu_seconds() - before
            rounds.add("unary calls", target, calls / seconds)
            # The load warms up for a tenth of its time, which is not counted.
            rounds.add("server's processor time", target, used / calls / 1.1 * 1e6)


def measure_sleepers(rounds, loads, binaries, count, warm_up, few, many):
    """Each in a new server, whose memory nobody has used before."""
    for order in alternately(count):
        for target in order:
            measure_new_herd(rounds, loads, target, binaries[target], warm_up, few, many)


def measure_new_herd(rounds, loads, target, binary, warm_up, few, many):
    # Where others take the processors for seconds the server gives up a connection
    # whose client does not answer its pings: then the round says nothing.
    for attempts_left in (2, 1, 0):
        with Server(target, binary) as server:
            try:
                measure_herd(rounds, loads, server, warm_up, few, many)
                return
            except subprocess.CalledProcessError:
                if attempts_left == 0:
                    raise
                print("the machine is busy: once more", file=sys.stderr)


def measure_herd(rounds, loads, server, warm_up, few, many):
    loads.sleepers(server, [warm_up], lambda step: None)  # starts gRPC's threads
    seen = {0: server.figures()}

    def look(step):
        seen[step] = server.figures()

    cpu = []

    def look_and_begin(step):
        look(step)
        if step == many:
            cpu.append(server.cpu_seconds())

    seconds = loads.sleepers(server, [few, many], look_and_begin)
    used = server.cpu_seconds() - cpu[0]
    target = server.target
    rounds.add("a sleeping call", target, (seen[many][1] - seen[few][1]) / (many - few) / 1000)
    rounds.add("threads, none asleep", target, seen[0][0])
    rounds.add("threads, few asleep", target, seen[few][0])
    rounds.add("all woken", target, seconds)
    rounds.add("processor time of a wake", target, used / many * 1e6)


def measure_streams(rounds, loads, servers, count, seconds, scale):
    for order in alternately(count):
        lone = loads.run(servers["bare"], "session", depth=1, seconds=seconds)
        deep = loads.run(servers["bare"], "session", depth=256, seconds=seconds)
        rounds.add("session p50", "bare", lone["p50_us"])
        rounds.add("session p99", "bare", lone["p99_us"])
        rounds.add("session rate", "bare", deep["messages"] / seconds)
        for target in order:
            small = loads.run(
                servers[target], "relay", message_bytes=64, messages=int(200_000 * scale))
            large = loads.run(
                servers[target], "relay", message_bytes=65536, messages=int(5_000 * scale))
            rounds.add("relay rate", target, small["messages"] / small["seconds"])
            rounds.add("relay speed", target, large["bytes"] / large["seconds"] / 1e6)


# --- the table --------------------------------------------------------------------


class Table:
    def __init__(self, rounds, quiet):
        self._rounds = rounds
        self._quiet = quiet
        self.rows = []
        self.failed = []
        self._print(f"{'what':<52} {'waitqd':>14} {'bare':>14} {'ratio':>6}  bound")

    def _print(self, line):
        if not self._quiet:
            print(line)

    def row(self, what, key, unit, bound="", good=True, ratio=True):
        """`key`: of the rounds; `good`: within `bound`, which is text."""
        medians = {target: self._rounds.median(key, target) for target in self._rounds.all[key]}
        cells = [
            f"{medians[target]:,.4g} {unit}" if target in medians else ""
            for target in ("waitq", "bare")
        ]
        ratio = self._rounds.ratio(key) if ratio and len(medians) == 2 else None
        if not good:
            self.failed.append(what)
        self._print(
            f"{what:<52} {cells[0]:>14} {cells[1]:>14} "
            f"{'' if ratio is None else f'{ratio:.2f}':>6}  {bound}{'' if good else '   MISSED'}")
        self.rows.append({
            "what": what, "unit": unit, "medians": medians, "ratio": ratio, "bound": bound,
            "good": good, "rounds": self._rounds.all[key]})


def print_table(rounds, quiet, short, few, many):
    table = Table(rounds, quiet)
    table.row("a sleeping unary call, memory", "a sleeping call", "KB", f"<= {SLEEPER_KB} KB",
              rounds.median("a sleeping call", "waitq") <= SLEEPER_KB)
    same = all(
        none == some for none, some in zip(rounds.all["threads, none asleep"]["waitq"],
                                           rounds.all["threads, few asleep"]["waitq"]))
    table.row("threads, none asleep", "threads, none asleep", "", ratio=False)
    table.row(f"threads, {few:,} asleep", "threads, few asleep", "", "the same", same, ratio=False)
    bound = UNARY_RATIO_SHORT if short else UNARY_RATIO
    table.row("unary calls, 64 in flight (WakeUp: echo)", "unary calls", "/s", f">= {bound}",
              rounds.ratio("unary calls") >= bound)
    table.row("  the server's processor time, each", "server's processor time", "us")
    bound = WAKE_RATIO_SHORT if short else WAKE_RATIO
    table.row(f"{many:,} woken at once, to the last answer", "all woken", "s",
              f"<= {bound}", rounds.ratio("all woken") <= bound)
    table.row("  the server's processor time, each", "processor time of a wake", "us")
    table.row("session, round trip, p50", "session p50", "us")
    table.row("session, round trip, p99", "session p99", "us")
    table.row("session, 256 messages under way", "session rate", "/s")
    table.row("a pipe, two streams, 64 bytes: relay", "relay rate", "/s")
    table.row("a pipe, two streams, 64 KiB: relay", "relay speed", "MB/s")
    return table


def measure(binaries, loads, short):
    rounds = Rounds()
    few, many = (2_000, 20_000) if short else (10_000, 100_000)
    with contextlib.ExitStack() as stack:
        servers = {
            target: stack.enter_context(Server(target, binary))
            for target, binary in binaries.items()
        }
        measure_unary(rounds, loads, servers, 10 if short else 40, 0.4 if short else 0.5)
        measure_streams(rounds, loads, servers, 2 if short else 5, 0.7 if short else 2,
                        0.2 if short else 1)
    measure_sleepers(rounds, loads, binaries, 3 if short else 7, 1_000, few, many)
    return rounds, few, many


def main():
    short, as_json = "--short" in sys.argv, "--json" in sys.argv
    waitqd, bare_server, service_load = [a for a in sys.argv[1:] if not a.startswith("--")]
    binaries, loads = {"waitq": waitqd, "bare": bare_server}, Loads(service_load)
    # A short run on a machine with other work may miss by chance, not twice.
    for _ in range(2 if short else 1):
        rounds, few, many = measure(binaries, loads, short)
        table = print_table(rounds, as_json, short, few, many)
        if not as_json:
            print(f"missed: {len(table.failed)}" if table.failed else "all within their bounds")
        if not table.failed:
            break
    if as_json:
        print(json.dumps(table.rows, indent=1))
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
