"""The one way in which every request is sent: limits, the shared cool-down, one attempt, and its repetition."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlencode

import httpx

from prefect_foxapi.client import responses
from prefect_foxapi.client.retry import Clock, RetryPolicy, Sleep, exclude_queue_time, repeating
from prefect_foxapi.client.transport import MethodRoutingTransport
from prefect_foxapi.errors import FoxAPIError, InsufficientCredits, RateLimited
from prefect_foxapi.hooks import CooldownStarted, Hook, RetryScheduled, emit
from prefect_foxapi.version import __version__

# httpx's own pool grows slow with the number of requests that wait in it, so that they wait here.
_WRITES_AT_ONCE = 32
_LARGEST_BODY = 64 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Seconds and numbers that bound what a client does; see `FoxAPIClient` for their meaning."""

    timeout: float
    submit_timeout: float
    connect_timeout: float
    max_connections: int
    max_streams: int

    @property
    def submission(self) -> float:
        """Seconds within which a submission that is sent is answered, or given up as lost."""
        return self.connect_timeout + self.submit_timeout

    @property
    def read(self) -> float:
        """Seconds within which a read is answered."""
        return self.connect_timeout + self.timeout


class Session:
    """Sends requests to one origin with one key.

    After a 429 every request of the sender waits, and after a 402 every submission that was waiting is given up.
    """

    def __init__(
        self,
        origin: httpx.URL,
        api_key: str,
        limits: Limits,
        retry: RetryPolicy,
        *,
        hooks: Sequence[Hook],
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self.limits = limits
        self.retry = retry
        self.hooks = hooks
        self.clock = clock
        self.sleep = sleep
        self._reads = asyncio.Semaphore(limits.max_connections)
        self._writes = asyncio.Semaphore(min(limits.max_connections, _WRITES_AT_ONCE))
        self._streams = asyncio.Semaphore(limits.max_streams)
        self._cool_until = 0.0
        self._throttled = 0
        self._out_of_credits: InsufficientCredits | None = None
        self._origin = str(origin)
        self._http = httpx.AsyncClient(
            headers={
                "Authorization": f"Bearer {api_key}",
                # The CDN in front refuses what looks like a bare library (contract §1).
                "User-Agent": f"prefect-foxapi/{__version__}",
                "Accept": "application/json",
            },
            follow_redirects=False,
            transport=MethodRoutingTransport(origin),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def repeating(
        self, may_repeat: Callable[[BaseException], bool], method: str, path: str
    ) -> Callable[..., Awaitable[Any]]:
        """Calls what it is given until it succeeds, or may not be repeated, or the budget is used up."""

        def on_repeat(attempt: int, delay: float, error: FoxAPIError) -> None:
            emit(self.hooks, RetryScheduled(method, path, attempt, delay, str(error)))

        return repeating(may_repeat, self.retry, clock=self.clock, sleep=self.sleep, on_repeat=on_repeat)

    @asynccontextmanager
    async def request_slot(self, *, write: bool) -> AsyncGenerator[None, None]:
        """Wait for a turn to send: a free place, and the end of a cool-down."""
        since = self.clock()
        async with self._writes if write else self._reads:
            exclude_queue_time(self.clock() - since)
            await self._cooled_down()
            yield

    @asynccontextmanager
    async def submission_slot(self, balance_epoch: InsufficientCredits | None) -> AsyncGenerator[None, None]:
        """Wait for a turn to submit, which does not come any more once the credits have run out.

        Args:
            waiting_since: `out_of_credits` as it was when the submission began to wait.

        Raises:
            InsufficientCredits: They have run out meanwhile.
        """
        async with self.request_slot(write=True):
            if self._out_of_credits is not None and self._out_of_credits is not balance_epoch:
                raise copy(self._out_of_credits)
            yield

    @property
    def out_of_credits(self) -> InsufficientCredits | None:
        """The last answer that said so."""
        return self._out_of_credits

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        file: tuple[str, BinaryIO, str] | None = None,
        paid: bool = False,
        generation_id: str | None = None,
    ) -> Any:
        """Send one request once, in its turn, and return the JSON of its answer.

        Raises:
            FoxAPIError: What the failure means, which depends on whether the request was `paid` for.
        """
        limits = self.limits
        request = self._http.build_request(
            method,
            self._url(path, params),
            json=json,
            data=form,
            files={"file": file} if file else None,
            timeout=self._timeout(limits.timeout if method == "GET" else limits.submit_timeout),
        )
        # httpx bounds the silence between two bytes; all but an upload has to be answered in time as a whole.
        deadline = limits.submission if paid else limits.read if method == "GET" else None
        with responses.translate_transport_errors(paid=paid, generation_id=generation_id):
            async with asyncio.timeout(deadline):
                response, body = await self._exchange(request)
        if not response.is_success:
            raise self._apply_backpressure(
                responses.error_from_response(response, body, paid=paid, generation_id=generation_id)
            )
        self._throttled = 0
        return responses.decode_json(response, body, paid=paid, generation_id=generation_id)

    async def _exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        response = await self._http.send(request, stream=True)
        try:
            return response, await responses.read_body(response, _LARGEST_BODY)
        except Exception:
            if response.is_success:
                raise
            # The status alone says what it means, whatever became of the body.
            return response, b""
        finally:
            await response.aclose()

    @asynccontextmanager
    async def open_stream(
        self, path: str, *, generation_id: str, offset: int, silence: float
    ) -> AsyncGenerator[httpx.Response, None]:
        """Open a stream at chunk `offset`; one attempt, whose failures are typed (contract §4)."""
        request = self._http.build_request(
            "GET",
            self._url(path, {"offset": str(offset)}),
            headers={"Accept": "text/event-stream"},
            timeout=self._timeout(silence),
        )
        async with self._streams:
            await self._cooled_down()
            with responses.translate_transport_errors(paid=False, generation_id=generation_id):
                response = await self._http.send(request, stream=True)
            try:
                if response.status_code != 200:
                    with responses.translate_transport_errors(paid=False, generation_id=generation_id):
                        body = await responses.read_body(response, _LARGEST_BODY)
                    raise self._apply_backpressure(
                        responses.error_from_response(response, body, paid=False, generation_id=generation_id)
                    )
                yield response
            finally:
                await response.aclose()

    def _url(self, path: str, params: Mapping[str, str] | None) -> str:
        # Whole: httpx would parse the origin, the path and the query once more each to put them together.
        return f"{self._origin}{path}?{urlencode(params)}" if params else f"{self._origin}{path}"

    def _timeout(self, seconds: float) -> httpx.Timeout:
        return httpx.Timeout(seconds, connect=self.limits.connect_timeout, pool=None)

    def _apply_backpressure(self, error: FoxAPIError) -> FoxAPIError:
        """Let everything that waits behind the same credentials know of an answer that concerns it."""
        if isinstance(error, InsufficientCredits):
            self._out_of_credits = error
        if isinstance(error, RateLimited):
            now = self.clock()
            # Answers to requests that were on their way together are one refusal, not many.
            self._throttled += 1 if now >= self._cool_until else 0
            pause = self.retry.delay(max(1, self._throttled), error.retry_after, random.random)
            if now + pause > self._cool_until:
                self._cool_until = now + pause
                emit(self.hooks, CooldownStarted(pause))
        return error

    async def _cooled_down(self) -> None:
        while (remaining := self._cool_until - self.clock()) > 0:
            # Spread out, so that all that waited do not come back at the same moment.
            await self.sleep(remaining + random.uniform(0, min(1.0, remaining / 4)))  # noqa: S311
