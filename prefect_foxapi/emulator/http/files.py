"""Uploads, and the files that are served back (contract §7, §9)."""

from __future__ import annotations

import asyncio
import io
from pathlib import PurePath
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from prefect_foxapi.emulator.http.middleware import Call, guarded, json_answer, problem_answer, read_json
from prefect_foxapi.emulator.protocol.content import UnreadableContent, content_of, decode_base64, parse_data_uri
from prefect_foxapi.emulator.protocol.errors import invalid_param, malformed, not_found, too_large
from prefect_foxapi.emulator.state.service import Gateway

_FORM_OVERHEAD = 1 << 16
_EXTENSIONS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "application/pdf": ".pdf",
    "audio/wav": ".wav",
    "video/mp4": ".mp4",
}


async def upload_stream(call: Call) -> Response:
    """POST /v1/files/upload/stream: the parts go to disk as they come."""
    limit = call.gateway.settings.max_file
    declared = call.request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit + _FORM_OVERHEAD:
        raise too_large("The file", limit)
    if not call.request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise malformed("The body must be multipart/form-data.")
    try:
        form = await call.request.form(max_files=1, max_fields=8)
    except (HTTPException, MultiPartException) as error:
        raise malformed("The form cannot be read.") from error
    try:
        return await _store_form(call, form)
    finally:
        await form.close()


async def _store_form(call: Call, form: FormData) -> Response:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise malformed("file is required and must be a file.")
    given = form.get("file_name")
    name = given if isinstance(given, str) and given else file.filename
    cleanup = form.get("auto_cleanup", "true")
    return await _store(call, file.file, name or "file", cleanup)


async def upload_base64(call: Call) -> Response:
    """POST /v1/files/upload/base64"""
    limit = call.gateway.settings.max_file
    body = await read_json(call.request, limit * 4 // 3 + _FORM_OVERHEAD)
    text = body.get("file_data")
    if not isinstance(text, str) or not text:
        raise malformed("file_data is required and must be a string.")
    try:
        data, declared = parse_data_uri(text) if text[:5].lower() == "data:" else (decode_base64(text), "")
    except UnreadableContent as error:
        raise invalid_param("file_data", str(error)) from error
    suffix = _EXTENSIONS.get(content_of(data, declared=declared).media_type, "")
    return await _store(call, io.BytesIO(data), _name(body, f"file{suffix}"), body.get("auto_cleanup", True))


async def upload_url(call: Call) -> Response:
    """POST /v1/files/upload/url: the emulator is offline, so the stored bytes say that nothing was fetched."""
    body = await read_json(call.request, _FORM_OVERHEAD)
    url = body.get("url")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise invalid_param("url", "is required and must be an http(s) URL")
    data = f"[emulated] {url} was not fetched.\n".encode()
    name = _name(body, PurePath(unquote(urlsplit(url).path)).name or "file")
    return await _store(call, io.BytesIO(data), name, body.get("auto_cleanup", True))


def _name(body: dict[str, Any], otherwise: str) -> str:
    name = body.get("file_name")
    return name if isinstance(name, str) and name else otherwise


async def _store(call: Call, source: IO[bytes], filename: str, auto_cleanup: Any) -> Response:
    cleanup = str(auto_cleanup).lower()
    if cleanup not in ("true", "false"):
        raise invalid_param("auto_cleanup", "must be true or false")
    files = call.gateway.files
    stored = await asyncio.to_thread(files.add, source, PurePath(filename).name, auto_cleanup=cleanup == "true")
    return json_answer(
        {
            "id": stored.id,
            "filename": stored.filename,
            "url": files.url_of(stored, call.origin),
            "size": stored.content.size,
            "created": int(stored.created),
        }
    )


def file_routes(gateway: Gateway) -> list[BaseRoute]:
    """The routes; what is served back needs no API key."""

    async def serve_file(request: Request) -> Response:
        gateway.books.requests["GET", "file"] += 1
        stored = gateway.files.get(request.path_params["file_id"])
        if stored is None:
            return problem_answer(not_found("The file does not exist."))
        return FileResponse(stored.path, media_type=stored.content.media_type)

    async def serve_media(request: Request) -> Response:
        gateway.books.requests["GET", "file"] += 1
        made = gateway.media.get(PurePath(request.path_params["name"]).stem)
        if made is None or gateway.clock.now() >= made.until:
            return problem_answer(not_found("The file does not exist."))
        return Response(made.data(), media_type=made.media_type)

    return [
        guarded(gateway, "POST", "/v1/files/upload/stream", "upload", upload_stream),
        guarded(gateway, "POST", "/v1/files/upload/base64", "upload", upload_base64),
        guarded(gateway, "POST", "/v1/files/upload/url", "upload", upload_url),
        Route("/files/{file_id}/{name}", serve_file),
        Route("/media/{name}", serve_media),
    ]
