"""Attachment notes: lines that state the kind, media type, size and digest of an attachment.

An answer contains the notes of the request's attachments, and repeats the notes found in its texts. So the last answer
of a chain still names the attachments of the first request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefect_foxapi.emulator.protocol.json_types import as_array
from prefect_foxapi.emulator.protocol.validation import Attachment

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])")
_MEDIA_TYPE = re.compile(r"\b(?:application|audio|font|image|model|text|video)/[\w.+-]+")
_KIND = re.compile(r"\b(image|video|audio|file)\b")
_MAX_NOTES = 200
_MAX_LENGTH = 300


def attachment_note(attachment: Attachment) -> str:
    """Return the note of an attachment, with the first 12 hex digits of its SHA-256."""
    content = attachment.content
    if content is None:
        return f"{attachment.kind}: {attachment.url} (remote URL, not fetched)"
    return f"{attachment.kind}: {content.media_type}, {content.size} bytes, sha256 {content.sha256[:12]}"


def message_texts(message: Mapping[str, Any]) -> list[str]:
    """Return the texts of a message: its content, or its parts of the type `text`."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in as_array(content) or () if part["type"] == "text"]


def notes_in(texts: Iterable[str]) -> list[str]:
    """Return the lines of texts that contain a digest."""
    found: dict[str, None] = {}
    for text in texts:
        if _DIGEST.search(text):
            for line in text.splitlines():
                if len(found) < _MAX_NOTES and _DIGEST.search(line):
                    found[line.strip(" \t-*")[:_MAX_LENGTH]] = None
    return list(found)


def digest_in(notes: Sequence[str]) -> str | None:
    """Return the first digest in notes."""
    return next((match.group() for note in notes if (match := _DIGEST.search(note))), None)


def media_type_in(notes: Sequence[str]) -> str | None:
    """Return the first media type in notes."""
    return next((match.group() for note in notes if (match := _MEDIA_TYPE.search(note))), None)


def kind_in(notes: Sequence[str]) -> str | None:
    """Return the first kind of attachment in notes."""
    return next((match.group() for note in notes if (match := _KIND.search(note))), None)
