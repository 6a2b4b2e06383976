"""Base classes of the data models, and types for values that FoxAPI may send as null."""

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from prefect_foxapi.compatibility import keep_stored_path

Random = Callable[[], float]
"""Returns a random number in [0, 1), as `random.random` does."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

LONGEST = 1e9
"""Seconds above which a time limit is refused: thirty years, which every clock can add to its time."""


def is_time_limit(value: Any) -> bool:
    """Return whether a value is a positive number of seconds, at most `LONGEST`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST


def shown(value: Any) -> str:
    """Return the `repr` of a value for an error message: shortened, and of a value without one its type."""
    try:
        text = repr(value)
    except Exception:
        # Python refuses to write whole numbers of more than 4,300 digits.
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN = 80
_GENERATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,255}")


def checked_generation_id(value: str) -> str:
    """Return a generation id if it is safe as a segment of a URL path.

    Args:
        value: The id.

    Raises:
        ValueError: It has characters that an id cannot have.
    """
    if not _GENERATION_ID.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is not a generation id: expected letters, digits and . _ : - only")
    return value


GenerationId = Annotated[str, AfterValidator(checked_generation_id)]


# Pickles of version 0.1.0 name these two functions.
def _or_empty(value: Any) -> Any:
    return () if value is None else value


def _or_first(value: Any) -> Any:
    return 0 if value is None else value


NullAsEmpty = BeforeValidator(_or_empty)
"""Annotates a tuple that FoxAPI may send as null."""

Index = Annotated[int, BeforeValidator(_or_first)]


class WireModel(BaseModel):
    """The base of all data of FoxAPI: frozen, and unknown fields are kept."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class RequestModel(WireModel):
    """The base of requests: fields that are not set are not sent, except `type` and `role`."""

    def model_post_init(self, context: Any, /) -> None:
        """Mark `type` and `role` as set."""
        for name in ("type", "role"):
            if name in type(self).model_fields:
                self.__pydantic_fields_set__.add(name)


class PolicyModel(BaseModel):
    """The base of policies: frozen, and unknown options are refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


# Results that version 0.1.0 stored name these by this path.
keep_stored_path(globals(), "prefect_foxapi.models")
