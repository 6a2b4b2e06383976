"""Local files are sent only if the program itself names them by a `Path`. URLs that come as data are not read."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from prefect.serializers import JSONSerializer
from prefect.utilities.collections import visit_collection

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.attachments import audio, document, image, video
from prefect_foxapi.models.content.digests import attachment_digest
from prefect_foxapi.models.generation_key import digests_of, generation_key
from prefect_foxapi.models.messages import (
    Attachment,
    ImagePart,
    UserMessage,
    assistant,
    system,
    user,
)
from prefect_foxapi.models.requests import GenerationRequest, build_request

HELPERS: dict[str, Callable[..., Any]] = {
    "image_url": image,
    "video_url": video,
    "audio_url": audio,
    "file_url": document,
}
each_kind = pytest.mark.parametrize("kind", HELPERS)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "id_rsa"
    path.write_bytes(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    return path


def refused(make: Callable[[], Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        make()
    assert "Path(" in str(caught.value)
    return caught.value


def sent(prompt: Any) -> GenerationRequest:
    return build_request(prompt, model="gemini-3-pro-preview")


@each_kind
@pytest.mark.parametrize("short", [True, False])
def test_local_file_in_an_openai_style_dict_is_refused(kind: str, short: bool, secret: Path) -> None:
    part = {"type": kind, kind: secret.as_uri() if short else {"url": secret.as_uri()}}
    found = refused(lambda: sent([{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]))
    assert found.field == f"messages.0.content.1.{kind}.url"
    assert f"{HELPERS[kind].__name__}(Path(…))" in str(found)
    assert refused(lambda: sent(["look", part])).field == f"messages.0.content.1.{kind}.url"
    assert refused(lambda: user("look", part)).field == f"content.1.{kind}.url"


@each_kind
@pytest.mark.parametrize("prefix", ["file://", "file:", " file://", "FILE://", "File:", "file://localhost"])
def test_local_file_in_a_string_is_refused(kind: str, prefix: str, secret: Path) -> None:
    url = f"{prefix}{secret}"
    assert refused(lambda: HELPERS[kind](url)).field == HELPERS[kind].__name__
    refused(lambda: sent(["look", {"type": kind, kind: {"url": url}}]))


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_local_file_is_refused_in_the_message_of_each_role(role: str, secret: Path) -> None:
    part = {"type": "file_url", "file_url": {"url": secret.as_uri()}}
    message = {"role": role, "content": [part], "tool_call_id": "call-1"}
    assert refused(lambda: sent([user("hi"), message])).field == "messages.1.content.0.file_url.url"
    make = {"system": system, "user": user, "assistant": assistant}.get(role)
    if make is not None:
        refused(lambda: make("look", part))


def test_dict_cannot_forge_the_permission(secret: Path) -> None:
    url = secret.as_uri()
    for name in ("_permitted_url", "__pydantic_private__", "permitted_url", "__pydantic_extra__"):
        for value in (url, {"_permitted_url": url}):
            fields = {"url": url, name: value}
            refused(lambda fields=fields: sent(["look", {"type": "image_url", "image_url": fields}]))
            refused(lambda fields=fields: sent(["look", ImagePart.model_validate({"image_url": fields})]))
            refused(lambda fields=fields: sent(["look", ImagePart(image_url=Attachment(**fields))]))
            text = json.dumps({"type": "image_url", "image_url": fields})
            refused(lambda text=text: sent(["look", ImagePart.model_validate_json(text)]))


def test_dump_of_a_permitted_attachment_is_data(secret: Path) -> None:
    """As where a conversation goes through a database or a web page that others can write to."""
    part = image(secret)
    assert part.model_dump() == {"type": "image_url", "image_url": {"url": secret.as_uri()}}
    refused(lambda: sent(["look", part.model_dump()]))
    refused(lambda: sent([UserMessage.model_validate(user("look", part).model_dump())]))
    refused(lambda: sent([JSONSerializer().loads(JSONSerializer().dumps(user("look", part)))]))


def test_permission_is_for_one_file(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    part = image(tmp_path / "photo.png")
    moved = part.image_url.model_copy(update={"url": secret.as_uri()})
    refused(lambda: sent(["look", part.model_copy(update={"image_url": moved})]))


def test_request_that_was_not_built_is_not_read_either(secret: Path) -> None:
    request = GenerationRequest.model_validate(
        {"model": "gpt-5.5", "messages": ["look", {"type": "image_url", "image_url": secret.as_uri()}]}
    )
    refused(lambda: digests_of(request))
    refused(lambda: generation_key(request, account="me", base_url="https://e.org"))
    refused(lambda: attachment_digest(Attachment(url=secret.as_uri()), "messages.0.content.0.image_url"))


def test_permitted_part_does_not_cover_a_dict_with_the_same_url(secret: Path) -> None:
    request = GenerationRequest.model_validate(
        {"model": "gpt-5.5", "messages": [image(secret), {"type": "image_url", "image_url": secret.as_uri()}]}
    )
    refused(lambda: digests_of(request))


def copies(part: Any) -> dict[str, Any]:
    return {
        "pickle": pickle.loads(pickle.dumps(part)),
        "cloudpickle": cloudpickle.loads(cloudpickle.dumps(part)),
        "copy": copy.copy(part),
        "deep copy": copy.deepcopy(part),
        "model_copy": part.model_copy(deep=True),
        "validated again": type(part).model_validate(part),
        "visited by Prefect": visit_collection(
            part, lambda value: f"{value}" if isinstance(value, str) else value, return_data=True
        ),
    }


@each_kind
def test_path_stays_permitted_where_tasks_and_workers_copy_it(kind: str, secret: Path) -> None:
    part = HELPERS[kind](secret)
    reference = digests_of(sent(["look", part]))
    assert len(reference) == 1
    for name, copied in copies(part).items():
        assert digests_of(sent(["look", copied])) == reference, name
        assert copied == part
    for name, copied in copies(user("look", part)).items():
        assert digests_of(sent([copied])) == reference, name


def test_message_with_a_local_file_is_still_read(secret: Path) -> None:
    """As from a stored result of 0.1.0: it can be read, and fails only where it is sent."""
    stored = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": secret.as_uri()}}]}
    message = UserMessage.model_validate(stored)
    assert message.model_dump(mode="json", exclude_unset=True) == stored
    # A pickle of 0.1.0 has no private attributes.
    part = image(secret)
    state = {**part.image_url.__getstate__(), "__pydantic_private__": None}
    old = Attachment.model_construct()
    old.__setstate__(state)
    assert old.is_local
    assert old.url == secret.as_uri()
    refused(lambda: sent(["look", ImagePart(image_url=old)]))
