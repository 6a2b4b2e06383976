"""What `from prefect_foxapi import generate` costs a module that imports Prefect anyway, each time in a new process.

It is CPU time, which other work on the machine does not move; on an idle one it is the time that passes."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

RUNS = 9

PREFECT = "from prefect import flow, task"
OURS = "from prefect_foxapi import generate"
CLIENT = "from prefect_foxapi import FoxAPIClient"


def milliseconds(first: str, then: str) -> tuple[float, float]:
    """Medians of the CPU time that `first` takes, and `then` after it."""
    program = (
        "import time\n"
        f"started = time.process_time()\n{first}\nbetween = time.process_time()\n{then}\n"
        "print(between - started, time.process_time() - between)"
    )
    command = [sys.executable, "-c", program]
    # Once before, so that the bytecode is compiled.
    subprocess.run(command, check=True, capture_output=True)
    runs = [
        tuple(map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()))
        for _ in range(RUNS)
    ]
    return median(run[0] for run in runs) * 1e3, median(run[1] for run in runs) * 1e3


def run() -> list[dict[str, str]]:
    """The rows of this benchmark: what, ours, baseline, ratio, target."""
    prefect, ours = milliseconds(PREFECT, OURS)
    httpx, client = milliseconds("import httpx, pydantic", CLIENT)
    return [
        _row(f"{OURS}, beside {PREFECT}", ours, prefect, "≤ 150 ms"),
        _row(f"{CLIENT}, beside import httpx, pydantic", client, httpx, ""),
    ]


def _row(what: str, ours: float, baseline: float, target: str) -> dict[str, str]:
    return {
        "what": what,
        "ours": f"+ {ours:.0f} ms CPU",
        "baseline": f"{baseline:.0f} ms CPU",
        "ratio": f"{ours / baseline:.2f}",
        "target": target,
    }
