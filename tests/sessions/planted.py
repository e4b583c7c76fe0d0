#!/usr/bin/env python3
"""Plants bugs, one at a time, and looks whether the simulation finds them.

    tests/sessions/planted.py                all of tests/sessions/planted
    tests/sessions/planted.py lost_result    those whose names have this in them

Each patch is applied to a copy of the tree, //tests/sessions:simulation_test is
built there and run from seed 1 until it is red. Prints a table: what was
planted, what found it, with which seed, in how many seconds. Exits with 1 if
one was not found.

Environment: WAITQ_TIMES, how many times 300 worlds are tried (10 if not set);
PLANTED_OUTPUT_BASE, Bazel's folder for the copy, kept from one run to the next;
PLANTED_JOBS, how many compilers at a time (2).
"""

import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from planting import plant_all  # noqa: E402


def run(_, bazel_bin):
    environment = dict(os.environ, WAITQ_SEED="1")
    environment.setdefault("WAITQ_TIMES", "10")
    test = bazel_bin / "tests" / "sessions" / "simulation_test"
    ran = subprocess.run(
        [str(test), "--gtest_filter=*NothingIsLost*"],
        capture_output=True, text=True, env=environment, check=False,
    )
    if ran.returncode == 0:
        return None
    found = re.search(r"WAITQ_SEED=(\d+)\n(.*)\nThe shortest", ran.stdout)
    if found is None:
        return (ran.stdout + ran.stderr)[-200:].replace("\n", " "), "?"
    steps = re.search(r"fails so:\n((?:  .*\n)+)", ran.stdout)
    lines = steps.group(1).count("\n") if steps else 0
    return f"{found.group(2)} ({lines} steps)", found.group(1)


if __name__ == "__main__":
    sys.exit(plant_all(HERE / "planted", sys.argv[1:],
                       ["//tests/sessions:simulation_test"], run))
