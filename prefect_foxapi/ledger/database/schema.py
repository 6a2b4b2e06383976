"""The tables of the ledger, and the migrations from older versions.

A key's row (`foxapi_generations`) points to its current submission. Everything else is stored with the submission
(`foxapi_submissions`), whether it is the current one or not. So an answer that arrives late is recorded, and a refused
claim restores the submission that the key had before, with all changes that were made to it meanwhile.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Index, MetaData, Table

from prefect_foxapi.errors import LedgerError

__all__ = ["VERSION", "decisions", "ensure", "generations", "submissions", "uploads"]

VERSION = 2

# Without a lock, two processes that create the tables at the same time fail: PostgreSQL checks "if not exists" early.
_ADVISORY_LOCK = 0x466F7841

_metadata = MetaData()

_version = Table("foxapi_ledger", _metadata, Column("version", sa.Integer, nullable=False))

generations = Table(
    "foxapi_generations",
    _metadata,
    Column("key", sa.Text, primary_key=True),
    Column("token", sa.Text, nullable=False, index=True),
)

submissions = Table(
    "foxapi_submissions",
    _metadata,
    Column("token", sa.Text, primary_key=True),
    Column("key", sa.Text, nullable=False, index=True),
    Column("attempt", sa.Integer, nullable=False),
    Column("state", sa.Text, nullable=False),
    Column("kind", sa.Text, nullable=False, server_default="llm"),
    Column("account", sa.Text, nullable=False),
    Column("base_url", sa.Text, nullable=False),
    Column("model", sa.Text, nullable=False),
    Column("generation_id", sa.Text, index=True),
    Column("host", sa.Text, nullable=False),
    Column("pid", sa.BigInteger, nullable=False),
    Column("process", sa.Text, nullable=False),
    Column("flow_run_id", sa.Text),
    Column("task_run_id", sa.Text),
    Column("flow_name", sa.Text),
    Column("claimed_at", sa.Double, nullable=False),
    Column("deadline", sa.Double, nullable=False),
    Column("accepted_at", sa.Double),
    Column("finished_at", sa.Double),
    Column("expires_at", sa.Double),
    Column("reason", sa.Text),
    Column("error", sa.Text),
    Column("billed", sa.Boolean, nullable=False),
    Column("permitted", sa.Boolean, nullable=False),
    Column("result_kept", sa.Boolean, nullable=False),
    Column("credits", sa.Double),
    Column("prompt_tokens", sa.BigInteger),
    Column("completion_tokens", sa.BigInteger),
    Column("previous", sa.Text),
    # The day in UTC, so that the same statement groups by day in both databases.
    Column("day", sa.Text, nullable=False),
    # Last, because SQLite would have to read it to reach the columns behind it.
    Column("result", sa.Text),
    Index("ix_foxapi_submissions_state", "state", "claimed_at"),
)

decisions = Table(
    "foxapi_decisions",
    _metadata,
    Column("id", sa.Text, primary_key=True),
    Column("key", sa.Text, nullable=False, index=True),
    Column("token", sa.Text, nullable=False),
    Column("generation_id", sa.Text),
    Column("action", sa.Text, nullable=False),
    Column("found", sa.Text, nullable=False),
    Column("by", sa.Text, nullable=False),
    Column("at", sa.Double, nullable=False),
)

uploads = Table(
    "foxapi_uploads",
    _metadata,
    Column("digest", sa.Text, primary_key=True),
    Column("account", sa.Text, primary_key=True),
    Column("base_url", sa.Text, primary_key=True),
    Column("url", sa.Text, nullable=False),
    Column("expires_at", sa.Double, nullable=False),
)

# The statements that migrate a version to the next one, valid in both databases.
_STEPS: dict[int, tuple[str, ...]] = {
    # Media generations: until then every generation was a chat completion.
    1: ("ALTER TABLE foxapi_submissions ADD COLUMN kind TEXT NOT NULL DEFAULT 'llm'",),
}


def ensure(connection: Connection) -> None:
    """Create the tables, or migrate them, in the transaction of `connection`.

    Raises:
        LedgerError: A newer version of this package created them.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    version = found(connection)
    if version is None:
        _metadata.create_all(connection)
        connection.execute(_version.insert().values(version=VERSION))
        return
    if version > VERSION:
        raise LedgerError(
            f"the ledger has schema version {version}, created by a newer prefect-foxapi; this one supports version "
            f"{VERSION}. Upgrade prefect-foxapi, or use another ledger"
        )
    for step in range(version, VERSION):
        for statement in _STEPS[step]:
            connection.execute(sa.text(statement))
    if version < VERSION:
        connection.execute(_version.update().values(version=VERSION))


def found(connection: Connection) -> int | None:
    """Return the version of the schema, or `None` if there are no tables yet."""
    if not sa.inspect(connection).has_table(_version.name):
        return None
    version: Any = connection.execute(sa.select(sa.func.max(_version.c.version))).scalar()
    if version is None:
        raise LedgerError("the ledger's table foxapi_ledger is empty, so its version is unknown: restore a backup")
    return int(version)
