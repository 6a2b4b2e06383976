"""Removal of API keys from text that is logged, raised or stored."""

from __future__ import annotations

import re
from typing import Any, cast

_SECRET = re.compile(r"\b(sk-|Bearer\s+)[^\s\"'<>,]{4,}")


def redacted(text: str) -> str:
    """Return the text with each API key and bearer token cut off."""
    return _SECRET.sub(r"\1…", text)


def redacted_data(value: Any) -> Any:
    """Return JSON data with each API key and bearer token in its strings cut off."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, list):
        return [redacted_data(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {name: redacted_data(item) for name, item in cast("dict[str, Any]", value).items()}
    return value
