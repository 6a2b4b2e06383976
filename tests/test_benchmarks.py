"""The benchmarks print their tables; what is in them is not tested here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import COLUMNS, names, table
from tests.benchmarks.compare import compare, figures_of

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_all_benchmarks_are_found() -> None:
    assert {"imports", "in_flight", "poll_policy", "streams", "sync_twins"} <= set(names())
    assert not {"processes", "compare", "__main__"} & set(names())


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


def test_every_figure_of_a_row_is_compared() -> None:
    rows = [{"what": "lag", "ours": "median 5 ms, p95 1,012 ms"}, {"what": "lost", "ours": "3"}]
    assert figures_of(rows) == {"lag median (ms)": 5.0, "lag p95 (ms)": 1012.0}


@pytest.mark.parametrize(("new", "worse"), [(105.0, False), (115.0, False), (116.0, True)])
def test_worse_is_beyond_five_per_cent_and_the_old_spread(new: float, worse: bool) -> None:
    lines, found = compare([{"cpu": 95.0}, {"cpu": 100.0}, {"cpu": 105.0}], [{"cpu": new}] * 3)
    assert found == ["cpu"] * worse
    assert ("WORSE" in lines[0]) == worse
