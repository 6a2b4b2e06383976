"""One coroutine, two Prefect tasks: one for synchronous flows, one for asynchronous ones."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.serializers import JSONSerializer, prefect_json_object_encoder

from prefect_foxapi.models.generations import Generation
from prefect_foxapi.tasks.event_loop import background

P = ParamSpec("P")
R = TypeVar("R")

# Stored with every result, so it keeps the path of version 0.1.0.
_STORED_ENCODER = "prefect_foxapi.pairs.encode_for_storage"


def task_pair(
    coroutine: Callable[P, Coroutine[Any, Any, R]], *, cache_policy: CachePolicy = NO_CACHE
) -> tuple[Task[P, R], Task[P, Coroutine[Any, Any, R]]]:
    """Make the two tasks that run `coroutine` on the background loop; signature and types are the coroutine's.

    Neither retries by itself: what may be repeated over HTTP is repeated there.
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
    # JSON, not pickle: it is the same for every version of Python that shares the result storage.
    serializer = JSONSerializer(object_encoder=_STORED_ENCODER)
    return (
        task(name=name, cache_policy=cache_policy, result_serializer=serializer)(synchronous),
        task(name=name, cache_policy=cache_policy, result_serializer=serializer)(asynchronous),
    )


def encode_for_storage(value: Any) -> Any:
    """Prefect's own encoder; but whoever gets a generation out of its storage did not pay for it then."""
    if isinstance(value, Generation):
        value = cast("Generation[Any]", value).model_copy(update={"origin": "replayed"})
    return prefect_json_object_encoder(value)
