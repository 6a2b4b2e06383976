"""The emulator, as a server in a thread."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast

import uvicorn

from prefect_foxapi.emulator.answers.scripts import Script
from prefect_foxapi.emulator.http.app import build_app
from prefect_foxapi.emulator.http.broken_responses import protocol_with_state
from prefect_foxapi.emulator.protocol.models import MODELS, Model
from prefect_foxapi.emulator.state.billing import Submission
from prefect_foxapi.emulator.state.clock import Clock
from prefect_foxapi.emulator.state.durations import Duration, Fixed
from prefect_foxapi.emulator.state.fault_rules import FaultRule
from prefect_foxapi.emulator.state.service import EmulatedService, Settings

_BACKLOG = 2048
_IDLE_TIMEOUT = 75
_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 2.0
_TICK_INTERVAL = 1.0


class Emulator:
    """A local FoxAPI, served by a thread of this process.

    After `stop` it can be started again on the same port. It keeps generations and the billing ledger, not uploads.

    Example:
        with Emulator(duration=0.2) as emulator:
            client = FoxAPIClient(api_key=emulator.api_key, base_url=emulator.url)
            ...
            assert set(emulator.times().values()) == {1}  # no request was paid twice

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 selects a free one.
        api_key: The accepted API key, or several, each with an account of its own.
        duration: The duration of a generation in seconds, or a function that returns it, given model and body.
        stepped: Whether the time changes by `advance` only.
        models: The available chat models.
        late_results: Seconds for which each generation is `completed` without results.
        credits: The initial balance of each account.
        report_credits: Whether tasks contain `usage` with `credits_reserved` and `user_group`, as in production.
        refuse_library_agents: Whether requests with the default User-Agent of an HTTP library get a 403 from the CDN.
        max_body: The maximum size of the body of a submission in bytes.
        max_file: The maximum size of an upload in bytes.
        storage: The maximum size of all uploads together in bytes.
        max_chunks: The approximate maximum number of chunks of a stream.
        keep_alive: Seconds between the comments in an idle stream.
        seed: The seed of the probabilities of faults.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | tuple[str, ...] = "sk-emulator",
        duration: float | Duration = 0.5,
        stepped: bool = False,
        models: Sequence[Model] = MODELS,
        late_results: float = 0.0,
        credits: int = 1_000_000,
        report_credits: bool = True,
        refuse_library_agents: bool = True,
        max_body: int = 20_000_000,
        max_file: int = 100_000_000,
        storage: int = 1_000_000_000,
        max_chunks: int = 40,
        keep_alive: float = 15.0,
        seed: int = 0,
    ) -> None:
        settings = Settings(
            api_keys=(api_key,) if isinstance(api_key, str) else tuple(api_key),
            duration=Fixed(duration) if isinstance(duration, (int, float)) else duration,
            models=models,
            late_results=late_results,
            credits=credits,
            report_credits=report_credits,
            refuse_library_agents=refuse_library_agents,
            max_body=max_body,
            max_file=max_file,
            storage=storage,
            max_chunks=max_chunks,
            keep_alive=keep_alive,
            seed=seed,
        )
        self._host = host
        self._clock = Clock(stepped=stepped)
        self._service = EmulatedService(settings, self._clock)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = port

    @property
    def url(self) -> str:
        """The base URL, without `/v1`."""
        return f"http://{self._host}:{self._port}"

    @property
    def api_key(self) -> str:
        """The (first) accepted API key."""
        return self._service.settings.api_keys[0]

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self._service.settings

    @property
    def balance(self) -> int:
        """The balance of the first API key in credits."""
        return self._service.billing.accounts[self.api_key].balance

    def start(self) -> Self:
        """Start the server and return once it accepts requests.

        Raises:
            OSError: The address is not available.
            RuntimeError: The emulator is already running, or did not start in time.
        """
        if self._thread is not None:
            raise RuntimeError("the emulator is already running")
        listener = _listen(self._host, self._port)
        self._port = self._service.files.port = listener.getsockname()[1]
        self._clock.resume()
        config = uvicorn.Config(
            build_app(self._service),
            http=cast("type[asyncio.Protocol]", protocol_with_state),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_IDLE_TIMEOUT,
        )
        self._server = server = _Server(config)
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="foxapi-emulator", daemon=True
        )
        self._thread.start()
        if not server.listening.wait(_START_TIMEOUT):
            raise RuntimeError("the emulator did not start")
        return self

    def stop(self) -> None:
        """Stop the server, close all connections, and delete the uploads."""
        if self._server is None or self._thread is None:
            return
        self._clock.stop()
        self._server.end()
        self._thread.join()
        self._server = self._thread = None
        self._service.files.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ledger(self) -> list[Submission]:
        """Return the billed submissions in the order of their acceptance."""
        return self._service.billing.submissions()

    def times(self) -> dict[str, int]:
        """Return how often each request was billed, by its digest."""
        return self._service.billing.times()

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of requests by method and endpoint, such as `("GET", "task")`."""
        return dict(self._service.billing.request_counts)

    def add_fault(self, rule: FaultRule | None = None, /, **fields: Any) -> None:
        """Activate a fault rule, given as a `FaultRule` or by its fields.

        Raises:
            ValueError: A field is missing, unknown or invalid.
        """
        self._service.faults.add(FaultRule.parse(fields) if rule is None else rule)

    def clear_faults(self) -> None:
        """Deactivate all fault rules."""
        self._service.faults.clear()

    def script(self, when: str, answer: str | Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Activate a script: a predefined outcome of generations whose prompt contains `when`.

        Args:
            when: The text.
            answer: The content of the answer, or a dict of its fields.
            **fields: Further fields of `Script`.

        Raises:
            ValueError: A field is unknown, or the script has no effect.
        """
        self._service.scripts.add(Script.parse({"when": when, "answer": answer, **fields}))

    def clear_scripts(self) -> None:
        """Deactivate all scripts."""
        self._service.scripts.clear()

    def now(self) -> float:
        """Return the time of the emulator (Unix seconds)."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Move the time of the emulator forward.

        Raises:
            ValueError: `seconds` is negative.
        """
        self._clock.advance(seconds)

    def reset(self) -> None:
        """Delete generations, ledger, counts, uploads, faults and scripts. The time does not change."""
        self._service.reset()


def _listen(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # asyncio sets TCP_NODELAY only on sockets that name their protocol. Without it, each stream starts 40 ms late.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server, without its sleeps on start and stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """Stop serving. It can be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ended.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.listening.set()

    async def main_loop(self) -> None:
        while not self._ended.is_set():
            await self.on_tick(0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _TICK_INTERVAL)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=_STOP_TIMEOUT)
        # The event loop closes the transports in its next iteration.
        await asyncio.sleep(0)
