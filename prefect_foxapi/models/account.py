"""The data of an account: models and their capabilities, uploaded files, credits."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Annotated, Any, cast

from pydantic import model_validator

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.models.base import NullAsEmpty, WireModel

Capabilities = Mapping[str, frozenset[str]]
"""The capabilities of each model, by its id: `text`, `vision`, `video`, `audio`, `file`."""


class Model(WireModel):
    """A model that an API key may use.

    Attributes:
        id: The name that a request gives.
        object: The type of the object, `model`.
        capabilities: Kinds of content that the model accepts: `text`, `vision`, `video`, `audio`, `file`.
    """

    id: str
    object: str = "model"
    capabilities: Annotated[tuple[str, ...], NullAsEmpty] = ()


class UploadedFile(WireModel):
    """An uploaded file, which FoxAPI keeps for 72 hours.

    Attributes:
        id: FoxAPI's id of the file.
        filename: The name it was uploaded with.
        url: The URL that an attachment gives.
        size: Its size in bytes.
        created: When it was uploaded, in Unix seconds.
    """

    id: str | None = None
    filename: str | None = None
    url: str
    size: int | None = None
    created: int | None = None


class Credits(WireModel):
    """Balance and usage of an API key.

    FoxAPI does not document the fields of this response, so each attribute is read from the first of several likely
    names that has a number. All fields of the response are kept as extra attributes.

    Attributes:
        balance: Credits that are left, or None.
        used: Credits that were used, or None.
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
