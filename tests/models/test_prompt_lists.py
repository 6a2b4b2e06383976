"""Paths and URLs in a list prompt are attachments of the kind that their media type names, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.attachments import audio, document, image, video
from prefect_foxapi.models.messages import TextPart, assistant, system, user
from prefect_foxapi.models.requests import build_request

KINDS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "image_url": (image, ("x.png", "x.JPG", "x.jpeg", "x.webp", "x.heic", "x.svg")),
    "video_url": (video, ("x.mp4", "x.mov", "x.WEBM", "x.mkv")),
    "audio_url": (audio, ("x.mp3", "x.wav", "x.m4a", "x.ogg")),
    "file_url": (document, ("x.pdf", "x.docx", "x.txt", "x.csv", "x.md", "x.html", "x.json")),
}
NAMES = [(kind, helper, name) for kind, (helper, names) in KINDS.items() for name in names]
each_name = pytest.mark.parametrize(("kind", "helper", "name"), NAMES)


def content_of(prompt: Any) -> Any:
    [message] = build_request(prompt, model="gemini-3-pro-preview").body()["messages"]
    return message["content"]


@each_name
def test_path_in_a_list_is_an_attachment(kind: str, helper: Callable[..., Any], name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    expected = content_of(["look", helper(path)])
    assert expected[1]["type"] == kind
    assert content_of(["look", path]) == expected
    assert content_of(("look", path)) == expected
    assert content_of(user("look", path)) == expected
    assert content_of([path]) == content_of(path) == content_of(user(path)) == expected[1:]


@each_name
@pytest.mark.parametrize("form", ["https://e.org/{}", "http://e.org/a/{}?w=1#top", " https://e.org/{}\n"])
def test_url_in_a_list_is_an_attachment(kind: str, helper: Callable[..., Any], name: str, form: str) -> None:
    url = form.format(name)
    expected = [{"type": "text", "text": "look"}, {"type": kind, kind: {"url": url.strip()}}]
    assert content_of(["look", url]) == expected == content_of(["look", helper(url.strip())])
    assert content_of(user("look", url)) == expected
    assert content_of([url]) == expected[1:]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("data:image/png;base64,aGk=", "image_url"),
        ("data:VIDEO/mp4;base64,aGk=", "video_url"),
        ("data:audio/mpeg;base64,aGk=", "audio_url"),
        ("data:application/pdf;base64,aGk=", "file_url"),
        ("data:text/plain,hi", "file_url"),
        ("data:,hi/there", "file_url"),
    ],
)
def test_data_uri_in_a_list_is_an_attachment(url: str, kind: str) -> None:
    assert content_of(["look", url])[1] == {"type": kind, kind: {"url": url}}


@pytest.mark.parametrize(
    "url",
    [
        *("https://e.org/photo", "https://e.org", "https://e.org/x.xyz", "https://e.org/?f=x.png", "https://[/x.png"),
        *("data:font/woff;base64,aGk=",),
    ],
)
def test_url_of_an_unknown_kind_is_refused_with_the_remedies(url: str) -> None:
    for make, field in (
        (lambda: content_of(["look", url]), "messages.0.content.1"),
        (lambda: user("look", url), "content.1"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            make()
        assert caught.value.field == field
        assert "image(…)" in str(caught.value)
        assert "TextPart(text=…)" in str(caught.value)
    assert content_of(["look", TextPart(text=url)])[1] == {"type": "text", "text": url}


@pytest.mark.parametrize("name", ["odd.xyz", "README", ".png", "x.png.bak"])
def test_path_of_an_unknown_kind_is_refused_with_the_remedy(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0")
    with pytest.raises(InvalidRequest) as caught:
        content_of(["look", tmp_path / name])
    assert caught.value.field == "messages.0.content.1"
    assert "image(…)" in str(caught.value)
    assert "TextPart" not in str(caught.value)


def test_path_that_cannot_be_sent_is_named_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_bytes(b"<!DOCTYPE html><html></html>")
    for path, said in ((tmp_path / "none.png", "there is no file"), (tmp_path / "page.jpg", "document(…)")):
        with pytest.raises(InvalidRequest) as caught:
            content_of(["look", "again", path])
        assert caught.value.field == "messages.0.content.2"
        assert str(caught.value).startswith("messages.0.content.2: ")
        assert said in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "file:/etc/passwd.png", "FILE:///etc/passwd"])
def test_file_url_in_a_list_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        content_of(["look", url])
    assert caught.value.field == "messages.0.content.1"
    assert "Path(" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["https://e.org/x.png", "https://e.org", "data:image/png;base64,aGk=", "file:///etc/x"]
)
def test_string_alone_is_text(text: str) -> None:
    """As what a user of a chat types."""
    assert content_of(text) == text
    assert content_of(user(text)) == text
    assert content_of([{"role": "user", "content": text}]) == text
    assert system(text).content == assistant(text).content == text


@pytest.mark.parametrize(
    "text",
    [
        *("see https://e.org/x.png", "https://e.org/x.png and more", "e.org/x.png", "/etc/passwd", "photo.jpg"),
        *("data: none", "ftp://e.org/x.png", "http:", "datafile:x,y", "https://e.org/a b.png"),
    ],
)
def test_text_that_is_not_a_url_alone_is_text(text: str) -> None:
    assert content_of(["look", text]) == [{"type": "text", "text": "look"}, {"type": "text", "text": text}]
