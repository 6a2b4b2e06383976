"""Strings and numbers that fit a JSON schema."""

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

_SHORT = 60
_TITLES = ("title", "name", "label", "headline", "heading", "id", "source", "filename", "file", "item")
_WORDS = ("tags", "keywords", "labels", "topics", "categories")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Writer:
    """Writes the free strings of an instance.

    Args:
        facts: What to state.
        note: What to say where there are no facts.
        marked: Whether texts of facts say that they are emulated.
    """

    def __init__(self, facts: Sequence[str], note: str, *, marked: bool = True) -> None:
        self._facts = facts
        self._note = note
        self._marked = marked

    @property
    def facts(self) -> Sequence[str]:
        """What to state."""
        return self._facts

    def about(self, fact: str) -> Writer:
        """A writer for the item of a list that is about one fact."""
        return Writer([fact], self._note, marked=False)

    def text(self, name: str) -> str:
        """The text of the property `name`."""
        key = name.lower()
        if not self._facts:
            return self._note[:_SHORT].rstrip() if key in _TITLES else self._note
        if "sha" in key or "digest" in key or "hash" in key:
            return digest_in(self._facts) or self._facts[0]
        if "media_type" in key or "mime" in key:
            return media_type_in(self._facts) or self._facts[0]
        if key in ("kind", "type"):
            return kind_in(self._facts) or self._facts[0]
        if key in _TITLES:
            single = self._facts[0].partition(": ")[0] if len(self._facts) == 1 else self._note
            return single[:_SHORT].rstrip()
        return f"{'[emulated] ' if self._marked else ''}{'; '.join(self._facts)}"

    def words(self, name: str) -> Sequence[str]:
        """What the items of a list of strings called `name` say, one each."""
        if name.lower() not in _WORDS:
            return self._facts
        return list(dict.fromkeys(["emulated", *filter(None, (kind_in([fact]) for fact in self._facts))]))


def string_for(schema: Mapping[str, Any], name: str, writer: Writer, random: Random) -> str:
    """A string that fits the schema, as nearly as its keywords allow."""
    make = _FORMATS.get(schema.get("format", ""))
    if make is not None:
        return make(random)
    least: int = schema.get("minLength") or 0
    most: int = schema.get("maxLength", 1 << 20)
    if "pattern" in schema:
        return _matching(schema["pattern"], least, most, random)
    text = writer.text(name)
    if schema.get("contentEncoding") == "base64" or schema.get("format") in ("byte", "base64"):
        return base64.b64encode(text.encode()).decode()
    if len(text) < least:
        text = (f"{text} " * (least // (len(text) + 1) + 1))[:least]
    return text[:most]


def number_for(schema: Mapping[str, Any], random: Random, *, whole: bool) -> float:
    """A number within the schema's bounds."""
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


def _matching(pattern: str, least: int, most: int, random: Random) -> str:
    text = ""
    for _ in range(30):
        text: str = rstr.Rstr(random).xeger(pattern)
        if least <= len(text) <= most and re.search(pattern, text):
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
