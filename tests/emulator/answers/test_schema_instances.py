"""Instances for the JSON schemas of pydantic, for hand-written ones, and for those that hypothesis generates."""

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

from prefect_foxapi.emulator.answers.schema_instances import UnusableSchema, generate_instance

NOTES = [
    "photo.jpg: image: image/jpeg, 12 bytes, sha256 0123456789ab",
    "sound.wav: audio: audio/wav, 9 bytes, sha256 ba9876543210",
]
FALLBACK = "[emulated] What is it?"


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
    notes: list[str]


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
    anything: Any
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


@pytest.mark.parametrize("notes", [[], NOTES])
@pytest.mark.parametrize("annotation", TYPES, ids=str)
def test_instance_of_a_pydantic_schema_validates(annotation: Any, notes: list[str]) -> None:
    adapter = TypeAdapter(annotation)
    for seed in range(10):
        value = generate_instance(adapter.json_schema(), seed=str(seed), notes=notes, fallback=FALLBACK)
        adapter.validate_json(json.dumps(value))


def test_array_has_an_item_for_each_note() -> None:
    brief = Brief.model_validate(generate_instance(Brief.model_json_schema(), seed="s", notes=NOTES, fallback=FALLBACK))
    assert [item.name for item in brief.items] == ["photo.jpg", "sound.wav"]
    assert [item.kind for item in brief.items] == ["image", "audio"]
    assert [item.media_type for item in brief.items] == ["image/jpeg", "audio/wav"]
    assert [item.sha256 for item in brief.items] == ["0123456789ab", "ba9876543210"]
    assert [item.notes for item in brief.items] == [[note] for note in NOTES]
    assert all(note in brief.summary for note in NOTES)
    assert brief.title == FALLBACK
    assert brief.tags == ["emulated", "image", "audio"]


def test_array_respects_max_items() -> None:
    schema = {"type": "array", "items": {"type": "string"}, "maxItems": 1}
    assert generate_instance(schema, seed="s", notes=NOTES, fallback=FALLBACK) == NOTES[:1]


def test_instance_depends_on_the_seed() -> None:
    schema = Bounds.model_json_schema()
    first, second, third = (
        generate_instance(schema, seed=seed, notes=[], fallback=FALLBACK) for seed in ("a", "a", "b")
    )
    assert first == second != third


def test_instance_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import json; from prefect_foxapi.emulator.answers.schema_instances import generate_instance;"
        "s = {'type': 'array', 'items': {'enum': ['a', 'b', 'c', 'd']}, 'uniqueItems': True, 'minItems': 3};"
        "print(json.dumps([generate_instance(s, seed=str(n), notes=[], fallback='') for n in range(20)]))"
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
def test_instance_of_a_hand_written_schema_validates(schema: dict[str, Any]) -> None:
    value = generate_instance(schema, seed="s", notes=NOTES, fallback=FALLBACK)
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
def test_unusable_schema(schema: Any) -> None:
    with pytest.raises(UnusableSchema):
        generate_instance(schema, seed="s", notes=[], fallback=FALLBACK)


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    small = st.integers(0, 4)
    scalars = st.one_of(
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

    return st.recursive(scalars, deeper, max_leaves=8)


@settings(max_examples=max(150, settings().max_examples), deadline=None)
@given(schema=schemas(), notes=st.sampled_from([[], NOTES]))
def test_instance_of_a_generated_schema_validates(schema: dict[str, Any], notes: list[str]) -> None:
    jsonschema.validate(generate_instance(schema, seed="s", notes=notes, fallback=FALLBACK), schema)
