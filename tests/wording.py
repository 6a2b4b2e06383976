"""The sentences that users read, in one text: `python -m tests.wording` writes it anew after a change of words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from prefect_foxapi import hooks
from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.client.responses import error_from_response, unreadable_response
from prefect_foxapi.client.waiter import WaitOptions, failure_of
from prefect_foxapi.errors import FoxAPIError
from prefect_foxapi.models.attachments import image
from prefect_foxapi.models.generation_key import generation_key
from prefect_foxapi.models.messages import user
from prefect_foxapi.models.requests import GenerationRequest, build_request, check_content
from prefect_foxapi.observability import log_event

SNAPSHOT = Path(__file__).with_name("wording.txt")
_REQUEST = GenerationRequest.build("hi", model="gpt-5.5")

# What a user can get wrong, by the name of the case.
MISTAKES: dict[str, Callable[[], Any]] = {
    "empty prompt": lambda: build_request(" ", model="gpt-5.5"),
    "no messages": lambda: build_request([], model="gpt-5.5"),
    "prompt of another type": lambda: build_request(5, model="gpt-5.5"),
    "messages and parts": lambda: build_request([user("hi"), "there"], model="gpt-5.5"),
    "no model": lambda: build_request("hi", model=""),
    "claude without max_tokens": lambda: build_request("hi", model="claude-opus-4-7"),
    "gpt with few tokens": lambda: build_request("hi", model="gpt-5.5", parameters={"max_tokens": 5}),
    "temperature": lambda: build_request("hi", model="gpt-5.5", parameters={"temperature": 3}),
    "not JSON": lambda: build_request("hi", model="gpt-5.5", parameters={"seed": object}),
    "option of another task": lambda: build_request("hi", model="gpt-5.5", parameters={"timeout": 5}),
    "typing error": lambda: build_request("hi", model="gpt-5.5", parameters={"max_token": 5}),
    "typing error in an option": lambda: build_request("hi", model="gpt-5.5", parameters={"timout": 5}),
    "option of Prefect": lambda: build_request("hi", model="gpt-5.5", parameters={"retries": 3}),
    "sync": lambda: build_request("hi", model="gpt-5.5", parameters={"sync": True}),
    "callback": lambda: build_request("hi", model="gpt-5.5", parameters={"callback_url": "https://x.example"}),
    "second messages": lambda: build_request("hi", model="gpt-5.5", parameters={"messages": []}),
    "key as a parameter": lambda: build_request("hi", model="gpt-5.5", parameters={"api_key": "sk-1"}),
    "extra_body": lambda: build_request("hi", model="gpt-5.5", parameters={"extra_body": {"sync": True}}),
    "output_type and response_format": lambda: build_request(
        "hi", model="gpt-5.5", output_type=int, parameters={"response_format": {}}
    ),
    "sample": lambda: generation_key(_REQUEST, account="me", base_url="https://api.foxapi.cc", sample="1"),  # type: ignore[arg-type]
    "part without a URL": lambda: build_request([{"type": "image_url"}], model="gpt-5.5"),
    "path as a string": lambda: image("photo.jpg"),
    "URL of an unknown kind": lambda: build_request(["look", "https://x.example/photo"], model="gpt-5.5"),
    "path of an unknown kind": lambda: build_request(["look", Path("odd.xyz")], model="gpt-5.5"),
    "content of another kind": lambda: image(b"%PDF-1.7", name="photo.png"),
    "local file as a string": lambda: image("file:///home/me/photo.jpg"),
    "local file as data": lambda: build_request(
        [{"type": "image_url", "image_url": "file:///home/me/photo.jpg"}], model="gpt-5.5"
    ),
    "missing file": lambda: image(Path("/nowhere/photo.jpg")),
    "bytes without a name": lambda: image(b"x"),
    "broken data URI": lambda: generation_key(
        build_request([image("data:image/png;base64,x")], model="gpt-5.5"), account="me", base_url="https://x.example"
    ),
    "content that the model lacks": lambda: check_content(
        build_request([{"type": "video_url", "video_url": "https://x.example/a.mp4"}], model="gpt-5.5"), None
    ),
    "empty key": lambda: ClientConfig(" "),
    "base URL with a path": lambda: ClientConfig("sk-1", base_url="https://api.foxapi.cc/v1"),
    "unencrypted base URL": lambda: ClientConfig("sk-1", base_url="http://fox.example.com"),
    "no URL": lambda: ClientConfig("sk-1", base_url="fox"),
    "timeout": lambda: WaitOptions(timeout=-1),
    "poll": lambda: WaitOptions(poll=5),  # type: ignore[arg-type]
}

# Answers of FoxAPI, by status and code.
ANSWERS: list[tuple[int, str | None, bool]] = [
    (400, None, True),
    (401, None, True),
    (402, None, True),
    (403, None, True),
    (404, "not_found", False),
    (413, None, False),
    (422, "model_not_found", True),
    (422, "model_not_support_capability", True),
    (422, "model_rule_violation", True),
    (422, "no_compatible_channel", True),
    (429, None, True),
    (500, None, False),
    (500, None, True),
    (302, None, False),
]

EVENTS: list[hooks.HookEvent] = [
    hooks.SubmissionRecorded("gen-1", "gpt-5.5", "ab12"),
    hooks.GenerationCompleted("gen-1", "gpt-5.5", "billed", tokens=12, credits=3, latency=1.5),
    hooks.StatusChanged("gen-1", "processing", 40, 2.5),
    hooks.WaitAbandoned("gen-1"),
    hooks.RecordingFailed("accepted", "the disk is full", "gen-1"),
    hooks.RecordingFailed("unknown", "the disk is full"),
    hooks.RecordingFailed("completed", "the disk is full", "gen-1"),
    hooks.CapabilitiesUnavailable("FoxAPI answered 500"),
    hooks.RetryScheduled("GET", "/v1/tasks/gen-1", 1, 0.5, "FoxAPI answered 500"),
    hooks.CooldownStarted(5),
    hooks.StreamResumed("gen-1", 7, "the connection broke"),
    hooks.StreamFellBackToPolling("gen-1", "FoxAPI answered 404"),
    hooks.StreamResultMismatch("gen-1"),
]


def sentences() -> Iterator[str]:
    """Yield every sentence with the name of its case."""
    for name, mistake in MISTAKES.items():
        try:
            mistake()
        except FoxAPIError as error:
            yield f"{name}: {error}"
        else:
            yield f"{name}: accepted"
    for status, code, paid in ANSWERS:
        body = {"error": {"message": "said by FoxAPI", "type": "error", "code": code}}
        response = httpx.Response(status, json=body, request=httpx.Request("POST", "https://api.foxapi.cc/v1/x"))
        error = error_from_response(response, response.content, paid=paid)
        yield f"{status} {code or ''}{' to a submission' if paid else ''}: {type(error).__name__}: {error}"
    yield f"unreadable: {unreadable_response('JSON', b'<html>')}"
    yield f"unreadable submission: {unreadable_response('JSON', b'<html>', paid=True)}"
    yield f"failed: {failure_of('gen-1', {'message': 'said by FoxAPI'})}"
    yield from _log_lines()


def _log_lines() -> list[str]:
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"log {record.levelname.lower()}: {record.getMessage()}")

    logger, handler = logging.getLogger("prefect_foxapi"), Collect()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        for event in EVENTS:
            log_event(event)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return lines


def text() -> str:
    """Return all sentences, one on a line."""
    return "\n".join(line.replace("\n", "\\n") for line in sentences()) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(text(), encoding="utf-8")
