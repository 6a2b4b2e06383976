"""Attachments: the helpers that make parts of them, their digests, and reading them back.

A local file is a `file://` URL until it is uploaded, so that a request stays plain data.
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
from prefect_foxapi.models.messages import Attachment, AudioPart, FilePart, ImagePart, VideoPart

_BLOCK = 1024 * 1024
_REMEMBERED_DIGESTS = 4096


def image(source: str | Path | bytes, *, name: str | None = None) -> ImagePart:
    """An image for a prompt.

    Args:
        source: An http(s) URL, a `data:` URI, a `Path` to a local file, or the bytes themselves.
        name: A file name, needed with bytes: its ending says what they are.

    Raises:
        InvalidRequest: There is no such file, it is empty or cannot be read, or the kind of the bytes is unknown.

    Example:
        `generate(["What is this?", image(Path("photo.jpg"))], model="gpt-5.5")`
    """
    return ImagePart(image_url=_attachment("image", source, name))


def video(source: str | Path | bytes, *, name: str | None = None) -> VideoPart:
    """A video for a prompt; arguments and errors as for `image`."""
    return VideoPart(video_url=_attachment("video", source, name))


def audio(source: str | Path | bytes, *, name: str | None = None) -> AudioPart:
    """A sound for a prompt; arguments and errors as for `image`."""
    return AudioPart(audio_url=_attachment("audio", source, name))


def document(source: str | Path | bytes, *, name: str | None = None) -> FilePart:
    """A document for a prompt; arguments and errors as for `image`."""
    return FilePart(file_url=_attachment("document", source, name))


def _attachment(helper: str, source: Any, name: str | None) -> Attachment:
    if isinstance(source, bytes | bytearray):
        content = bytes(source)
        if not content:
            raise InvalidRequest(f"{helper}: the bytes are empty", field=helper)
        media_type = mimetypes.guess_type(name or "")[0]
        if media_type is None:
            raise InvalidRequest(
                f"{helper}: cannot tell what the bytes are; give a file name with a known ending, name='photo.png' say",
                field="name",
            )
        return Attachment(url=f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}")
    if isinstance(source, Path):
        path = source.expanduser().absolute()
        check_file(path, helper)
        return Attachment(url=path.as_uri())
    if isinstance(source, str) and source.startswith(("http://", "https://", "data:", "file://")):
        try:
            return Attachment(url=source)
        except ValidationError:
            raise InvalidRequest(
                f"{helper}: {source[:80]!r} is not a URL that can be sent: it is cut off, or has spaces in it",
                field=helper,
            ) from None
    raise InvalidRequest(
        f"{helper}: {str(source)[:80]!r} is neither a URL nor a data URI; for a local file write "
        f"{helper}(Path({str(source)[:80]!r}))",
        field=helper,
    )


def check_file(path: Path, field: str) -> os.stat_result:
    """Make sure that a local file can be sent.

    Raises:
        InvalidRequest: There is no such file, it is empty, or it cannot be read.
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


def local_path(url: str) -> Path:
    """The path that a `file://` URL names."""
    return Path(url2pathname(urlsplit(url).path))


def file_digest(path: Path, field: str = "file") -> str:
    """SHA-256 of a file's content, remembered until the file changes.

    Raises:
        InvalidRequest: There is no such file, it is empty, or it cannot be read.
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
    """Media type and bytes of a `data:` URI.

    Raises:
        InvalidRequest: It is not a valid `data:` URI, or it is empty.
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
    """SHA-256 of the bytes that this machine has of an attachment, or None where it is elsewhere.

    Raises:
        InvalidRequest: The bytes cannot be had.
    """
    if attachment.is_local:
        return file_digest(local_path(attachment.url), field)
    if attachment.is_inline:
        return hashlib.sha256(inline_content(attachment.url, field)[1]).hexdigest()
    return None
