"""Files with the ids of paid generations that the database could not take.

Each failure creates a new file, so that no process writes to a file that another one reads. The next process that can
write to the ledger records the ids and deletes the file. Recording an id twice changes nothing, so a crash in between,
or two processes at the same time, lose nothing.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from prefect_foxapi.ledger.operations.submissions import Accept
from prefect_foxapi.ledger.records import Claimant, GenerationIdentity, Lease, State

__all__ = ["RecoveryLog"]

logger = logging.getLogger(__name__)

_LINES, _NAME_ONLY, _REJECTED = ".jsonl", ".accepted", ".rejected"
_NAME_LIMIT = 255


class RecoveryLog:
    """A folder of acceptances that are not in the ledger yet.

    Args:
        folder: The folder, created with mode 0700 on first use. With `None`, nothing is stored.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._unreadable: set[str] = set()

    def write(self, accepted: Iterable[Accept], at: float) -> Path | None:
        """Write acceptances durably.

        Args:
            accepted: The acceptances.
            at: The time, in Unix seconds.

        Returns:
            The file or folder that holds them, or `None` if they could not be written.
        """
        accepted = list(accepted)
        if self.folder is None or not accepted:
            return None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                return self._write_lines(self.folder, accepted, at)
            except OSError:
                # On a full disk an empty file can still be created, and its name holds token and id.
                return self._write_names(self.folder, accepted)
        except (OSError, ValueError) as error:
            logger.error("Cannot write to %s: %s", self.folder, error)
            return None

    def _write_lines(self, folder: Path, accepted: list[Accept], at: float) -> Path:
        path = folder / f"{uuid.uuid4().hex}{_LINES}"
        # Renamed when it is complete, so that no reader sees a part of it.
        draft = path.with_suffix(".draft")
        content = "".join(json.dumps(_line(one, at)) + "\n" for one in accepted).encode()
        try:
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                while content:
                    content = content[os.write(file, content) :]
                os.fsync(file)
            finally:
                os.close(file)
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        _sync_folder(folder)
        return path

    def _write_names(self, folder: Path, accepted: list[Accept]) -> Path:
        for one in accepted:
            name = f"{one.token}.{quote(one.generation_id, safe='')}{_NAME_ONLY}"
            if len(name) > _NAME_LIMIT:
                raise OSError(0, "the generation id is too long for a file name")
            os.close(os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600))
        _sync_folder(folder)
        return folder

    def read(self) -> dict[Path, list[Accept]]:
        """Return the acceptances that are not recorded yet, by file."""
        if self.folder is None:
            return {}
        try:
            names = sorted(entry.name for entry in os.scandir(self.folder))
        except OSError:
            return {}
        found: dict[Path, list[Accept]] = {}
        for name in names:
            path = self.folder / name
            try:
                accepted = list(_read(path))
            except FileNotFoundError:
                # Another process has just recorded and deleted it.
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                if name not in self._unreadable:
                    self._unreadable.add(name)
                    logger.error("%s holds ids of paid generations, but cannot be read: %r", path, error)
                continue
            if accepted:
                found[path] = accepted
        return found

    def done(self, path: Path) -> None:
        """Delete a file whose acceptances are all recorded."""
        # If this fails, they are recorded again the next time, which changes nothing.
        with suppress(OSError):
            path.unlink()

    def reject(self, path: Path, reason: str) -> None:
        """Rename a file whose acceptances cannot be recorded, so that it is not read again."""
        logger.error("%s holds ids of paid generations that cannot be recorded: %s", path, reason)
        with suppress(OSError):
            path.rename(path.with_name(path.name + _REJECTED))


def _line(accepted: Accept, at: float) -> dict[str, Any]:
    line: dict[str, Any] = {"token": accepted.token, "generation_id": accepted.generation_id, "at": at}
    if accepted.credits is not None:
        line["credits"] = accepted.credits
    lease = accepted.lease
    if lease is not None:
        line.update(asdict(lease.identity), claimant=asdict(lease.claimant), attempt=lease.attempt)
        line.update(claimed_at=lease.claimed_at, deadline=lease.deadline)
    return line


def _read(path: Path) -> Iterator[Accept]:
    if path.name.endswith(_NAME_ONLY):
        token, _, generation_id = path.name[: -len(_NAME_ONLY)].partition(".")
        yield Accept(token, unquote(generation_id))
    elif path.name.endswith(_LINES):
        for text in path.read_text().splitlines():
            line = json.loads(text)
            yield Accept(line["token"], line["generation_id"], _lease(line), line.get("credits"))


def _lease(line: dict[str, Any]) -> Lease | None:
    if "claimant" not in line:
        return None
    identity = GenerationIdentity(**_fields_of(GenerationIdentity, line))
    return Lease(
        identity.key,
        line["attempt"],
        line["token"],
        line["deadline"],
        State.SUBMITTING,
        identity,
        Claimant(**_fields_of(Claimant, line["claimant"])),
        line["claimed_at"],
    )


def _fields_of(record: type[GenerationIdentity | Claimant], values: dict[str, Any]) -> dict[str, Any]:
    # A later version may write more fields than this one knows.
    return {field.name: values[field.name] for field in fields(record) if field.name in values}


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
