"""The ledger as the journal of a submission: the claim before the request, its outcome after it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Claimant, GenerationIdentity, Lease, Submission
from prefect_foxapi.models.generations import GenerationSnapshot
from prefect_foxapi.observability import run_logger

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger


_MAX_CLAIM_ATTEMPTS = 3


class FoundInstead(Exception):
    """There is no need to submit, or no right to: this is what the ledger has."""

    def __init__(self, row: Submission) -> None:
        super().__init__(row.key)
        self.row = row


class LedgerRecorder:
    """Writes one submission down.

    Args:
        ledger: Where.
        subject: What is submitted.
        claimant: By whom.
        submission: Seconds in which the submission is answered once it is sent, or else nobody can know.
        margin: Seconds for writing it down before and after.
        max_age: Seconds that a result may be old to be had instead, or None.
        asked_at: When the caller first asked, in Unix seconds.
        on_ambiguous: Whether an ambiguous submission may be repeated.
    """

    def __init__(
        self,
        ledger: Ledger,
        subject: GenerationIdentity,
        claimant: Claimant,
        *,
        submission: float,
        margin: float,
        max_age: float | None,
        asked_at: float,
        on_ambiguous: Literal["raise", "resubmit"],
    ) -> None:
        self._ledger = ledger
        self._subject = subject
        self._claimant = claimant
        self._submission = submission
        self._margin = margin
        self._max_age = max_age
        self._asked_at = asked_at
        self._on_ambiguous: Literal["raise", "resubmit"] = on_ambiguous
        self._claimed: Lease | None = None

    async def sending(self) -> None:
        """Claim the key.

        Raises:
            FoundInstead: It is claimed, submitted, completed or ambiguous already.
            LedgerError: The ledger cannot be used, or stood still for too long; nothing was sent.
        """
        for _ in range(_MAX_CLAIM_ATTEMPTS):
            claimed = await self._ledger.claim(
                self._subject,
                self._claimant,
                deadline=self._submission + self._margin,
                max_age=self._max_age,
                asked_at=self._asked_at,
                on_ambiguous=self._on_ambiguous,
            )
            if isinstance(claimed, Submission):
                raise FoundInstead(claimed)
            if self._ledger.clock() + self._submission <= claimed.deadline:
                self._claimed = claimed
                return
            # Its answer might come when everybody else takes it for lost already.
            await self._ledger.refused(claimed, "it could not be sent in time")
        raise LedgerError(
            f"{_MAX_CLAIM_ATTEMPTS} times, more than {self._margin:.1f} s went by between a claim and its submission: "
            "the ledger's database or this process stood still. Nothing was paid; try again",
            key=self._subject.key,
        )

    async def accepted(self, snapshot: GenerationSnapshot) -> None:
        """Keep the id."""
        try:
            await self._ledger.accepted(self._known(), snapshot.id, credits=snapshot.credits)
        except LedgerError as error:
            run_logger().error("Generation %s is paid for, but not in the ledger: %s", snapshot.id, error)
            raise
        # Said here, so that it is said as well where the caller was cancelled while the submission was on the wire.
        run_logger().info(
            "Generation %s is submitted to %s; if this run ends, wait_for_generation(%r) or the next run collects it",
            snapshot.id,
            self._subject.model,
            snapshot.id,
        )

    async def refused(self, error: BaseException) -> None:
        """Free the key."""
        await self._try_to_note(self._ledger.refused(self._known(), str(error)), error)

    async def lost(self, error: BaseException) -> None:
        """Note that nobody can know."""
        await self._try_to_note(self._ledger.lost(self._known(), str(error) or type(error).__name__), error)

    async def _try_to_note(self, note: Coroutine[Any, Any, None], error: BaseException) -> None:
        try:
            await note
        except LedgerError as trouble:
            # The claim's deadline makes it ambiguous all the same; the first error says more.
            run_logger().error("The ledger could not note that a submission ended with %r: %s", error, trouble)

    def _known(self) -> Lease:
        if self._claimed is None:
            raise LedgerError("a submission ended that was never claimed")
        return self._claimed
