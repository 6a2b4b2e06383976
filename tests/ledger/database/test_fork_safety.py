"""Processes that fork while they use the ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.factories import MakeLedger, sqlite_url
from tests.support.postgres import PostgresForTests
from tests.support.subprocesses import run_program

_BEGIN = """
import asyncio, gc, os, sys, threading
import sqlalchemy as sa
from prefect_foxapi.tasks import event_loop as module
from prefect_foxapi.tasks.event_loop import background, close_background
from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Ledger
from prefect_foxapi.ledger.database.base import open_database
from tests.support.factories import submitted

def open_ledger():
    ledger = Ledger(sys.argv[1])
    background().on_close(ledger.aclose)
    return ledger

def ended_well(child):
    return os.waitpid(child, 0)[1] == 0
"""

_BOTH_WRITE = """
ledger = open_ledger()
background().call(submitted(ledger, "before", "gen-0"))
written, told_written = os.pipe()
closed, told_closed = os.pipe()
child = os.fork()
if child == 0:
    os.close(told_closed)
    ledger = open_ledger()
    background().call(submitted(ledger, "during", "gen-1"))
    os.write(told_written, b"w")
    # Until the parent has closed its ledger.
    os.read(closed, 1)
    background().call(submitted(ledger, "after", "gen-2"))
    os._exit(0)
os.read(written, 1)
background().call(submitted(ledger, "parent", "gen-3"))
close_background()
os.write(told_closed, b"c")
assert ended_well(child)
"""

_FORKS_AGAIN_AND_AGAIN = """
ledger = open_ledger()
keys = iter(range(1000000))
done = threading.Event()

async def write():
    while not done.is_set():
        key = f"parent-{next(keys)}"
        await submitted(ledger, key, f"gen-{key}")

async def read():
    while not done.is_set():
        await ledger.find(["child-0"])

async def both():
    await asyncio.gather(write(), read())

busy = threading.Thread(target=lambda: background().call(both()))
busy.start()
for n in range(10):
    child = os.fork()
    if child == 0:
        background().call(submitted(open_ledger(), f"child-{n}", f"gen-child-{n}"))
        close_background()
        os._exit(0)
    assert ended_well(child)
done.set()
busy.join()
"""

_CHILD_ENDS = """
database = open_database(sys.argv[1])

async def session():
    return await database.transact(lambda connection: connection.scalar(sa.text("SELECT pg_backend_pid()")), write=True)

before = background().call(session())
child = os.fork()
if child == 0:
    assert background().call(session()) != before
    database = None
    module._parents_loops.clear()
    gc.collect()
    sys.exit(0)
assert ended_well(child)
assert background().call(session()) == before
background().on_close(database.aclose)
"""

_BUSY_FOR_TOO_LONG = """
database = open_database(sys.argv[1])
began, go_on = threading.Event(), threading.Event()

def work(connection):
    began.set()
    go_on.wait()

busy = threading.Thread(target=lambda: background().call(database.transact(work, write=True)))
busy.start()
began.wait()
child = os.fork()
if child == 0:
    try:
        background().call(open_ledger().find(["key"]))
    except LedgerError as error:
        os._exit(0 if "spawn" in str(error) else 1)
    os._exit(2)
go_on.set()
busy.join()
assert ended_well(child)
background().call(submitted(open_ledger(), "parent", "gen-1"))
background().call(database.aclose())
"""


async def test_a_forked_process_and_its_parent_both_write(url: str, make_ledger: MakeLedger) -> None:
    await run_program(_BEGIN + _BOTH_WRITE, url)
    rows = await make_ledger(url).find(["before", "during", "after", "parent"])
    assert {key: row.generation_id for key, row in rows.items()} == {
        "before": "gen-0",
        "during": "gen-1",
        "after": "gen-2",
        "parent": "gen-3",
    }


async def test_a_process_forks_while_it_writes(url: str, make_ledger: MakeLedger) -> None:
    await run_program(_BEGIN + _FORKS_AGAIN_AND_AGAIN, url)
    keys = [f"child-{n}" for n in range(10)]
    assert {row.generation_id for row in (await make_ledger(url).find(keys)).values()} == {f"gen-{key}" for key in keys}


async def test_a_forked_process_leaves_its_parents_session_alone(postgres: PostgresForTests) -> None:
    await run_program(_BEGIN + _CHILD_ENDS, await asyncio.to_thread(postgres.new_database))


async def test_a_file_that_cannot_be_closed_before_a_fork_is_not_for_the_child(
    make_ledger: MakeLedger, tmp_path: Path
) -> None:
    await run_program(_BEGIN + _BUSY_FOR_TOO_LONG, f"{sqlite_url(tmp_path)}?timeout=0.1")
    assert set(await make_ledger(sqlite_url(tmp_path)).find(["parent"])) == {"parent"}
