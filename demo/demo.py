#!/usr/bin/python3
"""waitq's demo: what the server does, shown and checked in separate processes.

Run it with `./bazelw run //:demo`. Each line that begins with $ is a command
that runs as a process of its own; try them by hand against a `waitqd` of yours.
"""

import sys

sys.dont_write_bytecode = True  # the folder belongs to the checkout

# pylint: disable=wrong-import-position
import hashlib
import os
import signal
import time

from stage import Failed, Stage, find_program

MIB = 1 << 20


def scene_a(stage):
    stage.title("(a) sleepy: a reader sleeps until the flag is 1, and takes it")
    reader = stage.start("wait", "flag", "--until", "==1", "--then", "set:0")
    line, = stage.await_sleepers("flag", 1)
    stage.check("the reader sleeps on the server", reader.is_running(), line)
    stage.run("wake", "flag", "--set", "1")
    code = reader.finish()
    stage.check("one wake ended its sleep", code == 0, f"exit {code}")
    flag = stage.run("get", "flag")[1].strip()
    stage.check("it took the flag in the same step", flag.split()[:1] == ["0"],
                f"the flag is {flag}")

    stage.note("Two readers, one write: exactly one gets through, though all are woken.")
    readers = [stage.start("wait", "flag", "--until", "==1", "--then", "set:0")
               for _ in range(2)]
    stage.await_sleepers("flag", 2)
    stage.run("wake", "flag", "--set", "1", "--all")
    stage.wait_until("a reader gets through",
                     lambda: not all(reader.is_running() for reader in readers))
    left = stage.await_sleepers("flag", 1)
    running = [reader for reader in readers if reader.is_running()]
    stage.check("one reader went on, the other still sleeps",
                len(left) == 1 and len(running) == 1, f"{len(running)} asleep")
    flag = stage.run("get", "flag")[1].strip()
    stage.check("the flag was taken once", flag.split()[:1] == ["0"],
                f"the flag is {flag}")
    stage.run("wake", "flag", "--set", "1")
    codes = [reader.finish() for reader in readers]
    stage.check("a second write lets the other one through", codes == [0, 0],
                f"exit {codes[0]} and {codes[1]}")


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(MIB):
            digest.update(chunk)
    return digest.hexdigest()


def scene_b(stage):
    stage.title("(b) a pipe: 64 MiB of random bytes through 64 KiB")
    source = os.path.join(stage.folder, "random")
    copy = os.path.join(stage.folder, "copy")
    with open(source, "wb") as file:
        for _ in range(64):
            file.write(os.urandom(MIB))
    sent = digest_of(source)
    stage.note(f"{source}: SHA-256 {sent[:16]}...")
    stage.run("create", "pipe", "--kind", "pipe", "--capacity", "64KiB")

    stage.note("The reader comes first, and sleeps for data.")
    with open(copy, "wb") as out:
        reader = stage.start("read", "pipe", stdout=out)
        line, = stage.await_sleepers("pipe", 1, "read")
        stage.check("the reader sleeps while the pipe is empty",
                    reader.is_running(), line)
        # With the reader stopped, the pipe must fill up.
        reader.signal(signal.SIGSTOP)
        writer = stage.start("write", "pipe", source)
        line, = stage.await_sleepers("pipe", 1, "write")
        stage.check("the writer sleeps while the pipe is full", writer.is_running(),
                    line)
        reader.signal(signal.SIGCONT)
        compare(stage, sent, copy, writer, reader)

    stage.note("The same pipe again; now the writer comes first, and sleeps for room.")
    with open(copy, "wb") as out:
        writer = stage.start("write", "pipe", source)
        line, = stage.await_sleepers("pipe", 1, "write")
        stage.check("the writer sleeps until somebody reads", writer.is_running(),
                    line)
        stage.run("stat", "pipe")
        reader = stage.start("read", "pipe", stdout=out)
        compare(stage, sent, copy, writer, reader)


def compare(stage, sent, copy, writer, reader):
    codes = writer.finish(), reader.finish()
    seconds = time.monotonic() - writer.started
    stage.check("both ends finished", codes == (0, 0),
                f"exit {codes[0]} and {codes[1]}, {seconds:.1f} s")
    got = digest_of(copy)
    stage.check("SHA-256 is the same at both ends", got == sent, f"{got[:16]}...")


def scene_c(stage):
    stage.title("(c) a wait that runs out of time")
    start = time.monotonic()
    code, _ = stage.run("wait", "flag", "--until", "==1", "--timeout", "200ms")
    taken = time.monotonic() - start
    stage.check("it ends with 124, as timeout(1) does", code == 124, f"exit {code}")
    stage.check("and never early", taken >= 0.2, f"{taken * 1000:.0f} ms")


def scene_d(stage):
    stage.title("(d) Ctrl-C ends a wait, and its sleeper is gone")
    waiter = stage.start("wait", "flag", "--until", "==1")
    line, = stage.await_sleepers("flag", 1)
    stage.check("it sleeps", waiter.is_running(), line)
    stage.note("Ctrl-C (SIGINT)")
    waiter.signal(signal.SIGINT)
    code = waiter.finish()
    stage.check("it ends with 130, as in a shell", code == 130, f"exit {code}")
    stage.await_sleepers("flag", 0)
    stage.check("`waitq ps flag` no longer shows it", True)


def sleep_in_numbers(stage, count):
    """A process that has `count` calls asleep on the queue `herd`."""
    stage.note(f"$ many_sleepers --name herd --count {count} --connections 4 &")
    sleepers = stage.run_program([
        find_program("examples/many_sleepers"), "--server", stage.address,
        "--name", "herd", "--count", str(count), "--connections", "4"])
    stage.wait_until(
        f"{count} sleepers",
        lambda: f"asleep {count}\n" in sleepers.out() or not sleepers.is_running(), 60)
    if not sleepers.is_running():
        raise Failed("many_sleepers: " + sleepers.err())
    return sleepers


def wake_the_herd(stage, sleepers):
    """One wake for all; gives the exit code and the last line of the process."""
    stage.run("wake", "herd", "--set", "1", "--all")
    code = sleepers.finish(60)
    stage.run("store", "herd", "0", quiet=True)
    lines = sleepers.out().split("\n")
    stage.note("  " + lines[1] if len(lines) > 1 else sleepers.err())
    return code, lines[1:2]


def scene_e(stage):
    stage.title("(e) 10,000 sleepers on 4 connections, no thread among them")
    stage.note("A warm-up of 1,000 first: gRPC starts its threads when it needs them.")
    wake_the_herd(stage, sleep_in_numbers(stage, 1000))

    before = stage.figures()
    sleepers = sleep_in_numbers(stage, 10000)
    during = stage.figures()
    stage.check("all 10,000 sleep", sleepers.is_running())
    code, last = wake_the_herd(stage, sleepers)
    stage.check("one `wake --all` woke every one", code == 0 and last == ["woken 10000"],
                f"exit {code}")
    stage.wait_until("the memory of the sleepers goes back to the system",
                     lambda: stage.figures()["resident_kib"] < during["resident_kib"] / 2)
    after = stage.figures()
    for when, figures in ("before", before), ("asleep", during), ("after", after):
        stage.note(f"waitqd {when}: {figures['threads']} threads, "
                   f"{figures['resident_kib'] / 1024:.0f} MiB")
    stage.check("the server has as many threads with 10,000 asleep as with none",
                before["threads"] == during["threads"],
                f"{before['threads']} and {during['threads']}")
    stage.check("their memory has gone back to the system",
                after["resident_kib"] < during["resident_kib"] / 2,
                f"{after['resident_kib'] / 1024:.0f} MiB")


SCENES = scene_a, scene_b, scene_c, scene_d, scene_e


def main():
    # However the demo is ended, the way out leads through Stage.__exit__.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    sys.stdout.reconfigure(line_buffering=True)
    start = time.monotonic()
    with Stage() as stage:
        try:
            stage.title("a server of our own, on a free port")
            stage.start_server()
            for scene in SCENES:
                scene(stage)
            stage.title("the end")
            lines = stage.sleepers()
            stage.check("nobody is left asleep", not lines, f"{len(lines)} in `waitq ps`")
            stage.server.signal(signal.SIGTERM)
            code = stage.server.finish()
            stage.check("the server stops when asked to", code == 0, f"exit {code}")
            stage.note(f"That took {time.monotonic() - start:.0f} s.")
        except Failed as failure:
            stage.check(str(failure), False)
    print()
    if stage.failures:
        for failure in stage.failures:
            print(f"demo: FAILED: {failure}", file=sys.stderr)
        return 1
    print(f"demo: {stage.passed} checks passed")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
