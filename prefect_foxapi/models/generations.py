"""Generations: FoxAPI's snapshot of one, and the `Generation` that tasks return."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, cast

from pydantic import (
    BeforeValidator,
    Json,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from typing_extensions import TypeVar

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.models.base import (
    GenerationId,
    LenientProgress,
    LenientSeconds,
    LenientText,
    ObjectOrNone,
    WireModel,
    is_too_deep,
    limited_depth,
)
from prefect_foxapi.models.completions import ChatCompletion, ToolCall, Usage
from prefect_foxapi.models.output.schema import is_parsing_answer
from prefect_foxapi.models.structured_output import (
    OBEYED_BY_PREFECT,
    declared_types,
    decode_value,
    encode_value,
    find_declared,
    find_recorded,
)

T = TypeVar("T", default=Any)

Origin = Literal["billed", "replayed", "joined", "resumed"]
"""Where a generation came from: `billed` is paid by this call; the others were paid before, and were complete
(`replayed`), in flight in a live process (`joined`), or left by a process that had ended (`resumed`)."""

_TYPES, _AS_TEXT = "parsed_types", "fields_as_text"
_RECORDED_TYPES = TypeAdapter(dict[str, str])
_TEXTS = TypeAdapter(dict[str, Json[Any]])

# A larger number is not an amount of credits, and an integer of any size need not fit into a float.
_MOST_CREDITS = 1e15


class StreamLink(WireModel):
    """The URL of a generation's stream, relative to the base URL."""

    url: str


def _link_or_none(value: Any) -> Any:
    if isinstance(value, str):
        return {"url": value}
    if isinstance(value, dict):
        link = cast("dict[str, Any]", value)
        return link if isinstance(link.get("url"), str) else None
    return value if isinstance(value, StreamLink) else None


class GenerationSnapshot(WireModel):
    """The state of a generation at one moment: the response to a submission or to a poll."""

    id: GenerationId
    object: LenientText = None
    type: str = "llm"
    model: str = ""
    status: str
    progress: LenientProgress = 0
    created: LenientSeconds = None
    stream: Annotated[StreamLink | None, BeforeValidator(_link_or_none)] = None
    results: tuple[Any, ...] | None = None
    error: dict[str, Any] | None = None
    usage: Annotated[dict[str, Any] | None, ObjectOrNone] = None

    @model_validator(mode="before")
    @classmethod
    def _complete_what_is_odd(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = dict(cast("Mapping[str, Any]", data))
        if not isinstance(fields.get("type", ""), str):
            # As in `image.generation.task`.
            kind, _, rest = str(fields.get("object")).partition(".generation")
            fields["type"] = kind if rest else "llm"
        if fields.get("status") is None and fields.get("results"):
            fields["status"] = "completed"
        return fields

    @field_validator("type", "status", mode="before")
    @classmethod
    def _in_lower_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("model", mode="before")
    @classmethod
    def _model_may_be_odd(cls, value: Any) -> str:
        return TypeAdapter(LenientText).validate_python(value) or ""

    @field_validator("results", mode="before")
    @classmethod
    def _results_may_be_one(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return cast("list[Any]", value)
        return (value,) if value else None

    @field_validator("error", mode="before")
    @classmethod
    def _error_may_be_anything(cls, value: Any) -> Any:
        if isinstance(value, dict) or not value:
            return cast("Any", value) if isinstance(value, dict) else None
        items: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        if len(items) == 1 and isinstance(items[0], dict):
            return cast("dict[str, Any]", items[0])
        said = [cast("dict[str, Any]", item).get("message", item) if isinstance(item, dict) else item for item in items]
        return {"message": "; ".join(str(limited_depth(item, 3)) for item in said)}

    def as_json(self) -> dict[str, Any]:
        """Return the snapshot as JSON data, however deep its results are."""
        # Pydantic's own JSON mode raises below 255 levels.
        return {**self.model_dump(), "results": None if self.results is None else list(self.results)}

    @property
    def has_failed(self) -> bool:
        """Whether the generation failed or was cancelled."""
        return self.status in {"failed", "cancelled", "canceled"} or bool(
            self.status == "completed" and not self.results and self.error
        )

    @property
    def has_result(self) -> bool:
        """Whether the result is there. Results can come later than the status `completed`."""
        return self.status == "completed" and bool(self.results)

    @property
    def credits(self) -> float | None:
        """Credits that the generation used, or that FoxAPI reserved for it, or None."""
        for name in ("credits_used", "credits", "credits_reserved"):
            value = (self.usage or {}).get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST_CREDITS:
                return float(value)
        return None

    def completion(self) -> ChatCompletion | None:
        """Return the chat completion of a text generation, or None for other generations.

        Raises:
            pydantic.ValidationError: The results of a text generation are not a chat completion.
        """
        if not self.results:
            return None
        first = self.results[0]
        if isinstance(first, Mapping) and ("choices" in first or self.type == "llm"):
            return ChatCompletion.model_validate(first)
        return None


def _storing() -> Callable[[Any, SerializerFunctionWrapHandler], Any]:
    # cloudpickle takes a function within a function, as it takes `_restore_parsed`, into the pickle of a class that was
    # parametrized within a function. There both work with version 0.1.0 as well, which lacks what they look for.
    # It has no return annotation, since pydantic would take that for its JSON schema.
    def store(self: Any, handler: SerializerFunctionWrapHandler):
        shallow = getattr(self, "_with_limited_depth", lambda: self)()
        return getattr(self, "_stored", dict)(handler(shallow))

    return store


class Generation(WireModel, Generic[T]):
    """A completed generation.

    In JSON, `parsed_types` names the classes of the parts of `parsed`, beside the answer's data and never within it.
    An answer can therefore neither name a class nor be taken for one. Values that hold a key which Prefect's own
    serializer obeys (`__class__`, …) are kept as JSON text in `fields_as_text`.

    Records of version 0.1.0 have no `parsed_types`: they name classes within `parsed`. There a name is obeyed only if
    it is that of a declared class: declared by `Generation[T]`, by the `output_type` of the running task, or by the
    return annotation of a user's own task. Otherwise `parsed` stays plain data.

    Attributes:
        generation_id: FoxAPI's id.
        model: The model.
        text: The answer's text, which may be empty.
        reasoning: The model's reasoning, which only streams have, or None.
        tool_calls: The tool calls that the model asks for.
        finish_reason: Why the model stopped: `stop`, `length`, `tool_calls`, …
        usage: Tokens.
        credits: Credits that the generation used, or None.
        parsed: The answer as an instance of the call's `output_type`; None without one, or if the answer calls a tool.
        created: When FoxAPI accepted the generation.
        latency: Seconds from the call to the result, or None.
        origin: Where the generation came from: `billed`, `replayed`, `joined` or `resumed`.
        completion: The chat completion, or None for media.
        results: The results of media as FoxAPI gave them, with the files' URLs.

    Example:
        generation = generate("The capital of France?", model="gpt-5.5")
        print(generation.text, generation.credits, generation.origin)
    """

    generation_id: GenerationId
    model: str
    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    credits: float | None = None
    parsed: T | None = None
    created: datetime | None = None
    latency: float | None = None
    origin: Origin = "billed"
    completion: ChatCompletion | None = None
    results: tuple[Any, ...] = ()

    @field_serializer("parsed", when_used="json")
    def _store_parsed(self, value: Any) -> Any:
        return encode_value(value)[0]

    @model_validator(mode="before")
    @classmethod
    def _restore_parsed(cls, value: Any) -> Any:
        return getattr(cls, "_restored", decode_value)(value)

    _store: ClassVar[Any] = model_serializer(mode="wrap", when_used="json")(_storing())

    def _with_limited_depth(self) -> Any:
        """Return the generation as pydantic can serialize it: with at most 255 levels."""
        kept = self.completion and self.completion.model_dump()
        if not is_too_deep([kept, self.results]):
            return self
        completion = kept and ChatCompletion.model_validate(limited_depth(kept))
        return self.model_copy(update={"completion": completion, "results": tuple(limited_depth(self.results))})

    def _stored(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON data of the fields as it is stored."""
        data = {name: item for name, item in data.items() if name not in (_TYPES, _AS_TEXT)}
        if "parsed" in data:
            data[_TYPES] = encode_value(self.parsed)[1]
        as_text = {name: json.dumps(data.pop(name)) for name in list(data) if _is_obeyed(data, name)}
        return {**data, _AS_TEXT: as_text} if as_text else data

    @classmethod
    def _restored(cls, value: Any) -> Any:
        """Return the data of the fields as it was before `_stored`."""
        if not isinstance(value, dict):
            return value
        data = dict(cast("dict[str, Any]", value))
        types, as_text = data.pop(_TYPES, None), data.pop(_AS_TEXT, None)
        if is_parsing_answer():
            return data
        if as_text is not None:
            data |= _TEXTS.validate_python(as_text)
        if types is not None:
            data["parsed"] = decode_value(data.get("parsed"), find_recorded(_RECORDED_TYPES.validate_python(types)))
        elif "parsed" in data and not isinstance(data.get("results"), tuple):
            # A record of 0.1.0. Only what is not from JSON has a tuple, and instances in place of names.
            declared = find_declared(cls.model_fields["parsed"].annotation, *declared_types())
            # What does not decode is data.
            with suppress(TypeError, ValueError):
                data["parsed"] = decode_value(data["parsed"], declared)
        return data

    @classmethod
    def from_snapshot(
        cls,
        snapshot: GenerationSnapshot,
        *,
        origin: Origin,
        reasoning: str | None = None,
        latency: float | None = None,
    ) -> "Generation[Any]":
        """Return the generation of a snapshot that has its result.

        Args:
            snapshot: The last snapshot.
            origin: Whether the generation was paid for now, or found.
            reasoning: The reasoning that the stream had.
            latency: Seconds from the call to the result.

        Raises:
            pydantic.ValidationError: The results of a text generation are not a chat completion.
        """
        return _generation(snapshot, snapshot.completion(), origin, reasoning, latency)

    @classmethod
    def with_raw_results(
        cls,
        snapshot: GenerationSnapshot,
        *,
        origin: Origin,
        reasoning: str | None = None,
        latency: float | None = None,
    ) -> "Generation[Any]":
        """Return the generation of a snapshot with `results` as FoxAPI gave them, whatever they are.

        Args:
            snapshot: The last snapshot.
            origin: Whether the generation was paid for now, or found.
            reasoning: The reasoning that the stream had.
            latency: Seconds from the call to the result.
        """
        return _generation(snapshot, None, origin, reasoning, latency)


def _is_obeyed(data: Any, name: Any) -> bool:
    """Return whether an item of JSON data has, or is within, a key that Prefect obeys."""
    item = data[name]
    inner = cast(
        "Any", item if isinstance(item, dict) else range(len(cast("list[Any]", item))) if isinstance(item, list) else ()
    )
    return name in OBEYED_BY_PREFECT or any(_is_obeyed(item, further) for further in inner)


def _generation(
    snapshot: GenerationSnapshot,
    completion: ChatCompletion | None,
    origin: Origin,
    reasoning: str | None,
    latency: float | None,
) -> Generation[Any]:
    choice = completion.choices[0] if completion else None
    return Generation(
        generation_id=snapshot.id,
        model=snapshot.model or (completion.model if completion and completion.model else ""),
        text=(choice.message.content or "") if choice else "",
        reasoning=reasoning or (choice.message.reasoning_content if choice else None),
        tool_calls=choice.message.tool_calls if choice else (),
        finish_reason=choice.finish_reason if choice else None,
        usage=completion.usage if completion else None,
        credits=snapshot.credits,
        created=datetime.fromtimestamp(snapshot.created, UTC) if snapshot.created else None,
        latency=latency,
        origin=origin,
        completion=completion,
        results=() if completion else tuple(snapshot.results or ()),
    )


class SubmittedGeneration(WireModel):
    """A generation that is paid for, as an argument for `wait_for_generation`.

    Attributes:
        generation_id: FoxAPI's id.
        model: The model.
        key: The generation key, which is its key in the ledger.
        origin: Where the generation came from: `billed`, `replayed`, `joined` or `resumed`.
    """

    generation_id: GenerationId
    model: str
    key: str
    origin: Origin


class UnsettledGeneration(WireModel):
    """A generation in the ledger that was not collected, or an ambiguous submission.

    Attributes:
        key: The generation key, as an argument for `settle`.
        state: `submitted`, `submitting` or `ambiguous`.
        model: The model.
        generation_id: FoxAPI's id, or None.
        submitted_at: When it was submitted, in Unix seconds.
        submitted_by: Host, process and flow run that submitted it.
        reason: Why it is ambiguous, or None.
    """

    key: str
    state: str
    model: str
    generation_id: str | None = None
    submitted_at: float
    submitted_by: str
    reason: str | None = None


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.models")
