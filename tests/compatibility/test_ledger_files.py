"""A ledger of 0.1.0 is read and carried on, and 0.1.0 can go on with it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from prefect import State, flow

from prefect_foxapi import (
    AmbiguousSubmission,
    generate,
    list_unsettled,
    settle,
    submit_generation,
    wait_for_generation,
)
from prefect_foxapi.ledger import Ledger
from tests.compatibility.archive import unpack
from tests.compatibility.calls import value_of
from tests.compatibility.description import describe, known_part
from tests.compatibility.exchange import credentials, submissions

MODEL = "gpt-5.5"
# The schema's version that 0.1.0 knows; it refuses a higher one.
SCHEMA_VERSION = 2


@pytest.fixture
async def ledger(tmp_path: Path, manifest: dict[str, Any]) -> AsyncIterator[Ledger]:
    """The ledger that 0.1.0 left, a minute later."""
    database = unpack(tmp_path) / "foxapi" / "ledger.db"
    ledger = Ledger(f"sqlite:///{database}", clock=lambda: manifest["made_at"] + 60, retention=None)
    yield ledger
    await ledger.aclose()


async def test_every_submission_is_read_as_it_was(ledger: Ledger, manifest: dict[str, Any]) -> None:
    recorded = manifest["ledger"]["submissions"]
    assert {row["state"] for row in recorded.values()} == {
        *("submitting", "submitted", "completed", "failed", "ambiguous", "refused", "forgotten")
    }
    found = {row.token: row for row in await ledger.recent(10_000)}
    assert set(found) == set(recorded)
    assert {token: _as_recorded(recorded[token], row) for token, row in found.items()} == recorded


async def test_every_key_stands_for_the_same_submission(ledger: Ledger, manifest: dict[str, Any]) -> None:
    recorded = manifest["ledger"]["current"]
    keys = {row["key"] for row in manifest["ledger"]["submissions"].values()}
    assert {key: row.token for key, row in (await ledger.find(keys)).items()} == recorded


async def test_decisions_usage_and_what_is_unsettled_are_the_same(ledger: Ledger, manifest: dict[str, Any]) -> None:
    recorded = manifest["ledger"]
    decisions: dict[str, Any] = {}
    for key in {decision["key"] for decision in recorded["decisions"]}:
        decisions.update({decision.token: decision for decision in (await ledger.history(key))[1]})
    assert {decision["action"] for decision in recorded["decisions"]} == {"forget", "allow_resubmit", "resubmit"}
    for decision in recorded["decisions"]:
        assert _as_recorded(decision, decisions[decision["token"]]) == decision
    usage = {(use.day, use.model, use.flow_name): use for use in await ledger.usage()}
    assert len(usage) == len(recorded["usage"])
    for use in recorded["usage"]:
        assert _as_recorded(use, usage[use["day"], use["model"], use["flow_name"]]) == use
    assert [row.token for row in await ledger.unsettled(credentials().account_name)] == recorded["unsettled"]


async def test_an_upload_is_found(ledger: Ledger, tmp_path: Path) -> None:
    database = tmp_path / "home" / "foxapi" / "ledger.db"
    with closing(sqlite3.connect(database)) as connection:
        uploads = connection.execute("SELECT digest, account, base_url, url FROM foxapi_uploads").fetchall()
    assert uploads
    for digest, account, base_url, url in uploads:
        assert await ledger.find_upload(digest, account=account, base_url=base_url) == url


async def test_0_1_0_can_go_on_with_the_tables(ledger: Ledger, tmp_path: Path) -> None:
    then = _columns(unpack(tmp_path / "untouched") / "foxapi" / "ledger.db")
    fresh = Ledger(f"sqlite:///{tmp_path / 'fresh.db'}")
    for opened in (ledger, fresh):
        await opened.prune()
        await opened.recent()
    await fresh.aclose()
    for database in (tmp_path / "home" / "foxapi" / "ledger.db", tmp_path / "fresh.db"):
        now = _columns(database)
        for table, columns in then.items():
            assert now[table].items() >= columns.items(), table
            for name in set(now[table]) - set(columns):
                # 0.1.0 does not fill it.
                _, required, default, _ = now[table][name]
                assert not required or default is not None, f"{table}.{name}"
        with closing(sqlite3.connect(database)) as connection:
            [(version,)] = connection.execute("SELECT version FROM foxapi_ledger").fetchall()
        assert version <= SCHEMA_VERSION


def test_each_state_means_the_same_to_the_tasks(home: Path, manifest: dict[str, Any]) -> None:
    states = manifest["states"]
    before = submissions(home)
    found: dict[str, State[Any]] = {}
    unsettled: list[Any] = []

    @flow
    def use() -> None:
        asking: dict[str, Any] = {"model": MODEL, "credentials": credentials(), "return_state": True}
        waiting = {"credentials": credentials(), "return_state": True}
        unsettled.extend(list_unsettled(credentials=credentials()))
        found["submitted"] = submit_generation("under way", **asking)
        for prompt in ("lost answer", "left while it was submitted"):
            found[prompt] = generate(prompt, **asking)
        found["refreshed"] = generate("refreshed", **asking)
        for prompt in ("media", "refreshed"):
            found[f"{prompt} by id"] = wait_for_generation(states[prompt]["generation_id"], **waiting)
        shutil.rmtree(home / "storage")
        found["refreshed from ledger"] = generate("refreshed", **asking)

    use()
    recorded = {entry["state"]["key"]: entry for entry in states["unsettled"]}
    described = {entry.key: describe(entry) for entry in unsettled}
    assert described.keys() >= recorded.keys()
    for key, entry in recorded.items():
        assert known_part(entry, described[key]) == entry

    submitted = value_of(found["submitted"])
    assert (submitted.key, submitted.generation_id) == tuple(states["under way"].values())
    assert submitted.origin == "joined"
    for prompt in ("lost answer", "left while it was submitted"):
        error = value_of(found[prompt])
        assert type(error) is AmbiguousSubmission
        assert (error.key, error.generation_id) == (states[prompt]["key"], None)
        assert error.submitted_by.startswith("worker-1:")
    for name in ("refreshed", "refreshed by id", "refreshed from ledger"):
        generation = value_of(found[name])
        assert generation.generation_id == states["refreshed"]["generation_id"], name
        assert generation.origin == "replayed"
    assert found["refreshed"].name == "Cached"
    for prompt in ("media", "refreshed"):
        read = states[prompt]["read"]
        again = known_part(read, describe(value_of(found[f"{prompt} by id"])))
        assert {**again["state"], "latency": None} == {**read["state"], "latency": None}
    assert len(submissions(home)) == len(before)


def test_it_can_be_settled(home: Path, manifest: dict[str, Any]) -> None:
    states = manifest["states"]

    @flow
    def decide() -> None:
        settle(states["lost answer"]["key"], "allow_resubmit", credentials=credentials())
        for prompt in ("lost answer, allowed", "under way", "vanished"):
            settle(states[prompt]["key"], "forget", credentials=credentials())

    decide()
    with closing(sqlite3.connect(home / "foxapi" / "ledger.db")) as connection:
        decisions = connection.execute("SELECT key, action, found FROM foxapi_decisions").fetchall()
        forgotten = connection.execute("SELECT key FROM foxapi_submissions WHERE state = 'forgotten'").fetchall()
    assert {
        (states["lost answer"]["key"], "allow_resubmit", "ambiguous"),
        (states["lost answer, allowed"]["key"], "forget", "ambiguous"),
        (states["under way"]["key"], "forget", "submitted"),
        (states["vanished"]["key"], "forget", "ambiguous"),
    } <= set(decisions)
    assert {states[prompt]["key"] for prompt in ("lost answer, allowed", "under way", "vanished")} <= {
        key for (key,) in forgotten
    }


def _as_recorded(recorded: dict[str, Any], value: Any) -> dict[str, Any]:
    """The fields that were recorded, as the value has them now."""
    renamed = {"subject": "identity"}
    return {name: known_part(recorded[name], _plain(getattr(value, renamed.get(name, name)))) for name in recorded}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return json.loads(json.dumps(asdict(value)))
    return value


def _columns(database: Path) -> dict[str, dict[str, Any]]:
    """By table and column: type, whether a value is required, default, place in the primary key."""
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            table: {name: tuple(more) for _, name, *more in connection.execute(f"PRAGMA table_info({table})")}
            for (table,) in tables
        }
