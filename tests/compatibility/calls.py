"""The calls whose results the fixture holds, made in the same words by the version that stored and the one that reads.

Only what users can import appears here, so that every version can run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from prefect import State, Task, flow, task
from prefect.results import ResultRecord
from prefect_foxapi.messages import ToolMessage

from prefect_foxapi import (
    FoxAPICredentials,
    FoxAPIError,
    Generation,
    GenerationRequest,
    PollPolicy,
    RetryPolicy,
    assistant,
    audio,
    document,
    errors,
    generate,
    get_credits,
    image,
    list_models,
    list_unsettled,
    stream_generation,
    submit_generation,
    system,
    upload_file,
    user,
    video,
    wait_for_generation,
)
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.models import (
    ChatCompletion,
    ChatCompletionChunk,
    Credits,
    GenerationSnapshot,
    Model,
    SubmittedGeneration,
    UnsettledGeneration,
    UploadedFile,
)
from tests.compatibility.stored_types import Mood, Page, Place, Product, Shipment, Terms

SAMPLES = Path(__file__).parents[2] / "flows" / "samples"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {}}}}}
CALL = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}
# At the level of a module pydantic registers the class, so that it can be stored by its name.
ProductGeneration = Generation[Product]
TIME = datetime.fromisoformat("2026-03-04T05:06:07+00:00")


@dataclass(frozen=True)
class Call:
    """A call of a task whose result is kept.

    Attributes:
        name: Its name in the manifest.
        task: The task.
        arguments: What it is called with.
        in_ledger: Whether the ledger alone can answer it, too.
    """

    name: str
    task: Task[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    in_ledger: bool = True


def script(emulator: Emulator) -> None:
    """Lay down the answers that the emulator does not find by itself."""
    emulator.script(when="Use the tool", answer={"tool_calls": [CALL]})
    emulator.script(when="Make up: dict with keys", answer='{"7": [{"city": "Paris", "population": 1}], "9": []}')
    emulator.script(when="Think it over", answer="42", reasoning="Six times seven.")


def generation_calls(credentials: FoxAPICredentials) -> list[Call]:
    """Requests that Prefect's cache answers, and without it the ledger."""
    typed: dict[str, Any] = {
        "model": Product,
        "list of models": list[Product],
        "generic model": Page[Product],
        "nested generic models": Page[Page[Product]],
        "rich model": Shipment,
        "enum": Mood,
        "date": date,
        "set": set[str],
        "tuple": tuple[int, str, Mood],
        "dict of models": dict[str, Product],
        "dict with keys that are no names": dict[int, list[Place]],
        "dataclass": Place,
        "typed dict": Terms,
        "integer": int,
        "optional": Product | None,
    }
    text = {"model": "gpt-5.5"}
    asked: dict[str, dict[str, Any]] = {
        "text": {"prompt": "count 1 to 3", **text},
        "parameters": {"prompt": "count 1 to 3", **text, "max_tokens": 64, "temperature": 0.5, "stop": ["END"]},
        "sample": {"prompt": "count 1 to 3", **text, "sample": 1},
        "claude": {"prompt": "count 1 to 3", "model": "claude-sonnet-4-5", "max_tokens": 256},
        "conversation": {"prompt": [system("Be terse."), user("1+1?"), assistant("2"), user("3+3?")], **text},
        "tool call": {"prompt": "Use the tool.", **text, "tools": [TOOL]},
        "image file": {"prompt": ["What is it?", image(SAMPLES / "photo.jpg")], **text},
        "document file": {
            "prompt": ["Sum it up.", document(SAMPLES / "report.pdf"), image(b"\x89PNG pixels", name="photo.png")],
            "model": "gemini-3-pro-preview",
        },
        "remote video": {
            "prompt": ["Watch.", video("https://example.com/a.mp4")],
            "model": "gemini-2.5-flash",
        },
        **{
            f"output type {name}": {"prompt": f"Make up: {name}", **text, "output_type": kind}
            for name, kind in typed.items()
        },
    }
    streamed: dict[str, dict[str, Any]] = {
        "stream": {"prompt": "Tell a story.", **text},
        "stream with reasoning": {"prompt": "Think it over.", "model": "gemini-3-pro-preview"},
        "stream with output type": {"prompt": "Stream one product", **text, "output_type": Product},
    }
    asking: dict[str, Any] = {"credentials": credentials, "poll": PollPolicy(interval=0.02)}
    account = credentials.model_copy(update={"account": "research"})
    return [
        *(Call(name, generate, {**asking, **fields}) for name, fields in asked.items()),
        *(Call(name, stream_generation, {**asking, **fields}) for name, fields in streamed.items()),
        Call("account", generate, {**asking, "credentials": account, "prompt": "count 1 to 3", **text}),
    ]


def stored_calls(credentials: FoxAPICredentials, submitted: SubmittedGeneration) -> list[Call]:
    """Calls of other tasks, whose results a user stores under cache keys of his own."""
    with_credentials = {"credentials": credentials}
    return [
        Call(name, kept.with_options(persist_result=True, cache_key_fn=_key(name)), arguments, in_ledger=False)
        for name, kept, arguments in (
            ("models", list_models, with_credentials),
            ("credits", get_credits, with_credentials),
            ("unsettled", list_unsettled, with_credentials),
            ("uploaded file", upload_file, {"source": SAMPLES / "report.pdf", **with_credentials}),
            ("submitted", submit_generation, {"prompt": "count 1 to 3", "model": "gpt-5.5", **with_credentials}),
            ("waited for", wait_for_generation, {"generation": submitted, **with_credentials}),
        )
    ]


def own_calls() -> list[Call]:
    """Calls of a user's own tasks that return values of this package, stored as JSON and as pickles."""
    calls: list[Call] = []
    for name, make in _VALUES.items():
        for serializer in ("json", "pickle"):
            stored = f"own {name} as {serializer}"
            kept = task(name=stored, persist_result=True, cache_key_fn=_key(stored), result_serializer=serializer)(make)
            calls.append(Call(stored, kept, in_ledger=False))
    return calls


def _key(name: str) -> Callable[[Any, Any], str]:
    return lambda context, parameters: name.replace(" ", "-")


def ask(calls: Iterable[Call]) -> dict[str, State[Any]]:
    """Make the calls in a flow run, until one fails. Returns the states of their task runs by name."""
    states: dict[str, State[Any]] = {}

    # It returns nothing: a flow that returns a failed state fails itself.
    @flow(name="asking")
    def ask_all() -> None:
        for call in calls:
            states[call.name] = call.task(**call.arguments, return_state=True)
            if states[call.name].is_failed():
                # With no server there, each failure takes its time.
                break

    ask_all()
    return states


def value_of(state: State[Any]) -> Any:
    """Return the result or the exception that a state carries."""
    return state.data.result if isinstance(state.data, ResultRecord) else state.data


def _messages() -> list[Any]:
    return [
        system("Be terse."),
        user("Look.", image("https://example.com/a.png"), audio("https://example.com/a.mp3")),
        user(video("https://example.com/a.mp4"), document("https://example.com/a.pdf")),
        assistant(tool_calls=[CALL]),
        ToolMessage(content="blue", tool_call_id="call-1"),
        assistant("It is blue."),
    ]


def _request() -> GenerationRequest:
    return GenerationRequest.build(_messages(), model="gpt-5.5", max_tokens=64, tools=[TOOL], seed=1)


def _snapshot() -> GenerationSnapshot:
    return GenerationSnapshot.model_validate(
        {
            "id": "gen-1",
            "object": "llm.generation.task",
            "model": "gpt-5.5",
            "status": "completed",
            "progress": 100,
            "created": 1_772_600_767,
            "stream": {"url": "/v1/llm/generations/gen-1/stream"},
            "results": [_completion().model_dump(mode="json")],
            "usage": {"credits_reserved": 3},
            "completed_at": 1_772_600_768.5,
        }
    )


def _completion() -> ChatCompletion:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "details": {"cached": 0}}
    message = {"role": "assistant", "content": "blue", "reasoning_content": "The sky.", "tool_calls": [CALL]}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return ChatCompletion.model_validate({"id": "c", "model": "gpt-5.5", "choices": choices, "usage": usage})


def _chunk() -> ChatCompletionChunk:
    call = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "look", "arguments": "{"}}
    delta = {"role": "assistant", "content": "b", "reasoning_content": "T", "tool_calls": [call]}
    return ChatCompletionChunk.model_validate({"id": "c", "choices": [{"index": 0, "delta": delta}]})


def _generation() -> Generation[Any]:
    return Generation.from_snapshot(_snapshot(), origin="billed", latency=1.5)


def _typed_generation() -> Generation[Product]:
    return ProductGeneration.model_validate(dict(_generation().model_copy(update={"parsed": _product()})))


def _product() -> Product:
    return Product.model_validate({"name": "a fox", "price": "1.50", "inStock": True})


def _media() -> Generation[Any]:
    results = ({"url": "https://example.com/a.png", "revised_prompt": "a red fox"},)
    return Generation(generation_id="gen-2", model="gpt-image-2", created=TIME, latency=2.5, results=results)


def _answers() -> list[Any]:
    return [
        SubmittedGeneration(generation_id="gen-1", model="gpt-5.5", key="0" * 64, origin="joined"),
        UnsettledGeneration(
            key="0" * 64,
            state="ambiguous",
            model="gpt-5.5",
            generation_id=None,
            submitted_at=1_772_600_767.5,
            submitted_by="host:1, flow run 2 of 'flow'",
            reason="the response was lost",
        ),
        Model(id="gpt-5.5", capabilities=("text", "vision")),
        Credits.model_validate({"balance": 10, "used": 2.5, "plan": "team"}),
        UploadedFile(id="file-1", filename="a.pdf", url="https://example.com/a.pdf", size=3, created=1_772_600_767),
    ]


def _errors() -> list[FoxAPIError]:
    further: dict[str, dict[str, Any]] = {
        "InvalidRequest": {"field": "messages.0.content"},
        "RateLimited": {"retry_after": 2.5},
        "UnreadableResponse": {"excerpt": "<html>"},
        "AmbiguousSubmission": {"submitted_at": 1_772_600_767.5, "submitted_by": "host:1"},
        "GenerationFailed": {"error": {"code": "upstream_error", "message": "no luck"}},
        "GenerationTimeout": {"elapsed": 3.5, "last_status": "processing", "progress": 50},
        "OutputInvalid": {"text": "{}", "errors": [{"loc": ("name",), "type": "missing"}], "generation": _generation()},
    }
    known: dict[str, Any] = {
        "status": 422,
        "type": "invalid_request_error",
        "code": "invalid_param",
        "request_id": "request-1",
        "generation_id": "gen-1",
        "key": "0" * 64,
    }
    return [getattr(errors, name)(f"{name}: é", **known, **further.get(name, {})) for name in ERRORS]


ERRORS = (
    *("AmbiguousSubmission", "AuthenticationError", "FoxAPIError", "GenerationFailed", "GenerationTimeout"),
    *("InsufficientCredits", "InvalidRequest", "LedgerError", "ModelRuleViolation", "NotFound", "OutputInvalid"),
    *("RateLimited", "ServiceUnavailable", "UnknownModel", "UnreadableResponse", "UnsupportedContent"),
)
_VALUES: dict[str, Callable[[], Any]] = {
    "message": lambda: user("Look.", image("https://example.com/a.png")),
    "messages": _messages,
    "policies": lambda: [PollPolicy(interval=5), PollPolicy(), RetryPolicy(attempts=3)],
    "request": _request,
    "snapshot": _snapshot,
    "completion": _completion,
    "chunk": _chunk,
    "generation": _generation,
    "typed generation": _typed_generation,
    "media generation": _media,
    "answers": _answers,
    "errors": _errors,
}
