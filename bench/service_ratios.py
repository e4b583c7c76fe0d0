#!/usr/bin/env python3
"""Runs the same load on waitqd and on a bare gRPC server, and prints the ratios.

usage: ./bazelw run //bench:service_ratios [-- --short] [-- --json]

ratios.py says how they are measured. Exit 1 if one is beyond its bound. --short: fewer,
shorter and smaller rounds, for CI. --json: the rows as JSON, each with the figures of
all rounds, and no table.
"""

import contextlib
import json
import subprocess
import sys

import ratios

# A queue of the server, chosen at random, serves all calls of a connection: with
# many connections no queue gets much more than its share.
SLEEPERS_CONNECTIONS = 16

# What must be reached, and with --short on a machine with other work.
SLEEPER_KB = 17
UNARY_RATIO, UNARY_RATIO_SHORT = 0.85, 0.7
WAKE_RATIO, WAKE_RATIO_SHORT = 1.25, 1.6


class Loads(ratios.Loads):
    """And sleepers, at whom others can look."""

    def sleepers(self, server, steps, while_asleep):
        """Calls `while_asleep` at each step, then wakes all; the seconds to the last answer."""
        asleep = ",".join(str(step) for step in steps)
        options = {"asleep": asleep, "connections": SLEEPERS_CONNECTIONS}
        return self.steps(server, "sleepers", options, steps, while_asleep)[-1]["seconds"]


# --- the jobs -------------------------------------------------------------------


def measure_unary(rounds, loads, servers, count, seconds):
    for order in ratios.alternately(count):
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
    for order in ratios.alternately(count):
        for target in order:
            measure_new_herd(rounds, loads, target, binaries[target], warm_up, few, many)


def measure_new_herd(rounds, loads, target, binary, warm_up, few, many):
    # Where others take the processors for seconds the server gives up a connection
    # whose client does not answer its pings: then the round says nothing.
    for attempts_left in (2, 1, 0):
        with ratios.Server(target, binary) as server:
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
    for order in ratios.alternately(count):
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


def print_table(rounds, few, many, quiet, short):
    table = ratios.Table(rounds, quiet)
    table.row("a sleeping unary call, memory", "a sleeping call", "KB", f"<= {SLEEPER_KB} KB",
              rounds.median("a sleeping call", "waitq") <= SLEEPER_KB)
    same = all(
        none == some for none, some in zip(rounds.all["threads, none asleep"]["waitq"],
                                           rounds.all["threads, few asleep"]["waitq"]))
    table.row("threads, none asleep", "threads, none asleep", "", ratio=False)
    table.row(f"threads, {few:,} asleep", "threads, few asleep", "", "the same", same, ratio=False)
    table.ratio_row("unary calls, 64 in flight (WakeUp: echo)", "unary calls", "/s",
                    at_least=UNARY_RATIO_SHORT if short else UNARY_RATIO)
    table.row("  the server's processor time, each", "server's processor time", "us")
    table.ratio_row(f"{many:,} woken at once, to the last answer", "all woken", "s",
                    at_most=WAKE_RATIO_SHORT if short else WAKE_RATIO)
    table.row("  the server's processor time, each", "processor time of a wake", "us")
    table.row("session, round trip, p50", "session p50", "us")
    table.row("session, round trip, p99", "session p99", "us")
    table.row("session, 256 messages under way", "session rate", "/s")
    table.row("a pipe, two streams, 64 bytes: relay", "relay rate", "/s")
    table.row("a pipe, two streams, 64 KiB: relay", "relay speed", "MB/s")
    return table


def measure(binaries, loads, short):
    rounds = ratios.Rounds()
    few, many = (2_000, 20_000) if short else (10_000, 100_000)
    with contextlib.ExitStack() as stack:
        servers = {
            target: stack.enter_context(ratios.Server(target, binary))
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

    def measured():
        return print_table(*measure(binaries, loads, short), as_json, short)

    return ratios.report(measured, short, as_json)


if __name__ == "__main__":
    sys.exit(main())
