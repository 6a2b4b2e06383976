"""A valid instance for a JSON schema, its strings filled with facts.

`jsonschema` says whether it is valid, `rstr` makes strings for patterns. Generators of whole
instances evaluate Python found in the schema, draw from the process's global random, or need a test framework.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any

import jsonschema
import referencing
import referencing.exceptions
import referencing.jsonschema

from prefect_foxapi.emulator.answers.schema_scalars import Writer, number_for, string_for
from prefect_foxapi.emulator.protocol.json_types import as_array, as_object

_DEEP = 5
_ATTEMPTS = 6
_TYPE_BY_KEYWORD = {
    "properties": "object",
    "additionalProperties": "object",
    "required": "object",
    "items": "array",
    "prefixItems": "array",
    "pattern": "string",
    "format": "string",
    "minLength": "string",
    "maxLength": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
}
Schema = Mapping[str, Any]


class UnusableSchema(ValueError):
    """The schema is not a JSON schema, or nothing fits it."""


def instance_for(schema: Any, *, seed: str, facts: Sequence[str], note: str) -> Any:
    """Make an instance.

    Args:
        schema: The JSON schema (2020-12).
        seed: The same seed gives the same instance.
        facts: Lines to put into its free strings, one for each item of a list.
        note: What free strings say where there are no facts.

    Raises:
        UnusableSchema: The schema is invalid, refers to elsewhere, or no valid instance was found.
    """
    root = as_object(schema)
    if root is None:
        raise UnusableSchema("the schema must be an object")
    validator = _validator(json.dumps(root))
    for attempt in range(_ATTEMPTS):
        # Later attempts leave out what is optional: less that can be wrong.
        builder = _Builder(root, Random(f"{seed}/{attempt}"), optional=attempt < _ATTEMPTS // 2)  # noqa: S311
        try:
            value = builder.build(root, "", Writer(facts, note), 0)
            if validator.is_valid(value):
                return value
        except referencing.exceptions.Unresolvable as error:
            raise UnusableSchema(f"the schema refers to what it does not have: {error}") from error
        except RecursionError:
            continue
    raise UnusableSchema("no instance was found for the schema")


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    root = json.loads(schema)
    try:
        jsonschema.Draft202012Validator.check_schema(root)
    except jsonschema.SchemaError as error:
        raise UnusableSchema(f"not a JSON schema: {error.message}") from error
    # With a registry of its own, jsonschema never fetches a schema from the network.
    return jsonschema.Draft202012Validator(root, registry=_registry())


class _Builder:
    def __init__(self, root: Schema, random: Random, *, optional: bool) -> None:
        self._root = root
        self._random = random
        self._optional = optional

    def build(self, schema: Any, name: str, writer: Writer, depth: int) -> Any:
        given = as_object(schema)
        if given is None:
            return writer.text(name)
        plain = self._plain(given, depth)
        if "const" in plain:
            return plain["const"]
        if "enum" in plain:
            return self._random.choice(plain["enum"])
        kind = self._type(plain)
        if kind == "object":
            return self._object(plain, writer, depth)
        if kind == "array":
            return self._array(plain, name, writer, depth)
        if kind == "string":
            return string_for(plain, name, writer, self._random)
        if kind in ("integer", "number"):
            return number_for(plain, self._random, whole=kind == "integer")
        if kind == "boolean":
            return self._random.random() < 0.5
        return None if kind == "null" else writer.text(name)

    def _plain(self, schema: Schema, depth: int) -> Schema:
        """The schema without references and alternatives."""
        for _ in range(50):
            rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
            if "$ref" in schema:
                schema = _merged(self._resolve(schema["$ref"]), rest)
            elif schema.get("allOf"):
                pieces = [self._plain(piece, depth) for piece in schema["allOf"]]
                schema = _merged(*pieces, {**schema, "allOf": None})
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                schema = _merged(rest, self._choose(options, depth))
            else:
                return schema
        raise UnusableSchema("the schema refers to itself without an end")

    def _choose(self, options: list[Any], depth: int) -> Schema:
        schemas: list[Schema] = [given for option in options if (given := as_object(option)) is not None] or [{}]
        nulls = [option for option in schemas if option.get("type") == "null"]
        others = [option for option in schemas if option.get("type") != "null"]
        if nulls and (depth >= _DEEP or not others):
            return nulls[0]
        if depth >= _DEEP:
            return next((option for option in others if "$ref" not in option), others[-1])
        return others[0]

    def _type(self, schema: Schema) -> str | None:
        kinds = as_array(schema.get("type"))
        if kinds is not None:
            return next((kind for kind in kinds if kind != "null"), "null")
        return schema.get("type") or next((_TYPE_BY_KEYWORD[key] for key in schema if key in _TYPE_BY_KEYWORD), None)

    def _object(self, schema: Schema, writer: Writer, depth: int) -> dict[str, Any]:
        properties: Schema = schema.get("properties") or {}
        required: list[str] = schema.get("required") or []
        extra = schema.get("additionalProperties", True)
        wanted = [name for name in properties if name in required or (self._optional and depth < _DEEP)]
        value = {name: self.build(properties[name], name, writer, depth + 1) for name in wanted}
        for name in required:
            if name not in value:
                value[name] = self.build(extra, name, writer, depth + 1)
        least: int = schema.get("minProperties") or (1 if isinstance(extra, dict) and self._optional else 0)
        names = self._names(schema.get("propertyNames") or {})
        while len(value) < least and depth < 2 * _DEEP:
            value[next(names)] = self.build(extra, "", writer, depth + 1)
        return value

    def _names(self, schema: Schema) -> Iterator[str]:
        yield from schema.get("enum") or ()
        number = 0
        while True:
            number += 1
            pattern = "pattern" in schema
            yield string_for(schema, "", Writer((), ""), self._random) if pattern else f"key_{number}"

    def _array(self, schema: Schema, name: str, writer: Writer, depth: int) -> list[Any]:
        fixed: list[Any] = schema.get("prefixItems") or []
        value = [self.build(item, name, writer, depth + 1) for item in fixed]
        items = schema.get("items", True)
        least: int = schema.get("minItems") or 0
        most: int = schema.get("maxItems", len(fixed) if fixed else max(least, 200))
        carriers = self._carriers(items, name, writer, depth)
        usual = 0 if depth >= _DEEP or fixed or not self._optional else len(carriers) or 2
        wanted = min(max(least, usual), most)
        seen = {json.dumps(item, sort_keys=True) for item in value}
        for turn in range(wanted * 20):
            if len(value) >= wanted or items is False:
                break
            item = self.build(items, name, self._item_writer(writer, carriers, turn), depth + 1)
            mark = json.dumps(item, sort_keys=True)
            if mark not in seen or not schema.get("uniqueItems"):
                seen.add(mark)
                value.append(item)
        return value

    def _item_writer(self, writer: Writer, carriers: Sequence[str], turn: int) -> Writer:
        if not carriers:
            return writer
        round_, place = divmod(turn, len(carriers))
        return writer.about(f"{carriers[place]} ({round_ + 1})" if round_ else carriers[place])

    def _carriers(self, items: Any, name: str, writer: Writer, depth: int) -> Sequence[str]:
        """What the items of a list say, one each: the facts, if they have room for text."""
        given = as_object(items)
        if given is None:
            return ()
        plain = self._plain(given, depth)
        kind = self._type(plain)
        free = kind == "string" and not {"enum", "const", "format", "pattern"} & plain.keys()
        if free:
            return writer.words(name)
        return writer.facts if kind == "object" else ()

    def _resolve(self, reference: str) -> Schema:
        return _registry(self._root).resolver("").lookup(reference).contents


def _registry(*roots: Schema) -> Any:
    resources = [("", referencing.jsonschema.DRAFT202012.create_resource(root)) for root in roots]
    registry: referencing.Registry[Any] = referencing.Registry()
    return registry.with_resources(resources)


def _merged(*schemas: Schema) -> Schema:
    merged: dict[str, Any] = {}
    for schema in schemas:
        properties: dict[str, Any] = {**(merged.get("properties") or {}), **(schema.get("properties") or {})}
        required: list[Any] = [*(merged.get("required") or []), *(schema.get("required") or [])]
        merged.update(schema)
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = required
    return merged
