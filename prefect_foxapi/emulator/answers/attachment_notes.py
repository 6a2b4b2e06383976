"""Facts: what the emulator states about content, one line each.

An answer states the facts of the request's own attachments, and repeats those that its text brings along from
earlier answers, so that what arrived in the first step of a chain can be seen in the last.
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
_MOST = 200
_LONGEST = 300


def fact_of(attachment: Attachment) -> str:
    """State the kind, media type, size and first 12 hex digits of the SHA-256 of what arrived."""
    content = attachment.content
    if content is None:
        return f"{attachment.kind}: {attachment.url} (remote URL, not fetched)"
    return f"{attachment.kind}: {content.media_type}, {content.size} bytes, sha256 {content.sha256[:12]}"


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """The texts of a message."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in as_array(content) or () if part["type"] == "text"]


def facts_in(texts: Iterable[str]) -> list[str]:
    """The lines of texts that carry the digest of something."""
    found: dict[str, None] = {}
    for text in texts:
        if _DIGEST.search(text):
            for line in text.splitlines():
                if len(found) < _MOST and _DIGEST.search(line):
                    found[line.strip(" \t-*")[:_LONGEST]] = None
    return list(found)


def digest_in(facts: Sequence[str]) -> str | None:
    """The first digest that facts state."""
    return next((match.group() for fact in facts if (match := _DIGEST.search(fact))), None)


def media_type_in(facts: Sequence[str]) -> str | None:
    """The first media type that facts state."""
    return next((match.group() for fact in facts if (match := _MEDIA_TYPE.search(fact))), None)


def kind_in(facts: Sequence[str]) -> str | None:
    """The first kind of attachment that facts state."""
    return next((match.group() for fact in facts if (match := _KIND.search(fact))), None)
