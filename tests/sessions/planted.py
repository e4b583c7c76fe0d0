#!/usr/bin/env python3
"""Plants bugs, one at a time, and looks whether the simulation finds them.

    tests/sessions/planted.py                all of tests/sessions/planted
    tests/sessions/planted.py lost_result    those whose names have this in them

Each patch is applied (`patch -p1`) to a copy of the tree, //tests/sessions:
simulation_test is built there and run from seed 1 until it is red. Prints a
table: what was planted, what found it, with which seed, in how many seconds.
Exits with 1 if one was not found.

Environment: WAITQ_TIMES, how many times 300 worlds are tried (10 if not set);
PLANTED_OUTPUT_BASE, Bazel's folder for the copy, kept from one run to the next.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

TARGET = "//tests/sessions:simulation_test"
TREE = pathlib.Path(__file__).resolve().parents[2]
PATCHES = TREE / "tests" / "sessions" / "planted"
OUTPUT_BASE = os.environ.get(
    "PLANTED_OUTPUT_BASE", str(pathlib.Path(tempfile.gettempdir()) / "planted")
)


def copy_tree(to):
    """What git knows or would add, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TREE, check=True, capture_output=True, text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = TREE / name
        if not source.is_file():
            continue  # deleted, and not yet said so
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def patch(tree, file, *options):
    subprocess.run(
        ["patch", "-p1", "--quiet", *options, "-i", str(file)],
        cwd=tree, check=True,
    )


def bazel(tree, *arguments):
    return subprocess.run(
        ["./bazelw", f"--output_base={OUTPUT_BASE}", *arguments],
        cwd=tree, capture_output=True, text=True,
    )


def build(tree):
    built = bazel(tree, "build", "--jobs=2", TARGET)
    if built.returncode != 0:
        sys.exit(f"it does not build:\n{built.stderr[-3000:]}")


def run(tree):
    """What found it, and with which seed; None if nothing did."""
    environment = dict(os.environ, WAITQ_SEED="1")
    environment.setdefault("WAITQ_TIMES", "10")
    test = tree / "bazel-bin" / "tests" / "sessions" / "simulation_test"
    ran = subprocess.run(
        [str(test), "--gtest_filter=*NothingIsLost*"],
        capture_output=True, text=True, env=environment,
    )
    if ran.returncode == 0:
        return None
    found = re.search(r"WAITQ_SEED=(\d+)\n(.*)\nThe shortest", ran.stdout)
    if found is None:
        return "?", (ran.stdout + ran.stderr)[-200:].replace("\n", " ")
    steps = re.search(r"fails so:\n((?:  .*\n)+)", ran.stdout)
    lines = steps.group(1).count("\n") if steps else 0
    return found.group(1), f"{found.group(2)} ({lines} steps)"


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    files = sorted(f for f in PATCHES.glob("*.patch") if wanted in f.name)
    if not files:
        sys.exit(f"no patch in {PATCHES} has {wanted!r} in its name")
    missed = 0
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = pathlib.Path(folder) / "waitq"
        copy_tree(tree)
        print("| planted | found by | seed | seconds |")
        print("| --- | --- | --- | --- |")
        for file in files:
            what = file.read_text().splitlines()[0].lstrip("# ")
            patch(tree, file)
            try:
                build(tree)
                begin = time.monotonic()
                found = run(tree)
                seconds = time.monotonic() - begin
            finally:
                patch(tree, file, "--reverse")
            missed += found is None
            seed, by = found or ("", "NOT FOUND")
            print(f"| {what} | {by} | {seed} | {seconds:.1f} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
