"""An HTTP session with one origin: connection limits, the shared cool-down, single attempts, and their repetition."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from copy import copy
from typing import Any, BinaryIO
from urllib.parse import urlencode

import httpx

from prefect_foxapi.client import responses
from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.client.retry import Clock, Sleep, exclude_queue_time, repeating
from prefect_foxapi.client.transport import MethodRoutingTransport
from prefect_foxapi.errors import FoxAPIError, InsufficientCredits, RateLimited
from prefect_foxapi.hooks import CooldownStarted, Hook, RetryScheduled, emit
from prefect_foxapi.version import __version__

# httpx's own pool slows down with the number of requests that wait in it, so they wait here.
_WRITES_AT_ONCE = 32
_LARGEST_BODY = 64 * 1024 * 1024
_LARGEST_ERROR = 1024 * 1024


class Session:
    """Sends requests to one origin with one key.

    After a 429 every request waits until the cool-down is over. After a 402 every submission that was waiting is given
    up.
    """

    def __init__(self, config: ClientConfig, *, hooks: Sequence[Hook], clock: Clock, sleep: Sleep) -> None:
        self.config = config
        self.hooks = hooks
        self.clock = clock
        self.sleep = sleep
        self.balance_epoch = 0
        """How often the balance was found empty."""
        self._reads = asyncio.Semaphore(config.max_connections)
        self._writes = asyncio.Semaphore(min(config.max_connections, _WRITES_AT_ONCE))
        self._streams = asyncio.Semaphore(config.max_streams)
        self._cool_until = 0.0
        self._throttled = 0
        self._out_of_credits = InsufficientCredits()
        self._http = httpx.AsyncClient(
            headers={
                "Authorization": f"Bearer {config.api_key}",
                # FoxAPI's CDN refuses the default user agents of libraries.
                "User-Agent": f"prefect-foxapi/{__version__}",
                "Accept": "application/json",
                # The transport decodes no other one.
                "Accept-Encoding": "gzip",
            },
            follow_redirects=False,
            transport=MethodRoutingTransport(httpx.URL(config.base_url)),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def repeating(
        self, may_repeat: Callable[[BaseException], bool], method: str, path: str
    ) -> Callable[..., Awaitable[Any]]:
        """Return a caller that calls a function until it succeeds, may not be repeated, or the budget is used up."""

        def on_repeat(attempt: int, delay: float, error: FoxAPIError) -> None:
            emit(self.hooks, RetryScheduled(method, path, attempt, delay, str(error)))

        return repeating(may_repeat, self.config.retry, clock=self.clock, sleep=self.sleep, on_repeat=on_repeat)

    @asynccontextmanager
    async def request_slot(self, *, write: bool) -> AsyncGenerator[None, None]:
        """Wait for a free connection and for the end of a cool-down."""
        since = self.clock()
        async with self._writes if write else self._reads:
            exclude_queue_time(self.clock() - since)
            await self._cooled_down()
            yield

    @asynccontextmanager
    async def submission_slot(self, balance_epoch: int) -> AsyncGenerator[None, None]:
        """Wait for a slot to submit in. It is refused once the credits have run out.

        Args:
            balance_epoch: `balance_epoch` at the time when the submission began to wait.

        Raises:
            InsufficientCredits: The credits have run out since then.
        """
        async with self.request_slot(write=True):
            if self.balance_epoch != balance_epoch:
                raise copy(self._out_of_credits)
            yield

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
        """Send a request once, within a slot, and return the JSON of its answer.

        Raises:
            FoxAPIError: What the failure means, which depends on whether the request is `paid`.
        """
        config = self.config
        request = self._http.build_request(
            method,
            self._url(path, params),
            json=json,
            data=form,
            files={"file": file} if file else None,
            timeout=self._timeout(config.timeout if method == "GET" else config.submit_timeout),
        )
        # httpx bounds the silence between two bytes. All but uploads have a deadline for the whole answer.
        deadline = config.submission_deadline if paid else config.read_deadline if method == "GET" else None
        with responses.translate_transport_errors(paid=paid, generation_id=generation_id):
            response, body = await self._exchange(request, deadline, paid=paid)
        if not response.is_success:
            raise self._apply_backpressure(
                responses.error_from_response(response, body, paid=paid, generation_id=generation_id)
            )
        self._throttled = 0
        if paid:
            return responses.decode_submission(response, body)
        return responses.decode_json(response, body, generation_id=generation_id)

    async def _exchange(
        self, request: httpx.Request, deadline: float | None, *, paid: bool
    ) -> tuple[httpx.Response, bytes]:
        response: httpx.Response | None = None
        body = bytearray()
        try:
            async with asyncio.timeout(deadline):
                response = await self._http.send(request, stream=True)
                try:
                    limit = _LARGEST_BODY if response.is_success else _LARGEST_ERROR
                    await responses.read_body(response, body, limit)
                finally:
                    await response.aclose()
        except Exception:
            if response is None or (response.is_success and not (paid and responses.has_generation(bytes(body)))):
                raise
            # The status alone has a meaning, even where the body cannot be read, and so has the id of a submission.
            return response, bytes(body) if response.is_success else b""
        return response, bytes(body)

    @asynccontextmanager
    async def open_stream(
        self, path: str, *, generation_id: str, offset: int, silence: float
    ) -> AsyncGenerator[httpx.Response, None]:
        """Open a stream at chunk `offset`, in one attempt, and raise typed errors."""
        request = self._http.build_request(
            "GET",
            self._url(path, {"offset": str(offset)}),
            # A stream that is not encoded arrives without a delay, and its size is that on the wire.
            headers={"Accept": "text/event-stream", "Accept-Encoding": "identity"},
            timeout=self._timeout(silence),
        )
        async with self._streams:
            await self._cooled_down()
            with responses.translate_transport_errors(paid=False, generation_id=generation_id):
                response = await self._http.send(request, stream=True)
            try:
                if response.status_code != 200:
                    body = bytearray()
                    # The status alone has a meaning, even where the body cannot be read.
                    with suppress(Exception):
                        await responses.read_body(response, body, _LARGEST_ERROR)
                    raise self._apply_backpressure(
                        responses.error_from_response(response, bytes(body), paid=False, generation_id=generation_id)
                    )
                yield response
            finally:
                await response.aclose()

    def _url(self, path: str, params: Mapping[str, str] | None) -> str:
        # As one string: httpx would parse the origin, the path and the query once more to join them.
        return f"{self.config.base_url}{path}?{urlencode(params)}" if params else f"{self.config.base_url}{path}"

    def _timeout(self, seconds: float) -> httpx.Timeout:
        return httpx.Timeout(seconds, connect=self.config.connect_timeout, pool=None)

    def _apply_backpressure(self, error: FoxAPIError) -> FoxAPIError:
        """Slow down or stop the other requests of the session where an answer concerns them, and return its error."""
        if isinstance(error, InsufficientCredits):
            self._out_of_credits = error
            self.balance_epoch += 1
        if isinstance(error, RateLimited):
            now = self.clock()
            # Answers to requests that were in flight together count as one refusal.
            self._throttled += 1 if now >= self._cool_until else 0
            pause = self.config.retry.delay(max(1, self._throttled), error.retry_after, random.random)
            if now + pause > self._cool_until:
                self._cool_until = now + pause
                emit(self.hooks, CooldownStarted(pause))
        return error

    async def _cooled_down(self) -> None:
        while (remaining := self._cool_until - self.clock()) > 0:
            # Spread out, so that the requests that waited do not all come back at the same moment.
            await self.sleep(remaining + random.uniform(0, min(1.0, remaining / 4)))  # noqa: S311
