"""Strings and numbers that match a JSON schema."""

from __future__ import annotations

import base64
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

import rstr

from prefect_foxapi.emulator.answers.attachment_notes import digest_in, kind_in, media_type_in

_TITLE_LENGTH = 60
_TITLES = ("title", "name", "label", "headline", "heading", "id", "source", "filename", "file", "item")
_KEYWORD_LISTS = ("tags", "keywords", "labels", "topics", "categories")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class StringGenerator:
    """Generates the strings of an instance that the schema leaves open.

    Args:
        notes: The attachment notes to put into the strings.
        fallback: The text of strings for which there are no notes.
        marked: Whether texts made of notes begin with `[emulated]`.
    """

    def __init__(self, notes: Sequence[str], fallback: str, *, marked: bool = True) -> None:
        self._notes = notes
        self._fallback = fallback
        self._marked = marked

    @property
    def notes(self) -> Sequence[str]:
        """The attachment notes."""
        return self._notes

    def for_note(self, note: str) -> StringGenerator:
        """Return a generator for the item of an array that describes a single attachment."""
        return StringGenerator([note], self._fallback, marked=False)

    def text(self, name: str) -> str:
        """Return the text of the property `name`."""
        key = name.lower()
        if not self._notes:
            return self._fallback[:_TITLE_LENGTH].rstrip() if key in _TITLES else self._fallback
        if "sha" in key or "digest" in key or "hash" in key:
            return digest_in(self._notes) or self._notes[0]
        if "media_type" in key or "mime" in key:
            return media_type_in(self._notes) or self._notes[0]
        if key in ("kind", "type"):
            return kind_in(self._notes) or self._notes[0]
        if key in _TITLES:
            single = self._notes[0].partition(": ")[0] if len(self._notes) == 1 else self._fallback
            return single[:_TITLE_LENGTH].rstrip()
        return f"{'[emulated] ' if self._marked else ''}{'; '.join(self._notes)}"

    def item_texts(self, name: str) -> Sequence[str]:
        """Return the texts of the items of the string array `name`."""
        if name.lower() not in _KEYWORD_LISTS:
            return self._notes
        return list(dict.fromkeys(["emulated", *filter(None, (kind_in([note]) for note in self._notes))]))


def generate_string(schema: Mapping[str, Any], name: str, strings: StringGenerator, random: Random) -> str:
    """Return a string for the property `name` that matches the keywords of a schema as far as possible."""
    generate = _FORMATS.get(schema.get("format", ""))
    if generate is not None:
        return generate(random)
    min_length: int = schema.get("minLength") or 0
    max_length: int = schema.get("maxLength", 1 << 20)
    if "pattern" in schema:
        return _matching(schema["pattern"], min_length, max_length, random)
    text = strings.text(name)
    if schema.get("contentEncoding") == "base64" or schema.get("format") in ("byte", "base64"):
        return base64.b64encode(text.encode()).decode()
    if len(text) < min_length:
        text = (f"{text} " * (min_length // (len(text) + 1) + 1))[:min_length]
    return text[:max_length]


def generate_number(schema: Mapping[str, Any], random: Random, *, whole: bool) -> float:
    """Return a number within the bounds of a schema; an integer if `whole`."""
    low, high = _bounds(schema, whole=whole)
    step: float = schema.get("multipleOf") or (1 if whole else 0)
    if step:
        count = random.randint(math.ceil(low / step), max(math.ceil(low / step), math.floor(high / step)))
        value = count * step
        return int(value) if whole or value == int(value) else value
    value = low + (high - low) * random.uniform(0.1, 0.9)
    rounded = round(value, 2)
    return rounded if low < rounded < high else value


def _bounds(schema: Mapping[str, Any], *, whole: bool) -> tuple[float, float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is not None and (low is None or above >= low):
        low = math.floor(above) + 1 if whole else above
    if below is not None and (high is None or below <= high):
        high = math.ceil(below) - 1 if whole else below
    span = max(100, schema.get("multipleOf") or 0)
    if low is None:
        low = 0 if high is None or high >= 1 else high - span
    if high is None:
        high = low + span
    return low, high


def _matching(pattern: str, min_length: int, max_length: int, random: Random) -> str:
    text = ""
    for _ in range(30):
        text: str = rstr.Rstr(random).xeger(pattern)
        if min_length <= len(text) <= max_length and re.search(pattern, text):
            break
    return text


def _moment(random: Random) -> datetime:
    return _EPOCH + timedelta(seconds=random.randrange(86_400 * 365))


def _day(random: Random) -> date:
    return _moment(random).date()


def _time_of_day(random: Random) -> time:
    return _moment(random).timetz()


_FORMATS: dict[str, Callable[[Random], str]] = {
    "date-time": lambda random: _moment(random).isoformat().replace("+00:00", "Z"),
    "date": lambda random: _day(random).isoformat(),
    "time": lambda random: _time_of_day(random).isoformat().replace("+00:00", "Z"),
    "duration": lambda random: f"PT{random.randint(1, 3600)}S",
    "uuid": lambda random: str(uuid.UUID(int=random.getrandbits(128), version=4)),
    "email": lambda random: f"emulated{random.randint(1, 999)}@example.com",
    "uri": lambda random: f"https://example.com/emulated/{random.randint(1, 999)}",
    "hostname": lambda random: f"emulated{random.randint(1, 999)}.example.com",
    "ipv4": lambda random: f"192.0.2.{random.randint(1, 254)}",
    "ipv6": lambda random: f"2001:db8::{random.randint(1, 0xFFFF):x}",
    "json-pointer": lambda random: f"/emulated/{random.randint(1, 999)}",
}
