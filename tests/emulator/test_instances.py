"""Instances for JSON schemas: those that pydantic writes, and whatever hypothesis thinks of."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import os
import subprocess
import sys
import uuid
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, HttpUrl, TypeAdapter

from prefect_foxapi.emulator.instances import UnusableSchema, instance_for

FACTS = [
    "photo.jpg: image: image/jpeg, 12 bytes, sha256 0123456789ab",
    "sound.wav: audio: audio/wav, 9 bytes, sha256 ba9876543210",
]
NOTE = "[emulated] What is it?"


class Kind(enum.Enum):
    A = "a"
    B = "b"


class Item(BaseModel):
    name: str
    kind: str
    sha256: str
    media_type: str
    count: int | None = None
    choice: Kind
    facts: list[str]


class Brief(BaseModel):
    title: str
    summary: str
    items: list[Item]
    tags: list[str] = Field(min_length=2, max_length=4)
    number_or_text: int | str
    exactly: Literal["x", "y"]
    spare: Item | None = None


class Formats(BaseModel):
    day: datetime.date
    moment: datetime.datetime
    hour: datetime.time
    span: datetime.timedelta
    identity: uuid.UUID
    amount: decimal.Decimal
    link: HttpUrl


class Bounds(BaseModel):
    share: float = Field(gt=0, lt=1)
    five: int = Field(ge=5, le=6)
    nine: int = Field(gt=8, lt=10)
    sevens: int = Field(multiple_of=7, ge=50)
    below: float = Field(lt=-5)
    code: str = Field(pattern=r"^[A-Z]{3}-\d{2,4}$")
    exact: str = Field(min_length=10, max_length=12)
    many: list[int] = Field(min_length=7)
    none: list[str] = Field(max_length=0)
    different: set[Kind] = Field(min_length=2)
    table: dict[str, int]
    pair: tuple[int, str]
    whatever: Any
    long: str = Field(min_length=500)


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Cat(BaseModel, extra="forbid"):
    species: Literal["cat"]
    lives: int


class Dog(BaseModel, extra="forbid"):
    species: Literal["dog"]
    tricks: list[str]


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="species")]
    others: list[Cat] | None


TYPES: list[Any] = [
    *(Brief, Formats, Bounds, Node, Owner),
    *(int, str, bool, float, list[int], dict[str, Item], list[Item], int | None, tuple[int, ...]),
]


@pytest.mark.parametrize("facts", [[], FACTS])
@pytest.mark.parametrize("wanted", TYPES, ids=str)
def test_instances_of_pydantics_schemas_validate(wanted: Any, facts: list[str]) -> None:
    adapter = TypeAdapter(wanted)
    for seed in range(10):
        value = instance_for(adapter.json_schema(), seed=str(seed), facts=facts, note=NOTE)
        adapter.validate_json(json.dumps(value))


def test_facts_go_one_to_an_item() -> None:
    brief = Brief.model_validate(instance_for(Brief.model_json_schema(), seed="s", facts=FACTS, note=NOTE))
    assert [item.name for item in brief.items] == ["photo.jpg", "sound.wav"]
    assert [item.kind for item in brief.items] == ["image", "audio"]
    assert [item.media_type for item in brief.items] == ["image/jpeg", "audio/wav"]
    assert [item.sha256 for item in brief.items] == ["0123456789ab", "ba9876543210"]
    assert [item.facts for item in brief.items] == [[fact] for fact in FACTS]
    assert all(fact in brief.summary for fact in FACTS)
    assert brief.title == NOTE
    assert brief.tags == ["emulated", "image", "audio"]


def test_a_list_has_no_more_items_than_it_may() -> None:
    schema = {"type": "array", "items": {"type": "string"}, "maxItems": 1}
    assert instance_for(schema, seed="s", facts=FACTS, note=NOTE) == FACTS[:1]


def test_the_seed_decides_and_nothing_else() -> None:
    schema = Bounds.model_json_schema()
    first, second, third = (instance_for(schema, seed=seed, facts=[], note=NOTE) for seed in ("a", "a", "b"))
    assert first == second != third


def test_the_hash_seed_changes_nothing() -> None:
    program = (
        "import json; from prefect_foxapi.emulator.instances import instance_for;"
        "s = {'type': 'array', 'items': {'enum': ['a', 'b', 'c', 'd']}, 'uniqueItems': True, 'minItems': 3};"
        "print(json.dumps([instance_for(s, seed=str(n), facts=[], note='') for n in range(20)]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {
            "allOf": [
                {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"b": {"const": 5}}, "required": ["b"]},
            ]
        },
        {"oneOf": [{"type": "null"}, {"type": "string", "format": "email"}]},
        {"type": ["null", "integer"]},
        {"type": "object", "required": ["x"], "additionalProperties": {"type": "integer"}},
        {"type": "object", "minProperties": 2, "propertyNames": {"pattern": "^k[0-9]$"}},
        {"properties": {"here": {"$ref": "#/properties/there"}, "there": {"enum": [1, 2]}}, "required": ["here"]},
        {
            "$defs": {"n": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/m"}]}, "m": {"maximum": 3}},
            "$ref": "#/$defs/n",
        },
        {"type": "array", "prefixItems": [{"type": "boolean"}], "items": False, "minItems": 1},
        {"type": "number", "multipleOf": 0.25, "minimum": 0.1, "maximum": 0.3},
        {"type": "string", "contentEncoding": "base64"},
        {},
        {"title": "free"},
    ],
)
def test_schemas_beyond_pydantics(schema: dict[str, Any]) -> None:
    value = instance_for(schema, seed="s", facts=FACTS, note=NOTE)
    jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {"type": "nonsense"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#"},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "string", "enum": [1]},
        {"not": {}},
    ],
)
def test_schemas_that_nothing_fits(schema: Any) -> None:
    with pytest.raises(UnusableSchema):
        instance_for(schema, seed="s", facts=[], note=NOTE)


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    small = st.integers(0, 4)
    leaves = st.one_of(
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "string", "format": "date"}]),
        st.builds(lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more}, small, small),
        st.builds(
            lambda low, more: {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + more + 1},
            small,
            small,
        ),
        st.builds(lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more}, small, small),
        st.builds(lambda values: {"enum": values}, st.lists(st.text(max_size=3), min_size=1, max_size=3)),
    )

    def deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        names = st.sampled_from(["title", "items", "sha256", "kind", "tags", "x"])
        return st.one_of(
            st.builds(lambda item, low: {"type": "array", "items": item, "minItems": low}, inner, small),
            st.builds(
                lambda fields, all_of_them: {
                    "type": "object",
                    "properties": fields,
                    "required": sorted(fields) if all_of_them else [],
                    "additionalProperties": False,
                },
                st.dictionaries(names, inner, max_size=4),
                st.booleans(),
            ),
            st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
        )

    return st.recursive(leaves, deeper, max_leaves=8)


@settings(max_examples=max(150, settings().max_examples), deadline=None)
@given(schema=schemas(), facts=st.sampled_from([[], FACTS]))
def test_any_sane_schema_gets_a_valid_instance(schema: dict[str, Any], facts: list[str]) -> None:
    jsonschema.validate(instance_for(schema, seed="s", facts=facts, note=NOTE), schema)
