"""What service_ratios.py, session_ratios.py and compare.py have in common.

The same load on waitqd and on a bare gRPC server, which has waitqd's threads,
completion queues and arguments and nothing behind them: what gRPC itself costs. Rounds
on the two alternate; a row shows the medians of both, and as its ratio the median of
the rounds' ratios, since a round of the one and its neighbour of the other see the same
machine.
"""

import json
import os
import statistics
import subprocess


class Process:
    """A running program; a context."""

    def __init__(self, command, **options):
        self._process = subprocess.Popen(command, **options)
        self._proc = f"/proc/{self._process.pid}"

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._process.kill()
        self._process.wait()

    def figures(self):
        """Threads and resident bytes."""
        with open(f"{self._proc}/status", encoding="ascii") as status:
            fields = dict(line.split(":", 1) for line in status)
        return int(fields["Threads"]), int(fields["VmRSS"].split()[0]) * 1024

    def cpu_seconds(self):
        """What its threads have used so far."""
        total = 0
        for thread in os.listdir(f"{self._proc}/task"):
            with open(f"{self._proc}/task/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1e9


class Server(Process):
    """waitqd or the bare server."""

    def __init__(self, target, binary):
        super().__init__([binary, "--listen", "127.0.0.1:0"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, text=True)
        greeting = self._process.stdout.readline()
        if " listening on " not in greeting:
            raise SystemExit(f"{binary} did not start: {greeting!r}")
        self.target = target
        self.address = greeting.split()[-1]


class Loads:
    """What can be done to a server, with the program that does it."""

    def __init__(self, binary):
        self._binary = binary

    def command(self, server, load, options):
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return [self._binary, load, f"--target={server.target}", f"--server={server.address}", *flags]

    def run(self, server, load, **options):
        command = self.command(server, load, options)
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        return json.loads(run.stdout)

    def steps(self, server, load, options, steps, at_step):
        """For loads that write a line at each step, and wait; gives all lines."""
        command = self.command(server, load, options)
        lines = []
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as running:
            for step in steps:
                line = running.stdout.readline()
                if not line:
                    break  # it has said why
                lines.append(json.loads(line))
                at_step(step)
                running.stdin.write("\n")
            last = running.stdout.readline()
        if running.returncode != 0:
            raise subprocess.CalledProcessError(running.returncode, command)
        return [*lines, json.loads(last)]


class Rounds:
    """Figures by what they are and whose, one of each round."""

    def __init__(self):
        self.all = {}

    def add(self, what, target, figure):
        self.all.setdefault(what, {}).setdefault(target, []).append(figure)

    def median(self, what, target):
        return statistics.median(self.all[what][target])

    def ratio(self, what, target="waitq", against="bare"):
        both = self.all[what]
        return statistics.median(t / a for t, a in zip(both[target], both[against]))


def alternately(count):
    """The order of `count` rounds: neither target is always the first."""
    for i in range(count):
        yield ("waitq", "bare") if i % 2 == 0 else ("bare", "waitq")


def for_people(figure):
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.4g}"


class Table:
    """Prints its rows as they come, unless it is to be quiet, and keeps them."""

    def __init__(self, rounds, quiet):
        self._rounds = rounds
        self._quiet = quiet
        self.rows = []
        self.failed = []
        self._print(f"{'what':<52} {'waitqd':>14} {'bare':>14} {'ratio':>6}  bound")

    def _print(self, line):
        if not self._quiet:
            print(line)

    def row(self, what, key, unit, bound="", good=True, ratio=True):
        """`key`: of the rounds; `good`: within `bound`, which is text."""
        medians = {target: self._rounds.median(key, target) for target in self._rounds.all[key]}
        cells = [
            f"{for_people(medians[target])} {unit}" if target in medians else ""
            for target in ("waitq", "bare")
        ]
        ratio = self._rounds.ratio(key) if ratio and len(medians) == 2 else None
        if not good:
            self.failed.append(what)
        self._print(
            f"{what:<52} {cells[0]:>14} {cells[1]:>14} "
            f"{'' if ratio is None else f'{ratio:.2f}':>6}  {bound}{'' if good else '   MISSED'}")
        self.rows.append({
            "what": what, "unit": unit, "medians": medians, "ratio": ratio, "bound": bound,
            "good": good, "rounds": self._rounds.all[key]})

    def ratio_row(self, what, key, unit, at_most=None, at_least=None):
        """One whose ratio has a bound; where only one target was measured there is none."""
        if len(self._rounds.all[key]) < 2:
            self.row(what, key, unit)
            return
        ratio = self._rounds.ratio(key)
        if at_least is None:
            self.row(what, key, unit, f"<= {at_most}", ratio <= at_most)
        else:
            self.row(what, key, unit, f">= {at_least}", ratio >= at_least)


def report(measure, short, as_json):
    """`measure()` prints and gives a table. Says what was missed; gives the exit code."""
    # A short run on a machine with other work may miss by chance, not twice.
    for _ in range(2 if short else 1):
        table = measure()
        if not as_json and any(row["bound"] for row in table.rows):
            print(f"missed: {len(table.failed)}" if table.failed else "all within their bounds")
        if not table.failed:
            break
    if as_json:
        print(json.dumps(table.rows, indent=1))
    return 1 if table.failed else 0
