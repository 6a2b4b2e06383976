"""Structured output: the JSON schema of an output type, its instance in an answer, and how an instance is stored."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.errors import InvalidRequest, OutputInvalid

if TYPE_CHECKING:
    from prefect_foxapi.models.generations import Generation

_FENCE = re.compile(r"\A\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_TYPE, _VALUE = "__type__", "__value__"
_COLLECTIONS: frozenset[Any] = frozenset({tuple, set, frozenset})


@dataclass(frozen=True)
class OutputSchema:
    """The JSON schema of an output type.

    FoxAPI requires an object as the root of a schema, so any other type is the property `value` of an object.

    Attributes:
        adapter: Validates instances.
        name: The schema's name.
        schema: The JSON schema.
        wrapped: Whether the instance is the property `value` of an object.
    """

    adapter: TypeAdapter[Any]
    name: str
    schema: dict[str, Any]
    wrapped: bool

    def response_format(self) -> dict[str, Any]:
        """Return the request's `response_format` for this schema."""
        return {"type": "json_schema", "json_schema": {"name": self.name, "schema": self.schema}}

    def parse(self, text: str) -> Any:
        """Return the instance in an answer. A Markdown fence around the JSON is removed.

        Args:
            text: The answer's text.

        Raises:
            pydantic.ValidationError: The text does not validate.
        """
        fenced = _FENCE.match(text)
        source = fenced.group(1) if fenced else text
        if not self.wrapped:
            return self.adapter.validate_json(source)
        envelope = TypeAdapter(dict[str, Any]).validate_json(source)
        if "value" not in envelope:
            raise ValidationError.from_exception_data(
                self.name, [{"type": "missing", "loc": ("value",), "input": envelope}]
            )
        # Validated as JSON: only then is a string accepted as a date, and a list as a tuple.
        return self.adapter.validate_json(json.dumps(envelope["value"]))


def output_schema(output_type: Any) -> OutputSchema:
    """Return the JSON schema of an output type.

    Args:
        output_type: A pydantic model, or another type that `pydantic.TypeAdapter` accepts.

    Raises:
        InvalidRequest: pydantic has no JSON schema for the type.
    """
    try:
        return _hashable_output_schema(output_type)
    except TypeError:
        return _output_schema(output_type)


def _output_schema(output_type: Any) -> OutputSchema:
    try:
        adapter = TypeAdapter[Any](output_type)
        schema = adapter.json_schema()
    except PydanticUserError as error:
        raise InvalidRequest(
            f"output_type: pydantic cannot make a JSON schema of {output_type!r} ({error.message.splitlines()[0]}); "
            "give a pydantic model or a type that TypeAdapter takes",
            field="output_type",
        ) from error
    name = re.sub(r"[^A-Za-z0-9_-]", "_", str(schema.get("title") or getattr(output_type, "__name__", "output")))[:64]
    wrapped = schema.get("type") != "object" and "$ref" not in schema
    if wrapped:
        definitions = schema.pop("$defs", None)
        schema = {
            "type": "object",
            "properties": {"value": schema},
            "required": ["value"],
            "additionalProperties": False,
        }
        if definitions:
            schema["$defs"] = definitions
    return OutputSchema(adapter, name or "output", schema, wrapped)


_hashable_output_schema = lru_cache(maxsize=256)(_output_schema)


def encode_value(value: Any) -> Any:
    """Return a value as JSON data that names the classes of its parts.

    Args:
        value: An instance of an output type.
    """
    kind = cast("Any", type(value))
    if value is None or kind in {str, int, float, bool}:
        return value
    if kind is list:
        return [encode_value(item) for item in value]
    if kind is dict:
        pairs = [[encode_value(key), encode_value(item)] for key, item in value.items()]
        # Other keys than strings, and the reserved name, are stored as values.
        return dict(pairs) if all(type(key) is str and key != _TYPE for key in value) else _tagged(dict, pairs)
    if kind in _COLLECTIONS:
        return _tagged(kind, [encode_value(item) for item in value])
    if isinstance(value, BaseModel):
        generic = value.__pydantic_generic_metadata__["origin"] or kind
        if _is_generic(generic):
            # A parametrized class cannot be imported by its name, so each value names its own class.
            return _tagged(generic, encode_value(dict(value)))
    # By field names: an alias may serve for validation only, or for serialization only.
    return _tagged(kind, TypeAdapter[Any](kind).dump_python(value, mode="json", round_trip=True, by_alias=False))


def _is_generic(kind: type[Any]) -> bool:
    return issubclass(kind, BaseModel) and bool(kind.__pydantic_generic_metadata__["parameters"])


def _tagged(kind: type[Any], data: Any) -> dict[str, Any]:
    return {_TYPE: f"{kind.__module__}:{kind.__qualname__}", _VALUE: data}


def decode_value(value: Any) -> Any:
    """Return the value that `encode_value` encoded. Other JSON data is returned as it is.

    Args:
        value: JSON data.

    Raises:
        ValueError: A class cannot be imported by the name it was stored with.
    """
    if type(value) is list:
        return [decode_value(item) for item in cast("list[Any]", value)]
    if type(value) is not dict:
        return value
    data = cast("dict[Any, Any]", value)
    if set(data) != {_TYPE, _VALUE}:
        return {key: decode_value(item) for key, item in data.items()}
    kind, content = _find_class(data[_TYPE]), data[_VALUE]
    if kind in _COLLECTIONS:
        return kind([decode_value(item) for item in content])
    if kind is dict:
        return {decode_value(key): decode_value(item) for key, item in content}
    if _is_generic(kind):
        return kind.model_construct(**decode_value(content))
    return TypeAdapter(kind).validate_json(json.dumps(content), by_alias=False, by_name=True)


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
