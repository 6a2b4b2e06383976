"""Contents of attachments: media types, data URIs, and the digest of a request with attachments."""

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
    """A description of received bytes.

    Attributes:
        media_type: The media type: detected in the bytes, else declared by the data URI, else guessed from the name.
        size: The number of bytes.
        sha256: Their SHA-256 in hex.
    """

    media_type: str
    size: int
    sha256: str


class UnreadableContent(Exception):
    """A URL is invalid, or its content does not exist."""


ReadUrl = Callable[[str], "Content | None"]
"""Returns the content of a URL, or None for a remote URL, which is not fetched; raises `UnreadableContent`."""


def media_type_of(start: bytes, *, filename: str = "", declared: str = "") -> str:
    """Return the media type of a file.

    Args:
        start: The first bytes of the file; 16 are enough.
        filename: The name of the file.
        declared: The media type that the client declared.
    """
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
    """Return the description of `data`."""
    media_type = media_type_of(data[:16], filename=filename, declared=declared)
    return Content(media_type, len(data), hashlib.sha256(data).hexdigest())


def decode_base64(text: str) -> bytes:
    """Return the decoded bytes of base64 text. Whitespace and missing padding are allowed.

    Raises:
        UnreadableContent: The text is not base64.
    """
    compact = "".join(text.split())
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableContent("the base64 data cannot be decoded") from error


def parse_data_uri(uri: str) -> tuple[bytes, str]:
    """Return the bytes of a data URI and the media type that it declares.

    Raises:
        UnreadableContent: `uri` is not a data URI.
    """
    head, comma, payload = uri.partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise UnreadableContent("the data URI has no payload")
    declared, *parameters = head[5:].split(";")
    if "base64" in parameters:
        return decode_base64(payload), declared
    return unquote_to_bytes(payload), declared or "text/plain"


def read_url(url: str, read_upload: Callable[[str], Content | None]) -> Content | None:
    """Return the content of a URL in a request.

    Args:
        url: An http(s) URL or a data URI.
        read_upload: Returns the content of an upload, or None if the URL is not that of an upload.

    Returns:
        The content, or None for a remote URL, which is not fetched.

    Raises:
        UnreadableContent: The URL is invalid, or the upload does not exist any more.
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
    return read_upload(url)


def digest_of(body: dict[str, Any], read: ReadUrl) -> str:
    """Return the digest that identifies a request in the billing ledger.

    It is the SHA-256 of the canonical JSON of the body (sorted keys), without `stream`, and with each data URI and each
    URL of an upload replaced by the SHA-256 of its bytes.
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
