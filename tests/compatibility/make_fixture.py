"""Makes the fixture of version 0.1.0: Prefect results, a ledger, and the files that keep ids which it could not take.

It runs with that version and no other, in an environment in which it is installed (`pip install --editable` of a
checkout of 0.1.0), from a checkout that has this file:

    PREFECT_SERVER_ANALYTICS_ENABLED=false python tests/compatibility/make_fixture.py v0_1_0.tar.gz

This is how `v0_1_0.tar.gz` was made, by Python 3.11 with Prefect 3.9. The archive holds:

- `home/storage`: Prefect's results.
- `home/foxapi/ledger.db`: a ledger with a submission in each state, decisions, uploads and a refreshed result.
- `home/foxapi/spill-…`: one file of each kind.
- `manifest.json`: what is in them, as 0.1.0 itself reads it; for the meaning of its parts, see `main`.

All times in it begin with `BEGUN`, so that they are past on every machine, and the machine has a made-up name.
"""

# The clock is set before the package takes it.
# ruff: noqa: E402

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import shutil
import socket
import sqlite3
import sys
import tarfile
import tempfile
import time

BEGUN = 1_750_000_000.0  # in June 2025
_behind = time.time() - BEGUN
_real_time = time.time
time.time = lambda: _real_time() - _behind
socket.gethostname = lambda: "worker-1"

from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from prefect import flow
from prefect.cache_policies import NO_CACHE
from prefect_foxapi.background import close_background
from prefect_foxapi.identity import build_request, generation_key

from prefect_foxapi import (
    AmbiguousSubmission,
    FoxAPIError,
    GenerationFailed,
    InvalidRequest,
    LedgerError,
    __version__,
    generate,
    list_unsettled,
    settle,
    submit_generation,
    wait_for_generation,
)
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.ledger import Claimant, Claimed, Ledger, Row, Subject
from tests.compatibility.description import describe
from tests.compatibility.exchange import API_KEY, BASE_URL, PORT, credentials, prefect_in, store

MODEL = "gpt-5.5"
ACCOUNT = credentials().account_name


def key_of(prompt: str) -> str:
    """The generation key of a prompt alone."""
    return generation_key(build_request(prompt, model=MODEL), account=ACCOUNT, base_url=BASE_URL)


def subject(prompt: str) -> Subject:
    """What the ledger is asked for."""
    return Subject(key_of(prompt), ACCOUNT, BASE_URL, MODEL)


async def with_ledger(home: Path, use: Callable[[Ledger], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    """Use the ledger as the package does."""
    url = f"sqlite+aiosqlite:///{home / 'foxapi' / 'ledger.db'}"
    ledger = Ledger(url, **{"spill_folder": home / "foxapi", **options})
    try:
        return await use(ledger)
    finally:
        await ledger.aclose()


async def claimed(ledger: Ledger, prompt: str, deadline: float = 300.0) -> Claimed:
    """Claim a prompt that is free."""
    claim = await ledger.claim(subject(prompt), Claimant.here(flow_name="fixture"), deadline=deadline)
    assert isinstance(claim, Claimed)
    return claim


def use_every_state(emulator: Emulator) -> dict[str, Any]:
    """Bring submissions into each state by tasks. Returns what is known of them by prompt."""
    emulator.script(when="under way", answer="later", duration=86400.0)
    emulator.script(when="to be forgotten", answer="later", duration=86400.0)
    emulator.script(when="doomed", fail={"code": "upstream_error", "message": "no luck"})
    known: dict[str, Any] = {}

    def failing(prompt: str, expected: type[FoxAPIError], **fault: Any) -> None:
        if fault:
            emulator.add_fault(**{"count": 1, **fault})
        state = generate(prompt, model=MODEL, credentials=credentials(), return_state=True)
        error = state.result(raise_on_failure=False)
        assert type(error) is expected, error
        emulator.clear_faults()
        known[prompt] = {"key": key_of(prompt), "generation_id": error.generation_id, "raised": describe(error)}

    @flow(name="fixture")
    def every_state() -> None:
        asking = {"model": MODEL, "credentials": credentials()}
        for prompt in ("under way", "to be forgotten", "without its result"):
            submitted = submit_generation(prompt, **asking)
            known[prompt] = {"key": submitted.key, "generation_id": submitted.generation_id}
        settle(known["to be forgotten"]["key"], "forget", credentials=credentials())
        failing("doomed", GenerationFailed)
        failing("lost answer", AmbiguousSubmission, kind="reset_after", endpoint="submit")
        failing("lost answer, allowed", AmbiguousSubmission, kind="reset_after", endpoint="submit")
        settle(key_of("lost answer, allowed"), "allow_resubmit", credentials=credentials())
        failing("lost answer, paid again", AmbiguousSubmission, kind="reset_after", endpoint="submit")
        generate("lost answer, paid again", on_ambiguous="resubmit", **asking)
        failing("vanished", AmbiguousSubmission, kind="vanish", endpoint="task", count=None)
        failing("refused", InvalidRequest, kind="status", endpoint="submit", status=422)
        first = generate("refreshed", **asking)
        second = generate.with_options(refresh_cache=True)("refreshed", **asking)
        assert first.generation_id != second.generation_id
        known["refreshed"] = {"key": key_of("refreshed"), "generation_id": second.generation_id}
        generate.with_options(cache_policy=NO_CACHE)("not shared", **asking)

    every_state()
    return known


async def add_to_the_ledger(ledger: Ledger, known: dict[str, Any]) -> None:
    """Add what no task leaves behind in a short run: a process that ended while it submitted, and media."""
    prompt = "left while it was submitted"
    known[prompt] = {"key": (await claimed(ledger, prompt, deadline=0.001)).key, "generation_id": None}
    media = Subject(hashlib.sha256(b"media").hexdigest(), ACCOUNT, BASE_URL, "gpt-image-2", "image")
    claim = await ledger.claim(media, Claimant.here(), deadline=300)
    assert isinstance(claim, Claimed)
    await ledger.accepted(claim, "task-image-1", credits=40)
    snapshot = {
        "id": "task-image-1",
        "object": "image.generation.task",
        "type": "image",
        "model": "gpt-image-2",
        "status": "completed",
        "progress": 100,
        "created": int(time.time()),
        "results": [{"url": "https://example.com/a.png"}],
    }
    await ledger.completed(
        "task-image-1",
        {"snapshot": snapshot, "reasoning": None},
        account=ACCOUNT,
        base_url=BASE_URL,
        expires_at=time.time() + 82800,
    )
    known["media"] = {"key": media.key, "generation_id": "task-image-1"}


async def complete_without_result(ledger: Ledger, known: dict[str, Any]) -> None:
    """Note the end of a generation in a ledger that keeps no results."""
    generation_id = known["without its result"]["generation_id"]
    assert await ledger.completed(generation_id, {}, account=ACCOUNT, base_url=BASE_URL, tokens=(3, 4), credits=2)


async def spill(ledger: Ledger, database: Path) -> dict[str, Any]:
    """Let acceptances fail that the ledger cannot take. Returns their ids by prompt."""
    prompts = ("spilled line", "spilled name", "spilled line with more", "spilled line without its claim")
    claims = {prompt: await claimed(ledger, prompt) for prompt in prompts}
    twice = await claimed(ledger, "claimed once, accepted twice")
    await ledger.accepted(twice, "gen-taken")
    away = database.with_name("away")
    spilled: dict[str, Any] = {}

    async def fail(claim: Claimed, generation_id: str) -> Path:
        before = set(folder.iterdir()) if folder.exists() else set()
        database.rename(away)
        try:
            await ledger.accepted(claim, generation_id, credits=4)
        except LedgerError:
            [path] = set(folder.iterdir()) - before
            return path
        finally:
            away.rename(database)
        raise AssertionError("the ledger took it")

    folder = database.parent / f"spill-{hashlib.sha256(f'sqlite:///{database}'.encode()).hexdigest()[:16]}"
    kept = database.with_name("kept")
    kept.mkdir()
    for number, (prompt, claim) in enumerate({**claims, "rejected": twice}.items(), 1):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        if prompt == "spilled name":
            # As on a full disk: a file can be made, and nothing can be written into it.
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        path = await fail(claim, f"gen-spilled/{number}")
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        spilled[prompt] = {"key": claim.key, "token": claim.token, "generation_id": f"gen-spilled/{number}"}
        if prompt == "rejected":
            # The next use puts it aside: its submission has another id already.
            await ledger.recent()
            path = path.with_name(path.name + ".rejected")
            assert path.exists()
        # Each file is put elsewhere until the end, so that no use of the ledger takes it in.
        path.rename(kept / path.name)
        spilled[prompt]["file"] = path.name
    for path in kept.iterdir():
        path.rename(folder / path.name)
    kept.rmdir()
    return {"folder": folder.name, "files": spilled}


def add_files_of_others(folder: Path, spilled: dict[str, Any]) -> None:
    """Change two files into what another version writes, and add what a process that was killed leaves behind."""
    more = folder / spilled["spilled line with more"]["file"]
    line = json.loads(more.read_text())
    more.write_text(json.dumps({**line, "note": "a field of a later version", "trace": {"id": 1}}) + "\n")
    bare = folder / spilled["spilled line without its claim"]["file"]
    line = json.loads(bare.read_text())
    bare.write_text(json.dumps({name: line[name] for name in ("token", "generation_id", "at")}) + "\n")
    (folder / "0123456789abcdef.draft").write_text('{"token": "half of a li')


async def look(ledger: Ledger) -> dict[str, Any]:
    """What 0.1.0 reads in its own ledger."""
    rows = await ledger.recent(10_000)
    histories = {row.key: await ledger.history(row.key) for row in rows}
    return {
        "submissions": {row.token: _plain(row) for row in rows},
        "current": {key: row.token for key, row in (await ledger.find(histories)).items()},
        "decisions": [_plain(decision) for _, decisions in histories.values() for decision in decisions],
        "usage": [_plain(usage) for usage in await ledger.usage()],
        "unsettled": [row.token for row in await ledger.unsettled(ACCOUNT)],
    }


def _plain(value: Any) -> dict[str, Any]:
    data = asdict(value)
    if isinstance(value, Row):
        data["subject"] = asdict(value.subject)
    return json.loads(json.dumps(data))


def main(archive: Path) -> None:
    """Make the archive.

    The manifest's parts: `calls` (see `exchange.store`), `states` (what use of each state led to, by prompt),
    `ledger` (see `look`), `spill` (see `spill`), and `made_at` in Unix seconds.
    """
    assert __version__ == "0.1.0", __version__
    folder = Path(tempfile.gettempdir()) / "prefect-foxapi-fixture"
    shutil.rmtree(folder, ignore_errors=True)
    home = folder / "home"
    with prefect_in(home), Emulator(port=PORT, api_key=API_KEY, duration=0.02) as emulator:
        calls = store(emulator)
        states = use_every_state(emulator)
        asyncio.run(with_ledger(home, lambda ledger: add_to_the_ledger(ledger, states)))
        asyncio.run(with_ledger(home, lambda ledger: complete_without_result(ledger, states), keep_results=False))

        @flow(name="looking")
        def look_by_tasks() -> None:
            for prompt in ("media", "refreshed"):
                found = wait_for_generation(states[prompt]["generation_id"], credentials=credentials())
                states[prompt]["read"] = describe(found)
            states["unsettled"] = describe(list(list_unsettled(credentials=credentials())))

        look_by_tasks()
    close_background()
    database = home / "foxapi" / "ledger.db"
    spilled = asyncio.run(with_ledger(home, lambda ledger: spill(ledger, database)))
    add_files_of_others(home / "foxapi" / spilled["folder"], spilled["files"])
    # By a ledger that spills elsewhere, so that it takes nothing in.
    seen = asyncio.run(with_ledger(home, look, spill_folder=None))
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    parts = {"made_at": time.time(), "calls": calls, "states": states, "ledger": seen, "spill": spilled}
    (folder / "manifest.json").write_text(json.dumps(parts, indent=1))
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "manifest.json", "manifest.json", filter=_anonymous)
        tar.add(home / "storage", "home/storage", filter=_anonymous)
        tar.add(home / "foxapi", "home/foxapi", filter=_anonymous)
    print(f"{archive}: {archive.stat().st_size} bytes")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]))
