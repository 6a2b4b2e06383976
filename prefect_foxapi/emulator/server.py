"""The emulator as a server in a thread."""

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
from prefect_foxapi.emulator.state.faults import FaultRule
from prefect_foxapi.emulator.state.service import Gateway, Settings

_BACKLOG = 2048
_KEPT_ALIVE = 75
_START_LIMIT = 30.0
_STOP_LIMIT = 2.0
_TICK = 1.0


class Emulator:
    """A local FoxAPI, in a thread of this process.

    It can be started again after `stop`, on the same port: generations and the ledger are still there, uploads are not.

    Example:
        with Emulator(duration=0.2) as emulator:
            client = FoxAPIClient(api_key=emulator.api_key, base_url=emulator.url)
            ...
            assert set(emulator.times().values()) == {1}  # nothing was paid twice

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        api_key: The API key that it takes, or several, each an account of its own.
        duration: Seconds that a generation takes, or a function of model and body that gives them.
        stepped: Time stands still but for `advance`.
        models: The chat models that its keys may use; without any, the list of models is empty.
        late_results: Seconds during which every generation is completed without results.
        credits: What each account begins with.
        report_credits: Whether tasks carry `usage` with `credits_reserved` (contract §2).
        refuse_library_agents: Whether the CDN refuses the User-Agents of bare libraries (contract §1).
        max_body: Bytes that the body of a submission may have.
        max_file: Bytes that an upload may have.
        storage: Bytes that all uploads may have together.
        max_chunks: About how many chunks a stream may have.
        keep_alive: Seconds between the comments that keep a silent stream alive.
        seed: Makes the draws of faults repeatable.
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
        report_credits: bool = False,
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
        self._gateway = Gateway(settings, self._clock)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = port

    @property
    def url(self) -> str:
        """The base URL, without `/v1`."""
        return f"http://{self._host}:{self._port}"

    @property
    def api_key(self) -> str:
        """The (first) API key that it takes."""
        return self._gateway.settings.api_keys[0]

    @property
    def settings(self) -> Settings:
        """How it behaves."""
        return self._gateway.settings

    @property
    def balance(self) -> int:
        """Credits that the first API key has left."""
        return self._gateway.books.accounts[self.api_key].balance

    def start(self) -> Self:
        """Listen; returns when requests are answered.

        Raises:
            OSError: The address cannot be listened on.
            RuntimeError: It runs already, or did not start.
        """
        if self._thread is not None:
            raise RuntimeError("the emulator runs already")
        listener = _listen(self._host, self._port)
        self._port = self._gateway.files.port = listener.getsockname()[1]
        self._clock.resume()
        config = uvicorn.Config(
            build_app(self._gateway),
            http=cast("type[asyncio.Protocol]", protocol_with_state),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEPT_ALIVE,
        )
        self._server = server = _Server(config)
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="foxapi-emulator", daemon=True
        )
        self._thread.start()
        if not server.listening.wait(_START_LIMIT):
            raise RuntimeError("the emulator did not start")
        return self

    def stop(self) -> None:
        """Stop: whatever is under way is cut off, and the uploads are deleted."""
        if self._server is None or self._thread is None:
            return
        self._clock.stop()
        self._server.end()
        self._thread.join()
        self._server = self._thread = None
        self._gateway.files.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ledger(self) -> list[Submission]:
        """Every accepted, and so billed, submission, in its order."""
        return self._gateway.books.submissions()

    def times(self) -> dict[str, int]:
        """For each digest of a request, how often it was billed."""
        return self._gateway.books.times()

    def counts(self) -> dict[tuple[str, str], int]:
        """How many requests came, by method and endpoint, such as `("GET", "task")`."""
        return dict(self._gateway.books.requests)

    def add_fault(self, rule: FaultRule | None = None, /, **fields: Any) -> None:
        """Put a fault rule in force, given whole or by its fields."""
        self._gateway.faults.add(FaultRule.parse(fields) if rule is None else rule)

    def clear_faults(self) -> None:
        """Take all fault rules out of force."""
        self._gateway.faults.clear()

    def script(self, when: str, answer: str | Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Lay down what happens to prompts that contain `when`; see `Script` for the fields."""
        self._gateway.scripts.add(Script.parse({"when": when, "answer": answer, **fields}))

    def clear_scripts(self) -> None:
        """Forget all scripts."""
        self._gateway.scripts.clear()

    def now(self) -> float:
        """The emulator's time in Unix seconds."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Move the emulator's time forward."""
        self._clock.advance(seconds)

    def reset(self) -> None:
        """Forget generations, ledger, counts, uploads, faults and scripts. The time stays."""
        self._gateway.reset()


def _listen(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it every stream begins 40 ms late.
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
    """uvicorn, but quick to start and to stop: it sleeps through neither."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """Stop serving; callable from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ended.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.listening.set()

    async def main_loop(self) -> None:
        while not self._ended.is_set():
            await self.on_tick(0)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _TICK)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=_STOP_LIMIT)
        # One turn of the loop, so that the transports that were closed are gone.
        await asyncio.sleep(0)
