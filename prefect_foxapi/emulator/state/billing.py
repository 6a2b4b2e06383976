"""Billing: the balance of each API key, and a ledger of what was paid for."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from prefect_foxapi.emulator.protocol.errors import insufficient_quota


@dataclass(frozen=True)
class Submission:
    """An accepted submission, which was billed.

    Attributes:
        generation_id: The id of the generation.
        digest: The digest that identifies the request. Equal requests have equal digests.
        model: The model, as sent.
        path: The path of the request.
        created: The time of acceptance (Unix seconds).
        body: The parsed body as received.
        credits: The price in credits.
        account: The index of the API key, from 0.
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
    """The account of an API key, in credits."""

    number: int
    balance: int
    used: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the body of `GET /v1/account/credits`, whose real format is not published."""
        return {
            "object": "account.credits",
            "balance": self.balance,
            "used": self.used,
            "user_group": "default",
        }


@dataclass
class BillingLedger:
    """The accounts, the billed submissions, and the number of requests.

    Attributes:
        accounts: The account of each API key.
        request_counts: The number of requests by method and endpoint.
    """

    accounts: dict[str, Account]
    request_counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    _submissions: list[Submission] = field(default_factory=list[Submission])

    @classmethod
    def open(cls, api_keys: tuple[str, ...], balance: int) -> BillingLedger:
        """Return an empty ledger in which each API key has `balance` credits."""
        return cls({key: Account(number, balance) for number, key in enumerate(api_keys)})

    def bill(self, api_key: str, submission: Submission) -> None:
        """Deduct the price of a submission and record it.

        Raises:
            ApiError: The balance does not cover the price; nothing changes.
        """
        account = self.accounts[api_key]
        if account.balance < submission.credits:
            raise insufficient_quota(account.balance, submission.credits)
        account.balance -= submission.credits
        account.used += submission.credits
        self._submissions.append(submission)

    def submissions(self) -> list[Submission]:
        """Return the billed submissions in the order of their acceptance."""
        return list(self._submissions)

    def times(self) -> dict[str, int]:
        """Return how often each digest was billed."""
        return dict(Counter(submission.digest for submission in self.submissions()))

    def as_json(self) -> dict[str, Any]:
        """Return the body of `GET /emulator/ledger`."""
        submissions = self.submissions()
        return {
            "submissions": [asdict(submission) for submission in submissions],
            "times": self.times(),
            "credits": sum(submission.credits for submission in submissions),
        }
