"""The generation key as version 0.1.0 made it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from prefect_foxapi.models.content.digests import attachment_digest
from prefect_foxapi.models.requests import GenerationRequest


def key_of_0_1_0(request: GenerationRequest, *, account: str, base_url: str, sample: Any) -> str:
    """The key of a request, which neither names media types nor evens out how `stop` and `sample` are written."""
    digests = {
        part.attachment.url: digest
        for path, part in request.attachments()
        if (digest := attachment_digest(part.attachment, path))
    }
    body = {name: value for name, value in request.body().items() if name != "stream"}
    for message in body["messages"]:
        if not isinstance(message["content"], list):
            continue
        for part in message["content"]:
            inner = part.get(part["type"])
            if isinstance(inner, dict) and inner["url"] in digests:
                inner["sha256"] = digests[inner.pop("url")]
    identity = {
        "version": 1,
        "account": account,
        "base_url": base_url,
        "path": "/v1/llm/generations",
        "sample": sample,
        "body": body,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
