"""The ledger's commands: what they print, what they change, and how they end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Claimant, Ledger, State
from tests.cli.conftest import Command
from tests.support.factories import ACCOUNT, BASE_URL, ERROR, OWNER, RESULT, claimed, row_of, sqlite_url, submitted

T = TypeVar("T")


def in_ledger(url: str, work: Callable[[Ledger], Awaitable[T]], **options: Path) -> T:
    async def run() -> T:
        ledger = Ledger(url, **options)
        try:
            return await work(ledger)
        finally:
            await ledger.aclose()

    return asyncio.run(run())


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger with something of everything in it."""

    async def fill(ledger: Ledger) -> None:
        await submitted(ledger, "aaa-submitted", "gen-1")
        await ledger.unknown(await claimed(ledger, "aab-ambiguous"), "read timeout")
        await submitted(ledger, "abc-completed", "gen-2")
        await ledger.completed("gen-2", RESULT, **OWNER, credits=1234.5, tokens=(10, 20))
        await submitted(ledger, "abd-failed", "gen-3")
        await ledger.failed("gen-3", ERROR, **OWNER)

    in_ledger(sqlite_url(tmp_path), fill)
    return sqlite_url(tmp_path)


def state_of(url: str, key: str) -> State | None:
    async def look(ledger: Ledger) -> State | None:
        row = await row_of(ledger, key)
        return row and row.state

    return in_ledger(url, look)


def test_list_shows_what_is_unsettled(url: str, command: Command) -> None:
    rows = command("ledger", "list", "--url", url, json=True).data
    assert [(row["key"], row["state"], row["generation_id"]) for row in rows] == [
        ("aaa-submitted", "submitted", "gen-1"),
        ("aab-ambiguous", "ambiguous", None),
    ]
    shown = command("ledger", "list", "--url", url)
    assert shown.code == 0
    for part in ("aaa-submitted", "gen-1", "ambiguous", "host:1, flow run flow-run of 'my-flow', task run task-1"):
        assert part in shown.out
    assert "completed" not in shown.out


def test_list_all_takes_the_latest(url: str, command: Command) -> None:
    def keys(*options: str) -> list[str]:
        return [row["key"] for row in command("ledger", "list", "--url", url, *options, json=True).data]

    assert keys("--all") == ["abd-failed", "abc-completed", "aab-ambiguous", "aaa-submitted"]
    assert keys("--all", "--limit", "1") == ["abd-failed"]
    assert keys("--limit", "1") == ["aaa-submitted", "aab-ambiguous"], "what is unsettled is listed in full"
    assert "abc-completed" in command("ledger", "list", "--url", url, "--all").out


def test_a_submission_has_the_documented_fields(url: str, command: Command) -> None:
    row = command("ledger", "list", "--url", url, "--all", json=True).data[1]
    times = {name: row.pop(name) for name in ("claimed_at", "deadline", "accepted_at", "finished_at")}
    assert times["claimed_at"] <= times["accepted_at"] <= times["finished_at"] <= times["deadline"]
    assert row == {
        "key": "abc-completed",
        "attempt": 1,
        "current": True,
        "state": "completed",
        "kind": "llm",
        "model": "gpt-5.5",
        "account": ACCOUNT,
        "base_url": BASE_URL,
        "generation_id": "gen-2",
        "host": "host",
        "pid": 1,
        "flow_run_id": "flow-run",
        "flow_name": "my-flow",
        "task_run_id": "task-1",
        "expires_at": None,
        "reason": None,
        "error": None,
        "billed": True,
        "permitted": False,
        "result_kept": True,
        "credits": 1234.5,
        "prompt_tokens": 10,
        "completion_tokens": 20,
    }
    documented = command("ledger", "list", "--help").out
    assert [name for name in (*row, *times) if name not in documented] == []


def test_show_tells_everything(url: str, command: Command) -> None:
    shown = command("ledger", "show", "abd", "--url", url)
    assert shown.code == 0
    for part in ("key abd-failed", "attempt 1", "failed", "gen-3", "gpt-5.5 (llm)", ACCOUNT, "it broke", "task-1"):
        assert part in shown.out
    shown = command("ledger", "show", "abc", "--url", url)
    for part in ("1234.5", "10 + 20", "kept"):
        assert part in shown.out
    data = command("ledger", "show", "abd", "--url", url, json=True).data
    assert data["key"] == "abd-failed"
    assert [(row["state"], row["error"]) for row in data["submissions"]] == [("failed", ERROR)]
    assert data["decisions"] == []


@pytest.mark.parametrize("arguments", [("show", "a"), ("settle", "a", "forget")])
def test_a_prefix_of_several_keys_lists_them(url: str, command: Command, arguments: tuple[str, ...]) -> None:
    done = command("ledger", *arguments, "--url", url)
    assert (done.code, done.out) == (1, "")
    assert all(key in done.err for key in ("aaa-submitted", "aab-ambiguous", "abc-completed", "abd-failed"))
    assert state_of(url, "aaa-submitted") is State.SUBMITTED


@pytest.mark.parametrize("prefix", ["x", "a%", "a_b"])
def test_a_prefix_of_no_key_is_an_error(url: str, command: Command, prefix: str) -> None:
    done = command("ledger", "show", prefix, "--url", url)
    assert (done.code, done.out) == (1, "")
    assert repr(prefix) in done.err


@pytest.mark.parametrize("action", ["allow-resubmit", "allow_resubmit"])
def test_settle_allows_to_resubmit(url: str, command: Command, action: str) -> None:
    settled = command("ledger", "settle", "aab", action, "--url", url, json=True).data
    assert settled == {"key": "aab-ambiguous", "action": "allow_resubmit", "generation_id": None, "text": None}
    rows = command("ledger", "list", "--url", url, json=True).data
    assert [(row["key"], row["permitted"]) for row in rows] == [("aaa-submitted", False), ("aab-ambiguous", True)]


def test_settle_forgets(url: str, command: Command) -> None:
    settled = command("ledger", "settle", "aaa-submitted", "forget", "--url", url)
    assert settled.code == 0
    assert "aaa-submitted" in settled.out
    assert state_of(url, "aaa-submitted") is None
    data = command("ledger", "show", "aaa", "--url", url, json=True).data
    assert [(row["state"], row["current"]) for row in data["submissions"]] == [("forgotten", False)]
    [decision] = data["decisions"]
    assert decision["at"] >= data["submissions"][0]["claimed_at"]
    assert (decision["action"], decision["found"], decision["generation_id"], decision["by"]) == (
        *("forget", "submitted", "gen-1"),
        str(Claimant.here()),
    )
    shown = command("ledger", "show", "aaa", "--url", url).out
    assert "forgotten" in shown
    assert str(Claimant.here()) in shown


def test_what_is_settled_cannot_be_settled_again(url: str, command: Command) -> None:
    done = command("ledger", "settle", "abc", "forget", "--url", url)
    assert (done.code, done.out) == (1, "")
    assert done.err != ""
    assert state_of(url, "abc-completed") is State.COMPLETED


def test_usage(url: str, command: Command) -> None:
    [sums] = command("ledger", "usage", "--url", url, json=True).data
    assert len(sums.pop("day")) == len("2026-01-31")
    assert sums == {
        "model": "gpt-5.5",
        "flow_name": "my-flow",
        "submissions": 3,
        "ambiguous": 1,
        "failed": 1,
        "credits": 1234.5,
        "prompt_tokens": 10,
        "completion_tokens": 20,
    }
    shown = command("ledger", "usage", "--url", url).out
    assert "my-flow" in shown
    assert "1,234.5" in shown
    assert command("ledger", "usage", "--days", "1", "--url", url, json=True).data != []
    assert command("ledger", "usage", "--days", "inf", "--url", url, json=True).data != []
    assert command("ledger", "usage", "--days", "0", "--url", url, json=True).data == []
    assert command("ledger", "usage", "--days", "0", "--url", url).code == 0


def test_usage_does_not_call_free_what_it_does_not_know(tmp_path: Path, command: Command) -> None:
    async def fill(ledger: Ledger) -> None:
        await submitted(ledger)
        await ledger.completed("gen-1", RESULT, **OWNER, tokens=(10, 20))

    url = sqlite_url(tmp_path)
    in_ledger(url, fill)
    [sums] = command("ledger", "usage", "--url", url, json=True).data
    assert sums["credits"] is None
    [line] = [line for line in command("ledger", "usage", "--url", url).out.splitlines() if "gpt-5.5" in line]
    assert [cell.strip() for cell in line.split("│")][-4:-1] == ["—", "10", "20"]


@pytest.mark.parametrize("arguments", [("list",), ("show", "a"), ("settle", "a", "forget"), ("usage",)])
def test_nothing_is_made_where_there_is_no_ledger(
    tmp_path: Path, home: Path, command: Command, arguments: tuple[str, ...]
) -> None:
    url = sqlite_url(tmp_path)
    done = command("ledger", *arguments, "--url", url)
    assert (done.code, done.out) == (1, "")
    assert str(tmp_path / "ledger" / "ledger.db") in done.err
    assert not (tmp_path / "ledger").exists()
    assert command("ledger", *arguments).code == 1
    assert str(home / "foxapi" / "ledger.db") in command("ledger", *arguments).err


def test_what_is_damaged_is_an_error_without_a_traceback(tmp_path: Path, command: Command) -> None:
    (tmp_path / "x.db").write_text("no database" * 1000)
    done = command("ledger", "usage", "--url", f"sqlite:///{tmp_path}/x.db")
    assert (done.code, done.out) == (1, "")
    assert "x.db" in done.err


def test_the_url_may_stand_before_the_command(url: str, command: Command) -> None:
    assert len(command("ledger", "--url", url, "list", json=True).data) == 2
    assert len(command("ledger", f"--url={url}", "list", "--all", json=True).data) == 4
    assert command("ledger", "--url", url, "settle", "aaa", "forget").code == 0
    assert state_of(url, "aaa-submitted") is None


def test_the_environment_names_the_ledger(url: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL", url)
    assert len(command("ledger", "list", json=True).data) == 2


def test_the_default_is_the_ledger_in_prefects_home(home: Path, command: Command) -> None:
    async def fill(ledger: Ledger) -> None:
        await submitted(ledger, "key", "gen-of-the-home")

    (home / "foxapi").mkdir()
    in_ledger(f"sqlite:///{home}/foxapi/ledger.db", fill)
    assert [row["generation_id"] for row in command("ledger", "list", json=True).data] == ["gen-of-the-home"]


def test_what_the_tasks_spilled_is_listed(tmp_path: Path, home: Path, command: Command) -> None:
    url, path = sqlite_url(tmp_path), tmp_path / "ledger" / "ledger.db"

    async def spill(ledger: Ledger) -> None:
        mine = await claimed(ledger)
        path.rename(path.with_name("away"))
        with pytest.raises(LedgerError):
            await ledger.accepted(mine, "gen-1")
        path.with_name("away").rename(path)

    in_ledger(url, spill, recovery_folder=home / "foxapi")
    assert [row["generation_id"] for row in command("ledger", "list", "--url", url, json=True).data] == ["gen-1"]


def test_what_was_spilled_outlives_a_ledger_that_was_deleted(tmp_path: Path, home: Path, command: Command) -> None:
    url = sqlite_url(tmp_path)

    async def spill(ledger: Ledger) -> None:
        mine = await claimed(ledger)
        shutil.rmtree(tmp_path / "ledger")
        with pytest.raises(LedgerError) as caught:
            await ledger.accepted(mine, "gen-1")
        assert caught.value.generation_id == "gen-1"

    in_ledger(url, spill, recovery_folder=home / "foxapi")
    assert [row["generation_id"] for row in command("ledger", "list", "--url", url, json=True).data] == ["gen-1"]
