"""The tasks that make generations: `generate` and its relatives, each for synchronous and asynchronous flows."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, cast

from prefect.transactions import get_transaction
from pydantic import ValidationError
from typing_extensions import TypeVar

from prefect_foxapi.client.poll_policy import PollPolicy
from prefect_foxapi.client.waiter import OnDelta, WaitOptions
from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.engine.calls import GenerationCall, GenerationRef
from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.base import shown
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.models.generation_key import digests_of, former_key, generation_key
from prefect_foxapi.models.generations import Generation, SubmittedGeneration
from prefect_foxapi.models.messages import Prompt
from prefect_foxapi.models.output.schema import OutputSchema, output_schema
from prefect_foxapi.models.requests import build_request, refuse_options
from prefect_foxapi.models.structured_output import output_invalid
from prefect_foxapi.observability import LineLogger
from prefect_foxapi.settings import current_settings
from prefect_foxapi.tasks.caching import (
    GenerationCachePolicy,
    SubmissionPolicy,
    cache_scope_of_run,
    is_record_of_another,
)
from prefect_foxapi.tasks.factory import task_pair
from prefect_foxapi.tasks.runtime import current_claimant, current_engine

T = TypeVar("T", default=Any)
OnAmbiguous = Literal["raise", "resubmit"]
Credentials = FoxAPICredentials | str | None

DEFAULT_TIMEOUT = 900.0
_ADAPTIVE = PollPolicy()


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
    """Make a generation and return its result. Equal requests are paid for once.

    Args:
        prompt: A string; a list of strings and attachments (`image(…)`, …, a `Path`, a URL); or a list of messages.
        model: Name of the model.
        credentials: A block, the name of a saved block, or None for `FOXAPI_API_KEY`.
        output_type: A pydantic model, or any type that pydantic's TypeAdapter takes. `parsed` is an instance of it,
            or None where the answer calls a tool.
        timeout: Seconds to wait, or None. After a timeout the generation goes on and can be collected.
        sample: Another number makes another generation of the same request.
        stream: Read the answer while it is written. The reasoning of a thinking model is in the stream only.
        on_delta: With `stream`, is called with every chunk, on another thread. It must return quickly.
        poll: How often to poll for the result.
        on_ambiguous: What to do where it cannot be determined whether an earlier submission was accepted: `raise`, or
            `resubmit`, which may pay twice. The default is a setting, which is `raise` unless it was changed.
        **openai_parameters: Other parameters of OpenAI chat: `max_tokens`, `temperature`, `tools`, … Near misses of
            known names are refused. `extra_body={…}` sends fields without this check.

    Returns:
        The generation with its result.

    Raises:
        InvalidRequest: The request is wrong; nothing was paid.
        AmbiguousSubmission: It cannot be determined whether the request was paid.
        GenerationFailed: FoxAPI accepted the generation, and it failed.
        GenerationTimeout: The wait is over, the generation is not.
        OutputInvalid: The answer does not validate as `output_type`; the error has the answer.
        FoxAPIError: Any other error; see `prefect_foxapi.errors`.

    Example:
        @flow
        def capital():
            return generate("The capital of France?", model="gpt-5.5", max_tokens=64).text
    """
    call = await _call(
        prompt,
        WaitOptions(timeout, _ADAPTIVE if poll is None else poll, stream, on_delta),
        model=model,
        credentials=credentials,
        output_type=output_type,
        sample=sample,
        on_ambiguous=on_ambiguous,
        parameters=openai_parameters,
    )
    generation = await current_engine().generate(call)
    if (transaction := get_transaction()) and is_record_of_another(
        transaction.key, call.key, output_type, former_key=call.former_key
    ):
        # A file changed between the look-up of a cached result and the request.
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
    """Make a generation, read its answer while it is written, and return its result.

    It is the same generation as that of `generate` with the same request. A complete one is not streamed again. Where
    no stream is available, the wait goes on by polling.

    Args:
        prompt: As for `generate`.
        model: As for `generate`.
        on_delta: Is called with every chunk, on another thread. It must return quickly.
        log_lines: Write the answer to the log of the run as well, line by line.
        credentials: As for `generate`.
        output_type: As for `generate`.
        timeout: As for `generate`.
        sample: As for `generate`.
        poll: As for `generate`.
        on_ambiguous: As for `generate`.
        **openai_parameters: As for `generate`.

    Returns:
        The generation with its result, and with the reasoning of a thinking model.

    Raises:
        FoxAPIError: As for `generate`.

    Example:
        stream_generation("Tell a story.", model="gpt-5.5", on_delta=lambda chunk: print(chunk.text, end=""))
    """
    refuse_options(openai_parameters)
    if not isinstance(cast("Any", log_lines), bool):
        raise InvalidRequest(f"log_lines: {shown(log_lines)} is not True or False; give one", field="log_lines")
    # Checked here, since `take` can be called whatever `on_delta` is.
    WaitOptions(on_delta=on_delta)
    lines = LineLogger() if log_lines else None

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
    """Submit a generation and return without waiting for its result. Equal requests are paid for once.

    With `refresh_cache` it pays again. `wait_for_generation` then has the new result, `generate` still the former one.

    Args:
        prompt: As for `generate`.
        model: As for `generate`.
        credentials: As for `generate`.
        output_type: As for `generate`.
        sample: As for `generate`.
        stream: As for `generate`.
        on_ambiguous: As for `generate`.
        **openai_parameters: As for `generate`.

    Returns:
        The argument for `wait_for_generation`, in this flow run or any other.

    Raises:
        FoxAPIError: As for `generate`, except for the errors of the wait.
    """
    call = await _call(
        prompt,
        WaitOptions(stream=stream),
        model=model,
        credentials=credentials,
        output_type=output_type,
        sample=sample,
        on_ambiguous=on_ambiguous,
        parameters=openai_parameters,
    )
    paid = await current_engine().submit(call)
    return SubmittedGeneration(generation_id=paid.generation_id, model=model, key=call.paid_key, origin=paid.origin)


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
    """Wait for a submitted generation and return its result. This costs nothing.

    Args:
        generation: The result of `submit_generation`, in this flow run or any other, or a generation id.
        credentials: As for `generate`.
        output_type: As for `generate`.
        timeout: As for `generate`.
        stream: As for `generate`.
        on_delta: As for `generate`.
        poll: As for `generate`.

    Returns:
        The generation with its result.

    Raises:
        NotFound: FoxAPI does not know the generation.
        GenerationFailed: FoxAPI accepted the generation, and it failed.
        GenerationTimeout: The wait is over, the generation is not.
        OutputInvalid: The answer does not validate as `output_type`; the error has the answer.
        FoxAPIError: Any other error.
    """
    wait = WaitOptions(timeout, _ADAPTIVE if poll is None else poll, stream, on_delta)
    block = await FoxAPICredentials.aresolve(credentials)
    if isinstance(generation, SubmittedGeneration):
        ref = GenerationRef(generation.generation_id, block.account_name, generation.model, generation.key)
    else:
        ref = GenerationRef(str(generation), block.account_name)
    return _finished(await current_engine().collect(block.client_config, ref, wait), output_type)


async def _call(
    prompt: Prompt,
    wait: WaitOptions,
    *,
    model: str,
    credentials: Credentials,
    output_type: Any,
    sample: int,
    on_ambiguous: OnAmbiguous | None,
    parameters: dict[str, Any],
) -> GenerationCall:
    if on_ambiguous not in (None, "raise", "resubmit"):
        raise InvalidRequest(f"on_ambiguous: {shown(on_ambiguous)}; give 'raise' or 'resubmit'", field="on_ambiguous")
    request = build_request(prompt, model=model, output_type=output_type, stream=wait.stream, parameters=parameters)
    block = await FoxAPICredentials.aresolve(credentials)
    config, account = block.client_config, block.account_name
    has_attachments = any(True for _ in request.attachments())
    digests = await asyncio.to_thread(digests_of, request) if has_attachments else {}
    identity: dict[str, Any] = {
        "account": account,
        "base_url": config.base_url,
        "sample": sample,
        "digests": digests,
    }
    key = generation_key(request, **identity)
    return GenerationCall(
        request=request,
        config=config,
        account=account,
        key=key,
        digests=digests,
        cache_scope=cache_scope_of_run(key),
        claimant=current_claimant(),
        on_ambiguous=on_ambiguous or current_settings().on_ambiguous,
        wait=wait,
        former_key=former_key(request, **identity),
    )


def _finished(generation: Generation[Any], output_type: Any) -> Generation[Any]:
    if generation.completion is None and (transaction := get_transaction()) is not None:
        # Links to media expire after a day. Prefect would keep them without limit.
        transaction.write_on_commit = False
    if output_type is None or (generation.completion and generation.completion.choices[0].message.calls_tool):
        return generation
    return _parsed(generation, output_schema(output_type))


def _parsed(generation: Generation[Any], schema: OutputSchema) -> Generation[Any]:
    try:
        return generation.model_copy(update={"parsed": schema.parse(generation.text)})
    except ValidationError as error:
        raise output_invalid(generation, f"a valid {schema.name}", error) from error


generate, agenerate = task_pair(_generate, cache_policy=GenerationCachePolicy())
stream_generation, astream_generation = task_pair(_stream_generation, cache_policy=GenerationCachePolicy())
submit_generation, asubmit_generation = task_pair(_submit_generation, cache_policy=SubmissionPolicy())
wait_for_generation, await_for_generation = task_pair(_wait_for_generation)
