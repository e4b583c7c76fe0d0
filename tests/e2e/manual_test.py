#!/usr/bin/python3
"""Runs the examples of the pages that it is given, as a reader would type them.

An example is a fenced block in which lines begin with "$ ". Each has a server of
its own, and one bash runs its commands in order, in a folder with the files that
the pages speak of. Where the page shows output, it is compared:

* all that the command printed is there, in order, but for what varies from run to
  run (generations, ages, ports, ...); a line "..." stands for any lines;
* what the page shows beside it comes from a command in the background.

After a command in the background the next one waits until that one sleeps, or is
over, as a reader would.

A block that cannot run here has the line "<!-- not run: WHY -->" above it, and is
listed at the end.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

BOUND_S = 60
WAITQ = os.path.abspath("client/cli/waitq")
WAITQD = os.path.abspath("server/waitqd")


class Wrong(Exception):
    """An example does not do what its page says."""


def examples(path):
    """Yields (line number, lines, why it is not run or None) of each block."""
    lines = open(path).read().split("\n")
    at = 0
    while at < len(lines):
        if lines[at] != "```":
            # A block in a language: its end is not the start of another one.
            if lines[at].startswith("```"):
                at = lines.index("```", at + 1)
            at += 1
            continue
        end = lines.index("```", at + 1)
        block = lines[at + 1:end]
        if any(line.startswith("$ ") for line in block):
            marked = re.fullmatch(r"<!-- not run: (.+) -->", lines[at - 1])
            yield at + 1, block, marked and marked.group(1)
        at = end + 1


def commands(block):
    """Yields (command, what the page shows after it)."""
    command, shown = None, []
    for line in block:
        if line.startswith("$ "):
            if command is not None:
                yield command, shown
            command, shown = line[2:], []
        else:
            shown.append(line)
    yield command, shown


def in_background(command):
    return re.search(r"&\s*(#.*)?$", command) is not None


def plain(line):
    """A line without what varies from run to run."""
    line = re.sub(r"generation(=|: )[0-9]+", r"generation\1N", line)
    line = re.sub(r"incarnation: [0-9]+", "incarnation: N", line)
    line = re.sub(r"waitq:[0-9]+@\S+", "CALLER", line)
    line = re.sub(r"ipv4:127\.0\.0\.1:[0-9]+", "PEER", line)
    # A table's columns are as wide as what is in them.
    if "PEER" in line:
        line = re.sub(r"[0-9.]+(ms|s)\b", "AGE", line)
    return re.sub(r" +", " ", line).rstrip()


def await_state(state):
    end = time.monotonic() + BOUND_S
    while not state():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Session:
    """One bash, and one server."""

    def __init__(self, folder):
        self.folder = folder
        self.server = subprocess.Popen(
            [WAITQD, "--listen", "127.0.0.1:0", "--grace", "0s"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        address = self.server.stdout.readline().split()[-1]
        os.symlink(WAITQ, os.path.join(folder, "waitq"))
        self.environment = dict(
            os.environ, WAITQ_SERVER=address,
            PATH=folder + ":" + os.environ["PATH"])
        # -m: background jobs are groups of their own, as at a terminal.
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-m"], cwd=folder,
            env=self.environment, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True)
        self.files = []  # the output of each command

    def close(self):
        self.server.kill()
        self.server.wait()
        self.bash.stdin.close()
        try:
            self.bash.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.bash.pid, signal.SIGKILL)
            self.bash.wait()

    def tell(self, text):
        self.bash.stdin.write(text)
        self.bash.stdin.flush()

    def run(self, command):
        """Runs it; returns the number of its output."""
        number = len(self.files)
        path = os.path.join(self.folder, f".out{number}")
        over = os.path.join(self.folder, f".over{number}")
        self.files.append(path)
        # The next command is to find $? as this one left it.
        self.tell(f"{{ {command}\n}} >{path} 2>&1 </dev/null\n"
                  f"status=$?; >{over}; (exit $status)\n")
        if not await_state(lambda: os.path.exists(over)):
            raise Wrong(f"does not end: {command}\n{self.output(number)}")
        return number

    def output(self, number):
        text = open(self.files[number]).read()
        return text[:-1].split("\n") if text else []

    def sleepers(self):
        listing = subprocess.run([WAITQ, "ps"], env=self.environment,
                                 capture_output=True, text=True, check=True)
        return listing.stdout.count("\n")

    def jobs(self):
        """How many jobs run in the background."""
        path = os.path.join(self.folder, ".jobs")
        if os.path.exists(path):
            os.remove(path)
        self.tell("status=$?; jobs -pr >.jobs.new; mv .jobs.new .jobs; "
                  "(exit $status)\n")
        await_state(lambda: os.path.exists(path))
        return open(path).read().count("\n")

    def settle(self, sleepers_before, jobs_before):
        """Waits until a new job sleeps on the server, or is over."""
        if not await_state(lambda: self.sleepers() > sleepers_before or
                           self.jobs() <= jobs_before):
            raise Wrong("a command in the background neither sleeps nor ends")


def matches(shown, lines):
    """Whether `lines` are all there; "..." stands for any."""
    if not shown:
        return not lines
    if shown[0] == "...":
        return any(matches(shown[1:], lines[n:]) for n in range(len(lines) + 1))
    return (bool(lines) and shown[0] == lines[0] and
            matches(shown[1:], lines[1:]))


def check(session, number, shown, background):
    """Compares what the page shows after a command with what there is."""
    shown = [plain(line) for line in shown]
    if number not in background:
        # What it printed itself; the rest comes from the background.
        rest = []
        printed = [plain(line) for line in session.output(number)]
        for line in shown:
            if printed and line == printed[0]:
                printed.pop(0)
            elif line == "..." and printed:
                after = shown[shown.index(line) + 1:]
                while printed and not matches(after, printed):
                    printed.pop(0)
            else:
                rest.append(line)
        if printed:
            raise Wrong("printed, and not shown:\n" + "\n".join(printed))
        shown = rest

    def is_there():
        outputs = [[plain(line) for line in session.output(n)]
                   for n in background]
        if "..." in shown:
            return any(matches(shown, lines) for lines in outputs)
        return all(any(line in lines for lines in outputs) for line in shown)

    if shown and not await_state(is_there):
        raise Wrong("shown, and printed by nobody:\n" + "\n".join(shown))


def prepare(folder):
    """The files that the pages speak of."""
    with open(os.path.join(folder, "big.iso"), "wb") as iso:
        iso.write(os.urandom(1 << 20))
    deploy = os.path.join(folder, "deploy")
    with open(deploy, "w") as script:
        script.write("#!/bin/sh\necho deployed\n")
    os.chmod(deploy, 0o755)


def run(block):
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        session = Session(folder)
        try:
            background = []
            for command, shown in commands(block):
                before = session.sleepers(), session.jobs()
                number = session.run(command)
                if in_background(command):
                    background.append(number)
                    session.settle(*before)
                if not shown:
                    continue
                try:
                    check(session, number, shown, background)
                except Wrong as wrong:
                    raise Wrong(f"$ {command}\n{wrong}\n--- it printed:\n" +
                                "\n".join(session.output(number)))
        finally:
            session.close()


def main():
    ran, failed, skipped = 0, 0, []
    for path in sys.argv[1:]:
        found = 0
        for line, block, why_not in examples(path):
            found += 1
            if why_not:
                skipped.append(f"not run: {path}:{line}: {why_not}")
                continue
            ran += 1
            print(f"{path}:{line}", flush=True)
            try:
                run(block)
            except Wrong as wrong:
                failed += 1
                print(f"FAILED {path}:{line}: {wrong}", flush=True)
        if found == 0:
            failed += 1
            print(f"FAILED {path}: no examples in it")
    print("\n".join(skipped))
    print(f"{ran} examples ran, {failed} failed, {len(skipped)} not run")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
