"""The digests of attachments that are local files or inline."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.content.media_types import UNKNOWN, media_type_of
from prefect_foxapi.models.messages import Attachment, refuse_foreign_file

_BLOCK = 1024 * 1024
_REMEMBERED_DIGESTS = 4096
_HEAD = 16
_TEXT = "text/plain"
# Nanoseconds within which two changes can have the same time: the tick of a kernel's clock, and on file systems that
# keep whole seconds, two seconds.
_TICK, _COARSE_TICK, _SECOND = 50_000_000, 2_000_000_000, 1_000_000_000


@dataclass(frozen=True)
class ContentDigest:
    """What identifies the content of an attachment.

    Attributes:
        sha256: The SHA-256 of the bytes, in hex.
        media_type: The media type with which they are sent.
        head: The first 16 bytes.
    """

    sha256: str
    media_type: str
    head: bytes = field(repr=False)


def content_digest(attachment: Attachment, path: str) -> ContentDigest | None:
    """Return what identifies a local or inline attachment, or None for one that is elsewhere.

    Args:
        attachment: The attachment.
        path: The field that an error names.

    Raises:
        InvalidRequest: The bytes cannot be read, or the URL of a local file came as data.
    """
    refuse_foreign_file(attachment, path)
    if attachment.is_local:
        file = local_path(attachment.url)
        sha256, head = _digest_and_head(file, path)
        return ContentDigest(sha256, media_type_of(file.name) or UNKNOWN, head)
    if attachment.is_inline:
        content = inline_content(attachment.url, path)[1]
        return ContentDigest(hashlib.sha256(content).hexdigest(), inline_media_type(attachment.url), content[:_HEAD])
    return None


def attachment_digest(attachment: Attachment, field: str) -> str | None:
    """Return the SHA-256 of a local or inline attachment, or None for one that is elsewhere.

    Args:
        attachment: The attachment.
        field: The field that an error names.

    Raises:
        InvalidRequest: The bytes cannot be read, or the URL of a local file came as data.
    """
    found = content_digest(attachment, field)
    return found.sha256 if found else None


def check_file(path: Path, field: str) -> os.stat_result:
    """Check that a local file can be sent, and return its status.

    Args:
        path: The file.
        field: The field that an error names.

    Raises:
        InvalidRequest: The file does not exist, is empty, or cannot be read.
    """
    with _opened(path, field) as file:
        return os.fstat(file.fileno())


@contextmanager
def _opened(path: Path, field: str) -> Generator[BinaryIO, None, None]:
    try:
        # Before it is opened: opening a pipe waits for someone to write to it.
        if path.exists() and not path.is_file():
            raise InvalidRequest(f"{field}: {path} is not a file", field=field)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise InvalidRequest(f"{field}: {path} is empty", field=field)
            yield file
    except FileNotFoundError:
        raise InvalidRequest(f"{field}: there is no file {path}", field=field) from None
    except OSError as error:
        raise InvalidRequest(f"{field}: {path} cannot be read ({error.strerror})", field=field) from error


def local_path(url: str) -> Path:
    """Return the path of a `file://` URL."""
    return Path(url2pathname(urlsplit(url).path))


def file_digest(path: Path, field: str = "file") -> str:
    """Return the SHA-256 of a file, which is remembered until the file changes.

    A change is noticed by the size, the inode and its times. Programs cannot set the time of the last change of an
    inode, so a file that is rewritten in place with its former size and modification time is read again.

    Args:
        path: The file.
        field: The field that an error names.

    Raises:
        InvalidRequest: The file does not exist, is empty, or cannot be read.
    """
    return _digest_and_head(path, field)[0]


def _digest_and_head(path: Path, field: str) -> tuple[str, bytes]:
    now = time.time_ns()
    with _opened(path, field) as file:
        found = os.fstat(file.fileno())
        remembered = _memory_of(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if remembered:
            return remembered[0]
        digest, head = hashlib.sha256(), b""
        while block := file.read(_BLOCK):
            digest.update(block)
            head = head or block[:_HEAD]
    result = digest.hexdigest(), head
    # A file that has just changed can change once more at what is the same time for its file system.
    tick = _TICK if found.st_ctime_ns % _SECOND else _COARSE_TICK
    if found.st_ctime_ns + tick < now:
        remembered.append(result)
    return result


@lru_cache(maxsize=_REMEMBERED_DIGESTS)
def _memory_of(*status: int) -> list[tuple[str, bytes]]:
    """Return the list that holds the digest of a file of this status, once it is known."""
    return []


def inline_content(url: str, field: str = "url") -> tuple[str, bytes]:
    """Return the media type and the bytes of a `data:` URI.

    Args:
        url: The URI.
        field: The field that an error names.

    Raises:
        InvalidRequest: The URI is not valid, or it is empty.
    """
    described, is_base64, payload = _parts_of(url)
    try:
        content = unquote_to_bytes(payload)
        content = base64.b64decode(content, validate=True) if is_base64 else content
    except binascii.Error as error:
        raise InvalidRequest(f"{field}: a data URI whose base64 is broken ({error})", field=field) from None
    if not content:
        raise InvalidRequest(f"{field}: a data URI without content", field=field)
    return described[0] or _TEXT, content


def inline_media_type(url: str) -> str:
    """Return the media type of a `data:` URI with its parameters, such as `text/plain;charset=utf-8`.

    Args:
        url: The URI.
    """
    described = [part.strip().lower() for part in _parts_of(url)[0]]
    return ";".join(filter(None, [described[0] or _TEXT, *described[1:]]))


def _parts_of(url: str) -> tuple[list[str], bool, str]:
    """Return the media type of a `data:` URI and its parameters, whether it is base64, and its payload."""
    head, _, payload = url.removeprefix("data:").partition(",")
    described = head.split(";")
    is_base64 = described[-1].strip().lower() == "base64"
    return (described[:-1] or [""]) if is_base64 else described, is_base64, payload
