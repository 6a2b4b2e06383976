"""Stored results that go from one version of the package to another.

As a program it runs with any version, so that two can be tried against each other by hand:

    python tests/compatibility/exchange.py write FOLDER   # with the one
    python tests/compatibility/exchange.py read FOLDER    # with the other

The version is that of the Python which runs it. The folder keeps its place in between.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The package comes from the interpreter's own environment, `tests.compatibility` from this checkout.
sys.path.append(str(Path(__file__).parents[2]))

from prefect import State
from prefect.results import ResultRecord
from prefect.settings import PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr

from prefect_foxapi import FoxAPICredentials, __version__
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.models import SubmittedGeneration
from tests.compatibility.calls import Call, ask, generation_calls, own_calls, script, stored_calls, value_of
from tests.compatibility.description import describe, known_part

# The base URL is a part of every key. Whoever reads has no server there, so that a request would fail.
PORT = 18017
BASE_URL = f"http://127.0.0.1:{PORT}"
API_KEY = "sk-emulator"


def credentials(base_url: str = BASE_URL) -> FoxAPICredentials:
    """Return the credentials that everything was asked with."""
    return FoxAPICredentials(api_key=SecretStr(API_KEY), base_url=base_url)


@contextmanager
def prefect_in(home: Path) -> Iterator[None]:
    """A Prefect server of its own, with its results and the ledger in `home`."""
    settings = {PREFECT_HOME: home, PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings), prefect_test_harness(120):
        yield


def store(emulator: Emulator) -> dict[str, Any]:
    """Ask for everything twice. Returns by name the file of the record, the value as paid for and as read again.

    Args:
        emulator: What answers.
    """
    script(emulator)
    asking = credentials(emulator.url)
    stored = _store(generation_calls(asking))
    return {**stored, **_store(_other_calls(stored, asking))}


def _store(calls: list[Call]) -> dict[str, Any]:
    first, again = ask(calls), ask(calls)
    stored: dict[str, Any] = {}
    for name, state in first.items():
        if (state.name, again[name].name) != ("Completed", "Cached"):
            raise AssertionError(f"{name}: {state.name}, then {again[name].name}: {value_of(state)!r}")
        stored[name] = {
            "record": record_of(state),
            "paid": describe(value_of(state)),
            "read": describe(value_of(again[name])),
        }
    return stored


def record_of(state: State[Any]) -> str:
    """Return the name of the file that holds the result of a task run."""
    assert isinstance(state.data, ResultRecord)
    return Path(str(state.data.metadata.storage_key)).name


def calls_of(stored: dict[str, Any], base_url: str = BASE_URL) -> list[Call]:
    """Return the calls whose results are stored."""
    asking = credentials(base_url)
    return [*generation_calls(asking), *_other_calls(stored, asking)]


def _other_calls(stored: dict[str, Any], asking: FoxAPICredentials) -> list[Call]:
    generation_id = stored["text"]["paid"]["state"]["generation_id"]
    submitted = SubmittedGeneration(generation_id=generation_id, model="gpt-5.5", key="0" * 64, origin="billed")
    return [*stored_calls(asking, submitted), *own_calls()]


def submissions(home: Path) -> list[tuple[Any, ...]]:
    """Return all submissions in the ledger, as the database has them."""
    with sqlite3.connect(home / "foxapi" / "ledger.db") as connection:
        return connection.execute("SELECT * FROM foxapi_submissions ORDER BY token").fetchall()


def difference_in_storage(stored: dict[str, Any], state: State[Any]) -> list[Any]:
    """Return what was recorded and what Prefect's storage gave, where they differ, or an empty list."""
    recorded, found = stored["read"], describe(value_of(state))
    found = known_part(recorded, found)
    return [] if (state.name, recorded) == ("Cached", found) else [state.name, recorded, found]


def difference_in_ledger(stored: dict[str, Any], state: State[Any]) -> list[Any]:
    """Return what was paid for and what the ledger gave, where they differ, or an empty list."""
    recorded, found = stored["paid"], describe(value_of(state))
    found = known_part(recorded, found)
    if state.name != "Completed" or found["state"].get("origin") != "replayed":
        return [state.name, recorded, found]
    recorded, found = _without(recorded, "origin", "latency"), _without(found, "origin", "latency")
    return [] if recorded == found else [state.name, recorded, found]


def _without(value: Any, *names: str) -> Any:
    return {**value, "state": {key: item for key, item in value["state"].items() if key not in names}}


def _write(folder: Path) -> None:
    with prefect_in(folder / "home"), Emulator(port=PORT, api_key=API_KEY, duration=0.02) as emulator:
        stored = store(emulator)
    (folder / "manifest.json").write_text(json.dumps({"calls": stored}, indent=1))
    print(f"prefect-foxapi {__version__}: {len(stored)} results stored")


def _read(folder: Path) -> int:
    home, stored = folder / "home", json.loads((folder / "manifest.json").read_text())["calls"]
    before, wrong = submissions(home), {}
    with prefect_in(home):
        calls = calls_of(stored)
        for name, state in ask(calls).items():
            wrong[name] = difference_in_storage(stored[name], state)
        shutil.rmtree(home / "storage")
        for name, state in ask(call for call in calls if call.in_ledger).items():
            wrong[name] = wrong[name] or difference_in_ledger(stored[name], state)
    wrong = {name: different for name, different in wrong.items() if different}
    print(json.dumps(wrong, indent=1))
    submitted = len(submissions(home)) - len(before)
    print(f"prefect-foxapi {__version__}: {len(stored)} results read, {len(wrong)} wrong, {submitted} submitted")
    return 1 if wrong or submissions(home) != before else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", folder]:
            _write(Path(folder))
        case ["read", folder]:
            sys.exit(_read(Path(folder)))
        case _:
            sys.exit(__doc__)
