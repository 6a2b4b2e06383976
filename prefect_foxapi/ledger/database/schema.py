"""The tables, their version, and the way from an older version to this one.

A key's row (`foxapi_generations`) is a pointer: which submission the key stands for now. What is known of a submission
is kept with the submission (`foxapi_submissions`), whoever the key belongs to by then. So an answer that arrives late
is never lost, and a refused claim gives the key back exactly as it was found, with all that was learned meanwhile.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Index, MetaData, Table

from prefect_foxapi.errors import LedgerError

__all__ = ["VERSION", "decisions", "ensure", "generations", "submissions", "uploads"]

VERSION = 2

# Two processes that create the tables at once would both fail: PostgreSQL checks "if not exists" too early.
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
    # The day in UTC, so that both databases can add up by day in the same words.
    Column("day", sa.Text, nullable=False),
    # Last, so that SQLite does not read through it to reach the others.
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

# Statements that lead from a version to the next one, in words that both databases know.
_STEPS: dict[int, tuple[str, ...]] = {
    # Media generations: until then every generation was a chat completion.
    1: ("ALTER TABLE foxapi_submissions ADD COLUMN kind TEXT NOT NULL DEFAULT 'llm'",),
}


def ensure(connection: Connection) -> None:
    """Make the tables, or bring them up to date, inside the transaction of `connection`.

    Raises:
        LedgerError: A newer version of this package made them.
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
            f"the ledger has schema version {version}, made by a newer prefect-foxapi; this one knows version "
            f"{VERSION}. Upgrade prefect-foxapi here, or use another ledger"
        )
    for step in range(version, VERSION):
        for statement in _STEPS[step]:
            connection.execute(sa.text(statement))
    if version < VERSION:
        connection.execute(_version.update().values(version=VERSION))


def found(connection: Connection) -> int | None:
    """Return the schema's version, `None` where there is no ledger yet."""
    if not sa.inspect(connection).has_table(_version.name):
        return None
    version: Any = connection.execute(sa.select(sa.func.max(_version.c.version))).scalar()
    if version is None:
        raise LedgerError("the ledger's table foxapi_ledger is empty: its version is unknown. Restore it from a backup")
    return int(version)
