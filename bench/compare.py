#!/usr/bin/env python3
"""Runs the same jobs on waitqd and on what users would pick instead, and prints the ratios.

usage: ./bazelw run //bench:compare [-- [--quick] [--json] [--write] [--only=JOB,...]]

waitqd, Redis, beanstalkd and NATS, as Debian has them (peers.py), and a bare gRPC server
beside waitqd where there is one for the job (ratios.py). One C++ program is the client of
all (compare_load.cc says what it does; the comments of redis_queue_client.h and its
neighbours how it speaks to each). Rounds on the targets take turns; a ratio is the median
of the rounds' ratios. Exit 0 if all jobs ran, whatever came of them.

--quick: shorter rounds, less than 15 minutes. --json: a line for each job, and nothing
else. --write: the table and plots go into docs/. --only: these groups of jobs (queues,
pipelined, wakes, sleepers, timeouts, bulk, growth).
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import time

import compare_report
import peers
import ratios

PEERS = ("redis", "beanstalkd", "nats")
WORKERS = 32  # on each side
SLEEPERS = 10_000
# Of waitqd and the bare server in the jobs with many sleepers; their peers have a
# connection for each.
SLEEPERS_PER_SESSION = 1_000
CHUNK = 128 * 1024  # of a stream, written at once
OTHERS = (1_000, 1_000_000)


class Plan:
    """How long and how often."""

    def __init__(self, quick):
        self.rounds = 5 if quick else 9
        self.wake_rounds = 9 if quick else 21
        self.seconds = 1 if quick else 3
        self.wakes = 2_000 if quick else 5_000
        # Redis frees what it does not need of a connection some seconds later.
        self.settle_seconds = 1 if quick else 8
        self.timeout_seconds = 3 if quick else 11
        self.timeout_spread = 2 if quick else 10
        self.bulk_bytes = 500_000_000 if quick else 2_000_000_000


def in_turns(targets, count):
    """The order of `count` rounds: none is always the first, or behind the same one."""
    targets = list(targets)
    for i in range(count):
        turned = targets[i % len(targets):] + targets[: i % len(targets)]
        yield turned if i % 2 == 0 else turned[::-1]


def patiently(run):
    """Where others take the processors for seconds a connection may be given up."""
    for attempts_left in (2, 1, 0):
        try:
            return run()
        except subprocess.CalledProcessError as error:
            if attempts_left == 0:
                raise
            print(f"once more: {error}", file=sys.stderr)


class Bench:
    """The jobs; their figures go into `rounds`."""

    def __init__(self, args, plan):
        self.binaries = {"waitq": args.waitqd, "bare": args.bare_server}
        self.loads = ratios.Loads(args.compare_load)
        self.service_loads = ratios.Loads(args.service_load)
        self.plan = plan
        self.rounds = ratios.Rounds()

    def server(self, target):
        if target in self.binaries:
            return ratios.Server(target, self.binaries[target])
        return peers.Peer(target)

    @contextlib.contextmanager
    def servers(self, targets):
        with contextlib.ExitStack() as stack:
            yield {target: stack.enter_context(self.server(target)) for target in targets}

    # --- queues -----------------------------------------------------------------

    def queue(self, server, **options):
        """Messages a second, and the processor time of each, in microseconds."""
        before = server.cpu_seconds()
        queue = patiently(
            lambda: self.loads.run(server, "queue", seconds=self.plan.seconds, **options))
        server_us = (server.cpu_seconds() - before) * 1e6
        return queue["messages"] / queue["seconds"], (queue["cpu_us"] + server_us) / queue["total"]

    def queues(self):
        """Producers and consumers that have one operation each under way."""
        shared = {target: {"in_flight": WORKERS} for target in self.binaries}
        separate = {target: {"sessions": WORKERS} for target in (*self.binaries, *PEERS)}
        runs = [("queue_shared", target) for target in shared]
        runs += [("queue_separate", target) for target in separate]
        with self.servers(separate) as servers:
            for order in in_turns(runs, self.plan.rounds):
                for job, target in order:
                    options = (shared if job == "queue_shared" else separate)[target]
                    rate, cpu = self.queue(servers[target], **options)
                    self.rounds.add(job, target, rate)
                    if target in PEERS:  # who have but one way
                        self.rounds.add("queue_shared", target, rate)
                    if target in PEERS or job == "queue_shared":
                        self.rounds.add("cpu_per_message", target, cpu)

    def pipelined(self):
        """One producer and one consumer with many operations under way."""
        targets = (*self.binaries, *PEERS)
        with self.servers(targets) as servers:
            for depth in (256, 1024):
                for order in in_turns(targets, self.plan.rounds):
                    for target in order:
                        self.rounds.add(f"pipelined_{depth}", target,
                                        self.pipelined_rate(servers[target], depth))

    def pipelined_rate(self, server, depth):
        if server.target != "redis":
            return self.queue(server, in_flight=depth)[0]
        # A connection that sleeps does nothing else: a pop is an RPOP, and what is pushed
        # and popped at the same time is not more than this.
        redis = FakeTarget("redis-rpop", server)
        times = patiently(lambda: self.loads.run(
            redis, "pushpop", in_flight=depth, seconds=self.plan.seconds / 2))
        return 1e6 / (times["push_us"] + times["pop_us"])

    # --- sleepers ---------------------------------------------------------------

    def wakes(self):
        """A consumer that sleeps, and a producer in another process, with pauses."""
        targets = (*self.binaries, *PEERS)
        with self.servers(targets) as servers:
            for order in in_turns(targets, self.plan.wake_rounds):
                for target in order:
                    self.wake(servers[target], target, "wake_p50", "wake_p99")

    def wake(self, server, label, p50, p99):
        wake = patiently(lambda: self.loads.run(server, "wake", wakes=self.plan.wakes))
        self.rounds.add(p50, label, wake["p50_us"])
        self.rounds.add(p99, label, wake["p99_us"])

    def sleepers(self):
        """Many, each in a new server, whose memory nobody has used before; all woken."""
        few, many = SLEEPERS // 10, SLEEPERS
        targets = ("waitq", "bare", "redis", "redis-publish", "beanstalkd", "nats-publish")
        for order in in_turns(targets, self.plan.rounds):
            for target in order:
                patiently(lambda target=target: self.herd(target, few, many))
            both = self.rounds.all["herd"]
            self.rounds.add("herd", "redis",
                            min(both[way][-1] for way in ("redis BRPOP", "redis SUBSCRIBE")))

    def herd(self, target, few, many):
        name = target.split("-")[0]
        options = {
            "waitq": {"sessions": many // SLEEPERS_PER_SESSION},
            "bare": {"in_flight": SLEEPERS_PER_SESSION},
        }.get(target, {})
        resident = {}
        with self.server(name) as server:

            def look(step):
                time.sleep(self.plan.settle_seconds)
                resident[step] = server.figures()[1]

            load = FakeTarget(target, server)
            if name in self.binaries:  # starts gRPC's threads
                self.loads.steps(load, "sleepers", {**options, "asleep": few}, [few],
                                 lambda step: time.sleep(0.2))
            lines = self.loads.steps(load, "sleepers", {**options, "asleep": f"{few},{many}"},
                                     [few, many], look)
        label = {"redis": "redis BRPOP", "redis-publish": "redis SUBSCRIBE"}.get(target, name)
        if target != "redis-publish":  # who subscribes does not sleep
            self.rounds.add("sleeper_bytes", name, (resident[many] - resident[few]) / (many - few))
        self.rounds.add("herd", label, lines[-1]["seconds"] / many * 1e6)

    def timeouts(self):
        """Many who sleep at a time, end one after the other, and are told by nobody."""
        targets = ("waitq", "redis", "beanstalkd")
        with self.servers(targets) as servers:
            for order in in_turns(targets, self.plan.rounds):
                for target in order:
                    per_session = SLEEPERS_PER_SESSION if target == "waitq" else 1
                    late = patiently(lambda target=target, per_session=per_session: self.loads.run(
                        servers[target], "timeouts", asleep=SLEEPERS, in_flight=per_session,
                        timeout_seconds=self.plan.timeout_seconds,
                        seconds=self.plan.timeout_spread))
                    self.rounds.add("timeout_overshoot", target, late["p99_us"])
                    self.rounds.add("timeout_overshoot p50", target, late["p50_us"])
                    if late["early"] > 0:
                        raise SystemExit(f"{late['early']} timeouts of {target} were early")

    # --- bytes, and others asleep -----------------------------------------------

    def bulk(self):
        """A pipe of 1 MiB, and two relays that keep what they can."""
        with self.servers(self.binaries) as servers:
            for order in in_turns(("waitq", "bare", "socat"), self.plan.rounds):
                for target in order:
                    run = patiently(lambda target=target: self.bulk_run(servers, target))
                    self.rounds.add("bulk", target, run["bytes"] / run["seconds"] / 1e6)

    def bulk_run(self, servers, target):
        size = self.plan.bulk_bytes
        if target == "bare":
            return self.service_loads.run(
                servers["bare"], "relay", message_bytes=CHUNK, messages=size // CHUNK)
        if target == "waitq":
            return self.loads.run(
                servers["waitq"], "bulk", bytes=size, write_bytes=CHUNK, capacity_bytes=1 << 20)
        with peers.Relay(CHUNK) as relay:
            # It is faster, and starts slowly.
            return self.loads.run(relay, "bulk", out=relay.out, bytes=4 * size, write_bytes=CHUNK)

    def growth(self):
        """Wakes in two servers of waitqd, with few and with many others asleep."""
        with contextlib.ExitStack() as stack:
            servers = {}
            for others in OTHERS:
                server = stack.enter_context(self.server("waitq"))
                stack.enter_context(self.others(server, others))
                servers[others] = server
            for order in in_turns(OTHERS, self.plan.wake_rounds):
                for others in order:
                    label = "waitq" if others == OTHERS[1] else "few others"
                    self.wake(servers[others], label, "growth", "growth p99")

    @contextlib.contextmanager
    def others(self, server, count):
        command = self.loads.command(
            server, "others", {"asleep": count, "sessions": 4, "objects": min(count, 1_000)})
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if not process.stdout.readline():
                raise SystemExit("the others do not sleep")
            yield
        finally:
            process.kill()
            process.wait()


class FakeTarget:
    """A server that is used in another way than by its name."""

    def __init__(self, target, server):
        self.target = target
        self.address = server.address


def raise_descriptor_limit():
    """For 10,000 connections, in this process's children."""
    wanted = 2 * SLEEPERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError):
        if hard < SLEEPERS + 200:
            raise SystemExit(f"{SLEEPERS:,} connections need more descriptors: ulimit -Hn")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


GROUPS = ("queues", "pipelined", "wakes", "sleepers", "timeouts", "bulk", "growth")


def main():
    parser = argparse.ArgumentParser()
    for name in ("waitqd", "bare_server", "service_load", "compare_load"):
        parser.add_argument(name)
    for flag in ("--quick", "--json", "--write"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--only", default=",".join(GROUPS))
    args = parser.parse_args()
    only = args.only.split(",")
    if not set(only) <= set(GROUPS):
        parser.error(f"--only: of {', '.join(GROUPS)}")
    raise_descriptor_limit()
    for name in peers.PACKAGES:
        peers.program(name)

    bench = Bench(args, Plan(args.quick))
    report = compare_report.Report(bench.rounds, args.json)
    load_before = os.getloadavg()[0]
    begin = time.monotonic()
    for group in only:
        getattr(bench, group)()
        report.print_new()
    minutes = (time.monotonic() - begin) / 60
    if not args.json:
        print(f"{minutes:.0f} minutes")
    if args.write:
        how = "`--quick`, " if args.quick else ""
        load = f"the load average was {load_before:.1f} before the run, {os.getloadavg()[0]:.1f} after it"
        report.write(os.environ["BUILD_WORKSPACE_DIRECTORY"], f"{how}{minutes:.0f} minutes; {load}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
