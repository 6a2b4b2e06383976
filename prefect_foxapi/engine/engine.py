"""Paying once: from what is asked to a generation that has its result, through the ledger.

One service serves a whole process, on its background loop. Whoever asks for a generation gets the one that was paid
for already, in whatever process, or pays for it and writes down so before and after.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.poll_policy import Durations, PollPolicy
from prefect_foxapi.client.waiter import OnDelta, failure_of
from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.engine.collector import Result, ResultCollector, Wanted
from prefect_foxapi.engine.recorder import FoundInstead, LedgerRecorder
from prefect_foxapi.engine.row_loader import RowLoader
from prefect_foxapi.engine.uploads import AttachmentUploader
from prefect_foxapi.errors import AmbiguousSubmission, FoxAPIError, LedgerError, NotFound
from prefect_foxapi.ledger import Claimant, GenerationIdentity, State, Submission
from prefect_foxapi.models.generations import Generation, Origin
from prefect_foxapi.models.requests import GenerationRequest
from prefect_foxapi.observability import log_event, run_logger
from prefect_foxapi.settings import current_settings
from prefect_foxapi.tasks.caching import CacheScope
from prefect_foxapi.tasks.event_loop import BackgroundLoop, background

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger

# For the claim and for its outcome, each with a database that is busy.
_LEDGER_PATIENCE = 60.0
_ASK_AGAIN_FIRST = 0.02
_ASK_AGAIN_MOST = 0.5
# Between the claim and the request, and between the answer and its being written down: a part of the time that the
# submission itself may take, within bounds.
_CLAIM_MARGIN = 0.25
_CLAIM_MARGIN_LEAST, _CLAIM_MARGIN_MOST = 1.0, 5.0


@dataclass(frozen=True)
class GenerationCall:
    """What one call asks for.

    Attributes:
        request: The request, with local attachments not yet uploaded.
        credentials: Who pays.
        key: The generation key.
        digests: SHA-256 of the local attachments, by URL.
        occasion: What the caching options of the task run mean for this call.
        claimant: Who asks.
        on_ambiguous: What to do where nobody can know.
        timeout: Seconds to wait at the most, or None.
        poll: How often to ask for the result.
        stream: Whether to read the stream.
        on_delta: What takes the chunks as they come.
    """

    request: GenerationRequest
    credentials: FoxAPICredentials
    key: str
    digests: dict[str, str]
    cache_scope: CacheScope
    claimant: Claimant
    on_ambiguous: Literal["raise", "resubmit"] = "raise"
    timeout: float | None = None
    poll: PollPolicy = field(default_factory=PollPolicy)
    stream: bool = False
    on_delta: OnDelta | None = None

    @property
    def paid_key(self) -> str:
        """The key under which this call's payment stands in the ledger."""
        return self.cache_scope.key_for(self.key)


@dataclass(frozen=True)
class PaidGeneration:
    """A generation that is paid for: its id, and its result if that is known already."""

    generation_id: str
    origin: Origin
    age: float | None = None
    result: dict[str, Any] | None = None
    key: str | None = None
    finished_at: float | None = None


class GenerationEngine:
    """Obtains generations; its coroutines run on the background loop."""

    def __init__(self, loop: BackgroundLoop) -> None:
        self._loop = loop
        self._clients: dict[tuple[object, ...], FoxAPIClient] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._lookups_of: dict[Ledger, RowLoader] = {}
        self._durations = Durations()
        self._collector = ResultCollector(self._durations)
        self._delivery = AttachmentUploader()

    def client(self, credentials: FoxAPICredentials) -> FoxAPIClient:
        """The one client of these credentials."""
        identity = credentials.client_identity
        if identity not in self._clients:
            client = self._clients[identity] = credentials.get_client(hooks=(log_event,))
            self._loop.patience = max(self._loop.patience, client.submission_deadline + _LEDGER_PATIENCE)
        return self._clients[identity]

    def ledger(self) -> Ledger:
        """The one ledger that the settings name."""
        # Imported where it is used; see `prefect_foxapi.ledger`.
        from prefect_foxapi.ledger import Ledger

        settings = current_settings()
        location = settings.ledger_location()
        if location not in self._ledgers:
            self._ledgers[location] = Ledger(
                location,
                keep_results=settings.ledger_keeps_results,
                retention=settings.ledger_retention_days * 86400,
                spill_folder=settings.spill_folder(),
            )
        return self._ledgers[location]

    def _lookups(self, ledger: Ledger) -> RowLoader:
        return self._lookups_of.setdefault(ledger, RowLoader(ledger))

    async def aclose(self) -> None:
        """Close every client and ledger."""
        for client in self._clients.values():
            await client.aclose()
        for ledger in self._ledgers.values():
            await ledger.aclose()

    async def generate(self, ask: GenerationCall) -> Generation[Any]:
        """Obtain a generation with its result.

        Raises:
            FoxAPIError: Any of them; what was paid for stays in the ledger.
        """
        started, resubmitted = time.monotonic(), False
        found = await self.submit(ask)
        # One for all: who submits again has no more time to wait than others.
        give_up = None if ask.timeout is None else time.monotonic() + ask.timeout
        while True:
            try:
                result = await self._result(ask, found, give_up)
                break
            except asyncio.CancelledError:
                run_logger().warning(
                    "Nobody waits for generation %s here any more; wait_for_generation(%r) or the next run collects it",
                    found.generation_id,
                    found.generation_id,
                )
                raise
            except NotFound as error:
                # Once: a service that answers 404 for everything would be paid for ever.
                if ask.on_ambiguous != "resubmit" or resubmitted:
                    raise AmbiguousSubmission(
                        f"FoxAPI no longer knows generation {found.generation_id}, which was paid for; it is not paid "
                        'for again by itself (on_ambiguous="resubmit" allows that)',
                        generation_id=found.generation_id,
                        key=found.key,
                        status=404,
                    ) from error
                resubmitted = True
            found = await self.submit(ask)
        if ask.cache_scope.publish:
            await self._publish(ask, found, result)
        with _attach_key(found.key):
            return result.generation(origin=found.origin, latency=time.monotonic() - started)

    async def submit(self, ask: GenerationCall) -> PaidGeneration:
        """Find the generation where it is paid for, or pay for it.

        Raises:
            AmbiguousSubmission: Nobody can know whether it was paid for.
            GenerationFailed: This very task run paid for it before, and it failed.
        """
        ledger, key = self.ledger(), ask.paid_key
        joined, pause, asked_at = False, _ASK_AGAIN_FIRST, ledger.clock()
        row = await self._lookups(ledger).find(key)
        while True:
            if row is None or self._needs_claim(row, ask):
                try:
                    return await self._pay(ask, ledger, asked_at)
                except FoundInstead as instead:
                    row = instead.row
            if row.state is not State.SUBMITTING:
                return self._found(row, ask, joined=joined)
            joined = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, _ASK_AGAIN_MOST)
            row = await self._lookups(ledger).find(key)

    async def collect(self, credentials: FoxAPICredentials, wanted: Wanted) -> Generation[Any]:
        """Wait for a generation of which only the id is known.

        Raises:
            NotFound: FoxAPI does not know it.
            FoxAPIError: As for `generate`.
        """
        started, ledger = time.monotonic(), self.ledger()
        row = await ledger.find_generation(wanted.generation_id)
        known = row is not None and (row.account, row.base_url) == (wanted.account, credentials.origin)
        if row is not None and known and row.state is State.COMPLETED and row.result:
            result, origin = Result.restored(row.result), "replayed"
        else:
            client = self.client(credentials)
            waiting = self._collector.is_waiting(client, wanted.account, wanted.generation_id)
            origin = "joined" if waiting else "resumed"
            if row is not None and known:
                age = ledger.clock() - (row.accepted_at or row.claimed_at)
                wanted = replace(wanted, age=age, model=wanted.model or row.model)
            result = await self._collector.collect(wanted, client=client, ledger=ledger)
        return result.generation(origin=origin, latency=time.monotonic() - started)

    async def _pay(self, ask: GenerationCall, ledger: Ledger, asked_at: float) -> PaidGeneration:
        client, account = self.client(ask.credentials), ask.credentials.account_name
        request = await self._delivery.ready(ask.request, ask.digests, client=client, ledger=ledger, account=account)
        subject = GenerationIdentity(key=ask.paid_key, account=account, base_url=client.base_url, model=request.model)
        journal = LedgerRecorder(
            ledger,
            subject,
            ask.claimant,
            submission=client.submission_deadline,
            margin=_claim_margin(client.submission_deadline),
            max_age=ask.cache_scope.max_age,
            asked_at=asked_at,
            on_ambiguous=ask.on_ambiguous,
        )
        with _attach_key(ask.paid_key):
            snapshot = await client.submit(request, journal=journal)
        return PaidGeneration(snapshot.id, "billed", age=0.0, key=ask.paid_key)

    async def _result(self, ask: GenerationCall, found: PaidGeneration, give_up: float | None) -> Result:
        if found.result is not None:
            return Result.restored(found.result)
        wanted = Wanted(
            generation_id=found.generation_id,
            account=ask.credentials.account_name,
            model=ask.request.model,
            key=found.key,
            age=found.age,
            timeout=None if give_up is None else max(0.0, give_up - time.monotonic()),
            poll=ask.poll,
            stream=ask.stream,
            on_delta=ask.on_delta,
        )
        with _attach_key(found.key):
            return await self._collector.collect(wanted, client=self.client(ask.credentials), ledger=self.ledger())

    async def _publish(self, ask: GenerationCall, found: PaidGeneration, result: Result) -> None:
        """Let later calls have the result of one that was asked for anew."""
        subject = GenerationIdentity(
            key=ask.key,
            account=ask.credentials.account_name,
            base_url=ask.credentials.origin,
            model=ask.request.model,
        )
        ledger = self.ledger()
        try:
            await ledger.publish(
                subject,
                ask.claimant,
                result.snapshot.id,
                result.stored(),
                finished_at=found.finished_at,
                expires_at=result.expires_at(ledger.clock()),
            )
        except LedgerError as error:
            run_logger().warning("The ledger could not pass on a refreshed generation: %s", error)

    def _needs_claim(self, row: Submission, ask: GenerationCall) -> bool:
        """Whether only a claim can tell what is to be done."""
        now = self.ledger().clock()
        match row.state:
            case State.COMPLETED:
                return not row.fresh(now, ask.cache_scope.max_age)
            case State.SUBMITTED:
                return False
            case State.SUBMITTING:
                return row.deadline <= now
            case _:
                return True

    def _found(self, row: Submission, ask: GenerationCall, *, joined: bool) -> PaidGeneration:
        if row.state is State.AMBIGUOUS:
            raise AmbiguousSubmission(
                f"submission {row.key[:12]} by {row.claimant} may have been accepted and billed, or not, and nobody "
                f'can know ({row.reason}); on_ambiguous="resubmit" pays again, and so does, once, '
                f'settle({row.key[:12]!r}, "allow_resubmit")',
                key=row.key,
                generation_id=row.generation_id,
                submitted_at=row.claimed_at,
                submitted_by=str(row.claimant),
            )
        if row.state is State.FAILED:
            raise failure_of(row.generation_id or "unknown", row.error, key=row.key)
        if row.generation_id is None:
            raise LedgerError(f"the ledger's row {row.key[:12]} is {row.state.value} without an id", key=row.key)
        age = self.ledger().clock() - (row.accepted_at or row.claimed_at)
        if row.state is State.COMPLETED:
            origin: Origin = "joined" if joined else "replayed"
            return PaidGeneration(row.generation_id, origin, age, row.result, row.key, row.finished_at)
        return PaidGeneration(row.generation_id, self._origin_in_flight(row, ask, joined), age, None, row.key)

    def _origin_in_flight(self, row: Submission, ask: GenerationCall, joined: bool) -> Origin:
        owner, asker = row.claimant, ask.claimant
        client, account = self.client(ask.credentials), ask.credentials.account_name
        if joined or self._collector.is_waiting(client, account, row.generation_id or ""):
            return "joined"
        if owner.process == asker.process or (owner.flow_run_id and owner.flow_run_id == asker.flow_run_id):
            return "resumed"
        return "resumed" if owner.host == asker.host and not _is_alive(owner.pid) else "joined"


@contextmanager
def _attach_key(key: str | None) -> Generator[None, None, None]:
    """Say in every error which key it is about."""
    try:
        yield
    except FoxAPIError as error:
        error.key = error.key or key
        raise


def _claim_margin(submission: float) -> float:
    return min(max(_CLAIM_MARGIN * submission, _CLAIM_MARGIN_LEAST), _CLAIM_MARGIN_MOST)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


_services: dict[BackgroundLoop, GenerationEngine] = {}


def service() -> GenerationEngine:
    """The service of this process's background loop."""
    loop = background()
    found = _services.get(loop)
    if found is not None:
        return found
    created = GenerationEngine(loop)

    async def close() -> None:
        del _services[loop]
        await created.aclose()

    # Threads may come here together, and a lock could be held for ever in a forked child.
    kept = _services.setdefault(loop, created)
    if kept is created:
        loop.on_close(close)
    return kept
