"""What users import: the names, where they live, the pairs of tasks, and the block that registers itself."""

from __future__ import annotations

import ast
import importlib
import inspect
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from prefect import Task
from prefect.blocks.core import Block
from prefect.cache_policies import NO_CACHE

import prefect_foxapi
from prefect_foxapi import FoxAPICredentials, FoxAPIError, InvalidRequest, errors
from prefect_foxapi.models.requests import refuse_options
from prefect_foxapi.tasks.caching import GenerationCachePolicy, SubmissionPolicy

TASKS = {
    "generate": GenerationCachePolicy,
    "stream_generation": GenerationCachePolicy,
    "submit_generation": SubmissionPolicy,
    "wait_for_generation": type(NO_CACHE),
    "upload_file": type(NO_CACHE),
    "list_models": type(NO_CACHE),
    "get_credits": type(NO_CACHE),
    "list_unsettled": type(NO_CACHE),
    "settle": type(NO_CACHE),
}
PUBLIC = {
    *TASKS,
    *(f"a{name}" for name in TASKS),
    *("image", "video", "audio", "document", "system", "user", "assistant", "tool"),
    *("FoxAPICredentials", "FoxAPIClient", "Generation", "GenerationRequest", "PollPolicy", "RetryPolicy"),
    *("ChatCompletionChunk", "Credits", "Model", "SubmittedGeneration", "UnsettledGeneration", "UploadedFile"),
    *("is_retryable", "__version__", "FoxAPIError"),
    *("AuthenticationError", "InsufficientCredits", "UnknownModel", "UnsupportedContent", "ModelRuleViolation"),
    *("InvalidRequest", "NotFound", "RateLimited", "ServiceUnavailable", "AmbiguousSubmission", "GenerationFailed"),
    *("GenerationTimeout", "OutputInvalid", "UnreadableResponse", "LedgerError"),
}


def test_public_names() -> None:
    assert prefect_foxapi.__all__ == sorted(PUBLIC)


def test_every_error_is_public() -> None:
    named = {name for name in errors.__all__ if issubclass(getattr(errors, name), FoxAPIError)}
    assert named <= PUBLIC
    assert set(errors.__all__) == named


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_name_can_be_imported(name: str) -> None:
    value = getattr(prefect_foxapi, name)
    assert value is getattr(prefect_foxapi, name)
    assert name in dir(prefect_foxapi)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="generat"):
        prefect_foxapi.generat  # noqa: B018


def test_stub_names_the_homes() -> None:
    """The list that is loaded lazily is the one that type checkers read."""
    stub = Path(prefect_foxapi.__file__).with_suffix(".pyi")
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        assert isinstance(node, ast.ImportFrom)
        home = importlib.import_module(f"prefect_foxapi.{node.module}")
        for alias in node.names:
            assert alias.asname == alias.name
            assert getattr(home, alias.name) is getattr(prefect_foxapi, alias.name)


def twins(name: str) -> tuple[Task[Any, Any], Task[Any, Any]]:
    return getattr(prefect_foxapi, name), getattr(prefect_foxapi, f"a{name}")


@pytest.mark.parametrize("name", TASKS)
def test_twins(name: str) -> None:
    synchronous, asynchronous = twins(name)
    assert isinstance(synchronous, Task)
    assert isinstance(asynchronous, Task)
    assert inspect.signature(synchronous.fn) == inspect.signature(asynchronous.fn)
    assert synchronous.fn.__doc__ == asynchronous.fn.__doc__
    assert not synchronous.isasync
    assert asynchronous.isasync
    # One name in the UI, whichever of the two a flow uses.
    assert synchronous.name == asynchronous.name == name
    assert (synchronous.fn.__name__, asynchronous.fn.__name__) == (name, f"a{name}")


@pytest.mark.parametrize("name", TASKS)
def test_tasks_repeat_nothing_by_themselves(name: str) -> None:
    for task in twins(name):
        assert task.retries == 0
        assert task.timeout_seconds is None
        assert type(task.cache_policy) is TASKS[name]


@pytest.mark.parametrize("name", TASKS)
def test_twins_are_documented(name: str) -> None:
    documentation = inspect.getdoc(twins(name)[0].fn)
    assert documentation
    for parameter in inspect.signature(twins(name)[0].fn).parameters:
        # Those that are told in one breath ("As for `generate`") are named, too.
        assert parameter in documentation or parameter == "credentials", parameter


def test_block_registers_itself() -> None:
    (entry,) = [entry for entry in entry_points(group="prefect.collections") if entry.name == "prefect_foxapi"]
    module = entry.load()
    blocks = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, Block)]
    assert FoxAPICredentials in blocks
    assert Block.get_block_class_from_key("foxapi-credentials") is FoxAPICredentials


def test_block_describes_itself() -> None:
    for name, field in FoxAPICredentials.model_fields.items():
        assert (field.description or "").endswith("."), name
    assert "FoxAPICredentials.load(" in (FoxAPICredentials.__doc__ or "")
    assert FoxAPICredentials.get_description()
    assert FoxAPICredentials.get_code_example()


def test_an_option_that_a_task_lacks_is_refused() -> None:
    """Otherwise it would be sent to FoxAPI as a parameter of the request, and count in the key."""
    paying = ("generate", "stream_generation", "submit_generation")
    options = {name: set(inspect.signature(twins(name)[0].fn).parameters) for name in paying}
    for name in paying:
        for option in set.union(*options.values()) - options[name]:
            with pytest.raises(InvalidRequest) as caught:
                refuse_options({option: None})
            assert caught.value.field == option
