"""Where the id of a paid generation goes when the ledger cannot be written, and the way back.

Each failure makes a file of its own in a folder beside the ledger, so that nobody writes into a file that another
process is reading. Whoever next reaches the ledger records what is there and then deletes the file; recording twice
changes nothing, so a crash in between, or two processes at once, lose nothing.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
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
    """A folder of acceptances that are not in the ledger yet. Without a folder, nothing can be spilled.

    Args:
        folder: The folder; made with mode 0700 when it is needed.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._unreadable: set[str] = set()

    def write(self, accepted: Iterable[Accept], at: float) -> Path | None:
        """Write acceptances durably. Returns where, or `None` where even that failed.

        Args:
            accepted: What FoxAPI accepted.
            at: The time, in Unix seconds.
        """
        accepted = list(accepted)
        if self.folder is None or not accepted:
            return None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                return self._write_lines(self.folder, accepted, at)
            except OSError:
                # A full disk still has room for a file without content, and the name says what counts.
                return self._write_names(self.folder, accepted)
        except (OSError, ValueError) as error:
            logger.error("Cannot write to %s: %s", self.folder, error)
            return None

    def _write_lines(self, folder: Path, accepted: list[Accept], at: float) -> Path:
        path = folder / f"{uuid.uuid4().hex}{_LINES}"
        # Under another name until it is whole: a reader would take half of it for all.
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
        """Return what waits to be recorded, by file."""
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
                # Somebody else has just recorded it.
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                if name not in self._unreadable:
                    self._unreadable.add(name)
                    logger.error("%s holds generations that were paid for and cannot be read: %r", path, error)
                continue
            if accepted:
                found[path] = accepted
        return found

    def done(self, path: Path) -> None:
        """Delete a file whose acceptances are all recorded."""
        # If that fails they are recorded once more the next time, which changes nothing.
        with suppress(OSError):
            path.unlink()

    def reject(self, path: Path, reason: str) -> None:
        """Put a file aside that the ledger does not take."""
        logger.error("%s holds generations that were paid for and that the ledger does not take: %s", path, reason)
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
    identity = GenerationIdentity(*(line[name] for name in ("key", "account", "base_url", "model", "kind")))
    return Lease(
        identity.key,
        line["attempt"],
        line["token"],
        line["deadline"],
        State.SUBMITTING,
        identity,
        Claimant(**line["claimant"]),
        line["claimed_at"],
    )


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
