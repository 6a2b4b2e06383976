"""The generation key, which is equal for equal requests.

It is the SHA-256 of the canonical JSON of all that decides the answer. A local or inline attachment counts by the
digest of its bytes and the media type with which they are sent, not by its path, its name, or the URL of its upload.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.base import shown
from prefect_foxapi.models.content.digests import ContentDigest, content_digest
from prefect_foxapi.models.content.media_types import implied_media_type
from prefect_foxapi.models.messages import refuse_foreign_file
from prefect_foxapi.models.requests import SUBMIT_PATH, GenerationRequest, KeyRole

KEY_VERSION = 1
# Enough for any hash or UUID. Python refuses to write numbers of more than 4,300 digits.
_SAMPLE_BITS = 1024

_FIELDS_IN_THE_KEY = GenerationRequest.fields_with(KeyRole.IN_THE_KEY)
# For these, null says the same as leaving the field out.
_OPTIONAL_FIELDS = frozenset(
    name for name in _FIELDS_IN_THE_KEY if GenerationRequest.model_fields[name].default is None
)
_FIELDS_NOT_IN_THE_KEY = GenerationRequest.fields_with(KeyRole.NOT_IN_THE_KEY)

# Every argument of a task and every field of the block is named in one of these; a test fails for one that is not.
IN_THE_KEY = frozenset(
    {
        *_FIELDS_IN_THE_KEY,
        *("prompt", "output_type", "sample", "openai_parameters", "credentials", "base_url", "account", "api_key"),
    }
)
NOT_IN_THE_KEY = frozenset(
    {
        *_FIELDS_NOT_IN_THE_KEY,
        *("timeout", "poll", "on_delta", "on_ambiguous", "log_lines"),
        *("submit_timeout", "connect_timeout", "max_connections", "allow_http"),
    }
)


def digests_of(request: GenerationRequest) -> dict[str, ContentDigest]:
    """Return what identifies each local or inline attachment, by URL. This reads files, which blocks an event loop.

    Args:
        request: The request.

    Raises:
        InvalidRequest: A file is missing, empty, unreadable or named by data, or a data URI is broken.
    """
    digests: dict[str, ContentDigest] = {}
    for path, part in request.attachments():
        refuse_foreign_file(part.attachment, path)
        url = part.attachment.url
        if url not in digests and (digest := content_digest(part.attachment, path)):
            digests[url] = digest
    return digests


def generation_key(
    request: GenerationRequest,
    *,
    account: str,
    base_url: str,
    sample: int = 0,
    path: str = SUBMIT_PATH,
    digests: Mapping[str, ContentDigest] | None = None,
) -> str:
    """Return the key of a request: 64 hex digits, equal in all processes, on all machines and Python versions.

    Args:
        request: The request, with local attachments not yet uploaded.
        account: The account that pays; accounts do not share generations.
        base_url: Base URL of the service.
        sample: The number of the generation among those of the same request.
        path: Path of the submission, which is the kind of generation.
        digests: The result of `digests_of`, where it is known.

    Raises:
        InvalidRequest: `sample` is not a whole number, or a local attachment cannot be read.
    """
    if not isinstance(cast("Any", sample), int) or sample.bit_length() > _SAMPLE_BITS:
        raise InvalidRequest(f"sample: {shown(sample)} is not a whole number; give 0, 1, 2, …", field="sample")
    body = _canonical_body(request.body(), digests_of(request) if digests is None else digests)
    match body.get("stop"):
        case [alone]:
            # FoxAPI treats a text and a list of that text alone as equal.
            body["stop"] = alone
        case _:
            pass
    return _key(account=account, base_url=base_url, path=path, sample=int(sample), body=body)


def former_key(
    request: GenerationRequest,
    *,
    account: str,
    base_url: str,
    sample: int = 0,
    path: str = SUBMIT_PATH,
    digests: Mapping[str, ContentDigest] | None = None,
) -> str | None:
    """Return the other key that version 0.1.0 made of a request, or None.

    That version kept `stop=["a"]` apart from `stop="a"`, and `sample=True` from 1. It did not tell media types apart: a
    key that it made of an attachment whose media type is now in the key can be that of another request, and is not
    returned.

    Args:
        request: As for `generation_key`, and so are the other arguments.
        account: The account that pays.
        base_url: Base URL of the service.
        sample: The number of the generation among those of the same request.
        path: Path of the submission.
        digests: The result of `digests_of`, where it is known.
    """
    if not isinstance(cast("Any", sample), bool) and not (isinstance(request.stop, tuple) and len(request.stop) == 1):
        return None
    digests = digests_of(request) if digests is None else digests
    if any(_names_its_media_type(digests.get(part.attachment.url), part.type) for _, part in request.attachments()):
        return None
    body = _canonical_body(request.body(), digests)
    return _key(account=account, base_url=base_url, path=path, sample=sample, body=body)


def _key(**identity: Any) -> str:
    return hashlib.sha256(canonical_json({"version": KEY_VERSION, **identity})).hexdigest()


def salted_key(key: str, *salt: str) -> str:
    """Return a key for calls that share results with no others than those of the same salt.

    Args:
        key: The generation key.
        salt: What the calls have in common.
    """
    return hashlib.sha256(canonical_json([key, *salt])).hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return the JSON text that all equal values have.

    Args:
        value: JSON data.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value


def _canonical_body(body: dict[str, Any], digests: Mapping[str, ContentDigest]) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in body.items()
        if name not in _FIELDS_NOT_IN_THE_KEY and not (value is None and name in _OPTIONAL_FIELDS)
    }
    kept["messages"] = [_canonical_message(message, digests) for message in body["messages"]]
    return kept


def _canonical_message(message: dict[str, Any], digests: Mapping[str, ContentDigest]) -> dict[str, Any]:
    kept = {name: value for name, value in message.items() if value is not None}
    content = kept.get("content")
    if not isinstance(content, list):
        return kept
    parts = [_canonical_part(part, digests) for part in cast("list[dict[str, Any]]", content)]
    # FoxAPI treats a text and a list of that text alone as equal.
    kept["content"] = parts[0]["text"] if len(parts) == 1 and set(parts[0]) == {"type", "text"} else parts
    return kept


def _canonical_part(part: dict[str, Any], digests: Mapping[str, ContentDigest]) -> dict[str, Any]:
    inner = part.get(part["type"])
    if not isinstance(inner, dict):
        return part
    fields = cast("dict[str, Any]", inner)
    digest = digests.get(fields["url"])
    if digest is None:
        return part
    sent = f"{digest.media_type} {digest.sha256}" if _names_its_media_type(digest, part["type"]) else digest.sha256
    further = {name: value for name, value in fields.items() if name != "url"}
    # A field of the caller's own that is called sha256 must not stand for that of another content.
    return {**part, part["type"]: [further, sent] if "sha256" in further else {**further, "sha256": sent}}


def _names_its_media_type(digest: ContentDigest | None, kind: str) -> bool:
    """Return whether an attachment has another media type than its content implies.

    The others do without it in the key, as in version 0.1.0. Since a content implies a single media type, no two
    media types of a content share a key.
    """
    return digest is not None and digest.media_type != implied_media_type(digest.head, kind)
