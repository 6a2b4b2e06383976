"""Uploads: the three kinds, their limits, and their lifetime."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_foxapi.emulator import Emulator
from tests.emulator.conftest import Fetch

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_stream_upload_is_served(api: httpx.Client, tmp_path: Path, fetch: Fetch) -> None:
    path = tmp_path / "a photo.png"
    path.write_bytes(PNG)
    with path.open("rb") as file:
        stored = api.post("/v1/files/upload/stream", files={"file": file}).json()
    assert (stored["filename"], stored["size"]) == ("a photo.png", len(PNG))
    served = fetch(stored["url"])
    assert (served.content, served.headers["content-type"]) == (PNG, "image/png")


def test_fields_of_a_stream_upload(api: httpx.Client) -> None:
    data = {"file_name": "other.txt", "auto_cleanup": "false"}
    stored = api.post("/v1/files/upload/stream", files={"file": ("x.txt", b"hello")}, data=data).json()
    assert stored["filename"] == "other.txt"


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_base64_upload(prefix: str, api: httpx.Client, fetch: Fetch) -> None:
    body = {"file_data": prefix + base64.b64encode(PNG).decode(), "file_name": "photo.png"}
    stored = api.post("/v1/files/upload/base64", json=body).json()
    assert (stored["filename"], stored["size"]) == ("photo.png", len(PNG))
    assert fetch(stored["url"]).content == PNG


def test_url_upload_is_not_fetched(api: httpx.Client, fetch: Fetch) -> None:
    stored = api.post("/v1/files/upload/url", json={"url": "https://example.com/a/doc.pdf"}).json()
    assert stored["filename"] == "doc.pdf"
    assert fetch(stored["url"]).text == "[emulated] https://example.com/a/doc.pdf was not fetched.\n"


@pytest.mark.parametrize(
    ("call", "body", "expected"),
    [
        ("base64", {}, (400, "invalid_request_error")),
        ("base64", {"file_data": "a!b"}, (422, "invalid_param")),
        ("base64", {"file_data": "aGVsbG8=", "auto_cleanup": "perhaps"}, (422, "invalid_param")),
        ("url", {"url": "file:///etc/passwd"}, (422, "invalid_param")),
        ("url", {}, (422, "invalid_param")),
        ("stream", {}, (400, "invalid_request_error")),
    ],
)
def test_refused_uploads(call: str, body: Any, expected: tuple[int, str], api: httpx.Client) -> None:
    assert error_of(api.post(f"/v1/files/upload/{call}", json=body)) == expected


@pytest.mark.parametrize("form", [{"data": {"file": "no file"}, "files": {"x": ("x", b"x")}}, {"files": {"x": b"x"}}])
def test_form_without_a_file(form: Any, api: httpx.Client) -> None:
    assert error_of(api.post("/v1/files/upload/stream", **form)) == (400, "invalid_request_error")


def test_incomplete_form(api: httpx.Client) -> None:
    headers = {"content-type": "multipart/form-data; boundary=xyz"}
    response = api.post("/v1/files/upload/stream", content=b"--abc\r\nnonsense", headers=headers)
    assert error_of(response) == (400, "invalid_request_error")


def test_too_large_uploads(start: Any, connect: Any) -> None:
    api = connect(start(max_file=1000))
    files = {"file": ("x.bin", bytes(1001))}
    assert error_of(api.post("/v1/files/upload/stream", files=files)) == (413, "file_too_large_error")
    data = base64.b64encode(bytes(1001)).decode()
    assert error_of(api.post("/v1/files/upload/base64", json={"file_data": data})) == (413, "file_too_large_error")
    huge = {"file": ("x.bin", bytes(200_000))}
    assert error_of(api.post("/v1/files/upload/stream", files=huge)) == (413, "file_too_large_error")
    assert api.post("/v1/files/upload/stream", files={"file": ("x.bin", bytes(1000))}).status_code == 200


def test_full_storage_deletes_the_oldest_or_refuses(start: Any, connect: Any, fetch: Fetch) -> None:
    api = connect(start(storage=250))

    def upload(cleanup: bool) -> httpx.Response:
        body = {"file_data": base64.b64encode(bytes(100)).decode(), "auto_cleanup": cleanup}
        return api.post("/v1/files/upload/base64", json=body)

    first, second = upload(True).json(), upload(False).json()
    assert error_of(upload(False)) == (403, "storage_full")
    assert [fetch(file["url"]).status_code for file in (first, second)] == [200, 200]
    third = upload(True).json()
    assert [fetch(file["url"]).status_code for file in (first, second, third)] == [404, 200, 200]


def test_uploads_expire_after_72_hours(api: httpx.Client, emulator: Emulator, fetch: Fetch) -> None:
    stored = api.post("/v1/files/upload/base64", json={"file_data": "aGVsbG8="}).json()
    part = {"type": "image_url", "image_url": {"url": stored["url"]}}
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": [part]}]}
    emulator.advance(72 * 3600 - 1)
    assert fetch(stored["url"]).status_code == 200
    assert api.post("/v1/llm/generations", json=body).status_code == 200
    emulator.advance(1)
    assert fetch(stored["url"]).status_code == 404
    assert error_of(api.post("/v1/llm/generations", json=body)) == (422, "invalid_image_url")


def test_large_stream_upload(api: httpx.Client, emulator: Emulator, answer: Any) -> None:
    data = hashlib.shake_256(b"seed").digest(5_000_000)
    stored = api.post("/v1/files/upload/stream", files={"file": ("clip.mp4", data)}).json()
    part = {"type": "video_url", "video_url": {"url": stored["url"]}}
    content = answer([{"role": "user", "content": [part]}], model="gemini-3-pro-preview")["choices"][0]["message"][
        "content"
    ]
    assert f"video: video/mp4, 5000000 bytes, sha256 {hashlib.sha256(data).hexdigest()[:12]}" in content


def test_path_in_a_file_name_is_removed(api: httpx.Client, fetch: Fetch) -> None:
    body = {"file_data": "aGVsbG8=", "file_name": "../../etc/pass wd?.txt"}
    stored = api.post("/v1/files/upload/base64", json=body).json()
    assert stored["filename"] == "pass wd?.txt"
    assert fetch(stored["url"]).text == "hello"
