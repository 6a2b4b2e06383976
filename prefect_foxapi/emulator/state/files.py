"""Uploads, stored on disk until they expire."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from prefect_foxapi.emulator.protocol.content import Content, UnreadableContent, media_type_of
from prefect_foxapi.emulator.protocol.errors import storage_full, too_large

FILE_LIFETIME = 72 * 3600.0
"""Seconds after which an upload is deleted."""

_BLOCK_SIZE = 1 << 18
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class StoredFile:
    """An upload.

    Attributes:
        id: The id.
        filename: The file name.
        created: The time of the upload (Unix seconds).
        path: The path of the stored file.
        content: The description of its bytes.
    """

    id: str
    filename: str
    created: float
    path: Path
    content: Content


class FileStore:
    """The uploads of one emulator.

    Args:
        now: Returns the time (Unix seconds).
        max_file: The maximum size of a file in bytes.
        capacity: The maximum size of all files together in bytes.

    Attributes:
        port: The port that the emulator listens on, by which it recognizes the URLs of its uploads.
    """

    def __init__(self, now: Callable[[], float], *, max_file: int, capacity: int) -> None:
        self._now = now
        self._max_file = max_file
        self._capacity = capacity
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: dict[str, StoredFile] = {}
        self.port = 0

    def add(self, source: IO[bytes], filename: str, *, auto_cleanup: bool) -> StoredFile:
        """Store a file and return its record. It blocks, and is meant to be called in a thread.

        Args:
            source: The file to read.
            filename: The file name.
            auto_cleanup: Whether the oldest uploads may be deleted to make room.

        Raises:
            ApiError: The file is too large, or the storage is full and `auto_cleanup` is false.
        """
        file_id = f"file-{secrets.token_hex(8)}"
        path = self._path(file_id)
        digest, size, start = hashlib.sha256(), 0, b""
        with path.open("wb") as target:
            while block := source.read(_BLOCK_SIZE):
                start = start or block[:16]
                size += len(block)
                if size > self._max_file:
                    break
                digest.update(block)
                target.write(block)
        if size > self._max_file:
            path.unlink()
            raise too_large("The file", self._max_file)
        content = Content(media_type_of(start, filename=filename), size, digest.hexdigest())
        stored = StoredFile(file_id, filename, self._now(), path, content)
        with self._lock:
            try:
                self._make_room(size, auto_cleanup=auto_cleanup)
            except Exception:
                path.unlink()
                raise
            self._files[file_id] = stored
        return stored

    def get(self, file_id: str) -> StoredFile | None:
        """Return a file, or None if it does not exist or has expired."""
        stored = self._files.get(file_id)
        return stored if stored is not None and self._is_alive(stored) else None

    def url_of(self, stored: StoredFile, base_url: str) -> str:
        """Return the URL of a file."""
        return f"{base_url}/files/{stored.id}/{quote(stored.filename, safe='')}"

    def read_upload(self, url: str) -> Content | None:
        """Return the content of an upload, or None if the URL is not that of an upload.

        Raises:
            UnreadableContent: The upload does not exist any more.
        """
        parts = urlsplit(url)
        folder, _, rest = parts.path.lstrip("/").partition("/")
        if folder != "files":
            return None
        stored = self.get(rest.partition("/")[0])
        if stored is None and parts.hostname in _LOOPBACK and parts.port == self.port:
            raise UnreadableContent("the uploaded file does not exist any more")
        return None if stored is None else stored.content

    def clear(self) -> None:
        """Delete all files."""
        with self._lock:
            for stored in self._files.values():
                stored.path.unlink(missing_ok=True)
            self._files.clear()

    def close(self) -> None:
        """Delete all files and the folder that contains them."""
        self.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _path(self, file_id: str) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="foxapi-emulator-")
            return Path(self._folder.name) / file_id

    def _is_alive(self, stored: StoredFile) -> bool:
        return self._now() < stored.created + FILE_LIFETIME

    def _make_room(self, size: int, *, auto_cleanup: bool) -> None:
        for stored in [stored for stored in self._files.values() if not self._is_alive(stored)]:
            self._remove(stored)
        while sum(stored.content.size for stored in self._files.values()) + size > self._capacity:
            if not auto_cleanup or not self._files:
                raise storage_full(self._capacity)
            self._remove(next(iter(self._files.values())))

    def _remove(self, stored: StoredFile) -> None:
        del self._files[stored.id]
        stored.path.unlink(missing_ok=True)
