"""JSON: telling what was parsed, and writing it."""

from __future__ import annotations

import json
from typing import Any, cast


def as_object(value: Any) -> dict[str, Any] | None:
    """`value` if it is a JSON object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def as_array(value: Any) -> list[Any] | None:
    """`value` if it is a JSON array."""
    return cast("list[Any]", value) if isinstance(value, list) else None


def json_text(data: Any) -> str:
    """Compact JSON, readable where it can be: half a surrogate pair, which UTF-8 does not have, is escaped."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(data, separators=(",", ":"))
    return text
