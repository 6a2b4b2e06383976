"""Base classes of the data models, and types for values that FoxAPI may send as null."""

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.errors import InvalidRequest

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

# Metadata is never a reason to withhold an answer that is paid for: these read what they can, and drop the rest.

_LATEST = 253_402_300_799
_MOST_TOKENS = 2**53
_DEEPEST = 100


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(ValueError, OverflowError):
        number = float(value)
        return None if math.isnan(number) else number
    return math.inf if isinstance(value, int) and value > 0 else None


def _unix_seconds(value: Any) -> int | None:
    number = _number(value)
    if number is None and isinstance(value, str):
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(value.strip())
            number = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    # Milliseconds, microseconds and nanoseconds since 1970 lie behind every date of the calendar.
    for unit in (1, 1e3, 1e6, 1e9):
        if number is not None and 0 <= number / unit <= _LATEST / 10:
            return int(number / unit)
    return None


def _progress(value: Any) -> int | float:
    number = _number(value.strip().removesuffix("%") if isinstance(value, str) else value)
    if number is None:
        return 0
    if isinstance(value, int | float) and 0 <= number <= 100:
        return value
    return min(max(number, 0.0), 100.0)


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= _MOST_TOKENS else None


def _position(value: Any) -> int:
    return _count(value) or 0


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        # Half of a surrogate pair is no text for pydantic.
        return value.encode("utf-8", "replace").decode()
    return str(value) if isinstance(value, float) or (isinstance(value, int) and _count(value) is not None) else None


def _object(value: Any) -> Any:
    return cast("dict[str, Any]", value) if isinstance(value, dict | BaseModel) else None


def limited_depth(value: Any, depth: int = _DEEPEST) -> Any:
    """Return JSON data whose parts below a depth are replaced by their JSON text.

    Args:
        value: The data.
        depth: How many levels stay as they are.
    """
    if not isinstance(value, dict | list | tuple):
        return value
    if depth == 0:
        try:
            return json.dumps(value)
        except RecursionError:
            return None
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {name: limited_depth(item, depth - 1) for name, item in fields.items()}
    return [limited_depth(item, depth - 1) for item in cast("list[Any]", value)]


def is_too_deep(value: Any) -> bool:
    """Return whether JSON data has more levels than `limited_depth` leaves."""
    level: list[Any] = [value]
    for _ in range(_DEEPEST + 1):
        dicts = [cast("dict[str, Any]", item).values() for item in level if isinstance(item, dict)]
        lists = [cast("list[Any]", item) for item in level if isinstance(item, list | tuple)]
        level = [part for parts in (*dicts, *lists) for part in parts]
    return bool(level)


def _or_assistant(value: Any) -> str:
    return value if isinstance(value, str) else "assistant"


def _reading(reader: Callable[[Any], Any]) -> BeforeValidator:
    # cloudpickle takes a function within a function into the pickle of a class that was parametrized within a function.
    # There it works with version 0.1.0 as well, which lacks the functions above.
    name = reader.__name__

    def read(value: Any) -> Any:
        import prefect_foxapi.models as models

        function: Callable[[Any], Any] | None = getattr(getattr(models, "base", None), name, None)
        return value if function is None else function(value)

    return BeforeValidator(read)


LenientSeconds = Annotated[int | None, _reading(_unix_seconds)]
"""Unix seconds, which may come as a float, in another unit, or as ISO 8601."""

LenientProgress = Annotated[int | float, _reading(_progress)]
"""Percent, which may come as text."""

LenientCount = Annotated[int | None, _reading(_count)]
"""A number of tokens."""

LenientIndex = Annotated[int, _reading(_position)]
"""The index of a choice."""

LenientText = Annotated[str | None, _reading(_text)]
"""Text that may come as a number."""

LenientRole = Annotated[str, _reading(_or_assistant)]
"""The role of an answer."""

ObjectOrNone = _reading(_object)
"""Annotates an object in whose place other data may come, which is dropped."""


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


MEDIA_HELPERS = {"image_url": "image", "video_url": "video", "audio_url": "audio", "file_url": "document"}
"""The helper that makes each kind of attachment."""


def as_invalid_request(error: ValidationError) -> InvalidRequest:
    """Return the error that names the first wrong field by its path in the body.

    Args:
        error: What pydantic found.
    """
    known = {"system", "user", "assistant", "tool", "text", "image_url", "video_url", "audio_url", "file_url"}
    found: list[tuple[str, str, bool]] = []
    for item in error.errors(include_url=False, include_context=False):
        path = _body_path(item["loc"], known)
        message = item["msg"].removeprefix("Value error, ")
        if not path and ": " in message:
            path, message = message.split(": ", 1)
        if item["type"] == "string_pattern_mismatch" or (item["type"] == "missing" and path.endswith(".url")):
            helper = MEDIA_HELPERS.get(path.split(".")[-2], "image")
            message = f"a part needs a URL: http(s)://…, data:…, or a local file through {helper}(Path(…))"
        elif item["type"] == "missing":
            message = "is missing; give it"
        found.append((path, message, item["type"] in {"string_type", "tuple_type"}))
    # A union reports each of its alternatives: the one that was meant failed deepest, or not by its type.
    path, message, _ = min(found, key=lambda entry: (-entry[0].count("."), entry[2]))
    return InvalidRequest(f"{path}: {message}" if path else message, field=path or None)


def _body_path(location: tuple[int | str, ...], tags: set[str]) -> str:
    # pydantic's location also names the alternatives of unions.
    names: list[str] = []
    for index, name in enumerate(location):
        previous = location[index - 1] if index else None
        if isinstance(name, str) and (name in tags and isinstance(previous, int)):
            continue
        if isinstance(name, str) and (name in {"str", "constrained-str", "int", "float"} or "[" in name):
            continue
        names.append(str(name))
    return ".".join(names)


# Results that version 0.1.0 stored name these by this path.
keep_stored_path(globals(), "prefect_foxapi.models")
