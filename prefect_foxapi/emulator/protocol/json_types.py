"""Type guards for parsed JSON, and compact serialization."""

from __future__ import annotations

import json
from typing import Any, cast


def as_object(value: Any) -> dict[str, Any] | None:
    """Return `value` if it is a JSON object, else None."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def as_array(value: Any) -> list[Any] | None:
    """Return `value` if it is a JSON array, else None."""
    return cast("list[Any]", value) if isinstance(value, list) else None


def json_text(data: Any) -> str:
    """Return compact JSON that can be encoded as UTF-8.

    Characters stay as they are, unless there is half a surrogate pair, which UTF-8 cannot encode: then every character
    outside of ASCII is escaped.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(data, separators=(",", ":"))
    return text
