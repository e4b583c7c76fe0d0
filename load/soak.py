#!/usr/bin/python3
"""Runs waitqd under the mixed scenario for long, with faults, and looks whether
anything is lost or grows.

    ./bazelw run //load:soak -- --minutes 30

At the same time, all on one server:
* steady: two hosts of waitq-load run load/scenarios/soak.load from the beginning
  to the end; one of them through a proxy that cuts its connections every few
  seconds. Both must end with 0: nothing lost, nothing doubled, no lock held by
  two.
* victims: one more host at a time runs the same scenario as a run of its own,
  is killed (SIGKILL) after some seconds, and another one is started.
Meanwhile the server's resident memory, descriptors and threads are sampled.

Flat: the median of the last quarter of the samples is above that of the second
quarter by no more than the allowance: a tenth and 8 MiB of memory, 16
descriptors, 2 threads. (The first quarter is warming up.) At the end, when all
have gone and their grace is over, nobody may be left asleep. Exit 1 if any of
this is not so. Random times come from --seed.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

SAMPLE_SECONDS = 2
GRACE_SECONDS = 10  # as in soak.load
# What is kept for repeated calls and dead sessions is gone after this.
SETTLE_SECONDS = GRACE_SECONDS + 5
ALLOWANCES = {
    "memory_kib": lambda base: base * 0.1 + 8 * 1024,
    "descriptors": lambda base: 16,
    "threads": lambda base: 2,
}


class CuttingProxy:
    """Passes bytes to the server, and cuts all connections when told to."""

    def __init__(self, port):
        self.server_port = port
        self.open = set()
        self.cuts = 0

    async def start(self):
        server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def connected(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection(
                "127.0.0.1", self.server_port)
        except OSError:
            writer.close()
            return
        both = (writer, up_writer)
        self.open.add(both)
        try:
            await asyncio.gather(self.pump(reader, up_writer),
                                 self.pump(up_reader, writer))
        finally:
            self.open.discard(both)
            for end in both:
                end.close()

    @staticmethod
    async def pump(reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def cut(self):
        self.cuts += 1
        for both in list(self.open):
            for end in both:
                end.transport.abort()


def sample(pid):
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    return {
        "memory_kib": int(status["VmRSS"].split()[0]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
    }


class Soak:
    def __init__(self, args, folder):
        self.args = args
        self.random = random.Random(args.seed)
        self.folder = folder
        self.failures = []
        self.samples = []
        self.killed = 0
        self.children = []
        self.later = []

    def fail(self, what):
        print("FAILED:", what, flush=True)
        self.failures.append(what)

    async def start_server(self):
        self.server = await asyncio.create_subprocess_exec(
            self.args.waitqd, "--listen", "127.0.0.1:0",
            stdout=subprocess.PIPE)
        self.children.append(self.server)
        line = (await self.server.stdout.readline()).decode()
        if "listening on" not in line:
            sys.exit("soak: waitqd did not start")
        self.port = int(line.rsplit(":", 1)[1])

    async def host(self, run, port, seconds, *flags):
        process = await asyncio.create_subprocess_exec(
            self.args.waitq_load, "run", self.args.scenario, "--run", run,
            "--server", f"127.0.0.1:{port}", "--seconds", str(seconds),
            "--quiet", *flags,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.children.append(process)
        return process

    async def steady(self, seconds):
        result = os.path.join(self.folder, "steady.json")
        hosts = [
            await self.host("soak", port, seconds, "--hosts", "2", "--host",
                            str(i), "--json", result)
            for i, port in enumerate([self.port, self.proxy.port])
        ]
        for i, process in enumerate(hosts):
            out, _ = await process.communicate()
            if process.returncode != 0:
                self.fail(f"steady host {i}: exit {process.returncode}: "
                          + out.decode())
        if os.path.exists(result):
            with open(result) as file:
                self.result = json.load(file)

    async def victims(self):
        number = 0
        while True:
            number += 1
            process = await self.host(f"victim.{number}", self.port, 3600)
            await asyncio.sleep(self.random.uniform(2, 6))
            if process.returncode is not None:
                out = (await process.stdout.read()).decode()
                self.fail(f"victim {number} ended by itself, with "
                          f"{process.returncode}: {out}")
            else:
                process.kill()
                await process.wait()
                self.killed += 1
            self.children.remove(process)
            # What it held is of no use to anybody. Not at once: its session is
            # to expire by itself.
            self.later.append(asyncio.create_task(
                self.forget_later(f"victim.{number}/")))

    # In a thread: meanwhile the proxy goes on.
    async def forget_later(self, prefix):
        await asyncio.sleep(SETTLE_SECONDS)
        await asyncio.to_thread(self.forget, prefix)

    def forget(self, prefix):
        for item in self.waitq("ls", prefix):
            self.waitq("rm", "--force", item["name"])

    async def cuts(self):
        while True:
            await asyncio.sleep(self.random.uniform(3, 8))
            self.proxy.cut()

    async def watch(self):
        while True:
            self.samples.append(sample(self.server.pid))
            await asyncio.sleep(SAMPLE_SECONDS)

    def waitq(self, *arguments):
        """The objects of a `waitq --json` answer."""
        done = subprocess.run(
            [self.args.waitq, "--server", f"127.0.0.1:{self.port}", "--json",
             *arguments], capture_output=True, text=True)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        return [item for answer in answers
                for item in answer.get("objects", answer.get("tasks", []))]

    def judge_flatness(self):
        quarter = len(self.samples) // 4
        if quarter < 2:
            return self.fail("too few samples")
        for what, allowance in ALLOWANCES.items():
            values = [one[what] for one in self.samples]
            second = statistics.median(values[quarter:2 * quarter])
            last = statistics.median(values[-quarter:])
            print(f"{what:12} second quarter {second:10.0f}   last quarter "
                  f"{last:10.0f}   most {max(values):10.0f}")
            if last > second + allowance(second):
                self.fail(f"{what} is not flat: {second:.0f} -> {last:.0f}")

    async def run(self):
        await self.start_server()
        self.proxy = CuttingProxy(self.port)
        await self.proxy.start()
        self.result = None
        background = [asyncio.create_task(task) for task in
                      (self.victims(), self.cuts(), self.watch())]
        await self.steady(self.args.minutes * 60)
        for task in background:
            task.cancel()
        done = await asyncio.gather(*background, return_exceptions=True)
        for error in done:
            if not isinstance(error, asyncio.CancelledError):
                self.fail(f"the soak itself: {error!r}")
        for process in self.children:
            if process is not self.server and process.returncode is None:
                process.kill()
                await process.wait()
        await asyncio.sleep(SETTLE_SECONDS)
        await asyncio.gather(*self.later)
        if asleep := self.waitq("ps"):
            self.fail(f"{len(asleep)} still sleep: {asleep[:3]}")
        self.forget("victim.")
        self.server.terminate()
        try:
            code = await asyncio.wait_for(self.server.wait(), 60)
        except asyncio.TimeoutError:
            code = None
        if code != 0:
            self.fail(f"waitqd ended with {code}")
        self.report()

    def report(self):
        if self.result is not None:
            for series in self.result["series"]:
                latency = series["latency_us"]
                print(f"{series['name']:12} {series['operations']:10} operations"
                      f"   p50 {latency['p50']:8.0f} us   p99 "
                      f"{latency['p99']:8.0f} us   max "
                      f"{latency['max']:8.0f} us")
            print("messages    ", self.result["deliveries"])
            print("noted       ", self.result["notes"])
        print(f"faults       {self.proxy.cuts} cuts, {self.killed} hosts killed")
        self.judge_flatness()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("waitqd")
    parser.add_argument("waitq_load")
    parser.add_argument("waitq")
    parser.add_argument("scenario")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    args = parser.parse_args()
    for name in ("waitqd", "waitq_load", "waitq", "scenario"):
        setattr(args, name, os.path.abspath(getattr(args, name)))
    print(f"soak: {args.minutes:g} minutes, --seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(args, folder)
        try:
            asyncio.run(soak.run())
        finally:
            for process in soak.children:
                if process.returncode is None:
                    try:
                        os.kill(process.pid, 9)
                    except ProcessLookupError:
                        pass
    print("soak:", "FAILED" if soak.failures else "passed")
    sys.exit(1 if soak.failures else 0)


if __name__ == "__main__":
    main()
