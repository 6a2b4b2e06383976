"""The benchmarks print their tables; what is in them is not tested here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.__main__ import COLUMNS, names, table

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_all_benchmarks_are_found() -> None:
    assert {"imports", "in_flight", "poll_policy", "streams", "sync_twins"} <= set(names())
    assert not {"processes", "__main__"} & set(names())


def test_table_is_aligned() -> None:
    lines = table(
        [{"what": "lag", "ours": "5 ms", "baseline": "2,460 ms"}, {"what": "µs", "target": "≤ 1"}]
    ).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == list(COLUMNS)
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == ["µs", "", "", "", "≤ 1"]


def test_a_benchmark_prints_its_table() -> None:
    done = run("sync_twins")
    assert done.returncode == 0, done.stderr
    assert "## sync_twins (" in done.stdout
    assert "run_coroutine_threadsafe" in done.stdout


def test_unknown_name_is_refused() -> None:
    done = run("nothing")
    assert done.returncode == 2
    assert "there are" in done.stderr
