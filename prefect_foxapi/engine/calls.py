"""What a caller asks of the engine, and what it gets back, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.client.waiter import WaitOptions
from prefect_foxapi.ledger.records import Claimant, GenerationIdentity
from prefect_foxapi.models.completions import Usage
from prefect_foxapi.models.content.digests import ContentDigest
from prefect_foxapi.models.generation_key import salted_key
from prefect_foxapi.models.generations import Generation, GenerationSnapshot, Origin
from prefect_foxapi.models.requests import GenerationRequest
from prefect_foxapi.models.structured_output import output_invalid

# FoxAPI deletes media files after 24 hours. A result is not replayed in their last one.
_MEDIA_LIFETIME = 23 * 3600.0


@dataclass(frozen=True)
class CacheScope:
    """How far a call shares results with other calls.

    Attributes:
        salt: Separates the payment of this call from all others but itself, repeated; empty where it is shared.
        publish: Whether later calls get the result of this call, although it did not use theirs.
        max_age: Age in seconds up to which a result is used, or None.
    """

    salt: tuple[str, ...] = ()
    publish: bool = False
    max_age: float | None = None

    def key_for(self, key: str) -> str:
        """Return the key under which the payment of this call stands."""
        return salted_key(key, *self.salt) if self.salt else key


@dataclass(frozen=True)
class GenerationCall:
    """One call of `generate`, checked.

    Attributes:
        request: The request, with local attachments not yet uploaded.
        config: Key and base URL of the service, and how to talk to it.
        account: The account that pays.
        key: The generation key.
        digests: What identifies the local and inline attachments, by URL.
        cache_scope: How far the call shares results.
        claimant: Process and Prefect run of the caller.
        on_ambiguous: What to do where it cannot be determined whether an earlier submission was accepted.
        wait: How to wait for the result.
        former_key: Another key that version 0.1.0 made of the same request, or None.
    """

    request: GenerationRequest
    config: ClientConfig
    account: str
    key: str
    digests: dict[str, ContentDigest]
    cache_scope: CacheScope
    claimant: Claimant
    on_ambiguous: Literal["raise", "resubmit"] = "raise"
    wait: WaitOptions = field(default_factory=WaitOptions)
    former_key: str | None = None

    @property
    def paid_key(self) -> str:
        """The key under which the payment of this call stands in the ledger."""
        return self.cache_scope.key_for(self.key)

    @property
    def former_paid_key(self) -> str | None:
        """The key under which version 0.1.0 may have paid for this call, where it is another one."""
        return None if self.former_key is None else self.cache_scope.key_for(self.former_key)

    def identity(self, key: str) -> GenerationIdentity:
        """Return the identity of this call's generation in the ledger, under a key."""
        return GenerationIdentity(
            key=key, account=self.account, base_url=self.config.base_url, model=self.request.model
        )


@dataclass(frozen=True)
class GenerationRef:
    """A generation to wait for.

    Attributes:
        generation_id: FoxAPI's id.
        account: The account that paid.
        model: The model that was asked, where it is known.
        key: The generation key, where it is known.
        age: Seconds since the submission, where it is known.
    """

    generation_id: str
    account: str
    model: str = ""
    key: str | None = None
    age: float | None = None


@dataclass(frozen=True)
class PaidGeneration:
    """A generation that is paid for: its id, and its result where that is known already."""

    generation_id: str
    origin: Origin
    key: str
    age: float | None = None
    result: dict[str, Any] | None = None
    finished_at: float | None = None


@dataclass(frozen=True)
class Result:
    """The last snapshot of a generation, and the reasoning that only its stream has."""

    snapshot: GenerationSnapshot
    reasoning: str | None = None

    def stored(self) -> dict[str, Any]:
        """Return the form in which the ledger keeps it."""
        return {"snapshot": self.snapshot.as_json(), "reasoning": self.reasoning}

    @classmethod
    def restored(cls, data: dict[str, Any]) -> Result:
        """Return the result that the ledger kept."""
        return cls(GenerationSnapshot.model_validate(data["snapshot"]), data.get("reasoning"))

    def generation(self, *, origin: Origin, latency: float) -> Generation[Any]:
        """Return the generation that users get.

        Raises:
            OutputInvalid: The results of a text generation are not a chat completion.
        """
        known: dict[str, Any] = {"origin": origin, "reasoning": self.reasoning, "latency": latency}
        try:
            return Generation.from_snapshot(self.snapshot, **known)
        except ValidationError as error:
            raw = Generation.with_raw_results(self.snapshot, **known)
            raise output_invalid(raw, "a chat completion", error) from error

    @property
    def is_media(self) -> bool:
        """Whether the results are links that expire."""
        return self.snapshot.type != "llm"

    @property
    def usage(self) -> Usage | None:
        """Tokens, where the results have them."""
        try:
            completion = self.snapshot.completion()
        except ValidationError:
            return None
        return completion.usage if completion else None

    def expires_at(self, now: float) -> float | None:
        """Return when the result is no longer usable, in Unix seconds, or None."""
        return (self.snapshot.created or now) + _MEDIA_LIFETIME if self.is_media else None
