"""The command line: what it prints, what it changes, and how it ends."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from prefect.settings import PREFECT_HOME, temporary_settings

from prefect_foxapi.cli.ledger import main
from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Claimant, Ledger, State
from tests.ledger.world import ACCOUNT, ERROR, OWNER, RESULT, claimed, row_of, sqlite_url, submitted


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger with something of everything in it."""
    url = sqlite_url(tmp_path)

    async def fill() -> None:
        ledger = Ledger(url)
        await submitted(ledger, "aaa-submitted", "gen-1")
        await ledger.lost(await claimed(ledger, "aab-ambiguous"), "read timeout")
        await submitted(ledger, "abc-completed", "gen-2")
        await ledger.completed("gen-2", RESULT, **OWNER, credits=1234.5, tokens=(10, 20))
        await submitted(ledger, "abd-failed", "gen-3")
        await ledger.failed("gen-3", ERROR, **OWNER)
        await ledger.aclose()

    asyncio.run(fill())
    return url


def _row(url: str, key: str) -> State | None:
    async def look() -> State | None:
        ledger = Ledger(url)
        row = await row_of(ledger, key)
        await ledger.aclose()
        return row and row.state

    return asyncio.run(look())


def test_list_shows_what_is_unsettled(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url, "list"]) == 0
    shown = capsys.readouterr().out
    assert "aaa-submitte" in shown
    assert "gen-1" in shown
    assert "ambiguous" in shown
    assert "host:1, flow run flow-run of 'my-flow', task run task-1" in shown
    assert "completed" not in shown
    assert main(["--url", url, "list", "--all"]) == 0
    assert "abc-complete" in capsys.readouterr().out
    assert main(["--url", url, "list", "--all", "--limit", "1"]) == 0
    assert "aaa-submitte" not in capsys.readouterr().out


def test_show_tells_everything(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url, "show", "abd"]) == 0
    shown = capsys.readouterr().out
    for part in ("key abd-failed", "attempt 1", "failed", "gen-3", "gpt-5.5 (llm)", ACCOUNT, "it broke", "task-1"):
        assert part in shown
    assert main(["--url", url, "show", "abc"]) == 0
    shown = capsys.readouterr().out
    for part in ("1234.5", "10 + 20", "kept"):
        assert part in shown


@pytest.mark.parametrize("command", [["show", "a"], ["settle", "a", "forget"]])
def test_a_prefix_of_several_keys_lists_them(url: str, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert main(["--url", url, *command]) == 1
    said = capsys.readouterr().err
    assert "more than one key begins with 'a'" in said
    assert all(key in said for key in ("aaa-submitted", "aab-ambiguous", "abc-completed", "abd-failed"))
    assert _row(url, "aaa-submitted") is State.SUBMITTED


def test_a_prefix_of_no_key_is_an_error(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for prefix in ("x", "a%", "a_b"):
        assert main(["--url", url, "show", prefix]) == 1
        assert "no key that begins with" in capsys.readouterr().err


def test_settle(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url, "settle", "aab", "allow-resubmit"]) == 0
    assert "aab-ambiguous may be submitted once more" in capsys.readouterr().out
    assert main(["--url", url, "list"]) == 0
    assert "may be submitted again" in capsys.readouterr().out
    assert main(["--url", url, "settle", "aaa-submitted", "forget"]) == 0
    assert _row(url, "aaa-submitted") is None
    assert main(["--url", url, "show", "aaa"]) == 0
    shown = capsys.readouterr().out
    assert "forgotten" in shown
    assert str(Claimant.here()) in shown, "who decided"
    assert main(["--url", url, "settle", "abc", "forget"]) == 1
    assert "nothing is to be settled" in capsys.readouterr().err
    assert _row(url, "abc-completed") is State.COMPLETED


def test_collect_is_handed_on(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def collect(key: str, credentials: str | None) -> str:
        asked.append(key)
        return "1, 2, 3"

    # The command tells it to what it hands on to; here that ends with the test.
    monkeypatch.setenv("PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL", "")
    assert main(["--url", url, "settle", "aaa", "collect"], collect=collect) == 0
    assert asked == ["aaa-submitted"]
    assert "1, 2, 3" in capsys.readouterr().out


def test_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url, "usage"]) == 0
    shown = capsys.readouterr().out
    assert "my-flow" in shown
    assert "1,234.5" in shown
    assert main(["--url", url, "usage", "--days", "0"]) == 0
    assert "Nothing was spent." in capsys.readouterr().out


def test_nothing_is_made_where_there_is_no_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", sqlite_url(tmp_path), "list"]) == 1
    assert "there is no ledger yet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_damaged_is_an_error_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.db").write_text("no database" * 1000)
    assert main(["--url", f"sqlite:///{tmp_path}/x.db", "usage"]) == 1
    assert "move it away" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["settle", "key", "nonsense"], ["show"]])
def test_arguments_that_cannot_be_understood_end_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_the_environment_names_the_ledger(
    monkeypatch: pytest.MonkeyPatch, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL", url)
    assert main(["list"]) == 0
    assert "aaa-submitte" in capsys.readouterr().out


def test_what_the_tasks_spilled_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, path = sqlite_url(tmp_path), tmp_path / "ledger" / "ledger.db"

    async def spill() -> None:
        ledger = Ledger(url, spill_folder=tmp_path / "home" / "foxapi")
        mine = await claimed(ledger)
        path.rename(path.with_name("away"))
        with pytest.raises(LedgerError):
            await ledger.accepted(mine, "gen-1")
        path.with_name("away").rename(path)
        await ledger.aclose()

    asyncio.run(spill())
    with temporary_settings({PREFECT_HOME: tmp_path / "home"}):
        assert main(["--url", url, "list"]) == 0
    assert "gen-1" in capsys.readouterr().out


def test_what_was_spilled_outlives_a_ledger_that_was_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = sqlite_url(tmp_path)

    async def spill() -> None:
        ledger = Ledger(url, spill_folder=tmp_path / "home" / "foxapi")
        mine = await claimed(ledger)
        shutil.rmtree(tmp_path / "ledger")
        with pytest.raises(LedgerError, match="deleted"):
            await ledger.accepted(mine, "gen-1")
        await ledger.aclose()

    asyncio.run(spill())
    with temporary_settings({PREFECT_HOME: tmp_path / "home"}):
        assert main(["--url", url, "list"]) == 0
    assert "gen-1" in capsys.readouterr().out


def test_usage_does_not_call_free_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = sqlite_url(tmp_path)

    async def fill() -> None:
        ledger = Ledger(url)
        await submitted(ledger)
        await ledger.completed("gen-1", RESULT, **OWNER, tokens=(10, 20))
        await ledger.aclose()

    asyncio.run(fill())
    assert main(["--url", url, "usage"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [line] = [line for line in lines if "gpt-5.5" in line]
    assert [cell.strip() for cell in line.split("│")][-4:-1] == ["—", "10", "20"]
