"""Attachments: functions that return parts for them, their digests, and their bytes.

A local file is a `file://` URL until it is uploaded. A `Path` has to name it: a URL that comes as data is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import mimetypes
import os
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from pydantic import ValidationError

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.messages import Attachment, AudioPart, FilePart, ImagePart, VideoPart, refuse_foreign_file

_BLOCK = 1024 * 1024
_REMEMBERED_DIGESTS = 4096


def image(source: str | Path | bytes, *, name: str | None = None) -> ImagePart:
    """Return an image for a prompt.

    Args:
        source: An http(s) URL, a `data:` URI, the `Path` of a local file, or bytes.
        name: A file name, which bytes require: its extension tells their media type.

    Raises:
        InvalidRequest: The file does not exist, is empty or unreadable, or the media type is unknown.

    Example:
        `generate(["What is this?", image(Path("photo.jpg"))], model="gpt-5.5")`
    """
    return ImagePart(image_url=_attachment("image", source, name))


def video(source: str | Path | bytes, *, name: str | None = None) -> VideoPart:
    """Return a video for a prompt.

    Args:
        source: An http(s) URL, a `data:` URI, the `Path` of a local file, or bytes.
        name: A file name, which bytes require: its extension tells their media type.

    Raises:
        InvalidRequest: The file does not exist, is empty or unreadable, or the media type is unknown.
    """
    return VideoPart(video_url=_attachment("video", source, name))


def audio(source: str | Path | bytes, *, name: str | None = None) -> AudioPart:
    """Return an audio file for a prompt.

    Args:
        source: An http(s) URL, a `data:` URI, the `Path` of a local file, or bytes.
        name: A file name, which bytes require: its extension tells their media type.

    Raises:
        InvalidRequest: The file does not exist, is empty or unreadable, or the media type is unknown.
    """
    return AudioPart(audio_url=_attachment("audio", source, name))


def document(source: str | Path | bytes, *, name: str | None = None) -> FilePart:
    """Return a document for a prompt.

    Args:
        source: An http(s) URL, a `data:` URI, the `Path` of a local file, or bytes.
        name: A file name, which bytes require: its extension tells their media type.

    Raises:
        InvalidRequest: The file does not exist, is empty or unreadable, or the media type is unknown.
    """
    return FilePart(file_url=_attachment("document", source, name))


def _attachment(helper: str, source: Any, name: str | None) -> Attachment:
    if isinstance(source, bytes | bytearray):
        content = bytes(source)
        if not content:
            raise InvalidRequest(f"{helper}: the bytes are empty", field=helper)
        media_type = mimetypes.guess_type(name or "")[0]
        if media_type is None:
            raise InvalidRequest(
                f"{helper}: the media type of the bytes is unknown; give a file name with a known extension, "
                "such as name='photo.png'",
                field="name",
            )
        return Attachment(url=f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}")
    if isinstance(source, Path):
        path = source.expanduser().absolute()
        check_file(path, helper)
        return Attachment.of_local_file(path)
    if isinstance(source, str) and source.startswith(("http://", "https://", "data:")):
        try:
            return Attachment(url=source)
        except ValidationError:
            raise InvalidRequest(
                f"{helper}: {source[:80]!r} is not a valid URL: it is incomplete, or has spaces in it",
                field=helper,
            ) from None
    if isinstance(source, str) and is_file_url(source):
        raise InvalidRequest(
            f"{helper}: {source[:80]!r} is a local file, which is not read where its URL is a string; "
            f"write {helper}(Path(…)) to send it",
            field=helper,
        )
    raise InvalidRequest(
        f"{helper}: {str(source)[:80]!r} is neither a URL nor a data URI; for a local file write "
        f"{helper}(Path({str(source)[:80]!r}))",
        field=helper,
    )


def check_file(path: Path, field: str) -> os.stat_result:
    """Check that a local file can be sent, and return its status.

    Args:
        path: The file.
        field: The field that an error names.

    Raises:
        InvalidRequest: The file does not exist, is empty, or cannot be read.
    """
    try:
        found = path.stat()
        if not path.is_file():
            raise InvalidRequest(f"{field}: {path} is not a file", field=field)
        if found.st_size == 0:
            raise InvalidRequest(f"{field}: {path} is empty", field=field)
        with path.open("rb"):
            return found
    except FileNotFoundError:
        raise InvalidRequest(f"{field}: there is no file {path}", field=field) from None
    except OSError as error:
        raise InvalidRequest(f"{field}: {path} cannot be read ({error.strerror})", field=field) from error


def is_file_url(text: str) -> bool:
    """Return whether a text is a `file:` URL, in any spelling."""
    return text.strip().lower().startswith("file:")


def local_path(url: str) -> Path:
    """Return the path of a `file://` URL."""
    return Path(url2pathname(urlsplit(url).path))


def file_digest(path: Path, field: str = "file") -> str:
    """Return the SHA-256 of a file, which is cached until the file changes.

    Args:
        path: The file.
        field: The field that an error names.

    Raises:
        InvalidRequest: The file does not exist, is empty, or cannot be read.
    """
    found = check_file(path, field)
    return _file_digest(path, found.st_size, found.st_mtime_ns, found.st_ino)


@lru_cache(maxsize=_REMEMBERED_DIGESTS)
def _file_digest(path: Path, size: int, modified: int, inode: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def inline_content(url: str, field: str = "url") -> tuple[str, bytes]:
    """Return the media type and the bytes of a `data:` URI.

    Args:
        url: The URI.
        field: The field that an error names.

    Raises:
        InvalidRequest: The URI is not valid, or it is empty.
    """
    head, comma, payload = url.removeprefix("data:").partition(",")
    *described, last = head.split(";")
    try:
        if last.strip().lower() == "base64":
            content = base64.b64decode(unquote_to_bytes(payload), validate=True)
        else:
            described.append(last)
            content = unquote_to_bytes(payload)
    except binascii.Error as error:
        raise InvalidRequest(f"{field}: a data URI whose base64 is broken ({error})", field=field) from None
    if not comma or not content:
        raise InvalidRequest(f"{field}: a data URI without content", field=field)
    return (described[0] if described else "") or "text/plain", content


def attachment_digest(attachment: Attachment, field: str) -> str | None:
    """Return the SHA-256 of a local or inline attachment, or None for one that is elsewhere.

    Args:
        attachment: The attachment.
        field: The field that an error names.

    Raises:
        InvalidRequest: The bytes cannot be read, or the URL of a local file came as data.
    """
    refuse_foreign_file(attachment, field)
    if attachment.is_local:
        return file_digest(local_path(attachment.url), field)
    if attachment.is_inline:
        return hashlib.sha256(inline_content(attachment.url, field)[1]).hexdigest()
    return None
