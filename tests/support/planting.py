"""Bugs that are planted into a copy of the tree, one at a time, so that it can
be seen what finds them. For scripts that are run by hand."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
OUTPUT_BASE = os.environ.get(
    "PLANTED_OUTPUT_BASE", str(pathlib.Path(tempfile.gettempdir()) / "planted")
)


def _copy_tree(to):
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


def _patch(tree, file, *options):
    subprocess.run(
        ["patch", "-p1", "--quiet", *options, "-i", str(file)],
        cwd=tree, check=True,
    )


def _build(tree, targets):
    built = subprocess.run(
        ["./bazelw", f"--output_base={OUTPUT_BASE}", "build",
         f"--jobs={os.environ.get('PLANTED_JOBS', '2')}", *targets],
        cwd=tree, capture_output=True, text=True, check=False,
    )
    if built.returncode != 0:
        sys.exit(f"it does not build:\n{built.stderr[-3000:]}")


def plant_all(folder, wanted, targets, find):
    """Plants each patch of `folder` whose name has one of `wanted` in it (none:
    all), builds, and lets `find(file, bazel-bin)` say what found it, and with
    which seed; None if nothing did. Prints a table. The exit code: 1 if one was
    not found."""
    files = sorted(f for f in folder.glob("*.patch")
                   if not wanted or any(word in f.name for word in wanted))
    if not files:
        sys.exit(f"no patch in {folder} has {wanted} in its name")
    missed = 0
    with tempfile.TemporaryDirectory(prefix="planted-") as scratch:
        tree = pathlib.Path(scratch) / "waitq"
        _copy_tree(tree)
        print("| planted | found by | seed | seconds |")
        print("| --- | --- | --- | --- |")
        for file in files:
            what = file.read_text().splitlines()[0].lstrip("# ")
            _patch(tree, file)
            try:
                _build(tree, targets)
                begin = time.monotonic()
                found = find(file, tree / "bazel-bin")
                seconds = time.monotonic() - begin
            finally:
                _patch(tree, file, "--reverse")
            missed += found is None
            by, seed = found or ("NOT FOUND", "")
            print(f"| {what} | {by} | {seed} | {seconds:.1f} |", flush=True)
    return 1 if missed else 0
