"""What a user's own `retries=` may repeat."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from prefect_foxapi.errors import FoxAPIError


def is_retryable(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether a retry of a task can succeed and cannot pay twice; a `retry_condition_fn` of Prefect.

    Ambiguous and final errors are not retried, nor errors of other packages, except for timeouts.

    Example:
        generate.with_options(retries=3, retry_delay_seconds=10, retry_condition_fn=is_retryable)
    """
    error: object = state.data
    if isinstance(error, FoxAPIError):
        return error.retryable
    return isinstance(error, TimeoutError)
