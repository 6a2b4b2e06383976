"""Money: balances, and who submitted what."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from prefect_foxapi.emulator.protocol.errors import no_credits


@dataclass(frozen=True)
class Submission:
    """An accepted, and so billed, submission.

    Attributes:
        generation_id: What it made.
        digest: The emulator's identity of the request.
        model: Its model.
        path: Where it was sent.
        created: When (Unix seconds).
        body: The body as it was received, parsed.
        credits: What it cost.
        account: The API key's number, from 0.
    """

    generation_id: str
    digest: str
    model: str
    path: str
    created: float
    body: dict[str, Any]
    credits: int
    account: int


@dataclass
class Account:
    """The balance of an API key, in credits."""

    number: int
    balance: int
    used: int = 0

    def as_json(self) -> dict[str, Any]:
        """The answer of `GET /v1/account/credits`; its shape is a guess (contract §8)."""
        return {
            "object": "account.credits",
            "balance": self.balance,
            "used": self.used,
            "user_group": "default",
        }


@dataclass
class Books:
    """What is known of money and of requests.

    Attributes:
        accounts: The account of each API key.
        requests: How many requests came, by method and endpoint.
    """

    accounts: dict[str, Account]
    requests: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    _submissions: list[Submission] = field(default_factory=list[Submission])

    @classmethod
    def opened(cls, api_keys: tuple[str, ...], balance: int) -> Books:
        """New books, in which each key has `balance`."""
        return cls({key: Account(number, balance) for number, key in enumerate(api_keys)})

    def bill(self, api_key: str, submission: Submission) -> None:
        """Take what a submission costs and note it.

        Raises:
            Problem: The balance does not cover it; then nothing changes.
        """
        account = self.accounts[api_key]
        if account.balance < submission.credits:
            raise no_credits(account.balance, submission.credits)
        account.balance -= submission.credits
        account.used += submission.credits
        self._submissions.append(submission)

    def submissions(self) -> list[Submission]:
        """What was billed until now, in its order."""
        return list(self._submissions)

    def times(self) -> dict[str, int]:
        """For each digest, how often it was billed."""
        return dict(Counter(submission.digest for submission in self.submissions()))

    def as_json(self) -> dict[str, Any]:
        """The answer of `GET /emulator/ledger`."""
        submissions = self.submissions()
        return {
            "submissions": [asdict(submission) for submission in submissions],
            "times": dict(Counter(submission.digest for submission in submissions)),
            "credits": sum(submission.credits for submission in submissions),
        }
