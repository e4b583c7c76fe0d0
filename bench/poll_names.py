#!/usr/bin/env python3
"""Many names on one PollStream, changed at a rate: whether each change is told, how late,
and what it costs.

usage: ./bazelw run //bench:poll_names [-- --names 10000 --rate 1000 --seconds 10]

A change is a byte that is written to a pipe which had none, or read from one; no name is
changed anew before its last change was told. Exit 1 if a change was missed.
"""

import argparse
import json
import subprocess
import sys

import ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for program in ("waitqd", "poll_load"):
        parser.add_argument(program)
    parser.add_argument("--names", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    with ratios.Server("waitq", args.waitqd) as server:
        _, memory_before = server.figures()
        command = [args.poll_load, f"--server={server.address}", f"--names={args.names}",
                   f"--rate={args.rate}", f"--seconds={args.seconds}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as load:
            if load.stdout.readline() != "ready\n":
                return 1
            _, memory = server.figures()
            before = server.cpu_seconds()
            load.stdin.write("\n")
            load.stdin.flush()
            line = load.stdout.readline()
            server_cpu = server.cpu_seconds() - before
        if load.returncode != 0 or not line:
            return 1
    result = json.loads(line)
    print(f"{result['names']:,} names, {result['changes']:,} changes in {result['seconds']:.1f} s, "
          f"{result['told']:,} told, none missed")
    print(f"from the change's call to its being told: p50 {result['p50_us']:.0f} us, "
          f"p99 {result['p99_us']:.0f} us")
    print(f"processor: server {100 * server_cpu / result['seconds']:.1f} % of one core, "
          f"client (which changes, too) {100 * result['cpu_seconds'] / result['seconds']:.1f} %")
    print(f"memory of the server: {(memory - memory_before) / result['names']:.0f} bytes a name, "
          "with its pipe")
    return 0


if __name__ == "__main__":
    sys.exit(main())
