#!/usr/bin/env python3
"""The pictures and tables of the guide to detectors, from measured figures.

  scripts/plots.py             draws docs/guide/detectors/*.svg and fills the tables of docs/guide/detectors.md and of
                               README.md from the CSV files beside the pictures
  scripts/plots.py --check     tells whether they are what it would make of the CSV files
  scripts/plots.py --measure   measures those figures first, with `make scenarios` (minutes: SEEDS=10 is quicker), and
                               the benchmark with `anomaly evaluate`, where NAB names its directory

Python's standard library only. Pictures follow the reader's light or dark scheme.
"""

import csv
import functools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIR = ROOT / "docs" / "guide" / "detectors"

# The detectors that are compared, as they are when only switched on.
PLAIN = ["auto on", "zscore 3", "mad 3.5", "ewma 3"]
# What somebody would set who has read the guide.
CALM = ["zscore 5 window 300", "zscore 3 for 2", "mad 6 window 300", "ewma 5 alpha 0.01", "cusum 10", "cusum 10 stuck 1800000"]
SWEEPS = {
    "k": [f"zscore {k}" for k in (3, 4, 5, 6, 8)]
    + [f"mad {k}" for k in (3.5, 5, 6, 8, 10)]
    + [f"ewma {k}" for k in (3, 4, 5, 6, 8)],
    "window": [f"zscore 5 window {n}" for n in (10, 20, 30, 60, 120, 300, 1000)],
    "for": [f"zscore 3 for {n}" for n in (1, 2, 3, 4, 5)],
    "alpha": [f"ewma 4 alpha {a}" for a in (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)],
    "cusum": [f"cusum {h}" for h in (4, 6, 8, 10, 15, 20)],
    "drift": [f"cusum 10 drift {d}" for d in (0.25, 0.5, 1, 1.5, 2)],
    "budget": [f"auto on budget {days * 86400000}" for days in (1, 3, 7, 14, 30, 90)],
}
# Scenarios that a setting moves; one reading a minute.
SWEPT = "1,2,3,4,5,7"

NOISES = ["white noise", "AR(.95) noise", "Student t3 noise", "random walk"]
CYCLE = ("daily cycle with weekends", "FPD after day 8")
SHORT = {
    "white noise": "white",
    "AR(.95) noise": "AR(.95)",
    "Student t3 noise": "Student t3",
    "random walk": "random walk",
    "daily cycle with weekends": "daily cycle",
    "level shift of 3 sd": "shift of 3 sd",
    "level shift of 5 sd": "shift of 5 sd",
    "spike of 8 sd": "spike of 8 sd",
    "ramp of 1 sd per hour": "ramp of 1 sd/h",
    "noise stuck for 3 h": "stuck",
}


# ---------------------------------------------------------------- measuring


def measure():
    """Runs what is measured, and keeps the figures as CSV."""
    DIR.mkdir(exist_ok=True)
    seeds = int(os.environ.get("SEEDS", "100"))
    once = {"SEEDS": 1, "DAYS": 1, "SCENARIOS": 5, "CADENCES": "1h", "CSV": os.devnull}
    scenarios(PLAIN, {**once, "TRACE": DIR / "trace.csv"})
    # A month of seconds is long: fewer sensors, and only what the picture of noise shows.
    scenarios(PLAIN, {"SEEDS": max(1, seeds // 5), "CADENCES": "1s", "SCENARIOS": "1,2", "CSV": DIR / "seconds.csv"})
    scenarios(PLAIN, {"CADENCES": "1h", "SCENARIOS": "1,2", "CSV": DIR / "hours.csv"})
    scenarios(PLAIN + CALM, {"CADENCES": "1min", "CSV": DIR / "minutes.csv"})
    swept = [rule for rules in SWEEPS.values() for rule in rules]
    scenarios(swept, {"SCENARIOS": SWEPT, "CADENCES": "1min", "CSV": DIR / "swept.csv"})
    if "NAB" in os.environ:
        nab(os.environ["NAB"])


COMMAND = "cargo run --release --locked --quiet -p anomaly-core --example scenarios".split()


def scenarios(detectors, more):
    variables = {"DETECTORS": ",".join(filter(is_built, detectors)), **more}
    variables = {key: str(value) for key, value in variables.items()}
    subprocess.run(COMMAND, cwd=ROOT, env={**os.environ, **variables}, check=True)


@functools.cache
def is_built(rule):
    """A detector that this version lacks is left out, loudly."""
    variables = {"DETECTORS": rule, "SEEDS": "1", "DAYS": "1", "SCENARIOS": "9", "CADENCES": "1h"}
    run = subprocess.run(
        COMMAND, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True
    )
    if run.returncode:
        print(f"plots: without `{rule}`: {run.stderr.strip()}", file=sys.stderr)
    return not run.returncode


def nab(directory):
    """Scores of the benchmark at the fixed threshold, one line per rule."""
    with open(DIR / "nab.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["detector", "files", "windows", "caught", "false", "standard", "low_fp", "low_fn"])
        for rule in filter(is_built, PLAIN + CALM):
            command = "cargo run --release --locked --quiet -p anomaly -- evaluate --in-process --format json".split()
            run = subprocess.run(
                [*command, "--nab", os.path.abspath(directory), "--rule", rule],
                cwd=ROOT, stdout=subprocess.PIPE, check=True,
            )
            told = json.loads(run.stdout)
            fixed = told["fixed"]
            scores = [f"{fixed['scores'][p]:.2f}" for p in ("standard", "reward_low_FP_rate", "reward_low_FN_rate")]
            out.writerow([rule, told["files"], told["windows"], fixed["tp"], fixed["fp"], *scores])


# ---------------------------------------------------------------- figures


class Figures:
    """Figures of CSV files by detector, cadence, scenario and row."""

    def __init__(self, *names):
        self.of = {}
        for name in names:
            with open(DIR / f"{name}.csv", newline="") as file:
                for row in csv.DictReader(file):
                    key = (row["detector"], row["cadence"], row["name"], row["what"])
                    self.of[key] = float(row["figure"])
        self.detectors = list(dict.fromkeys(key[0] for key in self.of))

    def get(self, detector, name, what, cadence="1min"):
        return self.of.get((detector, cadence, name, what), math.nan)

    def false_alerts(self, detector, name, cadence="1min"):
        what = CYCLE[1] if name == CYCLE[0] else "FPD"
        return self.get(detector, name, what, cadence)

    def caught(self, detector, name, cadence="1min"):
        for (d, c, n, what), figure in self.of.items():
            if (d, c, n) == (detector, cadence, name) and what.startswith("caught"):
                return figure
        return math.nan


# ---------------------------------------------------------------- drawing

CHECK = sys.argv[1:] == ["--check"]
STALE = []


def write(path, text):
    """Writes a file, or notes that it is not what it should be."""
    if not CHECK:
        path.write_text(text)
    elif not path.exists() or path.read_text() != text:
        STALE.append(str(path.relative_to(ROOT)))


STYLE = """
  text { font: 11px system-ui, 'DejaVu Sans', sans-serif; fill: #333; }
  .title { font-weight: 600; font-size: 12px; }
  .faint { fill: #777; }
  .axis { stroke: #999; stroke-width: 1; fill: none; }
  .grid { stroke: #999; stroke-opacity: .25; stroke-width: 1; }
  .bar { stroke: #c22; stroke-dasharray: 5 4; stroke-width: 1; fill: none; }
  .c0 { stroke: #1769c2; fill: #1769c2; } .c1 { stroke: #d0601a; fill: #d0601a; }
  .c2 { stroke: #1a8a4a; fill: #1a8a4a; } .c3 { stroke: #9440a8; fill: #9440a8; }
  .c4 { stroke: #7a6a00; fill: #7a6a00; }
  .line { fill: none; stroke-width: 1.8; }
  .value { fill: none; stroke: #333; stroke-width: 1; }
  .band { stroke: none; fill-opacity: .25; }
  .fired { fill: #c22; stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd; } .faint { fill: #aaa; } .value { stroke: #ddd; }
    .bar { stroke: #ff7b72; } .fired { fill: #ff7b72; }
    .c0 { stroke: #6cb0ff; fill: #6cb0ff; } .c1 { stroke: #ffa266; fill: #ffa266; }
    .c2 { stroke: #5fd38d; fill: #5fd38d; } .c3 { stroke: #d6a0e6; fill: #d6a0e6; }
    .c4 { stroke: #d9c94a; fill: #d9c94a; }
  }
"""


def escape(text):
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Picture:
    def __init__(self, width, height, title):
        self.width, self.height, self.parts = width, height, []
        self.title = title

    def add(self, tag, text=None, **attributes):
        words = " ".join(f'{name.rstrip("_").replace("_", "-")}="{value}"' for name, value in attributes.items())
        self.parts.append(f"<{tag} {words}/>" if text is None else f"<{tag} {words}>{escape(text)}</{tag}>")

    def save(self, name):
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">'
        )
        lines = [head, f"<title>{escape(self.title)}</title>", f"<style>{STYLE}</style>", *self.parts, "</svg>"]
        write(DIR / f"{name}.svg", "\n".join(lines) + "\n")


class Panel:
    """Axes in a picture. Logarithmic ones end at a floor, at which what is below is drawn."""

    def __init__(self, picture, box, title, xs, low, high, log=False, xlog=False):
        self.picture, self.log, self.xlog = picture, log, xlog
        self.left, self.top, self.width, self.height = box
        self.low, self.high = low, high
        self.x_from, self.x_to = min(xs), max(xs)
        picture.add("text", title, x=self.left, y=self.top - 8, class_="title")
        bottom, right = self.top + self.height, self.left + self.width
        for tick in self.ticks():
            y = self.y(tick)
            picture.add("line", x1=self.left, x2=right, y1=y, y2=y, class_="grid")
            label = "0" if log and tick <= low else number(tick)
            picture.add("text", label, x=self.left - 6, y=round(y + 4, 1), text_anchor="end", class_="faint")
        picture.add("path", d=f"M{self.left} {self.top}V{bottom}H{right}", class_="axis")

    def ticks(self):
        if self.log:
            return [10.0**e for e in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)]
        step = (self.high - self.low) / 4
        return [self.low + step * i for i in range(5)]

    def x(self, value):
        scale = math.log if self.xlog else float
        a, b = scale(self.x_from), scale(self.x_to)
        share = (scale(value) - a) / (b - a) if b > a else 0.5
        return round(self.left + self.width * (0.03 + 0.94 * share), 1)

    def y(self, value):
        low, high = self.low, self.high
        value = min(max(value, low), high)
        if self.log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return round(self.top + self.height * (1 - (value - low) / (high - low)), 1)

    def label_xs(self, xs, what):
        for x in xs:
            self.picture.add(
                "text", number(x), x=self.x(x), y=self.top + self.height + 15, text_anchor="middle", class_="faint"
            )
        self.picture.add(
            "text", what, x=self.left + self.width / 2, y=self.top + self.height + 30, text_anchor="middle"
        )

    def line(self, xs, ys, colour):
        points = [(self.x(x), self.y(y)) for x, y in zip(xs, ys) if not math.isnan(y)]
        if not points:
            return
        path = "M" + "L".join(f"{x} {y}" for x, y in points)
        self.picture.add("path", d=path, class_=f"line c{colour}")
        for x, y in points:
            self.picture.add("circle", cx=x, cy=y, r=2.6, class_=f"c{colour}")

    def bar(self, value):
        y = self.y(value)
        self.picture.add("path", d=f"M{self.left} {y}H{self.left + self.width}", class_="bar")


def legend(picture, left, top, names):
    for colour, name in enumerate(names):
        y = top + 16 * colour
        picture.add("path", d=f"M{left} {y}h18", class_=f"line c{colour}")
        picture.add("text", name, x=left + 24, y=y + 4)


def number(x):
    if x == 0:
        return "0"
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.3g}"


FLOOR, CEILING = 0.001, 100.0
QUIET = [*NOISES, CYCLE[0]]
EVENTS = ["level shift of 3 sd", "level shift of 5 sd", "spike of 8 sd", "ramp of 1 sd per hour", "noise stuck for 3 h"]


def sweep(figures, name, columns, what, xlog=False):
    """False alerts above, what is caught below, against a setting: `what`, or one for each column."""
    what = what if isinstance(what, list) else [what] * len(columns)
    columns = [
        (*column, axis) for column, axis in zip(columns, what) if any(rule in figures.detectors for rule in column[1])
    ]
    if not columns:
        return False
    width, height, gap = 200, 150, 55
    total = 60 + len(columns) * (width + gap) + 100
    picture = Picture(total, 470, f"False alerts and what is caught, by {name}")
    for place, (title, rules, xs, what) in enumerate(columns):
        kept = [(rule, x) for rule, x in zip(rules, xs) if rule in figures.detectors]
        rules, xs = [rule for rule, _ in kept], [x for _, x in kept]
        left = 60 + place * (width + gap)
        panel = Panel(
            picture, (left, 30, width, height), f"{title}: false alerts per day", xs, FLOOR, CEILING, True, xlog
        )
        panel.bar(0.1)
        for colour, quiet in enumerate(QUIET):
            panel.line(xs, [figures.false_alerts(rule, quiet) for rule in rules], colour)
        panel.label_xs(xs, what)
        panel = Panel(picture, (left, 265, width, height), f"{title}: caught, %", xs, 0, 100, False, xlog)
        for colour, event in enumerate(EVENTS):
            panel.line(xs, [figures.caught(rule, event) for rule in rules], colour)
        panel.label_xs(xs, what)
    right = 60 + len(columns) * (width + gap) - 25
    legend(picture, right, 40, [SHORT[name] for name in QUIET])
    legend(picture, right, 275, [SHORT[name] for name in EVENTS])
    picture.save(name)
    return True


def bands():
    """What each detector expects of one sensor."""
    with open(DIR / "trace.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    detectors = [d for d in PLAIN if any(row["detector"] == d for row in rows)]
    width, height = 660, 120
    picture = Picture(width + 70, 40 + len(detectors) * (height + 38), "What each detector expects of one sensor")
    values = [float(row["value"]) for row in rows]
    low, high = math.floor(min(values) - 3), math.ceil(max(values) + 3)
    for place, detector in enumerate(detectors):
        mine = [row for row in rows if row["detector"] == detector]
        hours = [float(row["hour"]) for row in mine]
        panel = Panel(picture, (45, 28 + place * (height + 38), width, height), detector, hours, low, high)
        upper = [(h, row["upper"]) for h, row in zip(hours, mine) if row["upper"] and row["lower"]]
        lower = [(h, row["lower"]) for h, row in zip(hours, mine) if row["upper"] and row["lower"]]
        if upper:
            outline = [(panel.x(h), panel.y(float(y))) for h, y in upper + lower[::-1]]
            path = "M" + "L".join(f"{x} {y}" for x, y in outline) + "Z"
            picture.add("path", d=path, class_=f"band c{place}")
        path = "M" + "L".join(f"{panel.x(h)} {panel.y(float(row['value']))}" for h, row in zip(hours, mine))
        picture.add("path", d=path, class_="value")
        for h, row in zip(hours, mine):
            if row["fired"] == "1":
                x, y = panel.x(h), panel.y(float(row["value"]))
                picture.add("path", d=f"M{x} {y - 6}l-5 -9h10z", class_="fired")
        if place == 0:
            for hour, what in ((10, "spike of 8 sd"), (20, "shift of 4 sd, 6 h"), (36, "stuck, 6 h")):
                picture.add("text", what, x=panel.x(hour), y=20, class_="faint")
        if place == len(detectors) - 1:
            panel.label_xs(range(0, 49, 6), "hours")
    picture.save("bands")


def by_noise(figures):
    """False alerts on clean data, a column for each cadence."""
    detectors = [d for d in PLAIN if d in figures.detectors]
    width, height, gap = 200, 190, 45
    picture = Picture(60 + 3 * (width + gap) + 70, 300, "False alerts on clean data")
    for place, (cadence, title) in enumerate([("1s", "every second"), ("1min", "every minute"), ("1h", "every hour")]):
        left = 60 + place * (width + gap)
        panel = Panel(picture, (left, 30, width, height), title, [-0.5, len(QUIET) - 0.5], FLOOR, 10000.0, True)
        panel.bar(0.1)
        for spot, quiet in enumerate(QUIET):
            for colour, detector in enumerate(detectors):
                figure = figures.false_alerts(detector, quiet, cadence)
                if not math.isnan(figure):
                    x = panel.x(spot) + (colour - (len(detectors) - 1) / 2) * 7
                    picture.add("circle", cx=round(x, 1), cy=panel.y(figure), r=3.2, class_=f"c{colour}")
            x = panel.x(spot)
            picture.add(
                "text", SHORT[quiet], x=x, y=30 + height + 14, text_anchor="end", class_="faint",
                transform=f"rotate(-35 {x} {30 + height + 14})",
            )
    legend(picture, 60 + 3 * (width + gap) - 20, 40, detectors)
    picture.save("noise")


# ---------------------------------------------------------------- tables


def cell(x, digits=2):
    if math.isnan(x):
        return "–"
    if math.isinf(x):
        return "never"
    if x and abs(x) < 0.1:
        return f"{x:.3f}"
    if abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.{digits}f}"


def choice(figures, detectors, cadence="1min"):
    """Which detector for what, in figures."""
    scores = {}
    if (DIR / "nab.csv").exists():
        with open(DIR / "nab.csv", newline="") as file:
            scores = {row["detector"]: row for row in csv.DictReader(file)}
    head = ["rule", *(SHORT[name] for name in QUIET), "shift of 3 sd", "delay", "shift of 5 sd", "delay", "spike of 8 sd",
            "ramp", "stuck", "bytes", "NAB"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---|" * (len(head) - 1)]
    for rule in filter(figures.detectors.__contains__, detectors):
        cells = [f"`{rule}`"]
        cells += [cell(figures.false_alerts(rule, name, cadence)) for name in QUIET]
        for shift in EVENTS[:2]:
            cells.append(cell(figures.caught(rule, shift, cadence), 0) + " %")
            cells.append(cell(figures.get(rule, shift, "median delay, readings", cadence), 0))
        cells += [cell(figures.caught(rule, name, cadence), 0) + " %" for name in EVENTS[2:]]
        cells.append(cell(figures.get(rule, "saved and loaded at any reading", "bytes of the largest model", cadence), 0))
        cells.append(f"{float(scores[rule]['standard']):.1f}" if rule in scores else "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fill(page, name, table):
    """Puts a table between its marks in a page."""
    text = page.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in text or end not in text:
        raise SystemExit(f"plots: {page.name} has no {begin} … {end}")
    before, rest = text.split(begin, 1)
    write(page, f"{before}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}")


def draw():
    plain, swept = Figures("minutes", "seconds", "hours"), Figures("swept")
    bands()
    by_noise(plain)

    def column(title, rules, place):
        return title, rules, [float(rule.split()[place]) for rule in rules]

    k = SWEEPS["k"]
    sweep(swept, "threshold", [column(name, [r for r in k if r.startswith(name)], 1) for name in ("zscore", "mad", "ewma")], "k")
    sweep(swept, "window", [column("zscore 5", SWEEPS["window"], 3)], "window, readings", True)
    sweep(swept, "for", [column("zscore 3", SWEEPS["for"], 3)], "for, readings")
    sweep(swept, "alpha", [column("ewma 4", SWEEPS["alpha"], 3)], "alpha", True)
    sweep(swept, "cusum", [column("cusum", SWEEPS["cusum"], 1), column("cusum 10", SWEEPS["drift"], 3)], ["h", "drift"])
    days = [int(rule.split()[3]) / 86400000 for rule in SWEEPS["budget"]]
    sweep(swept, "budget", [("auto", SWEEPS["budget"], days)], "budget, days", True)
    fill(ROOT / "docs" / "guide" / "detectors.md", "choice", choice(plain, PLAIN + CALM))
    fill(ROOT / "README.md", "choice", choice(plain, PLAIN))


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"], ["--measure"]):
        raise SystemExit(__doc__)
    if sys.argv[1:] == ["--measure"]:
        measure()
    draw()
    if STALE:
        raise SystemExit(f"plots: run scripts/plots.py, since it would change {', '.join(STALE)}")
