"""What FoxAPI answers becomes frozen models that keep what they do not know, and survive storage whole."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from prefect.serializers import JSONSerializer, PickleSerializer
from pydantic import BaseModel, ValidationError

from prefect_foxapi.models.account import Credits, Model
from prefect_foxapi.models.base import checked_generation_id
from prefect_foxapi.models.completions import ChatCompletion, ChatCompletionChunk
from prefect_foxapi.models.generations import Generation, GenerationSnapshot, SubmittedGeneration
from prefect_foxapi.models.structured_output import output_invalid
from tests.support.outputs import (
    ID,
    Aliased,
    Box,
    Capital,
    Cities,
    Colour,
    Line,
    OneWay,
    Outer,
    Point,
    Renamed,
    Size,
    Trip,
)

WIRE = Path(__file__).parents[1] / "api_payloads"
WHEN = datetime(2026, 4, 22, 16, 14, 41, 123456, tzinfo=timezone(timedelta(hours=8)))


def wire(name: str) -> dict[str, Any]:
    return json.loads((WIRE / f"{name}.json").read_text(encoding="utf-8"))


# Snapshots


def test_the_seed_s_answer_to_a_submission() -> None:
    snapshot = GenerationSnapshot.model_validate(wire("seed_response"))
    assert snapshot.model_dump(mode="json", exclude_unset=True) == wire("seed_response")
    assert snapshot.id == "task-llm-1776874481-rj6bs3yb"
    assert snapshot.status == "pending"
    assert (snapshot.progress, snapshot.created, snapshot.stream, snapshot.results) == (0, 1776874481, None, None)
    assert not snapshot.has_result
    assert not snapshot.has_failed
    assert snapshot.completion() is None


@pytest.mark.parametrize(
    ("name", "has_result", "has_failed"),
    [
        ("task_processing", False, False),
        ("task_completed_without_results", False, False),
        ("task_completed", True, False),
        ("task_failed", False, True),
    ],
)
def test_states_of_a_snapshot(name: str, has_result: bool, has_failed: bool) -> None:
    snapshot = GenerationSnapshot.model_validate(wire(name))
    assert (snapshot.has_result, snapshot.has_failed) == (has_result, has_failed)


@pytest.mark.parametrize(
    ("fields", "has_result", "has_failed"),
    [
        ({"status": "completed", "results": []}, False, False),
        ({"status": "completed", "results": None, "progress": 50}, False, False),
        ({"status": "completed", "results": [{}]}, True, False),
        ({"status": "cancelled"}, False, True),
        ({"status": "completed", "results": None, "error": {"message": "lost"}}, False, True),
        ({"status": "processing", "results": [{"early": True}]}, False, False),
        ({"status": "some-new-status"}, False, False),
    ],
)
def test_end_of_a_generation(fields: dict[str, Any], has_result: bool, has_failed: bool) -> None:
    snapshot = GenerationSnapshot.model_validate({"id": "task-llm-1-a", **fields})
    assert (snapshot.has_result, snapshot.has_failed) == (has_result, has_failed)


def test_lenient_where_nothing_depends_on_it() -> None:
    snapshot = GenerationSnapshot.model_validate(
        {"id": "t", "status": "pending", "progress": None, "model": None, "error": "broken", "created": None}
    )
    assert (snapshot.progress, snapshot.model, snapshot.error) == (0, "", {"message": "broken"})
    assert GenerationSnapshot.model_validate({"id": "t", "status": "pending", "progress": 33.3}).progress == 33.3


@pytest.mark.parametrize(
    ("usage", "credits"),
    [
        ({"credits_reserved": 4, "user_group": "default"}, 4.0),
        ({"credits_reserved": 4, "credits_used": 3}, 3.0),
        ({"credits": 2.5}, 2.5),
        ({}, None),
        (None, None),
        ({"credits_used": "many"}, None),
        ({"credits_used": True}, None),
    ],
)
def test_credits(usage: dict[str, Any] | None, credits: float | None) -> None:
    snapshot = GenerationSnapshot.model_validate({"id": "t", "status": "pending", "usage": usage})
    assert snapshot.credits == credits


@pytest.mark.parametrize("identity", ["task-llm-1776874481-rj6bs3yb", "task-llmrouter-1-x", "a", "0.1:x_y", "a" * 256])
def test_ids_that_can_be(identity: str) -> None:
    assert checked_generation_id(identity) == identity


@pytest.mark.parametrize(
    "identity", ["", "-a", ".", "..", "a/b", "a?b", "a#b", "a b", "a%2f", "a\n", "a\r\nX: y", "ä", "a" * 257, "a\x00"]
)
def test_ids_that_cannot_be(identity: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        checked_generation_id(identity)
    assert repr(identity[:80]) in str(caught.value)
    for kind in (GenerationSnapshot, Generation, SubmittedGeneration):
        with pytest.raises(ValidationError):
            kind.model_validate({"id": identity, "status": "x", "generation_id": identity, "model": "m"})


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError) as caught:
        Generation(generation_id="t", model="m").text = "other"  # type: ignore[misc]
    assert [error["type"] for error in caught.value.errors()] == ["frozen_instance"]


# Unknown fields


UNKNOWN = {
    "id": "t",
    "status": "completed",
    "task_info": {"can_cancel": False, "estimated_time": 3},
    "model_config": "a field that pydantic has a name for, too",
    "completed_at": 1776874490.25,
    "results": [
        {
            "object": "chat.completion",
            "service_tier": "default",
            "choices": [
                {
                    "index": 0,
                    "logprobs": None,
                    "message": {"role": "assistant", "content": "hi", "refusal": None, "annotations": [{"a": 1}]},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"total_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}},
        }
    ],
}


def test_unknown_fields_survive() -> None:
    snapshot = GenerationSnapshot.model_validate(UNKNOWN)
    kept = snapshot.model_dump(mode="json", exclude_unset=True)
    assert kept == UNKNOWN
    completion = snapshot.completion()
    assert completion
    assert completion.model_dump(mode="json", exclude_unset=True) == UNKNOWN["results"][0]


def test_unknown_fields_of_a_chunk_and_of_a_model_survive() -> None:
    data = {"choices": [{"index": 0, "delta": {"content": "x", "mood": "good"}, "native": 1}], "emulated_at": 1.5}
    assert ChatCompletionChunk.model_validate(data).model_dump(mode="json", exclude_unset=True) == data
    data = {"id": "gpt-9", "capabilities": ["text", "smell"], "price": {"input": 1}}
    assert Model.model_validate(data).model_dump(mode="json", exclude_unset=True) == data


# Generations


def generation(**fields: Any) -> Generation[Any]:
    snapshot = GenerationSnapshot.model_validate({**wire("task_completed"), "usage": {"credits_used": 7}})
    made = Generation.from_snapshot(snapshot, origin="billed", reasoning="because", latency=1.25)
    return made.model_copy(update=fields)


def test_generation_of_a_completed_snapshot() -> None:
    data = wire("task_completed")
    choice = data["results"][0]["choices"][0]
    made = generation()
    assert made.generation_id == data["id"]
    assert made.model == data["model"]
    assert made.text == choice["message"]["content"]
    assert made.finish_reason == choice["finish_reason"]
    assert made.usage
    assert made.usage.total_tokens == data["results"][0]["usage"]["total_tokens"]
    assert (made.credits, made.latency, made.origin, made.reasoning) == (7.0, 1.25, "billed", "because")
    assert made.created == datetime.fromtimestamp(data["created"], UTC)
    assert made.completion
    assert made.completion.model_dump(mode="json", exclude_unset=True) == data["results"][0]
    assert made.parsed is None


@pytest.mark.parametrize("content", ["", None])
def test_empty_content_is_a_result(content: str | None) -> None:
    result = {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}
    snapshot = GenerationSnapshot.model_validate({"id": "t", "status": "completed", "results": [result]})
    made = Generation.from_snapshot(snapshot, origin="billed")
    assert made.text == ""
    assert made.finish_reason == "stop"


def test_media_keep_their_results_open() -> None:
    results = [{"url": "https://e.org/1.png"}, {"voice_id": "v", "words": [{"w": "a", "at": 0.5}]}]
    snapshot = GenerationSnapshot.model_validate(
        {"id": "t", "type": "image", "status": "completed", "model": "painter", "results": results}
    )
    made = Generation.from_snapshot(snapshot, origin="joined")
    assert made.results == tuple(results)
    assert made.completion is None


@pytest.mark.parametrize("results", [[{}], [{"choices": []}], [{"choices": [{"index": 0}]}]])
def test_results_of_a_text_generation_that_are_no_completion(results: list[Any]) -> None:
    snapshot = GenerationSnapshot.model_validate({"id": "t", "type": "llm", "status": "completed", "results": results})
    with pytest.raises(ValidationError) as caught:
        Generation.from_snapshot(snapshot, origin="billed")
    raw = Generation.with_raw_results(snapshot, origin="billed", reasoning="because", latency=1.5)
    assert (raw.generation_id, raw.origin, raw.reasoning, raw.latency) == ("t", "billed", "because", 1.5)
    assert (raw.text, raw.completion, raw.results) == ("", None, tuple(results))
    error = output_invalid(raw, "a chat completion", caught.value)
    assert (error.generation, error.generation_id, error.text) == (raw, "t", "")
    assert len(error.errors) == caught.value.error_count()
    assert "max_tokens" not in str(error)


def test_invalid_output_that_was_cut_off_names_the_remedy() -> None:
    answer = Generation(generation_id="t", model="m", text='{"city": "Pa', finish_reason="length")
    with pytest.raises(ValidationError) as caught:
        Capital.model_validate_json(answer.text)
    error = output_invalid(answer, "a valid Capital", caught.value)
    assert (error.text, error.generation, error.generation_id) == (answer.text, answer, "t")
    assert "max_tokens" in str(error)
    assert [item["type"] for item in error.errors] == ["json_invalid"]


@pytest.mark.parametrize("results", [["text"], [[]], [None]])
def test_results_that_are_no_object_are_kept(results: list[Any]) -> None:
    snapshot = GenerationSnapshot.model_validate({"id": "t", "type": "llm", "status": "completed", "results": results})
    made = Generation.from_snapshot(snapshot, origin="billed")
    assert made.results == tuple(results)
    assert made.text == ""


def test_model_s_name_comes_from_the_completion_where_the_snapshot_lacks_it() -> None:
    result = {"model": "gpt-5.5-2026", "choices": [{"message": {"content": "x"}}]}
    snapshot = GenerationSnapshot.model_validate({"id": "t", "status": "completed", "results": [result]})
    assert Generation.from_snapshot(snapshot, origin="billed").model == "gpt-5.5-2026"


def test_reasoning_in_the_message_counts_where_no_stream_was_read() -> None:
    result = {"choices": [{"message": {"content": "x", "reasoning_content": "hm"}}]}
    snapshot = GenerationSnapshot.model_validate({"id": "t", "status": "completed", "results": [result]})
    assert Generation.from_snapshot(snapshot, origin="billed").reasoning == "hm"


PARSED = {
    "none": None,
    "text": "plain",
    "number": 3,
    "float": 0.1,
    "bool": True,
    "model": Capital(city="Paris", population=2_100_000),
    "models": [Capital(city="Paris"), Capital(city="Rome")],
    "everything": Trip(
        stops=[Capital(city="Paris")],
        at=WHEN,
        price=Decimal("10.50"),
        colour=Colour.RED,
        tags={"a", "b"},
        pair=(1, "x"),
    ),
    "alias": Renamed(cityName="Paris"),
    "nested class": Outer.Inner(number=3),
    "dataclass": Point(1.5, -2.0),
    "nested dataclass": Line(Point(0.0, 1.0), Point(2.0, 3.0), Colour.BLUE),
    "enum": Colour.BLUE,
    "int enum": Size.LARGE,
    "datetime": WHEN,
    "date": date(2026, 4, 22),
    "timedelta": timedelta(days=1, microseconds=5),
    "decimal": Decimal("0.10"),
    "uuid": ID,
    "path": Path("/a/b"),
    "bytes": "ünïcode".encode(),
    "tuple": (1, "x", Colour.RED),
    "empty tuple": (),
    "set": {1, 2, 3},
    "set of models' kin": {Point(0.0, 0.0), Point(1.0, 1.0)},
    "frozenset": frozenset({"a", "b"}),
    "dict": {"a": 1, "b": [1, (2, 3)]},
    "dict of models": {"fr": Capital(city="Paris")},
    "dict with other keys": {1: "one", 2: "two"},
    "dict with enums as keys": {Colour.RED: Colour.BLUE, "x": 1, (1, 2): None},
    "dict with tagged names": {"__type__": "builtins:int", "__value__": 5},
    "dict with one tagged name": {"__type__": "x"},
    "generic": Box[int](content=3),
    "generic of a model": Box[Capital](content=Capital(city="Paris")),
    "nested generics": Box[Box[Capital]](content=Box[Capital](content=Capital(city="Paris"))),
    "list of generics": [Box[Capital](content=Capital(city="Rome"))],
    "generic of a list": Box[list[Capital]](content=[Capital(city="Rome")]),
    "generic of a datetime": Box[datetime](content=WHEN),
    "root model": Cities([Capital(city="Rome")]),
    "alias of one direction": OneWay(cityName="Paris", inner=Renamed(cityName="Rome")),
    "dataclass with an alias": Aliased(cityName="Paris"),  # type: ignore[call-arg]
    "lists in lists": [[Capital(city="Paris")], [], [None]],
}


def through_json(value: Any) -> Any:
    return JSONSerializer().loads(JSONSerializer().dumps(value))


def anatomy(value: Any) -> Any:
    """The classes of a value and of its parts; of a parametrized generic, the generic."""
    if isinstance(value, BaseModel):
        kind = value.__pydantic_generic_metadata__["origin"] or type(value)
        return kind, [anatomy(item) for _, item in value]
    if isinstance(value, dict):
        return dict, [(anatomy(key), anatomy(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [anatomy(item) for item in value]
    return type(value)


ROUND_TRIPS: dict[str, Callable[[Any], Any]] = {
    "Prefect's JSON": through_json,
    "Prefect's JSON twice": lambda value: through_json(through_json(value)),
    "Prefect's pickle": lambda value: PickleSerializer().loads(PickleSerializer().dumps(value)),
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "cloudpickle": lambda value: pickle.loads(cloudpickle.dumps(value)),
    "its own JSON": lambda value: Generation.model_validate_json(value.model_dump_json()),
}


@pytest.mark.parametrize("parsed", PARSED.values(), ids=PARSED.keys())
@pytest.mark.parametrize("round_trip", ROUND_TRIPS.values(), ids=ROUND_TRIPS.keys())
def test_generation_survives_storage(parsed: Any, round_trip: Callable[[Any], Any]) -> None:
    original = generation(parsed=parsed, further={"unknown": [1, 2]})
    twin = round_trip(original)
    assert twin == original
    assert type(twin) is Generation
    assert anatomy(twin.parsed) == anatomy(parsed)
    assert twin.completion == original.completion
    assert twin.model_extra == {"further": {"unknown": [1, 2]}}


def test_generation_without_a_result_type_survives_whole_with_unknown_fields() -> None:
    snapshot = GenerationSnapshot.model_validate({**UNKNOWN, "model": "gpt-5.5"})
    original = Generation.from_snapshot(snapshot, origin="replayed")
    for round_trip in ROUND_TRIPS.values():
        twin = round_trip(original)
        assert twin == original
        assert twin.completion.model_dump() == original.completion.model_dump()
        assert twin.completion.choices[0].message.model_extra == {"refusal": None, "annotations": [{"a": 1}]}


def test_the_other_models_survive_storage() -> None:
    submitted = SubmittedGeneration(generation_id="t", model="m", key="0" * 64, origin="billed")
    snapshot = GenerationSnapshot.model_validate(UNKNOWN)
    completion = ChatCompletion.model_validate(UNKNOWN["results"][0])
    for original in (submitted, snapshot, completion):
        assert through_json(original) == original
        assert pickle.loads(pickle.dumps(original)) == original


def test_class_that_is_gone_is_an_error_that_says_so() -> None:
    text = generation(parsed=Capital(city="Paris")).model_dump_json().replace(":Capital", ":Cathedral")
    with pytest.raises(ValidationError, match="Cathedral"):
        Generation.model_validate_json(text)


@pytest.mark.parametrize(
    ("data", "balance", "used"),
    [
        ({"balance": 5, "used": 2}, 5.0, 2.0),
        ({"credits": "12.5"}, 12.5, None),
        ({"data": {"remaining_credits": 3, "used_credits": 1}}, 3.0, 1.0),
        ({"balance": 0}, 0.0, None),
        ({"balance": True, "credits": 4}, 4.0, None),
        ({"balance": "unlimited"}, None, None),
        ({}, None, None),
    ],
)
def test_credits_of_any_shape(data: Any, balance: float | None, used: float | None) -> None:
    credits = Credits.model_validate(data)
    assert (credits.balance, credits.used) == (balance, used)
    kept = credits.model_dump()
    assert all(kept[name] == value for name, value in data.items() if name not in {"balance", "used"})
    assert Credits.model_validate_json(credits.model_dump_json()) == credits


def test_credits_of_the_wire() -> None:
    assert Credits.model_validate_json((WIRE / "credits.json").read_text(encoding="utf-8")).balance is not None


@pytest.mark.parametrize("data", [[], "text", None, 5])
def test_credits_that_are_none(data: Any) -> None:
    with pytest.raises(ValidationError):
        Credits.model_validate(data)
