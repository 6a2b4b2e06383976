"""The JSON schema of an output type, and the instance of it in an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import override

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.errors import InvalidRequest

_FENCE = re.compile(r"\A\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_REMEMBERED_SCHEMAS = 256

_parses_answer: ContextVar[bool] = ContextVar("parses_answer", default=False)


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
        token = _parses_answer.set(True)
        try:
            return self._parse(text)
        finally:
            _parses_answer.reset(token)

    def _parse(self, text: str) -> Any:
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


def is_parsing_answer() -> bool:
    """Return whether an answer is being validated, and not a stored record."""
    return _parses_answer.get()


def output_schema(output_type: Any) -> OutputSchema:
    """Return the JSON schema of an output type.

    Args:
        output_type: A pydantic model, or another type that `pydantic.TypeAdapter` accepts.

    Raises:
        InvalidRequest: pydantic has no JSON schema for the type.
    """
    return _remembered_schema(_Exactly(_parts_of(output_type), output_type))


@dataclass(frozen=True)
class _Exactly:
    """An output type that equals no other one: `int | str == str | int`, but their schemas differ."""

    parts: Any
    output_type: Any = field(compare=False)


@dataclass(frozen=True, eq=False)
class _Same:
    """Equal for the same object only."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _parts_of(output_type: Any) -> Any:
    """Return a type by its identity, and a generic one by its parts, in their order."""
    arguments = get_args(output_type)
    if not arguments:
        return _Same(output_type)
    return (type(output_type), _Same(get_origin(output_type)), *(_parts_of(argument) for argument in arguments))


@lru_cache(maxsize=_REMEMBERED_SCHEMAS)
def _remembered_schema(exactly: _Exactly) -> OutputSchema:
    output_type = exactly.output_type
    try:
        adapter = TypeAdapter[Any](output_type)
        schema = adapter.json_schema(schema_generator=_SchemaGenerator)
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


class _SchemaGenerator(GenerateJsonSchema):
    """Writes sets in default values in the same order in every process, which hashes strings differently."""

    @override
    def encode_default(self, dft: Any) -> Any:
        if not _has_unordered(dft):
            return super().encode_default(dft)
        if isinstance(dft, BaseModel):
            return self.encode_default(dft.model_dump(by_alias=True))
        if isinstance(dft, Mapping):
            fields = cast("Mapping[Any, Any]", dft)
            return {name: self.encode_default(item) for name, item in fields.items()}
        items = [self.encode_default(item) for item in dft]
        return sorted(items, key=_as_text) if isinstance(dft, set | frozenset) else items


def _has_unordered(value: Any) -> bool:
    """Return whether a value has a set in it whose order depends on the process. That of numbers does not."""
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, Mapping):
        value = list(cast("Mapping[Any, Any]", value).values())
    if isinstance(value, list | tuple):
        return any(_has_unordered(item) for item in cast("list[Any]", value))
    if isinstance(value, set | frozenset):
        return not all(isinstance(item, int | float) for item in cast("set[Any]", value))
    return False


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


# Pickles of version 0.1.0 name these by this path.
keep_stored_path(globals(), "prefect_foxapi.output")
