"""A value as JSON data that names the class of each of its parts, so that two versions can compare what they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, cast

from pydantic import BaseModel


def describe(value: Any) -> Any:
    """Return `value` as JSON data with the module and the name of each class in it."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if type(value) is list:
        return [describe(item) for item in value]
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: describe(item) for key, item in value.items()}
    return {"class": _name_of(type(value)), "state": _state(value)}


def _name_of(kind: type[Any]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _state(value: Any) -> Any:
    if isinstance(value, BaseModel):
        # With extra fields: `dict` iterates over all of them.
        return {name: describe(item) for name, item in dict(value).items()}
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: describe(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Exception):
        return {"args": describe(list(value.args)), **{name: describe(item) for name, item in vars(value).items()}}
    if isinstance(value, date | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return [[describe(key), describe(item)] for key, item in items]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, cast("set[Any]", value)))
    if isinstance(value, tuple):
        return [describe(item) for item in cast("tuple[Any, ...]", value)]
    raise TypeError(f"cannot describe {type(value)}")


def known_part(recorded: Any, found: Any) -> Any:
    """Return `found` without the fields that `recorded` does not have: a newer version may add some."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        then, now = cast("dict[str, Any]", recorded), cast("dict[str, Any]", found)
        return {name: known_part(then[name], item) for name, item in now.items() if name in then}
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(cast("list[Any]", found)):
        return [known_part(a, b) for a, b in zip(cast("list[Any]", recorded), cast("list[Any]", found), strict=True)]
    return found
