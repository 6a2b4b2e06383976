"""Ids of paid generations that 0.1.0 left in files beside its ledger get into the ledger, whatever kind of file."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from prefect_foxapi import LedgerError, generate, list_unsettled
from prefect_foxapi.emulator import Emulator
from tests.compatibility.calls import value_of
from tests.compatibility.exchange import BASE_URL, credentials

COLLECTED = ("spilled line", "spilled name", "spilled line with more", "spilled line without its claim")
WITH_CLAIM = ("spilled line", "spilled line with more")
UNTOUCHED = {"0123456789abcdef.draft"}


def folder_of(home: Path) -> Path:
    """Where files are kept for the ledger in a home. The name is a part of what is stored."""
    database = f"sqlite:///{home / 'foxapi' / 'ledger.db'}"
    return home / "foxapi" / f"spill-{hashlib.sha256(database.encode()).hexdigest()[:16]}"


@pytest.fixture
def folder(home: Path, manifest: dict[str, Any]) -> Path:
    """The files, in the folder that belongs to the ledger where it is now."""
    return (home / "foxapi" / manifest["spill"]["folder"]).rename(folder_of(home))


def look() -> dict[str, str | None]:
    """List what is unsettled: any use of the ledger collects the files."""
    found: dict[str, str | None] = {}

    @flow
    def list_all() -> None:
        found.update({entry.key: entry.generation_id for entry in list_unsettled(credentials=credentials())})

    list_all()
    return found


def rows(home: Path) -> dict[str, tuple[Any, ...]]:
    with closing(sqlite3.connect(home / "foxapi" / "ledger.db")) as connection:
        found = connection.execute(
            "SELECT token, state, key, generation_id, credits, host, model, base_url FROM foxapi_submissions"
        )
        return {token: tuple(more) for token, *more in found}


def test_every_file_is_collected(home: Path, folder: Path, manifest: dict[str, Any]) -> None:
    files, before = manifest["spill"]["files"], rows(home)
    assert {path.name for path in folder.iterdir()} == {entry["file"] for entry in files.values()} | UNTOUCHED
    listed, after = look(), rows(home)
    for name in COLLECTED:
        entry = files[name]
        assert before[entry["token"]][0] == "submitting"
        state, key, generation_id, credits, *_ = after[entry["token"]]
        assert (state, key, generation_id) == ("submitted", entry["key"], entry["generation_id"]), name
        assert credits == (4 if name in WITH_CLAIM else None)
        assert listed[key] == generation_id
    assert after.keys() == before.keys()
    left = {path.name for path in folder.iterdir()}
    assert left == {files["rejected"]["file"]} | UNTOUCHED


def test_lines_with_their_claims_are_collected_by_a_new_ledger(
    home: Path, folder: Path, manifest: dict[str, Any]
) -> None:
    for path in (home / "foxapi").glob("ledger.db*"):
        path.unlink()
    files = manifest["spill"]["files"]
    look()
    found = rows(home)
    assert found == {
        files[name]["token"]: (
            *("submitted", files[name]["key"], files[name]["generation_id"], 4, "worker-1", "gpt-5.5"),
            BASE_URL,
        )
        for name in WITH_CLAIM
    }
    # Whose claim nobody knows is kept all the same.
    aside = {files[name]["file"] for name in COLLECTED if name not in WITH_CLAIM}
    assert {path.name for path in folder.iterdir()} == {
        *(f"{name}.rejected" for name in aside),
        *(files["rejected"]["file"], *UNTOUCHED),
    }


def test_another_folder_is_left_alone(home: Path, manifest: dict[str, Any]) -> None:
    others = home / "foxapi" / manifest["spill"]["folder"]
    before = {path.name for path in others.iterdir()}
    look()
    assert {path.name for path in others.iterdir()} == before


def test_a_new_file_is_like_one_of_then(home: Path, folder: Path, manifest: dict[str, Any]) -> None:
    name = manifest["spill"]["files"]["spilled line"]["file"]
    then = json.loads((folder / name).read_text(encoding="utf-8"))
    for path in folder.iterdir():
        path.unlink()
    database = home / "foxapi" / "ledger.db"
    errors: list[Any] = []

    with Emulator(duration=0.01) as emulator, ThreadPoolExecutor(1) as thread:
        emulator.add_fault(kind="delay", endpoint="submit", seconds=1, count=1)

        def take_away() -> None:
            deadline = time.monotonic() + 60
            while not emulator.ledger() and time.monotonic() < deadline:
                time.sleep(0.01)
            database.rename(database.with_name("away"))

        @flow
        def ask() -> None:
            asking = {"model": "gpt-5.5", "credentials": credentials(emulator.url)}
            errors.append(value_of(generate("spilled by this version", **asking, return_state=True)))

        taking = thread.submit(take_away)
        ask()
        taking.result()

    [error] = errors
    assert type(error) is LedgerError
    [path] = folder.iterdir()
    assert (path.suffix, len(path.stem)) == (".jsonl", len(Path(name).stem))
    [line] = path.read_text(encoding="utf-8").splitlines()
    now = json.loads(line)
    assert now.keys() | {"credits"} == then.keys()
    assert now["claimant"].keys() == then["claimant"].keys()
    assert (now["key"], now["generation_id"]) == (error.key, error.generation_id)
    assert now["generation_id"]
    assert (now["kind"], now["base_url"], now["account"]) == ("llm", emulator.url, credentials().account_name)
