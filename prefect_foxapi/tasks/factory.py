"""Task pairs: from one coroutine function, a Prefect task for synchronous flows and one for asynchronous flows."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast, get_args, get_type_hints

from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.context import TaskRunContext
from prefect.futures import PrefectDistributedFuture
from prefect.serializers import JSONSerializer, prefect_json_object_encoder

from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.errors import AuthenticationError
from prefect_foxapi.models import Generation
from prefect_foxapi.models.structured_output import add_type_source
from prefect_foxapi.tasks.event_loop import background

P = ParamSpec("P")
R = TypeVar("R")

# Stored with every result, so it keeps the path of version 0.1.0.
_STORED_ENCODER = "prefect_foxapi.pairs.encode_for_storage"
_MARK = "__foxapi_task__"


class FoxAPITask(Task[P, R]):
    """A Prefect task that is careful with credentials."""

    def with_options(self, **options: Any) -> Task[P, R]:
        """Return a copy with other options of Prefect."""
        copied = super().with_options(**options)
        # Prefect makes a plain `Task`.
        copied.__class__ = type(self)
        return copied

    def apply_async(
        self, args: tuple[Any, ...] | None = None, kwargs: dict[str, Any] | None = None, *more: Any, **options: Any
    ) -> PrefectDistributedFuture[R]:
        """Let a task worker run the task, as in Prefect; `delay` calls this.

        Raises:
            AuthenticationError: An argument is a credentials block, whose key a storage must not hold.
        """
        if any(isinstance(value, FoxAPICredentials) for value in (*(args or ()), *(kwargs or {}).values())):
            raise AuthenticationError(
                "the arguments of a delayed task are stored, and a block's API key must not be: pass the name of a "
                "saved block, credentials='my-foxapi'"
            )
        return super().apply_async(args, kwargs, *more, **options)


def task_pair(
    coroutine: Callable[P, Coroutine[Any, Any, R]], *, cache_policy: CachePolicy = NO_CACHE
) -> tuple[Task[P, R], Task[P, Coroutine[Any, Any, R]]]:
    """Return the two tasks that run a coroutine function on the background loop, with its signature and types.

    Both have no retries: HTTP requests are repeated by the client.

    Args:
        coroutine: The coroutine function.
        cache_policy: The cache policy of both tasks.
    """
    name = coroutine.__name__.strip("_")

    @wraps(coroutine)
    def synchronous(*args: P.args, **kwargs: P.kwargs) -> R:
        return background().call(coroutine(*args, **kwargs))

    @wraps(coroutine)
    async def asynchronous(*args: P.args, **kwargs: P.kwargs) -> R:
        return await background().acall(coroutine(*args, **kwargs))

    asynchronous.__name__ = asynchronous.__qualname__ = f"a{name}"
    synchronous.__name__ = synchronous.__qualname__ = name
    for function in (synchronous, asynchronous):
        setattr(function, _MARK, True)
    # JSON instead of pickle: it is the same for every version of Python that shares the result storage.
    serializer = JSONSerializer(object_encoder=_STORED_ENCODER)
    return (
        FoxAPITask(synchronous, name=name, cache_policy=cache_policy, result_serializer=serializer),
        FoxAPITask(asynchronous, name=name, cache_policy=cache_policy, result_serializer=serializer),
    )


def is_own_task(task: Task[..., Any]) -> bool:
    """Return whether a task was made by `task_pair`, also if its options were changed since."""
    return getattr(task.fn, _MARK, False) is True


def encode_for_storage(value: Any) -> Any:
    """Encode a value like Prefect, with the origin of a generation as it is for those who read it from storage."""
    if isinstance(value, Generation):
        value = cast("Generation[Any]", value).model_copy(update={"origin": "replayed"})
    return prefect_json_object_encoder(value)


def _types_of_running_task() -> list[Any]:
    """Return the `output_type` of one of our tasks, or the return annotation of a user's own task.

    Prefect reads a cached result within the context of the task run, though the task's function does not run.
    """
    context = TaskRunContext.get()
    if context is None:
        return []
    if is_own_task(context.task):
        return [context.parameters.get("output_type")]
    try:
        return _output_types(get_type_hints(context.task.fn).get("return"))
    except Exception:
        # It names what exists for type checkers only, or is no annotation. An error would be a cache miss for Prefect.
        return []


def _output_types(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, Generation):
        return [cast("type[Generation[Any]]", annotation).model_fields["parsed"].annotation]
    return [declared for argument in get_args(annotation) for declared in _output_types(argument)]


add_type_source(_types_of_running_task)
