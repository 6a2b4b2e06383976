"""What an account has: models and their capabilities, uploaded files, credits."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Annotated, Any, cast

from pydantic import model_validator

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.models.base import NullAsEmpty, WireModel

Capabilities = Mapping[str, frozenset[str]]
"""For each model's id, what it takes: `text`, `vision`, `video`, `audio`, `file`."""


class Model(WireModel):
    """A model that a key may use (contract §6). Capabilities: `text`, `vision`, `video`, `audio`, `file`."""

    id: str
    object: str = "model"
    capabilities: Annotated[tuple[str, ...], NullAsEmpty] = ()


class UploadedFile(WireModel):
    """A file that FoxAPI keeps for 72 hours (contract §7)."""

    id: str | None = None
    filename: str | None = None
    url: str
    size: int | None = None
    created: int | None = None


class Credits(WireModel):
    """Balance and use of a key.

    FoxAPI does not publish the names of these fields: the first likely name of a number is taken for each, and every
    field is kept as it came.
    """

    balance: float | None = None
    used: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_any_likely_name(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = dict(cast("Mapping[str, Any]", data))
        nested = fields.get("data")
        sources = [fields, cast("Mapping[str, Any]", nested)] if isinstance(nested, Mapping) else [fields]
        return {
            **fields,
            "balance": _first_number(
                sources, ("balance", "credits", "remaining", "remaining_credits", "available", "total_available")
            ),
            "used": _first_number(sources, ("used", "used_credits", "total_used", "credits_used")),
        }


def _first_number(sources: Iterable[Mapping[str, Any]], names: Iterable[str]) -> float | None:
    for source, name in product(sources, names):
        value = source.get(name)
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.models")
