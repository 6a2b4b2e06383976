"""Which content each model accepts, checked before anything is paid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefect_foxapi.errors import UnsupportedContent
from prefect_foxapi.models.attachments import audio, document, image, video
from prefect_foxapi.models.requests import NEEDED_CAPABILITY, GenerationRequest, check_content, documented_capabilities

HELPERS: dict[str, Callable[[str], Any]] = {"vision": image, "video": video, "audio": audio, "file": document}
FAMILIES = {
    "gpt-5.5": {"text", "vision"},
    "kimi-k2.6": {"text", "vision"},
    "claude-opus-4-7": {"text", "vision", "file"},
    "gemini-3-pro-preview": {"text", "vision", "video", "audio", "file"},
}


def request(model: str, capability: str) -> GenerationRequest:
    return GenerationRequest.build(["x", HELPERS[capability]("https://e.org/x")], model=model, max_tokens=64)


@pytest.mark.parametrize("model", FAMILIES)
def test_documented_matrix(model: str) -> None:
    assert documented_capabilities(model) == FAMILIES[model]
    assert documented_capabilities(model.upper()) == FAMILIES[model]


@pytest.mark.parametrize("capability", HELPERS)
@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("live", [None, {}, {"another-model": frozenset({"text"})}], ids=["none", "empty", "other"])
def test_documentation_counts_where_the_live_list_says_nothing(model: str, capability: str, live: Any) -> None:
    if capability in FAMILIES[model]:
        check_content(request(model, capability), live)
        return
    with pytest.raises(UnsupportedContent) as caught:
        check_content(request(model, capability), live)
    (part,) = (kind for kind, needed in NEEDED_CAPABILITY.items() if needed == capability)
    assert caught.value.field == f"messages.0.content.1.{part}"
    assert caught.value.code == "model_not_support_capability"
    assert model in str(caught.value)
    assert "gemini-*" in str(caught.value)


def test_live_list_counts_before_the_documentation() -> None:
    live = {"gpt-5.5": frozenset({"text", "video"}), "claude-opus-4-7": frozenset({"text"})}
    check_content(request("gpt-5.5", "video"), live)
    with pytest.raises(UnsupportedContent) as caught:
        check_content(request("claude-opus-4-7", "vision"), live)
    assert caught.value.field == "messages.0.content.1.image_url"


def test_error_names_models_that_can() -> None:
    live = {f"seer-{number}": frozenset({"text", "video"}) for number in range(9)}
    with pytest.raises(UnsupportedContent) as caught:
        check_content(request("gpt-5.5", "video"), live)
    assert [name for name in live if name in str(caught.value)] == ["seer-0", "seer-1", "seer-2", "seer-3", "seer-4"]


def test_model_that_nobody_knows_is_for_foxapi_to_decide() -> None:
    check_content(request("brand-new", "video"), None)
    check_content(request("brand-new", "video"), {"gpt-5.5": frozenset({"text"})})


def test_model_without_capabilities_in_the_live_list_goes_by_the_documentation() -> None:
    with pytest.raises(UnsupportedContent):
        check_content(request("gpt-5.5", "video"), {"gpt-5.5": frozenset()})


def test_text_alone_needs_nothing() -> None:
    check_content(GenerationRequest.build("x", model="gpt-5.5"), {"gpt-5.5": frozenset({"video"})})
