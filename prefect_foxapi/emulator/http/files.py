"""Uploads, and the files that the emulator serves."""

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

from prefect_foxapi.emulator.http.middleware import RequestContext, endpoint, error_response, json_response, read_json
from prefect_foxapi.emulator.protocol.content import UnreadableContent, content_of, decode_base64, parse_data_uri
from prefect_foxapi.emulator.protocol.errors import invalid_param, invalid_request, not_found, too_large
from prefect_foxapi.emulator.state.service import EmulatedService

_FORM_OVERHEAD = 1 << 16
_EXTENSIONS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "application/pdf": ".pdf",
    "audio/wav": ".wav",
    "video/mp4": ".mp4",
}


async def upload_stream(context: RequestContext) -> Response:
    """Serve `POST /v1/files/upload/stream`, a multipart form whose parts are written to disk as they arrive."""
    limit = context.service.settings.max_file
    declared = context.request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit + _FORM_OVERHEAD:
        raise too_large("The file", limit)
    if not context.request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise invalid_request("The body must be multipart/form-data.")
    try:
        form = await context.request.form(max_files=1, max_fields=8)
    except (HTTPException, MultiPartException) as error:
        raise invalid_request("The form cannot be read.") from error
    try:
        return await _store_form(context, form)
    finally:
        await form.close()


async def _store_form(context: RequestContext, form: FormData) -> Response:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise invalid_request("file is required and must be a file.")
    name = form.get("file_name")
    filename = name if isinstance(name, str) and name else file.filename
    cleanup = form.get("auto_cleanup", "true")
    return await _store(context, file.file, filename or "file", cleanup)


async def upload_base64(context: RequestContext) -> Response:
    """Serve `POST /v1/files/upload/base64`."""
    limit = context.service.settings.max_file
    body = await read_json(context.request, limit * 4 // 3 + _FORM_OVERHEAD)
    text = body.get("file_data")
    if not isinstance(text, str) or not text:
        raise invalid_request("file_data is required and must be a string.")
    try:
        data, declared = parse_data_uri(text) if text[:5].lower() == "data:" else (decode_base64(text), "")
    except UnreadableContent as error:
        raise invalid_param("file_data", str(error)) from error
    suffix = _EXTENSIONS.get(content_of(data, declared=declared).media_type, "")
    return await _store(context, io.BytesIO(data), _filename(body, f"file{suffix}"), body.get("auto_cleanup", True))


async def upload_url(context: RequestContext) -> Response:
    """Serve `POST /v1/files/upload/url`. Nothing is fetched; the stored bytes say so."""
    body = await read_json(context.request, _FORM_OVERHEAD)
    url = body.get("url")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise invalid_param("url", "is required and must be an http(s) URL")
    data = f"[emulated] {url} was not fetched.\n".encode()
    filename = _filename(body, PurePath(unquote(urlsplit(url).path)).name or "file")
    return await _store(context, io.BytesIO(data), filename, body.get("auto_cleanup", True))


def _filename(body: dict[str, Any], default: str) -> str:
    name = body.get("file_name")
    return name if isinstance(name, str) and name else default


async def _store(context: RequestContext, source: IO[bytes], filename: str, auto_cleanup: Any) -> Response:
    cleanup = str(auto_cleanup).lower()
    if cleanup not in ("true", "false"):
        raise invalid_param("auto_cleanup", "must be true or false")
    files = context.service.files
    stored = await asyncio.to_thread(files.add, source, PurePath(filename).name, auto_cleanup=cleanup == "true")
    return json_response(
        {
            "id": stored.id,
            "filename": stored.filename,
            "url": files.url_of(stored, context.base_url),
            "size": stored.content.size,
            "created": int(stored.created),
        }
    )


def file_routes(service: EmulatedService) -> list[BaseRoute]:
    """Return the routes for uploads, and for files, which need no API key."""

    async def serve_file(request: Request) -> Response:
        service.billing.request_counts["GET", "file"] += 1
        stored = service.files.get(request.path_params["file_id"])
        if stored is None:
            return error_response(not_found("The file does not exist."))
        return FileResponse(stored.path, media_type=stored.content.media_type)

    async def serve_media(request: Request) -> Response:
        service.billing.request_counts["GET", "file"] += 1
        media = service.media.get(PurePath(request.path_params["name"]).stem)
        if media is None or service.clock.now() >= media.expires:
            return error_response(not_found("The file does not exist."))
        return Response(media.data(), media_type=media.media_type)

    return [
        endpoint(service, "POST", "/v1/files/upload/stream", "upload", upload_stream),
        endpoint(service, "POST", "/v1/files/upload/base64", "upload", upload_base64),
        endpoint(service, "POST", "/v1/files/upload/url", "upload", upload_url),
        Route("/files/{file_id}/{name}", serve_file),
        Route("/media/{name}", serve_media),
    ]
