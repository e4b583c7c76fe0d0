#!/usr/bin/env python3
"""Plants bugs, one at a time, and looks whether the history checker finds them
in real runs with faults.

    tests/faults/planted.py                  all of tests/faults/planted
    tests/faults/planted.py unmarked         those whose names have this in them
    tests/faults/planted.py --record         keeps the histories that told

Each patch is applied to a copy of the tree, and the server and the clients are
built there; then runs are made (checker.py) from seed 1 until one is red, for 5
minutes at most. Prints a table: what was planted, which rule found it, with
which seed, in how many seconds. Exits with 1 if one was not found. With
--record what proves it is written to NAME.history beside the patch.

The moments of the faults are those of the seed; what the processes do at these
moments is not the same again.

Environment: PLANTED_OUTPUT_BASE, Bazel's folder for the copy, kept from one run
to the next; PLANTED_JOBS, how many compilers at a time (2).
"""

import argparse
import os
import pathlib
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import checker  # noqa: E402
from planting import plant_all  # noqa: E402

BOUND_S = 300


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wanted", nargs="*")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()

    def run(file, bazel_bin):
        for name in ("server/waitqd", "tests/faults/actors",
                     "tests/history/judge"):
            program = bazel_bin / name
            os.environ["WAITQ_BIN_" + program.name.upper()] = str(program)
        end = time.monotonic() + BOUND_S
        seed = 0
        while time.monotonic() < end:
            seed += 1
            result = checker.play(seed, rounds=5, steps=20)
            if not result.wrong:
                continue
            shrunk = pathlib.Path(result.folder) / "history.shrunk"
            if arguments.record and shrunk.exists():
                shutil.copy(shrunk, file.with_suffix(".history"))
            shutil.rmtree(result.folder, ignore_errors=True)
            return result.rule, seed
        return None

    return plant_all(HERE / "planted", arguments.wanted,
                     ["//server:waitqd", "//tests/faults:actors",
                      "//tests/history:judge"], run)


if __name__ == "__main__":
    sys.exit(main())
