"""The client: a method for each call of FoxAPI."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack, cast

import httpx
from pydantic import BaseModel, ValidationError

from prefect_foxapi.client import responses
from prefect_foxapi.client.cancellation import await_to_completion
from prefect_foxapi.client.config import ClientConfig, ClientOptions
from prefect_foxapi.client.retry import Clock, RetryPolicy, Sleep, may_repeat_read, may_repeat_submission
from prefect_foxapi.client.session import Session
from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.client.streaming.reconnect import DEFAULT_SILENCE, read_stream
from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.hooks import Hook
from prefect_foxapi.models.account import Capabilities, Credits, Model, UploadedFile
from prefect_foxapi.models.attachments import is_file_url
from prefect_foxapi.models.base import checked_generation_id
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.models.content.digests import check_file
from prefect_foxapi.models.content.media_types import UNKNOWN, media_type_of
from prefect_foxapi.models.generations import GenerationSnapshot
from prefect_foxapi.models.requests import SUBMIT_PATH, GenerationRequest

_CAPABILITIES_KEPT = 300.0
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class NotSent(asyncio.CancelledError):
    """The caller was cancelled before its submission was sent. Nothing was paid."""


class SubmissionSlot:
    """The right to send one submission now."""

    def __init__(self, session: Session, path: str) -> None:
        self._session = session
        self._path = path
        self._withdrawn = False
        self._used = False

    def withdraw(self) -> None:
        """Send nothing more from this slot."""
        self._withdrawn = True

    async def submit(self, body: Mapping[str, Any]) -> GenerationSnapshot:
        """Send a submission. This costs money.

        Args:
            body: The JSON body.

        Raises:
            NotSent: The caller was cancelled before.
            AmbiguousSubmission: The response was lost; the submission may have been accepted.
            FoxAPIError: FoxAPI refused the submission; nothing was paid.
        """
        if self._withdrawn:
            raise NotSent("the caller was cancelled before the submission was sent")
        if self._used:
            raise RuntimeError("a slot is the right to send one submission, and this one was used")
        self._used = True
        return _accepted(await self._session.send("POST", self._path, json=body, paid=True))


class FoxAPIClient:
    """An asynchronous client of FoxAPI. It belongs to one event loop; use it with `async with`.

    Args:
        api_key: The API key (`sk-…`), or a `ClientConfig`.
        hooks: Called with what happens; see `prefect_foxapi.hooks`.
        clock: Returns monotonic seconds.
        sleep: Waits for seconds.
        **options: Fields of `ClientConfig`: `base_url`, `timeout`, `submit_timeout`, `connect_timeout`,
            `max_connections`, `max_streams`, `retry`, `allow_http`.

    Raises:
        AuthenticationError: The key is empty or has characters that no key has.
        InvalidRequest: The base URL is not one, or is unencrypted.

    Example:
        async with FoxAPIClient("sk-…") as client:
            snapshot = await client.submit(GenerationRequest.build("count 1 to 3", model="gpt-5.5"))
    """

    def __init__(
        self,
        api_key: str | ClientConfig,
        *,
        hooks: Sequence[Hook] = (),
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        **options: Unpack[ClientOptions],
    ) -> None:
        if "retry" in options and not options["retry"]:
            del options["retry"]
        config = replace(api_key, **options) if isinstance(api_key, ClientConfig) else ClientConfig(api_key, **options)
        self._session = Session(config, hooks=tuple(hooks), clock=clock, sleep=sleep)
        self._capabilities: tuple[float, Capabilities] | None = None
        self._capabilities_lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"FoxAPIClient(base_url={self.base_url!r})"

    @property
    def config(self) -> ClientConfig:
        """Its configuration."""
        return self._session.config

    @property
    def base_url(self) -> str:
        """Origin of the service."""
        return self._session.config.base_url

    async def __aenter__(self) -> FoxAPIClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.aclose()

    @property
    def retry(self) -> RetryPolicy:
        """How requests are repeated, where that is safe."""
        return self._session.config.retry

    @property
    def hooks(self) -> Sequence[Hook]:
        """The hooks."""
        return self._session.hooks

    @property
    def clock(self) -> Clock:
        """The monotonic clock."""
        return self._session.clock

    @property
    def sleep(self) -> Sleep:
        """How the client waits."""
        return self._session.sleep

    # What costs money

    async def submit(
        self, request: GenerationRequest | Mapping[str, Any], *, path: str = SUBMIT_PATH
    ) -> GenerationSnapshot:
        """Submit a generation. This costs money.

        It is repeated only after a 429 and where no connection was established, within the retry policy. A
        cancellation while the submission is on the wire waits for its answer first.

        Args:
            request: The request, or a JSON body that is sent as it is.
            path: Path of the kind of generation.

        Raises:
            AmbiguousSubmission: The response was lost; the submission may have been accepted.
            FoxAPIError: FoxAPI refused the submission; nothing was paid.
        """
        body = request.body() if isinstance(request, GenerationRequest) else dict(request)
        return await self.with_submission_slot(lambda slot: slot.submit(body), path=path)

    async def with_submission_slot(
        self, attempt: Callable[[SubmissionSlot], Coroutine[Any, Any, T]], *, path: str = SUBMIT_PATH
    ) -> T:
        """Call `attempt` with a slot in which it may submit, and again after each failure that cost nothing.

        An attempt comes to its end although the caller is cancelled, so that an answer on the wire is not lost. What
        it has not sent by then is not sent any more.

        Args:
            attempt: Submits with `slot.submit(body)`, or returns without doing so.
            path: Path of the kind of generation.

        Returns:
            What the attempt returned.

        Raises:
            InsufficientCredits: The credits ran out while this waited for its slot.
        """
        epoch = self._session.balance_epoch

        async def once() -> T:
            async with self._session.submission_slot(epoch):
                slot = SubmissionSlot(self._session, path)
                attempted = asyncio.ensure_future(attempt(slot))
                try:
                    return await asyncio.shield(attempted)
                except asyncio.CancelledError:
                    slot.withdraw()
                    await await_to_completion(attempted)
                    raise

        return await self._session.repeating(may_repeat_submission, "POST", path)(once)

    # What is free

    async def get(self, generation_id: str) -> GenerationSnapshot:
        """Return the state of a generation.

        Raises:
            NotFound: FoxAPI does not know it.
            UnreadableResponse: The answer is not a generation, or another one than was asked for.
        """
        path = f"/v1/tasks/{_path_safe(generation_id)}"

        async def fetch() -> GenerationSnapshot:
            data = await self._read(path, params={"sync_upstream": "true"}, generation_id=generation_id)
            found = responses.unwrapped(data, generation_id)
            if isinstance(found, dict):
                # An answer without an id is that of the path.
                fields = cast("dict[str, Any]", found)
                found = {**fields, "id": generation_id} if fields.get("id") is None else fields
            snapshot = _read_as(GenerationSnapshot, found, generation_id=generation_id)
            if snapshot.id != generation_id:
                raise responses.unreadable_response(
                    f"generation {generation_id}",
                    data,
                    generation_id=generation_id,
                    detail=f"it has the id {snapshot.id}",
                )
            return snapshot

        return await self._session.repeating(may_repeat_read, "GET", path)(fetch)

    async def models(self) -> tuple[Model, ...]:
        """Return the models that are available to this key."""
        path = "/v1/configs/llm_generations_models"

        async def fetch() -> tuple[Model, ...]:
            data = await self._read(path)
            items = cast("dict[str, Any]", data).get("data") if isinstance(data, dict) else None
            if not isinstance(items, list):
                raise responses.unreadable_response("a list of models", data)
            return tuple(_read_as(Model, item) for item in cast("list[Any]", items))

        return await self._session.repeating(may_repeat_read, "GET", path)(fetch)

    async def capabilities(self) -> Capabilities:
        """Return the capabilities of each model from the live list, which is kept for five minutes."""
        async with self._capabilities_lock:
            if self._capabilities is None or self.clock() - self._capabilities[0] > _CAPABILITIES_KEPT:
                found = {model.id: frozenset(model.capabilities) for model in await self.models()}
                self._capabilities = (self.clock(), found)
            return self._capabilities[1]

    async def credits(self) -> Credits:
        """Return the remaining and used credits of the key."""
        path = "/v1/account/credits"

        async def fetch() -> Credits:
            return _read_as(Credits, await self._read(path))

        return await self._session.repeating(may_repeat_read, "GET", path)(fetch)

    async def upload(
        self, source: Path | bytes | str, *, name: str | None = None, auto_cleanup: bool = True
    ) -> UploadedFile:
        """Upload a file, which FoxAPI keeps for 72 hours.

        An upload costs nothing and is repeated like a read. FoxAPI deletes duplicates with time.

        Args:
            source: A local file, which is streamed from disk; bytes; or a URL for FoxAPI to fetch.
            name: Name of the file at FoxAPI; by default that of the path.
            auto_cleanup: Whether FoxAPI may delete the oldest files when the storage is full.

        Raises:
            InvalidRequest: There is no such file, it is empty or unreadable, or the URL is that of a local file.
        """
        if isinstance(source, Path):
            check_file(source, "source")
        if isinstance(source, str) and is_file_url(source):
            raise InvalidRequest(f"source: {source[:80]!r} is a local file; give its Path", field="source")
        if isinstance(source, str):
            path, body = "/v1/files/upload/url", {"url": source}
        elif isinstance(source, bytes):
            path, body = "/v1/files/upload/base64", {"file_data": base64.b64encode(source).decode("ascii")}
        else:
            path, body = "/v1/files/upload/stream", {}
        fields = {**body, **({"file_name": name} if name else {})}

        async def send() -> UploadedFile:
            async with self._session.request_slot(write=True):
                if not isinstance(source, Path):
                    data = await self._session.send("POST", path, json={**fields, "auto_cleanup": auto_cleanup})
                else:
                    media_type = media_type_of(name or source.name) or UNKNOWN
                    with source.open("rb") as file:
                        form = {**fields, "auto_cleanup": "true" if auto_cleanup else "false"}
                        data = await self._session.send("POST", path, form=form, file=(source.name, file, media_type))
            return _read_as(UploadedFile, data)

        return await self._session.repeating(may_repeat_read, "POST", path)(send)

    async def stream(
        self, generation_id: str, *, silence: float = DEFAULT_SILENCE
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        """Yield the chunks of a generation as they come, each once, through broken connections.

        Args:
            generation_id: A generation that was submitted with `stream=True`.
            silence: Seconds without a byte after which a connection counts as broken.

        Raises:
            NotFound: There is no such stream, or no longer: FoxAPI keeps chunks for 15 minutes.
            GenerationFailed: The stream ended with an error.

        Example:
            async for chunk in client.stream(snapshot.id):
                print(chunk.text, end="")
        """
        async with aclosing(read_stream(self, generation_id, StreamReader(), silence=silence)) as chunks:
            async for chunk in chunks:
                yield chunk

    def open_stream(
        self, generation_id: str, *, offset: int, silence: float
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Open the stream of a generation at chunk `offset`, in one attempt, and raise typed errors."""
        path = f"{SUBMIT_PATH}/{_path_safe(generation_id)}/stream"
        return self._session.open_stream(path, generation_id=generation_id, offset=offset, silence=silence)

    async def _read(
        self, path: str, *, params: Mapping[str, str] | None = None, generation_id: str | None = None
    ) -> Any:
        async with self._session.request_slot(write=False):
            return await self._session.send("GET", path, params=params, generation_id=generation_id)


def _path_safe(generation_id: str) -> str:
    try:
        return checked_generation_id(generation_id)
    except ValueError as error:
        raise InvalidRequest(f"generation_id: {error}", field="generation_id") from None


def _accepted(data: dict[str, Any]) -> GenerationSnapshot:
    """Read the answer to a submission. The id is what was paid for; the first poll completes an odd answer."""
    try:
        return GenerationSnapshot.model_validate(data)
    except ValidationError:
        return GenerationSnapshot(id=data["id"], status="pending")


def _read_as(kind: type[M], data: Any, *, generation_id: str | None = None) -> M:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise responses.unreadable_response(
            f"a {kind.__name__}", data, generation_id=generation_id, detail=str(error.errors()[0]["msg"])
        ) from None
