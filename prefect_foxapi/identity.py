"""What makes two generations the same one: the generation key, and Prefect's cache policy built on it.

The key is the SHA-256 of the canonical JSON of everything that decides the answer, and of nothing else. A local
attachment counts by the digest of its bytes: never by its path, its name, or the URL that an upload gave it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_origin

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from prefect_foxapi.attachments import attachment_digest
from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.errors import FoxAPIError, InvalidRequest
from prefect_foxapi.messages import GenerationRequest
from prefect_foxapi.output import output_schema

KEY_VERSION = 1
_RECORDS = "foxapi-"

# Every field and argument is named in one of these; a test fails when one is added and nobody decided.
IN_THE_KEY = frozenset(
    {
        *("model", "messages", "max_tokens", "temperature", "top_p", "stop"),
        *("prompt", "output_type", "sample", "openai_parameters", "credentials", "base_url", "account", "api_key"),
    }
)
NOT_IN_THE_KEY = frozenset(
    {
        *("stream", "timeout", "poll", "on_delta", "on_ambiguous", "log_lines"),
        *("submit_timeout", "connect_timeout", "max_connections", "allow_http"),
    }
)
# A task that does not take one of these would otherwise send it to FoxAPI, as a part of what is paid for.
_OPTIONS = {
    **dict.fromkeys(("timeout", "poll", "on_delta"), "give it to generate, stream_generation or wait_for_generation"),
    "log_lines": "give it to stream_generation",
    "stream": "leave it out: stream_generation always streams",
}
_NOTHING_SAID = frozenset({"max_tokens", "temperature", "top_p", "stop"})


def digests_of(request: GenerationRequest) -> dict[str, str]:
    """SHA-256 of every attachment whose bytes this machine has, by URL. This reads files: keep it off an event loop.

    Raises:
        InvalidRequest: A file is missing, empty or unreadable, or a data URI is broken.
    """
    digests: dict[str, str] = {}
    for path, part in request.attachments():
        url = part.attachment.url
        if url not in digests and (digest := attachment_digest(part.attachment, path)):
            digests[url] = digest
    return digests


def generation_key(
    request: GenerationRequest,
    *,
    account: str,
    base_url: str,
    sample: int = 0,
    path: str = "/v1/llm/generations",
    digests: Mapping[str, str] | None = None,
) -> str:
    """The identity of a request, 64 hex digits; equal in every process, on every machine and version of Python.

    Args:
        request: The request, with local attachments not yet uploaded.
        account: Whose generation it is; two accounts never share one.
        base_url: Origin of the service.
        sample: Another number is another generation of the same request.
        path: Which kind of generation.
        digests: What `digests_of` said, if it was already asked.

    Raises:
        InvalidRequest: `sample` is not a whole number, or a local attachment cannot be read.
    """
    if not isinstance(cast("Any", sample), int):
        raise InvalidRequest(f"sample: {sample!r} is not a whole number; give 0, 1, 2, …", field="sample")
    digests = digests_of(request) if digests is None else digests
    identity = {
        "version": KEY_VERSION,
        "account": account,
        "base_url": base_url,
        "path": path,
        "sample": sample,
        "body": _canonical_body(request.body(), digests),
    }
    return hashlib.sha256(canonical_json(identity)).hexdigest()


def salted_key(key: str, *salt: str) -> str:
    """A key of its own for one occasion of asking, where an answer must not be shared with other occasions."""
    return hashlib.sha256(canonical_json([key, *salt])).hexdigest()


def canonical_json(value: Any) -> bytes:
    """JSON in the one form that equal values have."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value


def _canonical_body(body: dict[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in body.items()
        if name != "stream" and not (value is None and name in _NOTHING_SAID)
    }
    kept["messages"] = [_canonical_message(message, digests) for message in body["messages"]]
    return kept


def _canonical_message(message: dict[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    kept = {name: value for name, value in message.items() if value is not None}
    content = kept.get("content")
    if not isinstance(content, list):
        return kept
    parts = [_canonical_part(part, digests) for part in cast("list[dict[str, Any]]", content)]
    # A text alone and a list with that text alone say the same (contract §2).
    kept["content"] = parts[0]["text"] if len(parts) == 1 and set(parts[0]) == {"type", "text"} else parts
    return kept


def _canonical_part(part: dict[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    inner = part.get(part["type"])
    if not isinstance(inner, dict):
        return part
    fields = cast("dict[str, Any]", inner)
    digest = digests.get(fields["url"])
    if digest is None:
        return part
    return {**part, part["type"]: {**{k: v for k, v in fields.items() if k != "url"}, "sha256": digest}}


def refuse_options(parameters: Mapping[str, Any]) -> None:
    """Refuse, among the parameters of a request, what is an option of other tasks.

    Raises:
        InvalidRequest: There is one.
    """
    for name, remedy in _OPTIONS.items():
        if name in parameters:
            raise InvalidRequest(f"{name}: it is no option of this task, nor part of a request; {remedy}", field=name)


def build_request(
    prompt: Any,
    *,
    model: str,
    output_type: Any = None,
    stream: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> GenerationRequest:
    """The request that `generate` submits for its arguments.

    Raises:
        InvalidRequest: Something is wrong with it.
    """
    fields = dict(parameters or {})
    refuse_options(fields)
    if output_type is not None:
        if "response_format" in fields:
            raise InvalidRequest("response_format: give either it or output_type, not both", field="response_format")
        fields["response_format"] = output_schema(output_type).response_format()
    if stream:
        fields["stream"] = True
    return GenerationRequest.build(prompt, model=model, **fields)


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
    # To Python 3.10 list[int] is a type, too, by the name of list alone.
    if isinstance(output_type, type) and get_origin(output_type) is None:
        return f"{output_type.__module__}:{output_type.__qualname__}"
    return repr(output_type)
