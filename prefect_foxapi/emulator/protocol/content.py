"""What arrived: the bytes behind a URL, their type, and the digest of a request that depends on them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from prefect_foxapi.emulator.protocol.json_types import as_array, as_object

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
_BY_NAME = {
    ".webp": "image/webp",
    ".md": "text/markdown",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
_UNKNOWN = "application/octet-stream"


@dataclass(frozen=True)
class Content:
    """Bytes that arrived.

    Attributes:
        media_type: By the bytes themselves, else as named by the data URI or the file's name.
        size: How many bytes.
        sha256: Their SHA-256 in hex.
    """

    media_type: str
    size: int
    sha256: str


class UnreadableContent(Exception):
    """The URL is none, or nothing is behind it."""


ReadUrl = Callable[[str], "Content | None"]
"""Gives what is behind a URL, None where that is elsewhere and not fetched; raises `UnreadableContent`."""


def media_type_of(start: bytes, *, filename: str = "", declared: str = "") -> str:
    """The media type of a file that begins with `start` (16 bytes are enough)."""
    for signature, media_type in _SIGNATURES:
        if start.startswith(signature):
            return media_type
    if start[:4] == b"RIFF" and start[8:12] in _RIFF:
        return _RIFF[start[8:12]]
    if start[4:8] == b"ftyp":
        return "audio/mp4" if start[8:11] == b"M4A" else "video/mp4"
    suffix = "." + filename.rpartition(".")[2].lower()
    return declared or _BY_NAME.get(suffix) or mimetypes.guess_type(filename)[0] or _UNKNOWN


def content_of(data: bytes, *, filename: str = "", declared: str = "") -> Content:
    """Describe bytes."""
    media_type = media_type_of(data[:16], filename=filename, declared=declared)
    return Content(media_type, len(data), hashlib.sha256(data).hexdigest())


def decode_base64(text: str) -> bytes:
    """Decode base64, whitespace and missing padding allowed.

    Raises:
        UnreadableContent: It is not base64.
    """
    compact = "".join(text.split())
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableContent("the base64 data cannot be decoded") from error


def parse_data_uri(uri: str) -> tuple[bytes, str]:
    """The bytes of a data URI and the media type that it declares.

    Raises:
        UnreadableContent: It is not a data URI.
    """
    head, comma, payload = uri.partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise UnreadableContent("the data URI has no payload")
    declared, *parameters = head[5:].split(";")
    if "base64" in parameters:
        return decode_base64(payload), declared
    return unquote_to_bytes(payload), declared or "text/plain"


def read_url(url: str, own: Callable[[str], Content | None]) -> Content | None:
    """What is behind a URL of a request.

    Args:
        url: The URL.
        own: Looks up what the emulator stores; None for a URL that is not the emulator's own.

    Returns:
        The content, or None for a URL elsewhere, which is not fetched.

    Raises:
        UnreadableContent: It is no URL that the service takes, or nothing is behind it.
    """
    if url[:5].lower() == "data:":
        data, declared = parse_data_uri(url)
        return content_of(data, declared=declared)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UnreadableContent("the URL cannot be parsed") from error
    if parts.scheme.lower() not in ("http", "https") or not parts.netloc:
        raise UnreadableContent("the URL is neither http(s) nor a data URI")
    return own(url)


def digest_of(body: dict[str, Any], read: ReadUrl) -> str:
    """The emulator's own identity of a request.

    SHA-256 of the body's canonical JSON (sorted keys), without `stream`, and with every data URI and every URL of an
    upload replaced by the SHA-256 of its bytes.
    """
    resolved = {name: _resolve(value, read) for name, value in body.items() if name != "stream"}
    canonical = json.dumps(resolved, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _resolve(value: Any, read: ReadUrl) -> Any:
    if (items := as_object(value)) is not None:
        return {name: _resolve(item, read) for name, item in items.items()}
    if (entries := as_array(value)) is not None:
        return [_resolve(entry, read) for entry in entries]
    if not isinstance(value, str) or value[:5].lower() not in ("data:", "http:", "https"):
        return value
    try:
        content = read(value)
    except UnreadableContent:
        return value
    return value if content is None else f"sha256:{content.sha256}"
