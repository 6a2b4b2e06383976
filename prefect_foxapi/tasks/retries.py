"""What a user's own `retries=` may repeat."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from prefect_foxapi.errors import FoxAPIError, LedgerError


def is_retryable(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """A `retry_condition_fn` that lets a task run again only where that can help and cannot pay twice.

    It refuses everything ambiguous or final, and whatever is not an error of this package or a time-out.

    Example:
        generate.with_options(retries=3, retry_delay_seconds=10, retry_condition_fn=is_retryable)
    """
    error: object = state.data
    if isinstance(error, LedgerError):
        return error.nothing_was_paid
    if isinstance(error, FoxAPIError):
        return error.retryable
    return isinstance(error, TimeoutError)
