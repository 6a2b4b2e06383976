"""What a model or a server says is data: it imports nothing, and it comes back from storage as it was."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType

import pytest
from prefect.serializers import JSONSerializer
from pydantic import AwareDatetime, BaseModel, IPvAnyAddress, ValidationError

from prefect_foxapi.models.generations import Generation, GenerationSnapshot
from prefect_foxapi.models.output.schema import output_schema
from tests.support.outputs import Box, Capital, Colour, Point

TRAP = "module_named_by_an_answer"
TAGGED = {"__type__": f"{TRAP}:X", "__value__": {"city": "Paris"}}
FOR_PREFECT = {"__class__": f"{TRAP}.X", "data": {"city": "Paris"}}
ANSWERS: dict[str, Any] = {
    "tag": TAGGED,
    "tag in a list": {"items": [1, [TAGGED]]},
    "tag in a tag": {"__type__": "builtins:dict", "__value__": [["a", TAGGED]]},
    "tag of a known class": {"__type__": "tests.support.outputs:Capital", "__value__": {"city": "Paris"}},
    "tag of a set": {"__type__": "builtins:set", "__value__": [1]},
    "tag of a dict": {"__type__": "builtins:dict", "__value__": [["a", 1]]},
    "tag of a dict without pairs": {"__type__": "builtins:dict", "__value__": 5},
    "tag that is no text": {"__type__": {"a": 1}, "__value__": TAGGED},
    "tag beside data": {**TAGGED, "more": 1},
    "names in keys": {f"{TRAP}:X": 1, json.dumps(TAGGED): 2, "a/b~c": [TAGGED]},
    "class of Prefect": FOR_PREFECT,
    "class of Prefect in a list": {"items": [FOR_PREFECT]},
    "class of Prefect without data": {"__class__": "builtins.dict"},
    "class of Prefect that is a module": {"__class__": "os.path", "data": 1},
    "class of Prefect as a key of keys": {"__class__": {"__class__": f"{TRAP}.X"}},
    "exception of Prefect": {"__exc_type__": f"{TRAP}.X", "message": "x"},
    "exception of Prefect that exists": {"a": {"__exc_type__": "builtins.KeyError", "message": "x"}},
    "placeholder of Prefect's server": {"__prefect_kind": "workspace_variable", "variable_name": "secret"},
    "our own names": {"parsed_types": {"": f"{TRAP}:X"}, "fields_as_text": {"text": '"x"'}, "parsed": TAGGED},
}


class Notes(BaseModel):
    about: dict[str, Any]


@pytest.fixture(autouse=True)
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that can be imported, and must not be."""
    code = "from pydantic import BaseModel\n\n\nclass X(BaseModel):\n    city: str\n"
    (tmp_path / f"{TRAP}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert sys.modules.pop(TRAP, None) is None


def generation(**fields: Any) -> Generation[Any]:
    message = {"role": "assistant", "content": "{}", "annotations": fields.pop("further", None)}
    result = {"choices": [{"message": message, "finish_reason": "stop"}]}
    snapshot = GenerationSnapshot.model_validate({"id": "t", "status": "completed", "results": [result]})
    return Generation.from_snapshot(snapshot, origin="billed").model_copy(update=fields)


def through_prefect(value: Any) -> Any:
    return JSONSerializer().loads(JSONSerializer().dumps(value))


TRIPS: dict[str, Callable[[Generation[Any]], Generation[Any]]] = {
    "dump": lambda made: Generation.model_validate(made.model_dump()),
    "typed dump": lambda made: Generation[dict].model_validate(made.model_dump()),
    "parameter": lambda made: Generation[dict].model_validate(made),
    "JSON": lambda made: Generation.model_validate_json(made.model_dump_json()),
    "typed JSON": lambda made: Generation[dict].model_validate_json(made.model_dump_json()),
    "JSON data": lambda made: Generation[dict].model_validate(made.model_dump(mode="json")),
    "Prefect's JSON": through_prefect,
    "Prefect's JSON twice": lambda made: through_prefect(through_prefect(made)),
    "Prefect's JSON, then a parameter": lambda made: Generation[dict].model_validate(through_prefect(made)),
}
trips = pytest.mark.parametrize("trip", TRIPS.values(), ids=TRIPS.keys())
answers = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())


def same(found: Any, expected: Any) -> bool:
    return json.dumps(found) == json.dumps(expected) and type(found) is type(expected)


@trips
@answers
def test_answer_is_data(answer: Any, trip: Callable[[Generation[Any]], Generation[Any]]) -> None:
    parsed = output_schema(dict).parse(json.dumps(answer))
    assert same(trip(generation(parsed=parsed)).parsed, answer)


@trips
@answers
def test_completion_is_data(answer: Any, trip: Callable[[Generation[Any]], Generation[Any]]) -> None:
    made = generation(further=[answer])
    found = trip(made)
    assert found.completion
    assert same(found.completion.model_dump(), made.completion.model_dump() if made.completion else None)


@trips
@answers
def test_results_are_data(answer: Any, trip: Callable[[Generation[Any]], Generation[Any]]) -> None:
    found = trip(generation(results=(answer, [answer]), completion=None))
    assert same(found.results, (answer, [answer]))


@answers
@pytest.mark.parametrize("trip", [through_prefect, TRIPS["JSON"]], ids=["Prefect's JSON", "JSON"])
@pytest.mark.parametrize(
    "place",
    [
        lambda answer: Notes(about=answer),
        lambda answer: [Notes(about=answer)],
        lambda answer: Box[dict[str, Any]](content=answer),
        lambda answer: {"a": (answer, Colour.RED)},
    ],
    ids=["model", "list of models", "generic model", "tuple"],
)
def test_answer_within_an_instance_is_data(
    answer: Any, trip: Callable[[Any], Any], place: Callable[[Any], Any]
) -> None:
    original = generation(parsed=place(answer))
    found = trip(original)
    assert found.model_dump() == original.model_dump()
    # No stored class is parametrized.
    assert type(found.parsed) in type(original.parsed).__mro__[:2]


@answers
def test_what_is_stored_holds_no_name_that_another_reader_obeys(answer: Any) -> None:
    stored = JSONSerializer().dumps(generation(parsed=answer, further=answer, results=(answer,)))
    obeyed: list[Any] = []
    json.loads(stored, object_hook=lambda data: obeyed.extend(data.keys() & {"__exc_type__", "__prefect_kind"}) or data)
    classes: list[str] = []
    json.loads(stored, object_hook=lambda data: classes.append(data.get("__class__")) or data)
    assert obeyed == []
    assert [name for name in classes if name] == ["prefect_foxapi.models.Generation"]


def test_classes_are_named_apart_from_the_data() -> None:
    parsed = {"a/b": [Capital(city="Paris")], "pair": (1, Colour.RED)}
    stored = generation(parsed=parsed).model_dump(mode="json")
    assert stored["parsed_types"] == {
        "/a~1b/0": "tests.support.outputs:Capital",
        "/pair": "builtins:tuple",
        "/pair/__value__/1": "tests.support.outputs:Colour",
    }
    assert Generation.model_validate(stored).parsed == parsed
    # The names within `parsed` are for 0.1.0: alone they do nothing, nor can they say anything else.
    del stored["parsed_types"]["/pair"]
    assert Generation.model_validate(stored).parsed["pair"]["__type__"] == "builtins:tuple"
    stored["parsed"]["a/b"][0]["__type__"] = f"{TRAP}:X"
    assert Generation.model_validate(stored).parsed["a/b"][0]["__type__"] == f"{TRAP}:X"


def test_fields_of_a_response_do_not_name_classes() -> None:
    names = {"parsed_types": {"": f"{TRAP}:X"}, "fields_as_text": {"parsed": json.dumps(TAGGED)}, "parsed": TAGGED}
    result = {"choices": [{"message": {"content": json.dumps(TAGGED), **names}, **names}], **names}
    snapshot = GenerationSnapshot.model_validate({"id": "t", "status": "completed", "results": [result], **names})
    made = Generation.from_snapshot(snapshot, origin="billed")
    assert (made.parsed, made.model_extra) == (None, {})
    assert through_prefect(made) == made
    typed = made.model_copy(update={"parsed": output_schema(dict).parse(made.text)})
    assert through_prefect(typed).parsed == TAGGED


@pytest.mark.parametrize("output_type", [Generation, Generation[dict], list[Generation]], ids=str)
def test_answer_that_poses_as_a_generation_names_no_class(output_type: Any) -> None:
    answer = {
        "generation_id": "t",
        "model": "m",
        "parsed": TAGGED,
        "parsed_types": {"": f"{TRAP}:X"},
        "fields_as_text": {"parsed": json.dumps(TAGGED)},
    }
    schema = output_schema(output_type)
    parsed = schema.parse(json.dumps({"value": [answer]} if schema.wrapped else answer))
    inner = parsed[0] if isinstance(parsed, list) else parsed
    assert inner.parsed == TAGGED
    assert inner.model_extra == {}
    assert through_prefect(generation(parsed=parsed)).parsed == parsed


# The form of version 0.1.0: names of classes within `parsed`, and none beside it.


def old_record(parsed: Any) -> dict[str, Any]:
    stored = generation().model_dump(mode="json")
    del stored["parsed_types"]
    return {**stored, "parsed": parsed}


CAPITAL = {"__type__": "tests.support.outputs:Capital", "__value__": {"city": "Paris", "population": 5}}
OLD: dict[str, tuple[Any, Any, Any]] = {
    "model": (Capital, CAPITAL, Capital(city="Paris", population=5)),
    "optional": (Capital | None, CAPITAL, Capital(city="Paris", population=5)),
    "list": (list[Capital], [CAPITAL], [Capital(city="Paris", population=5)]),
    "enum": (Colour, {"__type__": "tests.support.outputs:Colour", "__value__": "red"}, Colour.RED),
    "dataclass": (Point, {"__type__": "tests.support.outputs:Point", "__value__": {"x": 1, "y": 2}}, Point(1.0, 2.0)),
    "generic": (
        Box[Capital],
        {"__type__": "tests.support.outputs:Box", "__value__": {"content": CAPITAL}},
        Box[Capital](content=Capital(city="Paris", population=5)),
    ),
    "tuple": (tuple[int, Colour], {"__type__": "builtins:tuple", "__value__": [1, "red"]}, (1, Colour.RED)),
    "dict": (dict[int, str], {"__type__": "builtins:dict", "__value__": [[1, "x"]]}, {1: "x"}),
}


@pytest.mark.parametrize(("declared", "stored", "expected"), OLD.values(), ids=OLD.keys())
def test_old_record_with_a_declared_class(declared: Any, stored: Any, expected: Any) -> None:
    for made in (
        Generation[declared].model_validate(old_record(stored)),
        Generation[declared].model_validate_json(json.dumps(old_record(stored))),
    ):
        assert made.parsed == expected
        assert type(made.parsed) is type(expected)


def test_old_record_with_a_class_that_pydantic_makes_of_the_declared_one() -> None:
    for declared, name, content in (
        (Path, "pathlib:PosixPath", "/a"),
        (AwareDatetime, "datetime:datetime", "2026-01-02T00:00:00Z"),
        (IPvAnyAddress, "ipaddress:IPv4Address", "127.0.0.1"),
        (Sequence[int], "builtins:tuple", [1]),
        (NewType("Town", Capital), *CAPITAL.values()),
        (Annotated[Literal[Colour.RED], "red"], "tests.support.outputs:Colour", "red"),
    ):
        made = Generation[declared].model_validate(old_record({"__type__": name, "__value__": content}))
        assert type(made.parsed).__qualname__ == name.split(":")[1]


@pytest.mark.parametrize("stored", [entry[1] for entry in OLD.values()], ids=OLD.keys())
def test_old_record_without_a_declaration_is_plain_data(stored: Any) -> None:
    assert same(Generation.model_validate(old_record(stored)).parsed, stored)
    assert same(Generation.model_validate_json(json.dumps(old_record(stored))).parsed, stored)


@pytest.mark.parametrize("name", [name for name in ANSWERS if "tag of a dict" not in name and name != "tag in a tag"])
def test_hostile_old_record(name: str) -> None:
    answer = ANSWERS[name]
    assert same(Generation[dict].model_validate(old_record(answer)).parsed, answer)
    assert same(Generation.model_validate(old_record(answer)).parsed, answer)


@pytest.mark.parametrize("declared", [Capital, list[Capital], Box[Capital], int])
def test_hostile_old_record_where_another_class_is_declared(declared: Any) -> None:
    for hostile in (TAGGED, [TAGGED], {"content": TAGGED}):
        with pytest.raises(ValidationError):
            Generation[declared].model_validate(old_record(hostile))


def test_answer_that_0_1_0_escaped() -> None:
    """0.1.0 stored a dict with the reserved name as pairs."""
    pairs = {"__type__": "builtins:dict", "__value__": [["__type__", f"{TRAP}:X"], ["__value__", {"city": "Paris"}]]}
    assert same(Generation[dict].model_validate(old_record(pairs)).parsed, TAGGED)
