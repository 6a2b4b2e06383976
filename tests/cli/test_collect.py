"""`settle KEY collect`, beside the service that made the generation."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_foxapi import submit_generation
from prefect_foxapi.emulator import Emulator
from tests.cli.conftest import SCRIPT, Command, run_process
from tests.cli.test_hostile_text import HOSTILE, UNSAFE


@pytest.fixture
def emulator(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator that the environment names."""
    with Emulator(duration=0.05) as running:
        monkeypatch.setenv("PREFECT_HOME", str(home))
        monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        monkeypatch.setenv("FOXAPI_API_KEY", running.api_key)
        monkeypatch.setenv("FOXAPI_BASE_URL", running.url)
        yield running


def submit(prompt: str) -> str:
    """Submit a generation, and do not wait for it. Returns its key."""
    return submit_generation.fn(prompt, model="gpt-5.5").key


def test_settle_collects(emulator: Emulator, command: Command) -> None:
    emulator.script(when="left behind", answer="found again")
    key = submit("left behind")
    [row] = command("ledger", "list", json=True).data
    assert (row["key"], row["state"]) == (key, "submitted")
    # A process of its own: nothing that the submission left in memory is of use to it.
    collected = run_process(SCRIPT, "ledger", "settle", key[:12], "collect", **os.environ)
    assert (collected.code, collected.out) == (0, "found again\n")
    assert command("ledger", "list", json=True).data == []
    [row] = command("ledger", "list", "--all", json=True).data
    assert (row["key"], row["state"]) == (key, "completed")
    assert command("ledger", "settle", key[:12], "collect").code == 1
    assert len(emulator.ledger()) == 1


def test_the_answer_is_whole_and_safe(
    emulator: Emulator, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = f"| a\t| {'long ' * 100}|\n{HOSTILE}"
    emulator.script(when="hostile", answer=answer)
    # Not the ledger in Prefect's home: --url reaches the task that collects.
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL", url)
        one, two = submit("hostile 1"), submit("hostile 2")
    shown = command("ledger", "settle", one, "collect", "--url", url)
    assert shown.code == 0, shown.err
    assert UNSAFE & set(shown.out) == {"\n", "\t"}
    assert shown.out.startswith(f"| a\t| {'long ' * 100}|\n")
    settled = command("ledger", "settle", two, "collect", "--url", url, json=True).data
    assert settled.pop("generation_id") in {billed.generation_id for billed in emulator.ledger()}
    assert settled == {"key": two, "action": "collect", "text": answer}
    assert "PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL" not in os.environ


@pytest.mark.parametrize(
    "changed",
    [{"FOXAPI_API_KEY": ""}, {"FOXAPI_API_KEY": "sk-of-somebody-else"}, {"FOXAPI_BASE_URL": "garbage"}],
    ids=["no-key", "other-key", "bad-url"],
)
def test_a_wrong_environment_is_an_error(
    emulator: Emulator, command: Command, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    key = submit("left behind")
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    done = command("ledger", "settle", key, "collect")
    assert (done.code, done.out) == (1, "")
    assert done.err != ""
    assert len(command("ledger", "list", json=True).data) == 1


def test_a_block_that_cannot_be_loaded_is_an_error_without_a_traceback(emulator: Emulator, command: Command) -> None:
    key = submit("left behind")
    unreachable = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = run_process(SCRIPT, "ledger", "settle", key, "collect", "--credentials", "my-block", **unreachable)
    assert (done.code, done.out) == (1, "")
    assert "my-block" in done.err
    assert "Traceback" not in done.err
    assert command("ledger", "settle", key, "collect").code == 0, "without a block, the environment's key serves"


def test_a_wait_that_is_interrupted_ends_with_130(emulator: Emulator, command: Command) -> None:
    emulator.script(when="takes long", duration=600)
    key = submit("takes long")
    before = sum(emulator.counts().values())
    with subprocess.Popen(
        [SCRIPT, "ledger", "settle", key, "collect"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell without job control lets what it runs in the background ignore Ctrl-C, the tests included.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        ends = time.monotonic() + 60
        while sum(emulator.counts().values()) == before and time.monotonic() < ends:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), error
    assert "Traceback" not in error
    rows = command("ledger", "list", json=True).data
    assert [row["key"] for row in rows] == [key], "it can still be collected"
