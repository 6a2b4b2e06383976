"""What an output type asks for on the wire, and what is read from an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.output.schema import output_schema
from prefect_foxapi.models.structured_output import decode_value, encode_value, find_recorded
from tests.support.outputs import Box, Capital, Colour, Line, Movie, Point, Renamed, Trip


class Node(BaseModel):
    name: str
    children: list[Node] = []


TRIP = Trip(
    stops=[Capital(city="Paris", population=5)],
    at=datetime(2026, 1, 2, tzinfo=UTC),
    price=Decimal("10.50"),
    colour=Colour.RED,
    tags={"a"},
    pair=(1, "x"),
)

# An output type, an answer as a model would write it (a bare value wrapped), and what is made of it.
OBJECTS: list[tuple[Any, Any, Any]] = [
    (Capital, {"city": "Paris", "population": 5}, Capital(city="Paris", population=5)),
    (Capital, {"city": "Paris", "further": 1}, Capital(city="Paris")),
    (Renamed, {"cityName": "Paris"}, Renamed(cityName="Paris")),
    (Trip, json.loads(TRIP.model_dump_json()), TRIP),
    (Point, {"x": 1, "y": 2}, Point(1.0, 2.0)),
    (
        Line,
        {"begin": {"x": 0, "y": 0}, "end": {"x": 1, "y": 1}, "colour": "blue"},
        Line(Point(0, 0), Point(1, 1), Colour.BLUE),
    ),
    (Movie, {"title": "M", "year": 1931}, {"title": "M", "year": 1931}),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (Box[Capital], {"content": {"city": "Paris"}}, Box[Capital](content=Capital(city="Paris"))),
    (Node, {"name": "a", "children": [{"name": "b"}]}, Node(name="a", children=[Node(name="b")])),
]
VALUES: list[tuple[Any, Any, Any]] = [
    (list[Capital], [{"city": "Paris"}], [Capital(city="Paris")]),
    (list[Node], [{"name": "a"}], [Node(name="a")]),
    (int, 5, 5),
    (str, "text", "text"),
    (bool, False, False),
    (float, 1.5, 1.5),
    (datetime, "2026-01-02T00:00:00Z", datetime(2026, 1, 2, tzinfo=UTC)),
    (Decimal, "10.50", Decimal("10.50")),
    (Colour, "red", Colour.RED),
    (tuple[int, str], [1, "x"], (1, "x")),
    (set[int], [1, 2, 1], {1, 2}),
    (Literal["yes", "no"], "yes", "yes"),
    (int | None, None, None),
    (int | Capital, {"city": "Paris"}, Capital(city="Paris")),
    (Annotated[int, Field(ge=0)], 3, 3),
]


@pytest.mark.parametrize(("output_type", "answer", "expected"), OBJECTS, ids=lambda value: str(value)[:40])
def test_objects(output_type: Any, answer: Any, expected: Any) -> None:
    schema = output_schema(output_type)
    assert not schema.wrapped
    parsed = schema.parse(json.dumps(answer))
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(("output_type", "answer", "expected"), VALUES, ids=lambda value: str(value)[:40])
def test_other_values_travel_as_the_one_property_of_an_object(output_type: Any, answer: Any, expected: Any) -> None:
    schema = output_schema(output_type)
    assert schema.wrapped
    assert schema.schema["type"] == "object"
    assert schema.schema["required"] == ["value"]
    parsed = schema.parse(json.dumps({"value": answer}))
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize("output_type", [entry[0] for entry in OBJECTS + VALUES], ids=str)
def test_response_format(output_type: Any) -> None:
    """The parameter of OpenAI chat: JSON, with a name that OpenAI takes, and no reference that leads nowhere."""
    form = output_schema(output_type).response_format()
    assert json.loads(json.dumps(form)) == form
    assert set(form) == {"type", "json_schema"}
    assert form["type"] == "json_schema"
    assert set(form["json_schema"]) == {"name", "schema"}
    name = form["json_schema"]["name"]
    assert 1 <= len(name) <= 64
    assert name.isascii()
    assert name.replace("_", "").replace("-", "").isalnum()
    schema = form["json_schema"]["schema"]
    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


def references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        found = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return found + [reference for item in schema.values() for reference in references(item)]
    return [reference for item in schema for reference in references(item)] if isinstance(schema, list) else []


@pytest.mark.parametrize("fence", ["```json\n{}\n```", "```\n{}\n```", "  \n```JSON\n{}\n```\n ", "\n{}\n", "{}"])
def test_markdown_fence_is_taken_off(fence: str) -> None:
    assert output_schema(Capital).parse(fence.replace("{}", '{"city": "```Paris```"}')).city == "```Paris```"
    assert output_schema(list[int]).parse(fence.replace("{}", '{"value": [1]}')) == [1]


@pytest.mark.parametrize(
    ("output_type", "text"),
    [
        (Capital, ""),
        (Capital, "Paris"),
        (Capital, '{"city": "Par'),
        (Capital, '{"population": 3}'),
        (Capital, "[]"),
        (Capital, "null"),
        (list[int], "[1]"),
        (list[int], '{"values": [1]}'),
        (list[int], '{"value": ["x"]}'),
        (int, "5"),
        (int, '"value"'),
    ],
)
def test_answers_that_do_not_validate(output_type: Any, text: str) -> None:
    with pytest.raises(ValidationError):
        output_schema(output_type).parse(text)


class Plain:
    pass


@dataclass
class Undefined:
    other: Missing  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("output_type", [Plain, object(), "Capital", Undefined, list[Plain], 5])
def test_types_that_have_no_schema(output_type: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        output_schema(output_type)
    assert caught.value.field == "output_type"


def test_same_schema_wherever_it_is_asked_for() -> None:
    assert output_schema(Capital) is output_schema(Capital)
    assert output_schema(list[Capital]).schema == output_schema(list[Capital]).schema


@pytest.mark.parametrize("value", [{"a": [1, None, "x"]}, [], {}, "text", 1.5, {"__value__": 1}, {"__type": "x"}])
def test_plain_data_is_stored_as_it_is(value: Any) -> None:
    assert encode_value(value) == (value, {})
    assert decode_value(value, find_recorded({})) == value


@pytest.mark.parametrize(
    "path", ["no.such.module:Class", "tests.support.outputs:Nothing", "tests.support.outputs:ID", "json", ""]
)
def test_stored_class_that_cannot_be_found(path: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        decode_value({"__type__": path, "__value__": {}}, find_recorded({"": path}))
    assert repr(path) in str(caught.value)
