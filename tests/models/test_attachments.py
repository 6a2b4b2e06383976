"""Attachments: what the helpers make of each source, which files are refused, and the digests of contents."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.attachments import audio, document, image, video
from prefect_foxapi.models.content.digests import attachment_digest, file_digest, inline_content, local_path
from prefect_foxapi.models.messages import Attachment

HELPERS: dict[str, tuple[Callable[..., Any], str]] = {
    "image": (image, "image_url"),
    "video": (video, "video_url"),
    "audio": (audio, "audio_url"),
    "document": (document, "file_url"),
}
each_helper = pytest.mark.parametrize(("helper", "kind"), HELPERS.values(), ids=HELPERS.keys())

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DIGEST = hashlib.sha256(PIXEL).hexdigest()
CONTENTS = {
    "image_url": PIXEL,
    "video_url": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "audio_url": b"ID3\x04\0\0\0\0\0\x23TSSE",
    "file_url": b"%PDF-1.7\n%\xe2\xe3",
}
NAMES = {
    "image_url": ("pixel.png", "image/png"),
    "video_url": ("clip.mp4", "video/mp4"),
    "audio_url": ("speech.mp3", "audio/mpeg"),
    "file_url": ("report.pdf", "application/pdf"),
}


@each_helper
@pytest.mark.parametrize("url", ["https://e.org/x?y=1#z", "http://e.org/x", "data:text/plain,hi"])
def test_urls(helper: Callable[..., Any], kind: str, url: str) -> None:
    assert helper(url).model_dump(exclude_unset=True) == {"type": kind, kind: {"url": url}}


@each_helper
def test_local_file(helper: Callable[..., Any], kind: str, tmp_path: Path) -> None:
    path = tmp_path / "ünd so 100% #1?.xyz"
    content = CONTENTS[kind]
    path.write_bytes(content)
    attachment = helper(path).attachment
    assert attachment.is_local
    assert not attachment.is_inline
    assert attachment.url == path.as_uri()
    assert local_path(attachment.url) == path
    assert attachment_digest(attachment, kind) == hashlib.sha256(content).hexdigest()


@each_helper
def test_bytes(helper: Callable[..., Any], kind: str) -> None:
    content = CONTENTS[kind]
    name, media_type = NAMES[kind]
    attachment = helper(content, name=name.upper()).attachment
    assert attachment.is_inline
    assert attachment.url.startswith(f"data:{media_type};base64,")
    assert inline_content(attachment.url) == (media_type, content)
    assert attachment_digest(attachment, kind) == hashlib.sha256(content).hexdigest()
    assert helper(bytearray(content), name=name).attachment.url == attachment.url


def test_relative_path_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(PIXEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert image(Path("x.png")) == image(Path("~/x.png")) == image(tmp_path / "x.png")


@each_helper
@pytest.mark.parametrize(
    ("source", "options", "field"),
    [
        ("photo.jpg", {}, None),
        ("", {}, None),
        ("ftp://e.org/x", {}, None),
        (b"", {"name": "x.png"}, None),
        (b"x", {}, "name"),
        (b"x", {"name": "x.unknown-ending"}, "name"),
        (5, {}, None),
        (None, {}, None),
    ],
)
def test_sources_that_cannot_be(
    helper: Callable[..., Any], kind: str, source: Any, options: Any, field: str | None
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        helper(source, **options)
    assert caught.value.field == (field or helper.__name__)


@each_helper
def test_path_in_a_string_is_refused_with_the_remedy(helper: Callable[..., Any], kind: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        helper("photo.jpg")
    assert f"{helper.__name__}(Path('photo.jpg'))" in str(caught.value)


@pytest.mark.parametrize("url", ["https://e.org/a b", "https://", "data:", "http://\n"])
def test_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        image(url)
    assert caught.value.field == "image"


def test_files_that_cannot_be_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    looping = tmp_path / "loop.png"
    looping.symlink_to(looping)
    for path, cause in [
        (tmp_path / "none.png", None),
        (tmp_path / "empty.png", None),
        (tmp_path, None),
        (looping, errno.ELOOP),
        (tmp_path / ("n" * 300), errno.ENAMETOOLONG),
        (tmp_path / "empty.png" / "x", errno.ENOTDIR),
    ]:
        with pytest.raises(InvalidRequest) as caught:
            image(path)
        assert caught.value.field == "image"
        assert str(path) in str(caught.value)
        assert getattr(caught.value.__cause__, "errno", None) == cause
        with pytest.raises(InvalidRequest) as caught:
            file_digest(path, "messages.0.content.1.image_url")
        assert caught.value.field == "messages.0.content.1.image_url"


def test_digest_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(PIXEL)
    assert file_digest(path) == DIGEST
    assert file_digest(path) == DIGEST
    path.write_bytes(PIXEL + b"more")
    assert file_digest(path) == hashlib.sha256(PIXEL + b"more").hexdigest()
    # Same size and another content, at the same second.
    path.write_bytes(PIXEL + b"erom")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert file_digest(path) == hashlib.sha256(PIXEL + b"erom").hexdigest()
    # Another file put in its place, of the same size and time.
    other = tmp_path / "other.png"
    other.write_bytes(PIXEL + b"OTHE")
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert file_digest(path) == hashlib.sha256(PIXEL + b"OTHE").hexdigest()


def test_digest_of_a_large_file_is_that_of_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    content = bytes(range(256)) * 4096 * 3 + b"end"
    path.write_bytes(content)
    assert file_digest(path) == hashlib.sha256(content).hexdigest()


def test_deleted_file_has_no_digest_any_more(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(PIXEL)
    part = image(path)
    assert file_digest(path) == DIGEST
    path.unlink()
    with pytest.raises(InvalidRequest) as caught:
        attachment_digest(part.attachment, "messages.0")
    assert caught.value.field == "messages.0"


def test_what_is_elsewhere_has_no_digest() -> None:
    assert attachment_digest(Attachment(url="https://e.org/x.png"), "x") is None


@pytest.mark.parametrize(
    ("url", "media_type", "content"),
    [
        ("data:image/png;base64,aGk=", "image/png", b"hi"),
        ("data:image/png;BASE64,aGk=", "image/png", b"hi"),
        ("data:text/plain;charset=utf-8;base64,aGk=", "text/plain", b"hi"),
        ("data:;base64,aGk=", "text/plain", b"hi"),
        ("data:,hi%20there", "text/plain", b"hi there"),
        ("data:text/html,<b>,</b>", "text/html", b"<b>,</b>"),
        ("data:image/png;base64,aGk%3D", "image/png", b"hi"),
    ],
)
def test_data_uris(url: str, media_type: str, content: bytes) -> None:
    assert inline_content(url) == (media_type, content)


@pytest.mark.parametrize(
    "url",
    ["data:", "data:,", "data:image/png;base64,", "data:image/png;base64", "data:x;base64,a", "data:x;base64,%%%"],
)
def test_data_uris_that_are_broken(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        inline_content(url, "messages.0.content.1.image_url")
    assert caught.value.field == "messages.0.content.1.image_url"


@given(content=st.binary(min_size=1, max_size=200))
def test_any_bytes_come_back(content: bytes) -> None:
    try:
        part = document(content, name="x.pdf")
    except InvalidRequest:
        # They begin like a picture.
        reject()
    assert inline_content(part.attachment.url) == ("application/pdf", content)


# Contents that contradict the helper

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>"
WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0"


@pytest.mark.parametrize(
    ("helper", "content", "name", "remedy"),
    [
        (document, JPEG, "odd.xyz", "image"),
        (document, JPEG, "report.pdf", "image"),
        (video, JPEG, "clip.mp4", "image"),
        (audio, JPEG, "speech.mp3", "image"),
        (image, b"%PDF-1.7\n%", "photo.jpg", "document"),
        (image, b"PK\x03\x04\x14\0\x06\0", "photo.jpg", "document"),
        # As where a download failed, and the error page was saved.
        (image, HTML, "photo.jpg", "document"),
        (video, HTML, "clip.mp4", "document"),
        (video, WAV, "clip.mp4", "audio"),
        (video, b"ID3\x04\0\0\0\0\0\x23TSSE", "clip.mp4", "audio"),
        (image, WAV, "photo.png", "audio"),
        (audio, b"RIFF\x24\0\0\0AVI LIST", "speech.mp3", "video"),
        (document, b"\0\0\0\x18ftypqt  \0\0", "report.pdf", "video"),
        (image, b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\x01webm", "photo.png", "video"),
    ],
)
def test_content_of_another_kind_is_refused(
    helper: Callable[..., Any], content: bytes, name: str, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    data = f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"
    sources: list[tuple[Any, dict[str, Any]]] = [(tmp_path / name, {}), (data, {})]
    if not name.endswith(".xyz"):
        sources.append((content, {"name": name}))
    for source, options in sources:
        with pytest.raises(InvalidRequest) as caught:
            helper(source, **options)
        assert caught.value.field == helper.__name__
        assert f"write {remedy}(…)" in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("helper", "content"),
    [
        *[(one, content) for one in (audio, video) for content in (b"\0\0\0\x18ftypM4A \0\0", b"OggS\0\2" + bytes(20))],
        *[(one, b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\x01webm") for one in (audio, video)],
        *[(one, b"<svg xmlns='http://www.w3.org/2000/svg'></svg>") for one in (image, document)],
        *[
            (image, b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>"),
            (document, b"<?xml version='1.0'?><a/>"),
        ],
        *[(document, text) for text in (b"BM and other words", b"GIF is a format", b"{}", HTML, b"PK\x03\x04")],
        *[(one, b"nothing that is known") for one in (image, video, audio, document)],
    ],
)
def test_content_that_fits_or_is_not_known_is_accepted(
    helper: Callable[..., Any], content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "odd.xyz"
    path.write_bytes(content)
    assert helper(path).attachment.is_local
