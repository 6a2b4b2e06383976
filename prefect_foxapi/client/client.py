"""The client: one method for each call of FoxAPI, and one way in which all of them are sent."""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

import httpx
from pydantic import BaseModel, ValidationError

from prefect_foxapi.client import responses
from prefect_foxapi.client.config import DEFAULT_BASE_URL, checked_api_key, checked_origin
from prefect_foxapi.client.retry import Clock, RetryPolicy, Sleep, may_repeat_read, may_repeat_submission
from prefect_foxapi.client.session import Limits, Session
from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.client.streaming.reconnect import DEFAULT_SILENCE, read_stream
from prefect_foxapi.errors import InsufficientCredits, InvalidRequest
from prefect_foxapi.hooks import Hook
from prefect_foxapi.models.account import Capabilities, Credits, Model, UploadedFile
from prefect_foxapi.models.attachments import check_file
from prefect_foxapi.models.base import checked_generation_id
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.models.generations import GenerationSnapshot
from prefect_foxapi.models.requests import SUBMIT_PATH, GenerationRequest

_CAPABILITIES_KEPT = 300.0
M = TypeVar("M", bound=BaseModel)


class SubmissionRecorder(Protocol):
    """Whoever must write down a submission before and after it is sent.

    `sending` is called with the slot for the submission in hand, right before each POST; what it raises stops the
    submission. One of the others follows, whatever happens to the caller.
    """

    async def sending(self) -> None:
        """The request is about to be sent."""
        ...

    async def accepted(self, snapshot: GenerationSnapshot) -> None:
        """FoxAPI accepted it."""
        ...

    async def refused(self, error: BaseException) -> None:
        """FoxAPI did not accept it, for certain."""
        ...

    async def lost(self, error: BaseException) -> None:
        """Nobody can know whether FoxAPI accepted it."""
        ...


class FoxAPIClient:
    """An asynchronous client of FoxAPI. It belongs to one event loop; use it with `async with`.

    Args:
        api_key: The API key (`sk-…`). It is sent to the base URL's origin only.
        base_url: Origin of the service, without `/v1`.
        timeout: Seconds that the answer to a read may take.
        submit_timeout: Seconds that the answer to a submission or an upload may take. A submission that is not
            answered in time is ambiguous, so this is long.
        connect_timeout: Seconds for making a connection.
        max_connections: How many requests may be in flight at once.
        max_streams: How many streams may be read at once.
        retry: How requests are repeated, where that is safe.
        allow_http: Whether the key may be sent unencrypted to a host that is not this machine.
        hooks: Called with what happens; see `prefect_foxapi.hooks`.

    Raises:
        AuthenticationError: The key is empty or cannot be a key.
        InvalidRequest: The base URL is not one, or is unencrypted.

    Example:
        async with FoxAPIClient("sk-…") as client:
            snapshot = await client.submit(GenerationRequest.build("count 1 to 3", model="gpt-5.5"))
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        submit_timeout: float = 120.0,
        connect_timeout: float = 10.0,
        max_connections: int = 100,
        max_streams: int = 1000,
        retry: RetryPolicy | None = None,
        allow_http: bool = False,
        hooks: Sequence[Hook] = (),
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        origin = checked_origin(base_url, allow_http=allow_http)
        self.base_url = str(origin)
        limits = Limits(timeout, submit_timeout, connect_timeout, max_connections, max_streams)
        self._sender = Session(
            origin,
            checked_api_key(api_key),
            limits,
            retry or RetryPolicy(),
            hooks=tuple(hooks),
            clock=clock,
            sleep=sleep,
        )
        self._capabilities: tuple[float, Capabilities] | None = None
        self._capabilities_lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"FoxAPIClient(base_url={self.base_url!r})"

    async def __aenter__(self) -> FoxAPIClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._sender.aclose()

    @property
    def retry(self) -> RetryPolicy:
        """How requests are repeated, where that is safe."""
        return self._sender.retry

    @property
    def hooks(self) -> Sequence[Hook]:
        """Who is told what happens."""
        return self._sender.hooks

    @property
    def clock(self) -> Clock:
        """The monotonic clock."""
        return self._sender.clock

    @property
    def sleep(self) -> Sleep:
        """How to wait."""
        return self._sender.sleep

    @property
    def submission_deadline(self) -> float:
        """Seconds within which a submission that is sent is answered, or given up as lost."""
        return self._sender.limits.submission

    # What costs money

    async def submit(
        self,
        request: GenerationRequest | Mapping[str, Any],
        *,
        path: str = SUBMIT_PATH,
        journal: SubmissionRecorder | None = None,
    ) -> GenerationSnapshot:
        """Submit a generation. This costs money (contract §2).

        It is repeated only after a 429 and where a connection was never established, within the retry policy.
        A cancelled submission that was already sent is seen to its end first, so that its id is not lost.

        Args:
            request: The request, or a JSON body that is sent as it is.
            path: Which kind of generation; see contract §9.
            journal: Writes the submission down before and after it is sent.

        Raises:
            AmbiguousSubmission: Nobody can know whether it was accepted.
            FoxAPIError: It was refused; nothing was paid.
        """
        body = request.body() if isinstance(request, GenerationRequest) else dict(request)
        balance_epoch = self._sender.out_of_credits
        attempts = self._sender.repeating(may_repeat_submission, "POST", path)
        return await attempts(self._submit_once, body, path, journal, balance_epoch)

    async def _submit_once(
        self,
        body: Mapping[str, Any],
        path: str,
        journal: SubmissionRecorder | None,
        balance_epoch: InsufficientCredits | None,
    ) -> GenerationSnapshot:
        async with self._sender.submission_slot(balance_epoch):
            # In a task of its own: whoever is cancelled while this is on the wire must not lose the answer.
            withdrawn = asyncio.Event()
            sent = asyncio.ensure_future(self._send_submission(body, path, journal, withdrawn))
            try:
                return await asyncio.shield(sent)
            except asyncio.CancelledError:
                withdrawn.set()
                # Some cancel again and again until it works.
                while not sent.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait({sent})
                if not sent.cancelled():
                    sent.exception()
                raise

    async def _send_submission(
        self, body: Mapping[str, Any], path: str, journal: SubmissionRecorder | None, withdrawn: asyncio.Event
    ) -> GenerationSnapshot:
        if journal:
            await journal.sending()
        if withdrawn.is_set():
            error = asyncio.CancelledError("it was cancelled before it was sent")
            if journal:
                await journal.refused(error)
            raise error
        try:
            snapshot = _accepted(await self._sender.send("POST", path, json=body, paid=True))
        except BaseException as error:
            if journal:
                await (journal.lost if responses.is_ambiguous(error) else journal.refused)(error)
            raise
        if journal:
            await journal.accepted(snapshot)
        return snapshot

    # What is free

    async def get(self, generation_id: str) -> GenerationSnapshot:
        """Ask how a generation is doing (contract §3).

        Raises:
            NotFound: FoxAPI does not know it.
        """
        path = f"/v1/tasks/{_path_safe(generation_id)}"

        async def fetch() -> GenerationSnapshot:
            data = await self._read(path, params={"sync_upstream": "true"}, generation_id=generation_id)
            return _read_as(GenerationSnapshot, data, generation_id=generation_id)

        return await self._sender.repeating(may_repeat_read, "GET", path)(fetch)

    async def models(self) -> tuple[Model, ...]:
        """The models that this key may use (contract §6); an empty tuple where it may use none."""
        path = "/v1/configs/llm_generations_models"

        async def fetch() -> tuple[Model, ...]:
            data = await self._read(path)
            items = cast("dict[str, Any]", data).get("data") if isinstance(data, dict) else None
            if not isinstance(items, list):
                raise responses.unreadable_response("a list of models", data)
            return tuple(_read_as(Model, item) for item in cast("list[Any]", items))

        return await self._sender.repeating(may_repeat_read, "GET", path)(fetch)

    async def capabilities(self) -> Capabilities:
        """What each model takes, from the live list, remembered for five minutes."""
        async with self._capabilities_lock:
            if self._capabilities is None or self.clock() - self._capabilities[0] > _CAPABILITIES_KEPT:
                found = {model.id: frozenset(model.capabilities) for model in await self.models()}
                self._capabilities = (self.clock(), found)
            return self._capabilities[1]

    async def credits(self) -> Credits:
        """Balance and use of the key (contract §8)."""
        path = "/v1/account/credits"

        async def fetch() -> Credits:
            return _read_as(Credits, await self._read(path))

        return await self._sender.repeating(may_repeat_read, "GET", path)(fetch)

    async def upload(
        self, source: Path | bytes | str, *, name: str | None = None, auto_cleanup: bool = True
    ) -> UploadedFile:
        """Upload a file, which FoxAPI keeps for 72 hours (contract §7).

        An upload is repeated like a read: it costs nothing, and what it leaves behind twice goes by itself.

        Args:
            source: A local file, which is streamed from disk; bytes; or a URL that FoxAPI shall fetch.
            name: The file's name at FoxAPI; by default that of the path.
            auto_cleanup: Whether FoxAPI may delete the oldest files when the storage is full.
        """
        if isinstance(source, Path):
            check_file(source, "source")
        if isinstance(source, str):
            path, body = "/v1/files/upload/url", {"url": source}
        elif isinstance(source, bytes):
            path, body = "/v1/files/upload/base64", {"file_data": base64.b64encode(source).decode("ascii")}
        else:
            path, body = "/v1/files/upload/stream", {}
        fields = {**body, **({"file_name": name} if name else {})}

        async def send() -> UploadedFile:
            async with self._sender.request_slot(write=True):
                if not isinstance(source, Path):
                    data = await self._sender.send("POST", path, json={**fields, "auto_cleanup": auto_cleanup})
                else:
                    media_type = mimetypes.guess_type(name or source.name)[0] or "application/octet-stream"
                    with source.open("rb") as file:
                        form = {**fields, "auto_cleanup": "true" if auto_cleanup else "false"}
                        data = await self._sender.send("POST", path, form=form, file=(source.name, file, media_type))
            return _read_as(UploadedFile, data)

        return await self._sender.repeating(may_repeat_read, "POST", path)(send)

    async def stream(
        self, generation_id: str, *, silence: float = DEFAULT_SILENCE
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        """The chunks of a generation as they come, each once, through broken connections (contract §4).

        Args:
            generation_id: Which generation; it was submitted with `stream=True`.
            silence: Seconds without a byte after which a connection counts as broken.

        Raises:
            NotFound: There is no such stream, or not any more: chunks are kept for 15 minutes.
            GenerationFailed: The stream says that the generation failed.

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
        """Open the stream of a generation at chunk `offset`; one attempt, whose failures are typed (contract §4)."""
        path = f"{SUBMIT_PATH}/{_path_safe(generation_id)}/stream"
        return self._sender.open_stream(path, generation_id=generation_id, offset=offset, silence=silence)

    async def _read(
        self, path: str, *, params: Mapping[str, str] | None = None, generation_id: str | None = None
    ) -> Any:
        async with self._sender.request_slot(write=False):
            return await self._sender.send("GET", path, params=params, generation_id=generation_id)


def _path_safe(generation_id: str) -> str:
    try:
        return checked_generation_id(generation_id)
    except ValueError as error:
        raise InvalidRequest(f"generation_id: {error}", field="generation_id") from None


def _accepted(data: Any) -> GenerationSnapshot:
    """Whatever else of the answer is odd, the id is what was paid for; the first poll tells the rest."""
    given = cast("dict[str, Any]", data).get("id") if isinstance(data, dict) else None
    try:
        least = GenerationSnapshot.model_validate({"id": given, "status": "pending"})
    except ValidationError:
        return _read_as(GenerationSnapshot, data, paid=True)
    try:
        return GenerationSnapshot.model_validate(data)
    except ValidationError:
        return least


def _read_as(kind: type[M], data: Any, *, paid: bool = False, generation_id: str | None = None) -> M:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise responses.unreadable_response(
            f"a {kind.__name__}", data, paid=paid, generation_id=generation_id, detail=str(error.errors()[0]["msg"])
        ) from None
