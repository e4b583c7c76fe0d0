"""Plots of compare.py's figures: bars, as SVG that any browser shows."""

import os
import xml.sax.saxutils

import ratios

COLOURS = {"waitq": "#2b6cb0", "bare": "#a0aec0"}
OTHERS = "#dd9c4b"
LABELS = {"waitq": "waitqd", "bare": "bare gRPC", "redis": "Redis", "beanstalkd": "beanstalkd",
          "nats": "NATS", "socat": "socat", "few others": "1,000 others asleep"}

# File, title, and (job, what the group is called, unit); all bars of a group have one scale.
PLOTS = (
    ("throughput", "Messages a second: longer is better",
     (("queue_shared", "32 and 32, shared sessions", "/s"),
      ("queue_separate", "32 and 32, a session each", "/s"),
      ("pipelined_256", "1 and 1, 256 in flight", "/s"),
      ("pipelined_1024", "1 and 1, 1,024 in flight", "/s"))),
    ("latency", "Wakes and timeouts: shorter is better",
     (("wake_p50", "a wake, p50", "us"),
      ("wake_p99", "a wake, p99", "us"),
      ("timeout_overshoot", "10,000 timeouts, how late, p99", "us"),
      ("growth", "waitqd's wake, 1,000,000 others asleep", "us"))),
    ("cost", "What one costs: shorter is better",
     (("sleeper_bytes", "memory of a sleeper, of 10,000", "B"),
      ("herd", "waking one, of 10,000", "us"),
      ("cpu_per_message", "processor time of a message", "us"))),
    ("bulk", "Bytes in bulk: longer is better", (("bulk", "one pipe of 1 MiB", "MB/s"),)),
)

WIDTH, LEFT, BAR_WIDTH, STEP = 720, 150, 440, 20


def text(x, y, words, extra=""):
    return f'<text x="{x}" y="{y}" {extra}>{xml.sax.saxutils.escape(words)}</text>'


def group(y, title, unit, figures):
    """The SVG of one group of bars, and where it ends."""
    parts = [text(LEFT, y, title, 'font-weight="bold"')]
    longest = max(figures.values())
    for target, figure in figures.items():
        y += STEP
        length = max(1, BAR_WIDTH * figure / longest)
        colour = COLOURS.get(target, OTHERS)
        parts += [
            text(LEFT - 8, y, LABELS[target], 'text-anchor="end"'),
            f'<rect x="{LEFT}" y="{y - 12}" width="{length:.0f}" height="15" fill="{colour}"/>',
            text(LEFT + round(length) + 6, y, f"{ratios.for_people(figure)} {unit}"),
        ]
    return parts, y + 2 * STEP


def plot(title, groups):
    parts, y = [text(16, 28, title, 'font-size="16" font-weight="bold"')], 60
    for name, unit, figures in groups:
        more, y = group(y, name, unit, figures)
        parts += more
    height = y - STEP
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *parts, "</svg>", ""])


def write(folder, rounds):
    """Writes those of which there are figures; gives the lines that show them."""
    os.makedirs(folder, exist_ok=True)
    shown = ""
    for name, title, jobs in PLOTS:
        groups = [
            (what, unit, {t: rounds.median(job, t) for t in LABELS if t in rounds.all[job]})
            for job, what, unit in jobs if job in rounds.all
        ]
        if not groups:
            continue
        with open(os.path.join(folder, f"compare_{name}.svg"), "w", encoding="utf-8") as file:
            file.write(plot(title, groups))
        shown += f"![{title}](plots/compare_{name}.svg)\n"
    return shown
