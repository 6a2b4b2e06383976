"""Runs the benchmarks one after the other and prints a table for each: `python -m tests.benchmarks [NAME …]`.

A benchmark is a module of this package with `run() -> list[dict[str, str]]`: rows of what, ours, baseline, ratio and
target. Each runs in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys
import time
from pathlib import Path

from tests import benchmarks

COLUMNS = ("what", "ours", "baseline", "ratio", "target")
ROOT = Path(__file__).parents[2]


def names() -> list[str]:
    """All benchmarks."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_"))
    return [name for name in found if hasattr(importlib.import_module(f"{benchmarks.__name__}.{name}"), "run")]


def table(rows: list[dict[str, str]]) -> str:
    """The rows as a table in Markdown."""
    lines = [COLUMNS, *(tuple(row.get(column, "") for column in COLUMNS) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([padded[0], rule, *padded[1:]])


def rows_of(name: str) -> list[dict[str, str]] | None:
    """Run a benchmark in a process of its own; None where it failed, which it said itself."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as rows:
        command = [sys.executable, "-m", __spec__.name, "--rows-to", str(writing), name]
        with subprocess.Popen(command, cwd=ROOT, pass_fds=[writing], stdout=sys.stderr) as child:
            os.close(writing)
            text = rows.read()
    return json.loads(text) if child.returncode == 0 else None


def main() -> int:
    """Run those that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run (default: all)")
    parser.add_argument("--rows-to", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows_to is not None:
        rows = importlib.import_module(f"{benchmarks.__name__}.{options.names[0]}").run()
        with os.fdopen(options.rows_to, "w") as channel:
            json.dump(rows, channel)
        return 0
    known = names()
    if unknown := set(options.names) - set(known):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    failed: list[str] = []
    for name in options.names or known:
        started = time.monotonic()
        rows = rows_of(name)
        if rows is None:
            failed.append(name)
            continue
        print(f"\n## {name} ({time.monotonic() - started:.0f} s)\n\n{table(rows)}", flush=True)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
