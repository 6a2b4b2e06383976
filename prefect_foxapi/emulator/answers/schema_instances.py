"""Valid instances for JSON schemas, with attachment notes in their strings.

`jsonschema` validates the instances, `rstr` generates strings for patterns. The libraries that generate whole instances
evaluate Python code from the schema, use the global random generator of the process, or need a test framework.
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

from prefect_foxapi.emulator.answers.schema_scalars import StringGenerator, generate_number, generate_string
from prefect_foxapi.emulator.protocol.json_types import as_array, as_object

_MAX_DEPTH = 5
_MAX_REFERENCES = 50
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
    """The schema is invalid, or no valid instance was found."""


def generate_instance(schema: Any, *, seed: str, notes: Sequence[str], fallback: str) -> Any:
    """Return a valid instance of a schema.

    Args:
        schema: The JSON schema (2020-12).
        seed: The same seed gives the same instance.
        notes: Attachment notes to put into the strings; an array gets an item for each.
        fallback: The text of strings for which there are no notes.

    Raises:
        UnusableSchema: The schema is invalid or refers to another document, or no valid instance was found.
    """
    root = as_object(schema)
    if root is None:
        raise UnusableSchema("the schema must be an object")
    validator = _validator(json.dumps(root))
    for attempt in range(_ATTEMPTS):
        # Later attempts leave out optional properties, each of which can make the instance invalid.
        builder = _InstanceBuilder(root, Random(f"{seed}/{attempt}"), optional=attempt < _ATTEMPTS // 2)  # noqa: S311
        try:
            value = builder.build(root, "", StringGenerator(notes, fallback), 0)
            if validator.is_valid(value):
                return value
        except referencing.exceptions.Unresolvable as error:
            raise UnusableSchema(f"the schema has an unresolvable reference: {error}") from error
        except RecursionError:
            continue
    raise UnusableSchema("no valid instance was found for the schema")


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    root = json.loads(schema)
    try:
        jsonschema.Draft202012Validator.check_schema(root)
    except jsonschema.SchemaError as error:
        raise UnusableSchema(f"not a JSON schema: {error.message}") from error
    # An explicit registry keeps jsonschema from fetching referenced schemas over the network.
    return jsonschema.Draft202012Validator(root, registry=_registry())


class _InstanceBuilder:
    def __init__(self, root: Schema, random: Random, *, optional: bool) -> None:
        self._root = root
        self._random = random
        self._optional = optional

    def build(self, schema: Any, name: str, strings: StringGenerator, depth: int) -> Any:
        given = as_object(schema)
        if given is None:
            return strings.text(name)
        resolved = self._resolve(given, depth)
        if "const" in resolved:
            return resolved["const"]
        if "enum" in resolved:
            return self._random.choice(resolved["enum"])
        kind = _type_of(resolved)
        if kind == "object":
            return self._object(resolved, strings, depth)
        if kind == "array":
            return self._array(resolved, name, strings, depth)
        if kind == "string":
            return generate_string(resolved, name, strings, self._random)
        if kind in ("integer", "number"):
            return generate_number(resolved, self._random, whole=kind == "integer")
        if kind == "boolean":
            return self._random.random() < 0.5
        return None if kind == "null" else strings.text(name)

    def _resolve(self, schema: Schema, depth: int) -> Schema:
        """Return the schema without references and alternatives."""
        for _ in range(_MAX_REFERENCES):
            rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
            if "$ref" in schema:
                schema = _merge(self._lookup(schema["$ref"]), rest)
            elif schema.get("allOf"):
                parts = [self._resolve(part, depth) for part in schema["allOf"]]
                schema = _merge(*parts, {**schema, "allOf": None})
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                schema = _merge(rest, _choose(options, depth))
            else:
                return schema
        raise UnusableSchema("the schema refers to itself endlessly")

    def _lookup(self, reference: str) -> Schema:
        return _registry(self._root).resolver("").lookup(reference).contents

    def _object(self, schema: Schema, strings: StringGenerator, depth: int) -> dict[str, Any]:
        properties: Schema = schema.get("properties") or {}
        required: list[str] = schema.get("required") or []
        additional = schema.get("additionalProperties", True)
        names = [name for name in properties if name in required or (self._optional and depth < _MAX_DEPTH)]
        value = {name: self.build(properties[name], name, strings, depth + 1) for name in names}
        for name in required:
            if name not in value:
                value[name] = self.build(additional, name, strings, depth + 1)
        minimum: int = schema.get("minProperties") or (1 if isinstance(additional, dict) and self._optional else 0)
        new_names = self._new_names(schema.get("propertyNames") or {})
        while len(value) < minimum and depth < 2 * _MAX_DEPTH:
            value[next(new_names)] = self.build(additional, "", strings, depth + 1)
        return value

    def _new_names(self, schema: Schema) -> Iterator[str]:
        yield from schema.get("enum") or ()
        number = 0
        while True:
            number += 1
            if "pattern" in schema:
                yield generate_string(schema, "", StringGenerator((), ""), self._random)
            else:
                yield f"key_{number}"

    def _array(self, schema: Schema, name: str, strings: StringGenerator, depth: int) -> list[Any]:
        prefix: list[Any] = schema.get("prefixItems") or []
        value = [self.build(item, name, strings, depth + 1) for item in prefix]
        items = schema.get("items", True)
        minimum: int = schema.get("minItems") or 0
        maximum: int = schema.get("maxItems", len(prefix) if prefix else max(minimum, 200))
        texts = self._item_texts(items, name, strings, depth)
        usual = 0 if depth >= _MAX_DEPTH or prefix or not self._optional else len(texts) or 2
        count = min(max(minimum, usual), maximum)
        seen = {json.dumps(item, sort_keys=True) for item in value}
        for attempt in range(count * 20):
            if len(value) >= count or items is False:
                break
            item = self.build(items, name, _item_strings(strings, texts, attempt), depth + 1)
            canonical = json.dumps(item, sort_keys=True)
            if canonical not in seen or not schema.get("uniqueItems"):
                seen.add(canonical)
                value.append(item)
        return value

    def _item_texts(self, items: Any, name: str, strings: StringGenerator, depth: int) -> Sequence[str]:
        """Return a text for each item of an array, or nothing if the schema leaves no room for text."""
        given = as_object(items)
        if given is None:
            return ()
        resolved = self._resolve(given, depth)
        kind = _type_of(resolved)
        if kind == "string" and not {"enum", "const", "format", "pattern"} & resolved.keys():
            return strings.item_texts(name)
        return strings.notes if kind == "object" else ()


def _item_strings(strings: StringGenerator, texts: Sequence[str], attempt: int) -> StringGenerator:
    if not texts:
        return strings
    repeat, index = divmod(attempt, len(texts))
    return strings.for_note(f"{texts[index]} ({repeat + 1})" if repeat else texts[index])


def _choose(options: list[Any], depth: int) -> Schema:
    schemas: list[Schema] = [given for option in options if (given := as_object(option)) is not None] or [{}]
    nulls = [option for option in schemas if option.get("type") == "null"]
    others = [option for option in schemas if option.get("type") != "null"]
    if nulls and (depth >= _MAX_DEPTH or not others):
        return nulls[0]
    if depth >= _MAX_DEPTH:
        return next((option for option in others if "$ref" not in option), others[-1])
    return others[0]


def _type_of(schema: Schema) -> str | None:
    kinds = as_array(schema.get("type"))
    if kinds is not None:
        return next((kind for kind in kinds if kind != "null"), "null")
    return schema.get("type") or next((_TYPE_BY_KEYWORD[key] for key in schema if key in _TYPE_BY_KEYWORD), None)


def _registry(*roots: Schema) -> Any:
    resources = [("", referencing.jsonschema.DRAFT202012.create_resource(root)) for root in roots]
    registry: referencing.Registry[Any] = referencing.Registry()
    return registry.with_resources(resources)


def _merge(*schemas: Schema) -> Schema:
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
