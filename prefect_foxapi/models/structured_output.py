"""Structured output: how an instance of an output type is stored, and the error for an answer that is not one."""

from __future__ import annotations

import importlib
import ipaddress
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import is_dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path, PurePath
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import pydantic
from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.errors import OutputInvalid

if TYPE_CHECKING:
    from prefect_foxapi.models.generations import Generation

_TYPE, _VALUE = "__type__", "__value__"
_COLLECTIONS: frozenset[Any] = frozenset({tuple, set, frozenset})
OBEYED_BY_PREFECT = frozenset({"__class__", "__exc_type__", "__prefect_kind"})
"""Keys in JSON data that Prefect's serializer, or its server in the parameters of a run, takes for an instruction."""
_RESERVED = OBEYED_BY_PREFECT | {_TYPE}

# Types of pydantic of which no value is an instance.
_MADE_FROM: dict[Any, tuple[Any, ...]] = {
    **dict.fromkeys((pydantic.AwareDatetime, pydantic.NaiveDatetime), (datetime,)),
    **dict.fromkeys((pydantic.PastDatetime, pydantic.FutureDatetime), (datetime,)),
    **dict.fromkeys((pydantic.PastDate, pydantic.FutureDate), (date,)),
    pydantic.IPvAnyAddress: (ipaddress.IPv4Address, ipaddress.IPv6Address),
    pydantic.IPvAnyInterface: (ipaddress.IPv4Interface, ipaddress.IPv6Interface),
    pydantic.IPvAnyNetwork: (ipaddress.IPv4Network, ipaddress.IPv6Network),
}

FindClass = Callable[[str, str], Any]
"""Returns the class for a name and the JSON pointer where it stands, or None."""

_type_sources: list[Callable[[], list[Any]]] = []


def encode_value(value: Any) -> tuple[Any, dict[str, str]]:
    """Return a value as JSON data, and the classes of its parts by JSON pointer.

    The data names the classes as well, since version 0.1.0 looks for them there. `decode_value` does not obey those.

    Args:
        value: An instance of an output type.
    """
    types: dict[str, str] = {}
    return _encode(value, "", types), types


def _encode(value: Any, at: str, types: dict[str, str]) -> Any:
    kind = cast("Any", type(value))
    if value is None or kind in {str, int, float, bool}:
        return value
    if kind is list:
        return [_encode(item, f"{at}/{index}", types) for index, item in enumerate(value)]
    if kind is dict:
        if all(type(key) is str and key not in _RESERVED for key in value):
            return {key: _encode(item, _below(at, key), types) for key, item in value.items()}
        # Other keys than strings, and names that a decoder obeys, are stored as values.
        kind, value = dict, [list(pair) for pair in value.items()]
    elif kind in _COLLECTIONS:
        value = list(value)
    elif isinstance(value, BaseModel) and _is_generic(value.__pydantic_generic_metadata__["origin"] or kind):
        # A parametrized class cannot be imported by its name, so each value names its own class.
        kind, value = value.__pydantic_generic_metadata__["origin"] or kind, dict(value)
    else:
        # By field names: an alias may serve for validation only, or for serialization only.
        content = TypeAdapter[Any](kind).dump_python(value, mode="json", round_trip=True, by_alias=False)
        types[at] = _stored_name(kind)
        return {_TYPE: types[at], _VALUE: content}
    types[at] = _stored_name(kind)
    return {_TYPE: types[at], _VALUE: _encode(value, _below(at, _VALUE), types)}


def decode_value(value: Any, find: FindClass | None = None, at: str = "") -> Any:
    """Return the value that `encode_value` encoded. Data whose class is not found is returned as it is.

    Args:
        value: JSON data.
        find: Returns the class of a part, or None. The default is for pickles of version 0.1.0, which call this
            function with a value alone: it finds what the running task declares.
        at: The JSON pointer to the data.

    Raises:
        ValueError: A class cannot be imported by the name it was stored with.
    """
    find = find or find_declared(*declared_types())
    if type(value) is list:
        return [decode_value(item, find, f"{at}/{index}") for index, item in enumerate(cast("list[Any]", value))]
    if type(value) is not dict:
        return value
    data = cast("dict[str, Any]", value)
    kind = find(data[_TYPE], at) if set(data) == {_TYPE, _VALUE} and type(data[_TYPE]) is str else None
    if kind is None:
        return {key: decode_value(item, find, _below(at, key)) for key, item in data.items()}
    content = data[_VALUE]
    if kind is dict or kind in _COLLECTIONS:
        return cast("Any", kind)(decode_value(content, find, _below(at, _VALUE)))
    if _is_generic(kind):
        return kind.model_construct(**decode_value(content, find, _below(at, _VALUE)))
    return TypeAdapter(kind).validate_json(json.dumps(content), by_alias=False, by_name=True)


def declared_types() -> list[Any]:
    """Return the types that the running task declares for its result."""
    return [declared for source in _type_sources for declared in source()]


def add_type_source(source: Callable[[], list[Any]]) -> None:
    """Let `declared_types` ask another function, since the models do not know what runs a task.

    Args:
        source: Returns the types that the running task declares, or an empty list.
    """
    _type_sources.append(source)


def find_recorded(types: dict[str, str]) -> FindClass:
    """Return a function that finds a class where a record names it apart from the data, and the data agrees.

    Args:
        types: Names of classes by JSON pointer, from `encode_value`.
    """
    return lambda name, at: _find_class(name) if types.get(at) == name else None


def find_declared(*declared: Any) -> FindClass:
    """Return a function that finds the classes of which values of the declared types consist. It imports nothing.

    Args:
        *declared: Types.
    """
    classes = cache(lambda: _classes_in(*declared))
    return lambda name, at: classes().get(name)


def _classes_in(*declared: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: list[Any] = []
    pending = list(declared)
    while pending:
        item = pending.pop()
        if any(item is other for other in seen):
            continue
        seen.append(item)
        pending += _parts_of(item)
        if isinstance(item, type):
            found |= {_stored_name(kind): kind for kind in _instances_of(cast("Any", item))}
    return found


def _parts_of(item: Any) -> list[Any]:
    """Return the types that a type names: its arguments, fields, bounds, and what it stands for."""
    origin = get_origin(item)
    if origin is Literal:
        return [type(member) for member in get_args(item)]
    if origin is not None:
        return [item.__origin__] if origin is Annotated else [origin, *get_args(item)]
    if isinstance(item, TypeVar):
        return [item.__bound__, *item.__constraints__]
    if hasattr(item, "__pydantic_generic_metadata__"):
        # The annotations of its fields are resolved, and parametrized.
        fields = item.model_fields.values()
        return [item.__pydantic_generic_metadata__["origin"], *(field.annotation for field in fields)]
    if is_dataclass(item) or is_typeddict(item) or hasattr(item, "_fields"):
        # An annotation that cannot be evaluated declares nothing.
        with suppress(Exception):
            return list(get_type_hints(item, include_extras=True).values())
    # `type X = …`, NewType.
    return [getattr(item, name) for name in ("__value__", "__supertype__") if hasattr(item, name)]


def _instances_of(kind: Any) -> list[Any]:
    """Return the classes of the instances that pydantic makes of a type."""
    made = [kind, *_MADE_FROM.get(kind, ())]
    with suppress(TypeError):
        made += [collection for collection in (dict, *_COLLECTIONS) if issubclass(collection, kind)]
        made += [type(path()) for path in (PurePath, Path) if issubclass(kind, PurePath)]
    return made


def _is_generic(kind: type[Any]) -> bool:
    return issubclass(kind, BaseModel) and bool(kind.__pydantic_generic_metadata__["parameters"])


def _stored_name(kind: type[Any]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _below(at: str, key: str) -> str:
    return f"{at}/{key.replace('~', '~0').replace('/', '~1')}"


def _find_class(path: str) -> Any:
    module_name, _, qualified = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in qualified.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"cannot find the class {path!r} of a stored value: define it in a module that can be imported"
        ) from error
    if not isinstance(found, type):
        raise ValueError(f"{path!r} is not a class")
    return cast("Any", found)


def output_invalid(generation: Generation[Any], expected: str, error: ValidationError) -> OutputInvalid:
    """Return the error for an answer that does not validate.

    Args:
        generation: The generation, whose `parsed` is empty.
        expected: What the answer should have been, with its article: "a chat completion".
        error: What pydantic found.
    """
    cut_off = ' (it was cut off: finish_reason is "length"; raise max_tokens)'
    return OutputInvalid(
        f"the answer of generation {generation.generation_id} is not {expected}"
        f"{cut_off if generation.finish_reason == 'length' else ''}: {error.error_count()} errors; the answer is in "
        "this error's `generation`, and sample=1 asks for another one",
        text=generation.text,
        errors=[dict(item) for item in error.errors(include_url=False, include_context=False)],
        generation=generation,
        generation_id=generation.generation_id,
    )


# Pickles of version 0.1.0 name these by this path.
keep_stored_path(globals(), "prefect_foxapi.output")
