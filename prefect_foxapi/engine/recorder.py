"""A paid submission and its record: the claim before the request, the outcome after it."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from prefect_foxapi.client.client import FoxAPIClient, NotSent, SubmissionSlot
from prefect_foxapi.client.responses import is_ambiguous
from prefect_foxapi.engine.calls import GenerationCall
from prefect_foxapi.errors import AmbiguousSubmission, LedgerError
from prefect_foxapi.hooks import Hook, RecordingFailed, SubmissionRecorded, emit
from prefect_foxapi.ledger.records import Lease, Submission
from prefect_foxapi.models.generations import GenerationSnapshot
from prefect_foxapi.models.requests import SUBMIT_PATH

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger

_MAX_CLAIM_ATTEMPTS = 3
# Seconds between the claim and the request, and between the answer and its record: a part of the time that the
# submission itself may take, within bounds.
_CLAIM_MARGIN = 0.25
_CLAIM_MARGIN_MINIMUM, _CLAIM_MARGIN_MAXIMUM = 1.0, 5.0


class SubmissionRecorder(Protocol):
    """Records a submission before and after it is sent. Each attempt is one call of `before_send` and one outcome."""

    async def before_send(self) -> Submission | None:
        """Obtain the right to send.

        Returns:
            None, or the submission that makes sending unnecessary or forbidden.

        Raises:
            FoxAPIError: Nothing may be sent.
        """
        ...

    async def accepted(self, snapshot: GenerationSnapshot) -> None:
        """Record that FoxAPI accepted the submission."""
        ...

    async def rejected(self, error: BaseException) -> None:
        """Record that FoxAPI did not accept the submission, or that it was never sent."""
        ...

    async def unknown(self, error: BaseException) -> None:
        """Record that it cannot be determined whether FoxAPI accepted the submission."""
        ...


async def submit_recorded(
    client: FoxAPIClient, body: Mapping[str, Any], recorder: SubmissionRecorder, *, path: str = SUBMIT_PATH
) -> GenerationSnapshot | Submission:
    """Submit a generation and record it. This costs money.

    Args:
        client: The client.
        body: The JSON body.
        recorder: Records each attempt.
        path: Path of the kind of generation.

    Returns:
        What FoxAPI accepted, or what the recorder found instead.

    Raises:
        AmbiguousSubmission: The response was lost.
        FoxAPIError: Nothing was paid, unless the error has a `generation_id`.
    """

    async def attempt(slot: SubmissionSlot) -> GenerationSnapshot | Submission:
        found = await recorder.before_send()
        if found is not None:
            return found
        try:
            snapshot = await slot.submit(body)
        except BaseException as error:
            lost = is_ambiguous(error) and not isinstance(error, NotSent)
            await (recorder.unknown if lost else recorder.rejected)(error)
            raise
        await recorder.accepted(snapshot)
        return snapshot

    return await client.with_submission_slot(attempt, path=path)


class LedgerRecorder:
    """Records one submission in the ledger.

    Args:
        ledger: The ledger.
        call: The call that pays.
        asked_at: When the caller first asked, in Unix seconds.
        hooks: Called with what happens.
    """

    def __init__(self, ledger: Ledger, call: GenerationCall, *, asked_at: float, hooks: Sequence[Hook] = ()) -> None:
        self._ledger = ledger
        self._call = call
        self._identity = call.identity(call.paid_key)
        self._asked_at = asked_at
        self._hooks = hooks
        self._deadline = call.config.submission_deadline
        self._margin = min(max(_CLAIM_MARGIN * self._deadline, _CLAIM_MARGIN_MINIMUM), _CLAIM_MARGIN_MAXIMUM)
        self._lease: Lease | None = None

    async def before_send(self) -> Submission | None:
        """Claim the key.

        Returns:
            None, or the ledger's row: the key is claimed, submitted, completed or ambiguous already.

        Raises:
            LedgerError: The ledger is not usable, or stood still for too long; nothing was sent.
        """
        for _ in range(_MAX_CLAIM_ATTEMPTS):
            claimed = await self._ledger.claim(
                self._identity,
                self._call.claimant,
                deadline=self._deadline + self._margin,
                max_age=self._call.cache_scope.max_age,
                asked_at=self._asked_at,
                on_ambiguous=self._call.on_ambiguous,
            )
            if isinstance(claimed, Submission):
                return claimed
            if self._ledger.clock() + self._deadline <= claimed.deadline:
                self._lease = claimed
                return None
            # Its answer might come when other processes already count the submission as lost.
            await self._ledger.rejected(claimed, "it could not be sent in time")
        raise LedgerError(
            f"more than {self._margin:.1f} s passed between a claim and its submission, {_MAX_CLAIM_ATTEMPTS} times: "
            "the ledger's database or this process stood still. Nothing was paid; try again",
            key=self._identity.key,
        )

    async def accepted(self, snapshot: GenerationSnapshot) -> None:
        """Record the id.

        Raises:
            AmbiguousSubmission: The id belongs to the submission of another key.
            LedgerError: The id is not in the ledger.
        """
        try:
            await self._ledger.accepted(self._claimed(), snapshot.id, credits=snapshot.credits)
        except (LedgerError, AmbiguousSubmission) as error:
            emit(self._hooks, RecordingFailed("accepted", str(error), snapshot.id, self._identity.key))
            raise
        # Emitted here, so that it is seen even if the caller was cancelled while the submission was on the wire.
        emit(self._hooks, SubmissionRecorded(snapshot.id, self._identity.model, self._identity.key))

    async def rejected(self, error: BaseException) -> None:
        """Free the key."""
        await self._try_to_record("rejected", self._ledger.rejected(self._claimed(), str(error)), error)

    async def unknown(self, error: BaseException) -> None:
        """Record that the outcome is ambiguous."""
        reason = str(error) or type(error).__name__
        await self._try_to_record("unknown", self._ledger.unknown(self._claimed(), reason), error)

    async def _try_to_record(self, what: str, recording: Coroutine[Any, Any, None], error: BaseException) -> None:
        try:
            await recording
        except LedgerError as trouble:
            # The error of the submission says more, and the deadline of the claim makes it ambiguous all the same.
            emit(self._hooks, RecordingFailed(what, f"{trouble}; the outcome was {error!r}", key=self._identity.key))

    def _claimed(self) -> Lease:
        if self._lease is None:
            raise LedgerError("a submission ended that was never claimed")
        return self._lease
