"""Compares two states of the project: `python -m tests.benchmarks.compare OLD_CHECKOUT NEW_CHECKOUT [NAME …]`.

Each benchmark runs in both checkouts alternately, each with its own `.venv`. Printed are the medians of every time,
size and number of polls, the spread of the old state (its highest value less its lowest), and whether the new median is
worse by more than 5 % plus that spread. The exit code is 1 where one is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

TOLERATED = 0.05
_FIGURE = re.compile(r"(?:(\b[a-z]\w*) )?([\d,]*\.?\d+) (ms|s|µs|MB|polls)\b")

Figures = dict[str, float]
"""Of each figure's name, its value: less is better."""


def figures_of(rows: list[dict[str, str]]) -> Figures:
    """The figures of ours in a benchmark's rows; a row may have several, such as a median and a percentile."""
    return {
        " ".join(filter(None, [row["what"], label, f"({unit})"])): float(number.replace(",", ""))
        for row in rows
        for label, number, unit in _FIGURE.findall(row["ours"])
    }


def rows_of(checkout: Path, name: str) -> list[dict[str, str]]:
    """Run one benchmark of a checkout."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as channel:
        python = checkout / ".venv" / "bin" / "python"
        command = [python, "-m", "tests.benchmarks", "--rows-to", str(writing), name]
        with subprocess.Popen(command, cwd=checkout, pass_fds=[writing], stdout=sys.stderr) as process:
            os.close(writing)
            text = channel.read()
    if process.returncode != 0:
        raise RuntimeError(f"the benchmark {name} failed in {checkout}")
    return json.loads(text)


def names_of(checkout: Path) -> list[str]:
    """The benchmarks of a checkout."""
    program = "from tests.benchmarks.__main__ import names; print(*names())"
    command = [checkout / ".venv" / "bin" / "python", "-c", program]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.split()


def is_worse(old: list[float], new: list[float]) -> bool:
    """Whether the new median is above the old one by more than 5 % and the old spread."""
    return median(new) > median(old) * (1 + TOLERATED) + max(old) - min(old)


def compare(old: list[Figures], new: list[Figures]) -> tuple[list[str], list[str]]:
    """A line for each figure that both states have, and the names of those that are worse."""
    values: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for side, runs in enumerate((old, new)):
        for figures in runs:
            for name, value in figures.items():
                values[name][side].append(value)
    lines, worse = [], []
    for name, (before, after) in values.items():
        if not before or not after:
            lines.append(f"| {name} | only in the {'old' if before else 'new'} state | | | | |")
            continue
        worse += [name] * is_worse(before, after)
        ratio = f"{median(after) / median(before):.2f}" if median(before) else ""
        verdict = "WORSE" if is_worse(before, after) else "ok"
        spread = max(before) - min(before)
        lines.append(f"| {name} | {median(before):g} | {spread:.3g} | {median(after):g} | {ratio} | {verdict} |")
    return lines, worse


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare", description=__doc__)
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("new", type=Path, metavar="NEW_CHECKOUT")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks (default: all that both have)")
    parser.add_argument("--runs", type=int, default=5, help="of each state (default: 5)")
    options = parser.parse_args()
    old, new = options.old.resolve(), options.new.resolve()
    known = set(names_of(old)) & set(names_of(new))
    if unknown := set(options.names) - known:
        parser.error(f"not in both states: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    worse: list[str] = []
    for name in options.names or sorted(known):
        runs: tuple[list[Figures], list[Figures]] = ([], [])
        for number in range(options.runs):
            # Which goes first changes, since the second finds a warmer machine.
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                runs[side].append(figures_of(rows_of((old, new)[side], name)))
        lines, found = compare(*runs)
        worse += found
        print(f"\n## {name}, {options.runs} alternating runs\n")
        print("| figure | old median | old spread | new median | new / old | |\n| - | - | - | - | - | - |")
        print("\n".join(lines), flush=True)
    print(f"\n{len(worse)} worse" + "".join(f"\n- {name}" for name in worse))
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
