"""The tasks that make generations, in pairs: `generate` for synchronous flows, `agenerate` for asynchronous ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from prefect.transactions import get_transaction
from pydantic import ValidationError
from typing_extensions import TypeVar

from prefect_foxapi.client.poll_policy import PollPolicy
from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.engine.collector import Wanted
from prefect_foxapi.engine.engine import GenerationCall, service
from prefect_foxapi.errors import InvalidRequest, OutputInvalid
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.models.generation_key import digests_of, generation_key
from prefect_foxapi.models.generations import Generation, SubmittedGeneration
from prefect_foxapi.models.messages import Prompt
from prefect_foxapi.models.requests import build_request, refuse_options
from prefect_foxapi.models.structured_output import OutputSchema, errors_of, output_schema
from prefect_foxapi.observability import LineLog, current_claimant, log_generation
from prefect_foxapi.settings import current_settings
from prefect_foxapi.tasks.caching import (
    GenerationCachePolicy,
    SubmissionPolicy,
    cache_scope_of_run,
    is_record_of_another,
)
from prefect_foxapi.tasks.factory import task_pair

T = TypeVar("T", default=Any)
OnAmbiguous = Literal["raise", "resubmit"]
Credentials = FoxAPICredentials | str | None
OnDelta = Callable[[ChatCompletionChunk], None]

DEFAULT_TIMEOUT = 900.0


async def _generate(
    prompt: Prompt,
    *,
    model: str,
    credentials: Credentials = None,
    output_type: type[T] | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    sample: int = 0,
    stream: bool = False,
    on_delta: OnDelta | None = None,
    poll: PollPolicy | None = None,
    on_ambiguous: OnAmbiguous | None = None,
    **openai_parameters: Any,
) -> Generation[T]:
    """Make a generation and wait for its result. An equal request is paid for once, wherever it is repeated.

    Args:
        prompt: A string; a list of strings and parts (`image(…)`, …); or a list of messages (contract §2).
        model: Which model.
        credentials: A block, the name of a saved block, or None for `FOXAPI_API_KEY`.
        output_type: A pydantic model, or any type that pydantic's TypeAdapter takes. The answer comes back as an
            instance of it in `parsed`.
        timeout: Seconds to wait at the most, or None. The generation goes on and can be collected later.
        sample: Another number asks for the same thing again.
        stream: Read the answer while it is made; a thinking model's reasoning comes this way only (contract §4).
        on_delta: With `stream`, takes every chunk as it comes. It is called on another thread, and must be quick.
        poll: How often to ask for the result.
        on_ambiguous: Where nobody can know whether a submission was accepted: `raise`, or `resubmit` and perhaps pay
            twice. By default what the settings say, which is `raise`.
        **openai_parameters: Any other parameter of OpenAI chat: `max_tokens`, `temperature`, `tools`, …

    Raises:
        InvalidRequest: Something is wrong with the request; nothing was paid.
        AmbiguousSubmission: Nobody can know whether it was paid.
        GenerationFailed: FoxAPI accepted it, and it failed.
        GenerationTimeout: The wait is over, the generation is not.
        OutputInvalid: The answer does not validate as `output_type`; the error carries it.
        FoxAPIError: Anything else; see `prefect_foxapi.errors`.

    Example:
        @flow
        def capital():
            return generate("The capital of France?", model="gpt-5.5", max_tokens=64).text
    """
    waiting = {"timeout": _checked_timeout(timeout), "poll": _checked_poll(poll), "on_delta": on_delta}
    ask = await _ask(
        prompt,
        model=model,
        credentials=credentials,
        output_type=output_type,
        sample=sample,
        stream=stream,
        on_ambiguous=on_ambiguous,
        parameters=openai_parameters,
    )
    generation = await service().generate(replace(ask, **waiting))
    if (transaction := get_transaction()) and is_record_of_another(transaction.key, ask.key, output_type):
        # A file was changed between the look for a cached result and the request.
        transaction.write_on_commit = False
    return _finished(generation, output_type)


async def _stream_generation(
    prompt: Prompt,
    *,
    model: str,
    on_delta: OnDelta | None = None,
    log_lines: bool = False,
    credentials: Credentials = None,
    output_type: type[T] | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    sample: int = 0,
    poll: PollPolicy | None = None,
    on_ambiguous: OnAmbiguous | None = None,
    **openai_parameters: Any,
) -> Generation[T]:
    """Make a generation and read its answer while it is made (contract §4); else like `generate`.

    It is the same generation as `generate` with the same request: one that is complete already is not streamed again.

    Args:
        prompt, model, credentials, output_type, timeout, sample, poll, on_ambiguous, **openai_parameters: As for
            `generate`; without a stream, the wait goes on by polling.
        on_delta: Takes every chunk as it comes. It is called on another thread, and must be quick.
        log_lines: Write the answer into the run's log as well, line by line.

    Example:
        stream_generation("Tell a story.", model="gpt-5.5", on_delta=lambda chunk: print(chunk.text, end=""))
    """
    refuse_options(openai_parameters)
    lines = LineLog() if log_lines else None

    def take(chunk: ChatCompletionChunk) -> None:
        if lines:
            lines(chunk)
        if on_delta:
            on_delta(chunk)

    try:
        return await _generate(
            prompt,
            model=model,
            credentials=credentials,
            output_type=output_type,
            timeout=timeout,
            sample=sample,
            stream=True,
            on_delta=take,
            poll=poll,
            on_ambiguous=on_ambiguous,
            **openai_parameters,
        )
    finally:
        if lines:
            lines.close()


async def _submit_generation(
    prompt: Prompt,
    *,
    model: str,
    credentials: Credentials = None,
    output_type: Any = None,
    sample: int = 0,
    stream: bool = False,
    on_ambiguous: OnAmbiguous | None = None,
    **openai_parameters: Any,
) -> SubmittedGeneration:
    """Submit a generation and do not wait for it. An equal request that was paid for already is not paid for again.

    With `refresh_cache` it pays anew, for whoever waits for it; `generate` goes on giving out what it had.

    Args:
        prompt, model, credentials, output_type, sample, stream, on_ambiguous, **openai_parameters: As for `generate`.

    Returns:
        What `wait_for_generation` takes, in this flow run or anywhere else.

    Raises:
        FoxAPIError: As for `generate`, of those that come before the wait.
    """
    ask = await _ask(
        prompt,
        model=model,
        credentials=credentials,
        output_type=output_type,
        sample=sample,
        stream=stream,
        on_ambiguous=on_ambiguous,
        parameters=openai_parameters,
    )
    found = await service().submit(ask)
    return SubmittedGeneration(generation_id=found.generation_id, model=model, key=ask.paid_key, origin=found.origin)


async def _wait_for_generation(
    generation: SubmittedGeneration | str,
    *,
    credentials: Credentials = None,
    output_type: type[T] | None = None,
    timeout: float | None = DEFAULT_TIMEOUT,
    stream: bool = False,
    on_delta: OnDelta | None = None,
    poll: PollPolicy | None = None,
) -> Generation[T]:
    """Wait for a generation that was submitted, in this flow run or anywhere else. This costs nothing (contract §3).

    Args:
        generation: What `submit_generation` returned, or the id alone.
        credentials, output_type, timeout, stream, on_delta, poll: As for `generate`.

    Raises:
        NotFound: FoxAPI does not know it.
        GenerationFailed, GenerationTimeout, OutputInvalid, FoxAPIError: As for `generate`.
    """
    block = await FoxAPICredentials.aresolve(credentials)
    submitted = generation if isinstance(generation, SubmittedGeneration) else None
    wanted = Wanted(
        generation_id=submitted.generation_id if submitted else str(generation),
        account=block.account_name,
        model=submitted.model if submitted else "",
        key=submitted.key if submitted else None,
        timeout=_checked_timeout(timeout),
        poll=_checked_poll(poll),
        stream=stream,
        on_delta=on_delta,
    )
    return _finished(await service().collect(block, wanted), output_type)


async def _ask(
    prompt: Prompt,
    *,
    model: str,
    credentials: Credentials,
    output_type: Any,
    sample: int,
    stream: bool,
    on_ambiguous: OnAmbiguous | None,
    parameters: dict[str, Any],
) -> GenerationCall:
    if on_ambiguous not in (None, "raise", "resubmit"):
        raise InvalidRequest(f"on_ambiguous: {on_ambiguous!r}; give 'raise' or 'resubmit'", field="on_ambiguous")
    request = build_request(prompt, model=model, output_type=output_type, stream=stream, parameters=parameters)
    block = await FoxAPICredentials.aresolve(credentials)
    has_attachments = any(True for _ in request.attachments())
    digests = await asyncio.to_thread(digests_of, request) if has_attachments else {}
    key = generation_key(request, account=block.account_name, base_url=block.origin, sample=sample, digests=digests)
    return GenerationCall(
        request=request,
        credentials=block,
        key=key,
        digests=digests,
        cache_scope=cache_scope_of_run(key),
        claimant=current_claimant(),
        on_ambiguous=on_ambiguous or current_settings().on_ambiguous,
        stream=stream,
    )


def _finished(generation: Generation[Any], output_type: Any) -> Generation[Any]:
    log_generation(generation)
    if generation.completion is None and (transaction := get_transaction()) is not None:
        # Links to media end after a day (contract §3); Prefect would keep them for ever.
        transaction.write_on_commit = False
    return generation if output_type is None else _parsed(generation, output_schema(output_type))


def _parsed(generation: Generation[Any], schema: OutputSchema) -> Generation[Any]:
    try:
        return generation.model_copy(update={"parsed": schema.parse(generation.text)})
    except ValidationError as error:
        cut = ' (it was cut off: finish_reason is "length", so raise max_tokens)'
        raise OutputInvalid(
            f"the answer of generation {generation.generation_id} is not a valid {schema.name}"
            f"{cut if generation.finish_reason == 'length' else ''}: {error.error_count()} errors; it is kept, and "
            "sample=1 asks again",
            text=generation.text,
            errors=errors_of(error),
            generation=generation,
            generation_id=generation.generation_id,
        ) from error


def _checked_timeout(timeout: Any) -> float | None:
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise InvalidRequest(
            f"timeout: {timeout!r} is not a positive number of seconds; give one, or None", field="timeout"
        )
    return timeout


def _checked_poll(poll: Any) -> PollPolicy:
    if not isinstance(poll, PollPolicy | None):
        raise InvalidRequest(
            f"poll: {poll!r} is not a PollPolicy; PollPolicy(interval=5) asks every 5 seconds", field="poll"
        )
    return poll or PollPolicy()


generate, agenerate = task_pair(_generate, cache_policy=GenerationCachePolicy())
stream_generation, astream_generation = task_pair(_stream_generation, cache_policy=GenerationCachePolicy())
submit_generation, asubmit_generation = task_pair(_submit_generation, cache_policy=SubmissionPolicy())
wait_for_generation, await_for_generation = task_pair(_wait_for_generation)
