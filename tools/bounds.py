#!/usr/bin/python3
"""tools/bounds.py [--quick]: measures what waitq promises about time and memory.

  * A large file (1 GiB; 256 MiB with --quick) through a pipe, whichever side
    starts first: the server's peak memory grows by at most 32 MiB.
  * 10,000 sleeping calls: as many threads as with none, and less than 0.5 % of a
    core while they sleep.
  * The first call after 3 s of silence is answered in under 10 ms, by a client
    that was connected already and by one that has to connect.

Prints each figure beside its bound, then `N passed, N failed`; exit 1 if a bound is
missed. These are no tests of Bazel's: on a busy machine they say more about the
machine. Needs what ./bazelw builds, and python3-grpcio.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(REPOSITORY, "demo"))

# pylint: disable=wrong-import-position
from stage import Failed, Stage, figures_of, find_program

MIB = 1 << 20


class Bounds:
    """The figures so far."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def at_most(self, what, figure, bound, unit):
        self._judge(what, figure <= bound, f"{figure:.3g} {unit}", f"<= {bound:g} {unit}")

    def below(self, what, figure, bound, unit):
        self._judge(what, figure < bound, f"{figure:.3g} {unit}", f"< {bound:g} {unit}")

    def equal(self, what, figure, expected):
        self._judge(what, figure == expected, figure, f"== {expected}")

    def _judge(self, what, good, figure, bound):
        print(f"{'ok  ' if good else 'FAIL'} {what}: {figure} (bound: {bound})", flush=True)
        if good:
            self.passed += 1
        else:
            self.failed += 1


# --- a large file --------------------------------------------------------------


def write_noise(path, size):
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            chunk = os.urandom(MIB)
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


class DigestOfOutput:
    """The SHA-256 of what a program writes, which is not kept."""

    def __init__(self):
        read_end, self.write_end = os.pipe()
        self._digest = hashlib.sha256()
        self._thread = threading.Thread(target=self._read, args=(read_end,))
        self._thread.start()

    def _read(self, read_end):
        with open(read_end, "rb", buffering=0) as file:
            while chunk := file.read(MIB):
                self._digest.update(chunk)

    def close_our_end(self):
        os.close(self.write_end)

    def result(self):
        self._thread.join()
        return self._digest.hexdigest()


def reset_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def move_file(stage, bounds, path, size, digest, first):
    """Moves the file through the pipe `big`, the side `first` being there first."""
    reset_peak(stage.server.pid)
    before = stage.figures()["resident_kib"]
    output = DigestOfOutput()

    def start_writer():
        return stage.start("write", "big", path)

    def start_reader():
        try:
            return stage.start("read", "big", stdout=output.write_end)
        finally:
            output.close_our_end()

    start = time.monotonic()
    if first == "writer":
        writer = start_writer()
        stage.await_sleepers("big", 1, "write")
        reader = start_reader()
    else:
        reader = start_reader()
        stage.await_sleepers("big", 1, "read")
        writer = start_writer()
    codes = writer.finish(600), reader.finish(600)
    seconds = time.monotonic() - start
    growth = (stage.figures()["peak_kib"] - before) / 1024
    name = f"{size // MIB} MiB, {first} first"
    bounds.equal(f"{name}: exit codes", codes, (0, 0))
    bounds.equal(f"{name}: SHA-256", output.result()[:16], digest[:16])
    bounds.at_most(f"{name}: growth of the server's peak memory", growth, 32, "MiB")
    print(f"     {size / MIB / seconds:.0f} MiB/s")


def measure_file(stage, bounds, size):
    path = os.path.join(stage.folder, "big")
    digest = write_noise(path, size)
    for first in "writer", "reader":
        move_file(stage, bounds, path, size, digest, first)
    os.remove(path)


# --- many sleepers -------------------------------------------------------------


def cpu_seconds(pid):
    """What the threads of a process have used so far, to the nanosecond."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def idle_share(pid, seconds=10):
    """The share of a core, in percent, that a process uses while left alone."""
    before, start = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - start) * 100


def put_to_sleep(stage, count):
    sleepers = stage.run_program([
        find_program("examples/many_sleepers"), "--server", stage.address,
        "--name", "herd", "--count", str(count), "--connections", "4"])
    stage.wait_until(
        f"{count} sleepers",
        lambda: f"asleep {count}\n" in sleepers.out() or not sleepers.is_running(), 120)
    return sleepers


def wake_all(stage, sleepers):
    stage.run("wake", "herd", "--set", "1", "--all", quiet=True)
    code = sleepers.finish(120)
    stage.run("store", "herd", "0", quiet=True)
    return code


def measure_sleepers(stage, bounds):
    wake_all(stage, put_to_sleep(stage, 1000))  # starts gRPC's threads
    before = stage.figures()
    sleepers = put_to_sleep(stage, 10000)
    during = stage.figures()
    bounds.equal("threads with 10,000 asleep, as with none",
                 during["threads"], before["threads"])
    grown = during["resident_kib"] - before["resident_kib"]
    print(f"     {grown / 10000:.1f} KiB a sleeper")
    bounds.below("processor while 10,000 sleep",
                 idle_share(stage.server.pid), 0.5, "% of a core")
    bounds.equal("threads after 10 s", figures_of(stage.server.pid)["threads"],
                 before["threads"])
    start = time.monotonic()
    bounds.equal("exit code of the 10,000, woken by one wake", wake_all(stage, sleepers), 0)
    print(f"     all back after {time.monotonic() - start:.2f} s")


# --- the first call after a silence --------------------------------------------


def first_calls(address, rounds=5, silence=3.0):
    """Milliseconds of the first call after a silence, for a client that is
    connected and for a new one; `rounds` of each."""
    import grpc  # pylint: disable=import-outside-toplevel
    from waitq.v1 import wait_queues_pb2 as pb  # pylint: disable=import-outside-toplevel
    from waitq.v1 import wait_queues_pb2_grpc  # pylint: disable=import-outside-toplevel

    def call(channel):
        start = time.monotonic()
        wait_queues_pb2_grpc.WaitQueuesStub(channel).Store(
            pb.StoreRequest(name="first-call", value=1))
        return (time.monotonic() - start) * 1000

    def new_channel():
        # Not the connection that another channel of this process may have.
        return grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])

    connected, new = [], []
    with new_channel() as channel:
        call(channel)
        for _ in range(rounds):
            time.sleep(silence)
            connected.append(call(channel))
            time.sleep(silence)
            with new_channel() as other:
                new.append(call(other))
    return connected, new


def measure_first_calls(stage, bounds):
    with tempfile.TemporaryDirectory(prefix="waitq-bounds.") as stubs:
        subprocess.run([os.path.join(REPOSITORY, "examples/generate.sh"), stubs], check=True)
        sys.path.insert(0, stubs)
        connected, new = first_calls(stage.address)
    for who, times in ("connected", connected), ("new", new):
        print("     " + ", ".join(f"{t:.1f}" for t in times) + " ms")
        bounds.below(f"first call after 3 s of silence, {who} client, slowest of {len(times)}",
                     max(times), 10, "ms")


# --- all of them ---------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a file of 256 MiB, not 1 GiB")
    quick = parser.parse_args().quick
    subprocess.run(
        [os.path.join(REPOSITORY, "bazelw"), "build", "//server:waitqd",
         "//client/cli:waitq", "//examples:many_sleepers"],
        check=True, cwd=REPOSITORY)
    bounds = Bounds()
    with Stage(say=lambda text: None) as stage:
        try:
            stage.start_server()
            measure_file(stage, bounds, (256 if quick else 1024) * MIB)
            measure_sleepers(stage, bounds)
            measure_first_calls(stage, bounds)
        except Failed as failure:
            bounds.equal(str(failure), "it did not come", "it came")
    print(f"{bounds.passed} passed, {bounds.failed} failed")
    return 1 if bounds.failed else 0


if __name__ == "__main__":
    sys.exit(main())
