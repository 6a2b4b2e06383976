"""Flow runs that are killed and run again, under the same id and as new ones."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.states import AwaitingRetry

from prefect_foxapi.emulator import Emulator
from tests.pay_once.fork_server import Child, ForkServer

ASK = "tests.pay_once.callers:ask_once"


class FlowRun:
    """A flow run that child processes run."""

    def __init__(self, emulator: Emulator, fork_server: ForkServer, report: Path) -> None:
        @flow
        def asynchronously() -> None:
            """Stands for the flow of the child."""

        self._emulator = emulator
        self._fork_server = fork_server
        self._report = report
        with get_client(sync_client=True) as client:
            self.id = str(client.create_flow_run(asynchronously, state=AwaitingRetry()).id)

    def run(self, **options: Any) -> Child:
        self._report.unlink(missing_ok=True)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(self.id), AwaitingRetry(), force=True)
        return self._fork_server.run(
            ASK,
            base_url=self._emulator.url,
            api_key=self._emulator.api_key,
            report=str(self._report),
            flow_run_id=self.id,
            **options,
        )

    def outcome(self, **options: Any) -> dict[str, Any]:
        assert self.run(**options).wait() == 0
        [outcome] = json.loads(self._report.read_text())
        return outcome


MakeFlowRun = Callable[[], FlowRun]


@pytest.fixture
def new_flow_run(home: Path, emulator: Emulator, elsewhere: ForkServer, tmp_path: Path) -> MakeFlowRun:
    return lambda: FlowRun(emulator, elsewhere, tmp_path / "report.json")


@pytest.mark.parametrize("nested", [False, True], ids=["in a flow", "in another task"])
@pytest.mark.parametrize("caching", ["usual", "never", "refresh"])
def test_a_flow_run_that_runs_again_collects_what_it_paid_for(
    caching: str, nested: bool, new_flow_run: MakeFlowRun, emulator: Emulator
) -> None:
    emulator.script("the same", "at last", duration=1.5)
    options = {"caching": caching, "nested": nested}
    flow_run = new_flow_run()
    child = flow_run.run(**options)
    until_submitted(emulator)
    time.sleep(0.2)
    assert child.send(signal.SIGKILL) == -signal.SIGKILL
    outcome = flow_run.outcome(**options)
    [billed] = emulator.ledger()
    assert (outcome["id"], outcome["origin"], outcome["state"]) == (billed.generation_id, "resumed", "Completed")
    # Another flow run: what its options have always meant.
    after = new_flow_run().outcome(**options)
    if caching == "usual":
        assert (after["id"], after["state"]) == (billed.generation_id, "Cached")
    else:
        assert after["origin"] == "billed"
        assert after["id"] != billed.generation_id
    assert len(emulator.ledger()) == (1 if caching == "usual" else 2)
    usual = new_flow_run().outcome()
    assert usual["id"] == (None if caching == "never" else after["id"]) or usual["origin"] == "billed"


def test_another_flow_run_collects_what_a_killed_one_paid_for(new_flow_run: MakeFlowRun, emulator: Emulator) -> None:
    emulator.script("the same", "at last", duration=1.5)
    child = new_flow_run().run()
    until_submitted(emulator)
    time.sleep(0.2)
    child.send(signal.SIGKILL)
    outcome = new_flow_run().outcome()
    assert (outcome["text"], outcome["origin"]) == ("at last", "resumed")
    assert len(emulator.ledger()) == 1


def until_submitted(emulator: Emulator) -> None:
    give_up = time.monotonic() + 20
    while not emulator.ledger():
        assert time.monotonic() < give_up
        time.sleep(0.01)
