"""Base classes of the data models, and types for values that FoxAPI may send as null."""

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from prefect_foxapi.compatibility import keep_stored_function

Random = Callable[[], float]
"""Returns a random number in [0, 1), as `random.random` does."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

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


def null_as_empty(value: Any) -> Any:
    """Return an empty tuple for None, and any other value itself."""
    return () if value is None else value


def null_as_zero(value: Any) -> Any:
    """Return 0 for None, and any other value itself."""
    return 0 if value is None else value


NullAsEmpty = BeforeValidator(null_as_empty)
"""Annotates a tuple that FoxAPI may send as null."""

Index = Annotated[int, BeforeValidator(null_as_zero)]


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


keep_stored_function(checked_generation_id, "prefect_foxapi.models", "checked_generation_id")
keep_stored_function(null_as_empty, "prefect_foxapi.models", "_or_empty")
keep_stored_function(null_as_zero, "prefect_foxapi.models", "_or_first")
