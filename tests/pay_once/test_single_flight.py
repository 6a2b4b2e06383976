"""The same generation, asked for from everywhere at once, is submitted once."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from prefect_foxapi import NotFound, asubmit_generation, await_for_generation
from prefect_foxapi.emulator import Emulator
from tests.pay_once.fork_server import Child, ForkServer
from tests.pay_once.programs import CONNECT_TIMEOUT, MODEL, SUBMIT_TIMEOUT, credentials
from tests.support.postgres import PostgresForTests

ASK = "tests.pay_once.callers:ask_the_same"
KEYS = ("sk-one-account", "sk-another-account")
# What the margin of a claim adds to the time that a submission may take.
DEADLINE = SUBMIT_TIMEOUT + CONNECT_TIMEOUT + 1.0


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=0.5, api_key=KEYS) as running:
        yield running


@pytest.fixture
def two(environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[ForkServer, ForkServer]]:
    """Two processes on one machine."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(ForkServer(environment, tmp_path / f"{name}.log")) for name in "ab")
        yield first, second


@pytest.fixture
def two_machines(
    environment: dict[str, str], postgres: PostgresForTests, tmp_path: Path
) -> Iterator[tuple[ForkServer, ForkServer]]:
    """Two processes that share a ledger, but neither Prefect's home nor its result storage."""
    shared = {**environment, "PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL": postgres.new_database()}
    homes = (str(tmp_path / "machine-a"), str(tmp_path / "machine-b"))
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(ForkServer({**shared, "PREFECT_HOME": home}, Path(f"{home}.log"))) for home in homes
        )
        yield first, second


class Callers:
    """Children that ask the emulator."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self._emulator = emulator
        self._folder = folder
        self.go = folder / "go"

    def begin(self, fork_server: ForkServer, name: str, api_key: str = KEYS[0], **options: Any) -> Child:
        report = str(self._folder / f"{name}.json")
        return fork_server.run(ASK, base_url=self._emulator.url, api_key=api_key, report=report, **options)

    def outcomes(self, child: Child, name: str) -> list[dict[str, Any]]:
        assert child.wait() == 0
        return json.loads((self._folder / f"{name}.json").read_text())

    def at_once(
        self, fork_servers: tuple[ForkServer, ForkServer], keys: tuple[str, str], **options: Any
    ) -> list[dict[str, Any]]:
        children = [
            self.begin(fork_server, name, key, go=str(self.go), **options)
            for fork_server, name, key in zip(fork_servers, "ab", keys, strict=True)
        ]
        assert all(child.wait_until("body") for child in children)
        self.go.touch()
        return [outcome for child, name in zip(children, "ab", strict=True) for outcome in self.outcomes(child, name)]


@pytest.fixture
def callers(emulator: Emulator, tmp_path: Path) -> Callers:
    return Callers(emulator, tmp_path)


@pytest.mark.parametrize("where", ["two", "two_machines"])
def test_two_processes_of_coroutines_and_threads_submit_once(
    where: str, request: pytest.FixtureRequest, emulator: Emulator, callers: Callers
) -> None:
    outcomes = callers.at_once(request.getfixturevalue(where), (KEYS[0], KEYS[0]), coroutines=20, threads=8)
    [billed] = emulator.ledger()
    assert [outcome["id"] for outcome in outcomes] == [billed.generation_id] * 56
    origins = Counter(outcome["origin"] for outcome in outcomes)
    assert origins["billed"] == 1, origins
    assert set(origins) <= {"billed", "joined", "replayed"}, origins


def test_two_accounts_never_share(two: tuple[ForkServer, ForkServer], emulator: Emulator, callers: Callers) -> None:
    outcomes = callers.at_once(two, KEYS, coroutines=20, threads=8)
    assert {submission.account for submission in emulator.ledger()} == {0, 1}
    assert len(emulator.ledger()) == 2
    by_account = {submission.account: submission.generation_id for submission in emulator.ledger()}
    assert [outcome["id"] for outcome in outcomes] == [by_account[0]] * 28 + [by_account[1]] * 28


@pytest.mark.usefixtures("home")
async def test_one_accounts_wait_is_not_the_others(emulator: Emulator) -> None:
    emulator.script("the same", "mine alone", duration=1.0)
    mine, other = (credentials(emulator.url, key) for key in KEYS)

    @flow
    async def both() -> str:
        submitted = await asubmit_generation("the same", model=MODEL, credentials=mine)
        waiting = asyncio.ensure_future(await_for_generation(submitted, credentials=mine))
        await asyncio.sleep(0.3)
        with pytest.raises(NotFound):
            await await_for_generation(submitted.generation_id, credentials=other)
        return (await waiting).text

    assert await both() == "mine alone"


def test_others_go_on_when_the_first_asker_dies_after_the_submission(
    two: tuple[ForkServer, ForkServer], emulator: Emulator, callers: Callers
) -> None:
    emulator.script("the same", "at last", duration=3600.0)
    first = callers.begin(two[0], "a")
    _until(lambda: len(emulator.ledger()) == 1)
    second = callers.begin(two[1], "b", coroutines=20)
    assert second.wait_until("asking")
    asked = time.monotonic()
    time.sleep(0.3)
    assert first.send(signal.SIGKILL) == -signal.SIGKILL
    # The generation ends when the first process is gone, however busy the machine is.
    waited = time.monotonic() - asked
    emulator.advance(3600)
    outcomes = callers.outcomes(second, "b")
    [billed] = emulator.ledger()
    assert [outcome["id"] for outcome in outcomes] == [billed.generation_id] * 20
    assert {outcome["origin"] for outcome in outcomes} <= {"joined", "resumed"}
    # The polls after the end of the generation, and not the deadline of a claim.
    assert max(outcome["seconds"] for outcome in outcomes) - waited < DEADLINE


@pytest.mark.parametrize("processed", [True, False])
def test_others_learn_when_the_first_asker_dies_during_the_submission(
    two: tuple[ForkServer, ForkServer], emulator: Emulator, callers: Callers, processed: bool
) -> None:
    emulator.add_fault(kind="hang", endpoint="submit", seconds=30, count=1, processed=processed)
    first = callers.begin(two[0], "a")
    _until(lambda: ("POST", "submit") in emulator.counts())
    second = callers.begin(two[1], "b", coroutines=20)
    assert second.wait_until("asking")
    assert first.send(signal.SIGKILL) == -signal.SIGKILL
    outcomes = callers.outcomes(second, "b")
    assert [outcome.get("error") for outcome in outcomes] == ["AmbiguousSubmission"] * 20
    assert max(outcome["seconds"] for outcome in outcomes) < DEADLINE + 1.0
    assert len(emulator.ledger()) == processed


def _until(condition: Any) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)
