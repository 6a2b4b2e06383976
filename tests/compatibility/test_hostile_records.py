"""What is obeyed of the names of classes within a result of 0.1.0: those that the calling task declares."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import State, flow, task
from pydantic import BaseModel

from prefect_foxapi import Generation
from tests.compatibility.calls import Call, ask, value_of
from tests.compatibility.exchange import calls_of
from tests.compatibility.stored_types import Page, Place, Product

TRAP = "module_named_by_an_old_record"
HOSTILE = {"__type__": f"{TRAP}:X", "__value__": {"city": "Paris"}}
CALLS = {
    "model": "output type model",
    "list": "output type list of models",
    "dict": "output type dict of models",
    "a user's own task": "own typed generation as json",
}


class Delivery(BaseModel):
    typed: Generation[Page[Product]]


@pytest.fixture(autouse=True)
def trap(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that can be imported, and must not be."""
    folder = tmp_path_factory.mktemp("importable")
    (folder / f"{TRAP}.py").write_text("from pydantic import BaseModel\n\n\nclass X(BaseModel):\n    city: str\n")
    monkeypatch.syspath_prepend(folder)
    yield
    assert sys.modules.pop(TRAP, None) is None


def change(path: Path, make: Callable[[Any], Any]) -> None:
    """Put another `parsed` into a stored result."""
    record = json.loads(path.read_bytes())
    result = json.loads(record["result"])
    result["data"]["parsed"] = make(result["data"]["parsed"])
    path.write_text(json.dumps({**record, "result": json.dumps(result)}), encoding="utf-8")


def cached(call: Call) -> Any:
    """The stored result that answers a call."""
    state: State[Any] = ask([call])[call.name]
    assert state.name == "Cached"
    return value_of(state)


@pytest.mark.parametrize("name", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize(
    "make",
    [lambda value: HOSTILE, lambda value: [HOSTILE, {"a": HOSTILE}], lambda value: {"of then": value, "new": HOSTILE}],
    ids=["alone", "nested", "beside"],
)
def test_names_of_other_classes_are_data(
    home: Path, manifest: dict[str, Any], name: str, make: Callable[[Any], Any]
) -> None:
    (call,) = [call for call in calls_of(manifest["calls"]) if call.name == name]
    expected = cached(call).parsed
    change(home / "storage" / manifest["calls"][name]["record"], make)
    assert cached(call).parsed == make(expected)


def test_a_task_that_declares_no_class_gets_plain_data(home: Path, manifest: dict[str, Any]) -> None:
    (call,) = [call for call in calls_of(manifest["calls"]) if call.name == CALLS["a user's own task"]]
    stored = {"__type__": "tests.compatibility.stored_types:Product"}

    def kept_as(annotation: Any) -> Any:
        def make() -> Any:
            raise AssertionError("the result is stored")

        make.__annotations__["return"] = annotation
        key = "own-typed-generation-as-json"
        same = task(persist_result=True, cache_key_fn=lambda *_: key, result_serializer="json")(make)
        return cached(Call("own", same)).parsed

    assert isinstance(cached(call).parsed, Product)
    for annotation in (Generation[Product], list[Generation[Product]], Generation[Product] | None):
        assert isinstance(kept_as(annotation), Product)
    for annotation in (Any, Generation, Generation[Any], Generation[dict], Generation[Place], "a name of nothing"):
        assert kept_as(annotation).items() >= stored.items()


def test_a_parameter_of_a_flow_declares_classes(home: Path, manifest: dict[str, Any]) -> None:
    @flow
    def receive(typed: Generation[Page[Product]], untyped: Generation, within: Delivery) -> list[Any]:
        return [typed.parsed, untyped.parsed, within.typed.parsed]

    record = json.loads((home / "storage" / manifest["calls"]["output type generic model"]["record"]).read_bytes())
    stored = json.loads(record["result"])["data"]
    typed, untyped, within = receive(stored, stored, {"typed": stored})
    assert isinstance(typed, Page)
    assert isinstance(within, Page)
    assert typed.items == within.items
    assert all(isinstance(item, Product) for item in typed.items)
    assert untyped == stored["parsed"]
