"""Prefect's caching: the cache policies, and what the caching options of a task run mean for paying.

`refresh_cache` pays again and lets later calls have the new result. `NO_CACHE` pays again and keeps the result to
itself. `cache_expiration` bounds the age of a result. The first two pay once for each call of a flow run: a flow run
that crashed and runs again finds what the same call paid for.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any, cast

from cachetools import LRUCache
from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.context import FlowRunContext, TaskRunContext
from prefect.results import get_result_store
from prefect.settings import PREFECT_TASKS_DISABLE_CACHING, PREFECT_TASKS_REFRESH_CACHE

from prefect_foxapi.client.config import checked_base_url
from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.engine.calls import CacheScope
from prefect_foxapi.errors import FoxAPIError
from prefect_foxapi.models.generation_key import former_key, generation_key, salted_key
from prefect_foxapi.models.requests import build_request
from prefect_foxapi.tasks.factory import is_own_task

_RECORDS = "foxapi-"
_NUMBERED_CALLS = 100_000


@dataclass
class GenerationCachePolicy(CachePolicy):
    """Caches a generation under its generation key: equal requests share one result, across flows and machines.

    Prefect's own input hashing is not used: it masks secrets, so that two accounts could share a result, and equal
    inputs can hash differently.
    """

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return the key, or None for a request that is not valid, whose error the task itself raises."""
        try:
            output_type = inputs.get("output_type")
            request = build_request(
                inputs.get("prompt"),
                model=cast("str", inputs.get("model")),
                output_type=output_type,
                parameters=inputs.get("openai_parameters"),
            )
            credentials = FoxAPICredentials.resolve(inputs.get("credentials"))
            identity: dict[str, Any] = {
                "account": credentials.account_name,
                "base_url": checked_base_url(credentials.base_url, allow_http=credentials.allow_http),
                "sample": inputs.get("sample", 0),
            }
            record = record_key(generation_key(request, **identity), output_type)
            former = former_key(request, **identity)
        except FoxAPIError:
            return None
        if former is not None:
            former_record, store = record_key(former, output_type), get_result_store()
            if not store.exists(record) and store.exists(former_record):
                return former_record
        return record


@dataclass
class SubmissionPolicy(CachePolicy):
    """Keeps no record in Prefect, since a submission may fail later. The ledger has what was paid for."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return None."""
        return None


def record_key(key: str, output_type: Any) -> str:
    """Return the key under which Prefect stores the result of a generation."""
    # A stored result is an instance of this class. Another class of the same schema has another record.
    return f"{_RECORDS}{key if output_type is None else salted_key(key, _class_path(output_type))}"


def is_record_of_another(record: str | None, key: str, output_type: Any, *, former_key: str | None = None) -> bool:
    """Return whether a record in Prefect belongs to `GenerationCachePolicy`, but to another generation."""
    if record is None or not record.startswith(_RECORDS):
        return False
    return record not in {record_key(own, output_type) for own in (key, former_key) if own is not None}


def _class_path(output_type: Any) -> str:
    if isinstance(output_type, type):
        return f"{output_type.__module__}:{output_type.__qualname__}"
    return repr(output_type)


def cache_scope_of_run(key: str) -> CacheScope:
    """Return the cache scope of a call for `key` in the current task run."""
    context = TaskRunContext.get()
    if context is None or not is_own_task(context.task):
        # The options of a user's own task that calls `generate.fn` are about the result of that task.
        return CacheScope()
    task = context.task
    refresh = task.refresh_cache if task.refresh_cache is not None else PREFECT_TASKS_REFRESH_CACHE.value()
    if _refuses_caches(task):
        return CacheScope(salt=("no-cache", *_call_name(context, key)))
    if refresh:
        return CacheScope(salt=("refresh", *_call_name(context, key)), publish=True)
    expiration = task.cache_expiration
    return CacheScope(max_age=expiration.total_seconds() if expiration is not None else None)


def _refuses_caches(task: Task[..., Any]) -> bool:
    if task.persist_result is False and not PREFECT_TASKS_DISABLE_CACHING.value():
        # Prefect replaces every policy by NO_CACHE then. Not storing results is no wish to pay again.
        return getattr(task, "_user_cache_policy", None) == NO_CACHE
    return task.cache_policy == NO_CACHE


def _call_name(context: TaskRunContext, key: str) -> tuple[str, str]:
    """Return a name of the call that is the same when its flow run runs again.

    It is the flow run, and the number of earlier calls for the same key in this attempt of the flow run. Unlike the
    order of all calls, that does not depend on which of several concurrent ones came first.
    """
    task_run = context.task_run
    if task_run.flow_run_id is None:
        return (str(task_run.id), "0")
    flow = FlowRunContext.get()
    attempt = flow.flow_run.run_count if flow and flow.flow_run else 0
    return (str(task_run.flow_run_id), str(_calls.number(f"{task_run.flow_run_id}:{attempt}:{key}", str(task_run.id))))


class _CallNumbers:
    """Numbers the task runs of this process that make the same call. A retried task run keeps its number."""

    def __init__(self) -> None:
        self.renew_lock()
        self._runs: LRUCache[str, dict[str, int]] = LRUCache(_NUMBERED_CALLS)

    def renew_lock(self) -> None:
        """Replace the lock, which another thread of the parent may have held at a fork."""
        self._lock = threading.Lock()

    def number(self, call: str, task_run: str) -> int:
        """Return the number of a task run among those that make the same call."""
        with self._lock:
            runs = self._runs.setdefault(call, {})
            return runs.setdefault(task_run, len(runs))


_calls = _CallNumbers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_calls.renew_lock)
