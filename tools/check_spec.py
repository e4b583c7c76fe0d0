#!/usr/bin/python3
"""tools/check_spec.py NUMBERS BINARY...: has each test case of the specification
its test?

NUMBERS is a file with the numbers that are due: one number or range (48-55) a
line, # for comments. Each BINARY is a GoogleTest program; its tests called
SpecNN_Claim, in any suite, are those of case NN. A number that is due and in no
binary, or in one and not due, is named; exit 1. Disabled tests do not count.
"""

import re
import subprocess
import sys


def read_due(path):
    due = set()
    with open(path, encoding="ascii") as file:
        for line in file:
            text = line.split("#")[0].strip()
            if not text:
                continue
            if not re.fullmatch(r"\d+(-\d+)?", text):
                sys.exit(f"check_spec.py: {path}: not a number or range: {text}")
            first, _, last = text.partition("-")
            due.update(range(int(first), int(last or first) + 1))
    if not due:
        sys.exit(f"check_spec.py: {path} names no number")
    return due


def list_tests(binary):
    """The names of a binary's tests, each as Suite.Test."""
    output = subprocess.run([binary, "--gtest_list_tests"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    suite, names = None, []
    for line in output.splitlines():
        name = line.split("#")[0].rstrip()
        if line.startswith("  "):
            names.append(suite + name.strip())
        elif name.endswith("."):
            suite = name
    return names


def find_problems(due, tests):
    """`tests`: pairs of a binary and the Suite.Test in it."""
    problems, found = [], set()
    for binary, name in tests:
        number = re.match(r"[^.]*\.Spec(\d+)_", name)
        if not number:
            if re.match(r"[^.]*\.Spec\d", name):
                problems.append(f"{name} in {binary}: not SpecNN_Claim")
            continue
        if len(number[1]) != 2:
            problems.append(f"{name} in {binary}: two digits, please")
        if int(number[1]) in due:
            found.add(int(number[1]))
        else:
            problems.append(f"{name} in {binary}: {number[1]} is not due")
    problems += [f"Spec{number:02d}: in no binary" for number in sorted(due - found)]
    return problems


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    due = read_due(sys.argv[1])
    problems = find_problems(due, [(binary, name) for binary in sys.argv[2:]
                                   for name in list_tests(binary)])
    for problem in problems:
        print(problem)
    print(f"{len(due)} numbers are due; {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
