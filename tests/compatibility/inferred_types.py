"""What a type checker knows of the tasks' results; checked by `test_inferred_types`, and never run."""

from __future__ import annotations

from typing import Any, assert_type

from prefect import flow
from prefect.futures import PrefectFuture
from pydantic import BaseModel

from prefect_foxapi import (
    Generation,
    agenerate,
    astream_generation,
    asubmit_generation,
    await_for_generation,
    generate,
    stream_generation,
    submit_generation,
    wait_for_generation,
)
from prefect_foxapi.models import SubmittedGeneration


class P(BaseModel):
    """An output type."""

    name: str


@flow
def synchronously() -> None:
    """The tasks for synchronous flows."""
    assert_type(generate("x", model="m", output_type=P), Generation[P])
    assert_type(generate("x", model="m", output_type=P).parsed, P | None)
    assert_type(generate("x", model="m", output_type=list[P]), Generation[list[P]])
    assert_type(generate.submit("x", model="m", output_type=P), PrefectFuture[Generation[P]])
    assert_type(generate.submit("x", model="m", output_type=P).result(), Generation[P])
    assert_type(stream_generation("x", model="m", output_type=P), Generation[P])
    assert_type(stream_generation.submit("x", model="m", output_type=P), PrefectFuture[Generation[P]])
    assert_type(submit_generation("x", model="m", output_type=P), SubmittedGeneration)
    assert_type(wait_for_generation("id", output_type=P), Generation[P])
    plain: Generation = generate("x", model="m")
    assert_type(plain.parsed, Any | None)


@flow
async def asynchronously() -> None:
    """The tasks for asynchronous flows."""
    assert_type(await agenerate("x", model="m", output_type=P), Generation[P])
    assert_type(await agenerate("x", model="m", output_type=list[P]), Generation[list[P]])
    assert_type(await astream_generation("x", model="m", output_type=P), Generation[P])
    assert_type(await asubmit_generation("x", model="m", output_type=P), SubmittedGeneration)
    assert_type(await await_for_generation("id", output_type=P), Generation[P])


def wrongly() -> None:
    """Calls with an error each."""
    generate("x", model="m", timeout="30")
    generate("x")
    assert_type(generate("x", model="m", output_type=P), Generation[int])
