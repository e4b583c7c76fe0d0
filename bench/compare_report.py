"""What compare.py found: lines, a table for people, and the same with plots for docs/."""

import dataclasses
import json
import os
import platform
import re
import subprocess

import compare_plots
import peers
import ratios


@dataclasses.dataclass(frozen=True)
class Row:
    """A job beside one of the targets it is measured against."""

    job: str
    what: str
    unit: str
    better: str  # "higher" or "lower"
    against: str  # a target of the rounds
    against_name: str
    goal: float  # of the ratio


ROWS = (
    Row("queue_shared", "32 producers, 32 consumers, on shared sessions", "msg/s", "higher",
        "redis", "redis", 4),
    Row("queue_separate", "the same, a session each", "msg/s", "higher", "redis", "redis", 0.8),
    Row("cpu_per_message", "processor time of all, `queue_shared`", "us", "lower",
        "redis", "redis", 0.5),
    Row("pipelined_256", "one producer, one consumer, 256 in flight", "msg/s", "higher",
        "redis", "redis", 1.3),
    Row("pipelined_1024", "the same, 1,024 in flight", "msg/s", "higher", "redis", "redis", 2),
    Row("wake_p50", "a wake between two processes, p50", "us", "lower", "redis", "redis", 2),
    Row("wake_p99", "the same, p99", "us", "lower", "redis", "redis", 2),
    Row("sleeper_bytes", "memory of a sleeper, 10,000 asleep", "B", "lower",
        "beanstalkd", "beanstalkd", 0.45),
    Row("herd", "10,000 woken, to the last answer, each", "us", "lower", "redis", "redis", 0.2),
    Row("timeout_overshoot", "10,000 asleep, how late they know, p99", "us", "lower",
        "beanstalkd", "beanstalkd", 2),
    Row("bulk", "a pipe of 1 MiB, and a relay", "MB/s", "higher", "bare", "bare relay", 0.8),
    Row("bulk", "the same, and socat", "MB/s", "higher",
        "socat", f"socat -b {128 * 1024}", 0.4),
    Row("growth", "a wake, 1,000,000 others asleep, p50", "us", "lower",
        "few others", "itself, 1,000 asleep", 1.2),
)

# The table's columns.
TARGETS = {"waitq": "waitqd", "bare": "bare gRPC", "redis": "Redis", "beanstalkd": "beanstalkd",
           "nats": "NATS"}

BEGIN = "<!-- What follows is written by //bench:compare. -->"
END = "<!-- End of what //bench:compare writes. -->"


class Report:
    """Prints rows when their figures are there."""

    def __init__(self, rounds, as_json):
        self._rounds = rounds
        self._as_json = as_json
        self._printed = []
        if not as_json:
            print(f"{'job':<18}" + "".join(f"{name:>12}" for name in TARGETS.values())
                  + f" {'ratio':>7} {'goal':>7}  to", flush=True)

    def print_new(self):
        for row in ROWS:
            if row.job in self._rounds.all and row not in self._printed:
                self._printed.append(row)
                print(json.dumps(self._line(row)) if self._as_json else self._text(row), flush=True)

    def _ratio(self, row):
        return self._rounds.ratio(row.job, against=row.against)

    def _reached(self, row):
        ratio = self._ratio(row)
        return ratio >= row.goal if row.better == "higher" else ratio <= row.goal

    def _line(self, row):
        return {
            "job": row.job,
            "value": self._rounds.median(row.job, "waitq"),
            "unit": row.unit,
            "against": row.against_name,
            "ratio": self._ratio(row),
            "better": row.better,
            "goal": row.goal,
        }

    def _goal(self, row):
        return f"{'≥' if row.better == 'higher' else '≤'} {row.goal:g}"

    def _cell(self, row, target):
        """Of the table; targets without a column of their own stand with the bare server."""
        if row.against not in TARGETS and target == "bare":
            target = row.against
        elif target not in self._rounds.all[row.job]:
            return ""
        return ratios.for_people(self._rounds.median(row.job, target))

    def _text(self, row):
        cells = "".join(f"{self._cell(row, target):>12}" for target in TARGETS)
        missed = "" if self._reached(row) else "   MISSED"
        return (f"{row.job:<18}{cells} {self._ratio(row):>7.2f} {self._goal(row):>7}"
                f"  {row.against_name}, {row.unit}{missed}")

    def write(self, workspace, how):
        """`how`: the run, for people."""
        docs = os.path.join(workspace, "docs")
        path = os.path.join(docs, "benchmarks.md")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if BEGIN not in text or END not in text:
            raise SystemExit(f"{path} has no place for the table: {BEGIN}")
        plots = compare_plots.write(os.path.join(docs, "plots"), self._rounds)
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{before}{BEGIN}\n\n{self._markdown(how)}\n{plots}\n{END}{after}")

    def _markdown(self, how):
        lines = [f"{machine()}; {', '.join(peers.versions())}. One run ({how}).", ""]
        head = ["job", "what", *TARGETS.values(), "ratio", "to", "goal", ""]
        lines += [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
        for row in self._printed:
            cells = [f"`{row.job}`", f"{row.what}, {row.unit}",
                     *(self._cell(row, target) for target in TARGETS),
                     f"{self._ratio(row):.2f}", row.against_name, self._goal(row),
                     "" if self._reached(row) else "missed"]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*:\s*(.*)", file.read())
    with open("/proc/meminfo", encoding="ascii") as file:
        gib = round(int(file.readline().split()[1]) / 2**20)
    gcc = subprocess.run(["gcc", "-dumpfullversion"], stdout=subprocess.PIPE, text=True, check=False)
    return (f"{len(os.sched_getaffinity(0))} processors ({model[1] if model else 'unknown'}), "
            f"{gib} GiB, Linux {platform.release()}, GCC {gcc.stdout.strip() or 'unknown'}, "
            "clients and servers together")
