"""Errors cross processes with all their data, say nothing secret, and each has its place in the tree."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest

from prefect_foxapi import errors
from prefect_foxapi.errors import FoxAPIError, LedgerError, RateLimited
from prefect_foxapi.models.generations import Generation

SAMPLES: dict[str, Any] = {
    "int": 418,
    "float": 2.5,
    "str": "text with ünïcode",
    "dict[str, Any]": {"code": "upstream_error", "nested": [1, {"a": None}]},
    "list[dict[str, Any]]": [{"loc": ("a", 0), "msg": "wrong"}],
    "Any": Generation(generation_id="task-llm-1-aaaaaaaa", model="gpt-5.5", text="hello"),
}


def every_class(root: type[FoxAPIError] = FoxAPIError) -> Iterator[type[FoxAPIError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith("prefect_foxapi."):
            yield from every_class(child)


CLASSES = sorted(set(every_class()), key=lambda kind: kind.__name__)
classes = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def data_of(kind: type[FoxAPIError]) -> dict[str, Any]:
    """A value for each keyword that a class and its parents take."""
    parameters: dict[str, inspect.Parameter] = {}
    for parent in kind.__mro__:
        if "__init__" in vars(parent) and issubclass(parent, FoxAPIError):
            parameters.update(inspect.signature(parent).parameters)
    return {
        name: SAMPLES[str(parameter.annotation).removesuffix(" | None")]
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "old pickle": lambda error: pickle.loads(pickle.dumps(error, protocol=2)),
    "cloudpickle": lambda error: pickle.loads(cloudpickle.dumps(error)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@classes
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_survives_with_all_its_data(kind: type[FoxAPIError], copied: Callable[[Any], Any]) -> None:
    data = data_of(kind)
    original = kind("what went wrong", **data)
    twin = copied(original)
    assert type(twin) is kind
    assert str(twin) == "what went wrong"
    assert twin.args == original.args
    assert vars(twin) == {"message": "what went wrong", **data}


@classes
def test_can_be_made_of_a_message_alone(kind: type[FoxAPIError]) -> None:
    error = kind("only this")
    assert str(error) == error.message == "only this"
    assert error.status is error.type is error.code is error.request_id is error.generation_id is error.key is None
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


@classes
def test_is_named_and_documented(kind: type[FoxAPIError]) -> None:
    if kind.__module__ != errors.__name__:
        pytest.fail(f"{kind.__name__} lives in {kind.__module__}, where nobody looks for errors")
    assert kind.__name__ in errors.__all__
    assert kind.__doc__
    assert re.search(rf"[─ ]{kind.__name__}\b", errors.__doc__ or "")
    documented = "".join(parent.__doc__ or "" for parent in kind.__mro__ if issubclass(parent, FoxAPIError))
    for name in data_of(kind):
        assert f"{name}:" in documented, name


@classes
def test_tree_is_drawn_as_it_is(kind: type[FoxAPIError]) -> None:
    """The depth of a class in the drawing is its depth in the program."""
    if kind is FoxAPIError:
        return
    line = next(line for line in (errors.__doc__ or "").splitlines() if re.search(rf"─ {kind.__name__}\b", line))
    depth = [parent for parent in kind.__mro__ if issubclass(parent, FoxAPIError)]
    assert line.index("─") - 4 == 1 + 4 * (len(depth) - 2)


def test_only_what_cannot_pay_twice_is_retryable() -> None:
    assert {kind.__name__ for kind in CLASSES if kind("it failed").retryable} == {
        *("RateLimited", "ServiceUnavailable", "UnreadableResponse", "GenerationTimeout", "LedgerError")
    }
    assert not LedgerError("disk full", generation_id="task-llm-1-aaaaaaaa").retryable
    assert RateLimited.retryable
    assert not FoxAPIError.retryable


def test_repr_shows_the_message_and_no_data() -> None:
    assert repr(RateLimited("slow down", retry_after=3.0)) == "RateLimited('slow down')"


def test_ledger_error_says_whether_something_was_paid() -> None:
    assert LedgerError("disk full").nothing_was_paid
    assert not LedgerError("disk full", generation_id="task-llm-1-aaaaaaaa").nothing_was_paid
