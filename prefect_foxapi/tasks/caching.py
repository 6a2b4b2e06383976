"""What the caching options of a Prefect task run mean for paying.

`refresh_cache` pays anew and lets later calls have the new result; `NO_CACHE` pays anew and keeps the result to
itself; `cache_expiration` bounds the age of a result. The first two pay once *for each call of a flow run*: a flow run
that crashed and runs again finds what the same call paid for.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.context import FlowRunContext, TaskRunContext
from prefect.settings import PREFECT_TASKS_DISABLE_CACHING, PREFECT_TASKS_REFRESH_CACHE

from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.errors import FoxAPIError
from prefect_foxapi.models.generation_key import generation_key, salted_key
from prefect_foxapi.models.requests import build_request

_RECORDS = "foxapi-"
_REMEMBERED_CALLS = 100_000


@dataclass(frozen=True)
class CacheScope:
    """How one call may use what other calls paid for.

    Attributes:
        salt: Sets this call apart from all others but itself, repeated; empty where it shares with everybody.
        publish: Whether the others may have this call's result, although it did not want theirs.
        max_age: Seconds that a result may be old, or None.
    """

    salt: tuple[str, ...] = ()
    publish: bool = False
    max_age: float | None = None

    def key_for(self, key: str) -> str:
        """The key under which this call's payment stands."""
        return salted_key(key, *self.salt) if self.salt else key


def cache_scope_of_run(key: str) -> CacheScope:
    """The occasion of the task run that asks for `key` now."""
    context = TaskRunContext.get()
    if context is None:
        return CacheScope()
    task = context.task
    if not getattr(task.fn, "__module__", "").startswith(f"{__package__}."):
        # A task of the user's own that calls `generate.fn`; its options are about that task's result.
        return CacheScope()
    refresh = task.refresh_cache if task.refresh_cache is not None else PREFECT_TASKS_REFRESH_CACHE.value()
    if _refuses_caches(task):
        return CacheScope(salt=("no-cache", *_call(context, key)))
    if refresh:
        return CacheScope(salt=("refresh", *_call(context, key)), publish=True)
    expiration = task.cache_expiration
    return CacheScope(max_age=expiration.total_seconds() if expiration is not None else None)


def _refuses_caches(task: Task[..., Any]) -> bool:
    if task.persist_result is False and not PREFECT_TASKS_DISABLE_CACHING.value():
        # Prefect puts NO_CACHE in place of any policy then; that results are not to be stored is no wish to pay again.
        return getattr(task, "_user_cache_policy", None) == NO_CACHE
    return task.cache_policy == NO_CACHE


def _call(context: TaskRunContext, key: str) -> tuple[str, str]:
    """Names a call so that it has the same name when its flow run runs again.

    That is its flow run, and how many calls for the same key this attempt of the flow run made before it: unlike the
    order of all calls, that does not depend on which of several concurrent ones came first.
    """
    task_run = context.task_run
    if task_run.flow_run_id is None:
        return (str(task_run.id), "0")
    flow = FlowRunContext.get()
    attempt = flow.flow_run.run_count if flow and flow.flow_run else 0
    return (str(task_run.flow_run_id), str(_calls.number(f"{task_run.flow_run_id}:{attempt}:{key}", str(task_run.id))))


class _Calls:
    """Numbers the task runs of this process that ask for the same thing; a retried task run keeps its number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, dict[str, int]] = OrderedDict()

    def renew(self) -> None:
        self._lock = threading.Lock()

    def number(self, what: str, task_run: str) -> int:
        with self._lock:
            runs = self._known.setdefault(what, {})
            self._known.move_to_end(what)
            while len(self._known) > _REMEMBERED_CALLS:
                self._known.popitem(last=False)
            return runs.setdefault(task_run, len(runs))


_calls = _Calls()
if hasattr(os, "register_at_fork"):
    # Another thread of the parent's may have held the lock.
    os.register_at_fork(after_in_child=_calls.renew)


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
        """The key, or None where there can be none; the task itself then says what is wrong."""
        try:
            output_type = inputs.get("output_type")
            request = build_request(
                inputs.get("prompt"),
                model=cast("str", inputs.get("model")),
                output_type=output_type,
                parameters=inputs.get("openai_parameters"),
            )
            credentials = FoxAPICredentials.resolve(inputs.get("credentials"))
            key = generation_key(
                request,
                account=credentials.account_name,
                base_url=credentials.origin,
                sample=inputs.get("sample", 0),
            )
        except FoxAPIError:
            return None
        return record_key(key, output_type)


def record_key(key: str, output_type: Any) -> str:
    """The key under which Prefect stores the result of a generation."""
    # The stored result is an instance of this very class, wherever another of the same schema may live.
    return f"{_RECORDS}{key if output_type is None else salted_key(key, _named(output_type))}"


def is_record_of_another(record: str | None, key: str, output_type: Any) -> bool:
    """Whether a record of Prefect's is one of this policy, but for another generation."""
    return record is not None and record.startswith(_RECORDS) and record != record_key(key, output_type)


@dataclass
class SubmissionPolicy(CachePolicy):
    """Keeps no record at Prefect: a submission may fail later. The ledger knows what was paid for."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """None."""
        return None


def _named(output_type: Any) -> str:
    if isinstance(output_type, type):
        return f"{output_type.__module__}:{output_type.__qualname__}"
    return repr(output_type)
