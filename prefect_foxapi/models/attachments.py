"""Attachments: functions that return parts for them.

A local file is a `file://` URL until it is uploaded. A `Path` has to name it: a URL that comes as data is refused.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.base import shown
from prefect_foxapi.models.content.digests import check_file, inline_content
from prefect_foxapi.models.content.media_types import HELPERS, declared_media_type
from prefect_foxapi.models.messages import (
    Attachment,
    AttachmentPart,
    AudioPart,
    FilePart,
    ImagePart,
    VideoPart,
)

_HELPERS_BY_TYPE = {"image": "image", "video": "video", "audio": "audio", "application": "document", "text": "document"}

# Contents of these extensions can be of two kinds: containers of video or sound, and drawings in XML.
_TWO_KINDS = {
    **dict.fromkeys((".3gp", ".m4a", ".mkv", ".mov", ".mp4", ".oga", ".ogg", ".ogv", ".webm"), "video audio"),
    **dict.fromkeys((".svg", ".xml"), "image document"),
}
# Bytes from which a kind is recognized, and how sure puremagic has to be. Below, a text can look like a picture.
_HEAD = 8192
_SURE = 0.3
_LONGEST_TYPE = 200


def image(source: str | Path | bytes, *, name: str | None = None) -> ImagePart:
    """Return an image for a prompt.

    Args:
        source: An http(s) URL, a `data:` URI, the `Path` of a local file, or bytes.
        name: A file name, which bytes require: its extension tells their media type.

    Raises:
        InvalidRequest: The file does not exist, is empty or unreadable, its media type is unknown, or its content is
            clearly of another kind.

    Example:
        `generate(["What is this?", image(Path("photo.jpg"))], model="gpt-5.5")`
    """
    return ImagePart(image_url=_attachment("image", source, name))


def video(source: str | Path | bytes, *, name: str | None = None) -> VideoPart:
    """Return a video for a prompt.

    Args:
        source: An http(s) URL, a `data:` URI, the `Path` of a local file, or bytes.
        name: A file name, which bytes require: its extension tells their media type.

    Raises:
        InvalidRequest: The file does not exist, is empty or unreadable, its media type is unknown, or its content is
            clearly of another kind.
    """
    return VideoPart(video_url=_attachment("video", source, name))


def audio(source: str | Path | bytes, *, name: str | None = None) -> AudioPart:
    """Return an audio file for a prompt.

    Args:
        source: An http(s) URL, a `data:` URI, the `Path` of a local file, or bytes.
        name: A file name, which bytes require: its extension tells their media type.

    Raises:
        InvalidRequest: The file does not exist, is empty or unreadable, its media type is unknown, or its content is
            clearly of another kind.
    """
    return AudioPart(audio_url=_attachment("audio", source, name))


def document(source: str | Path | bytes, *, name: str | None = None) -> FilePart:
    """Return a document for a prompt.

    Args:
        source: An http(s) URL, a `data:` URI, the `Path` of a local file, or bytes.
        name: A file name, which bytes require: its extension tells their media type.

    Raises:
        InvalidRequest: The file does not exist, is empty or unreadable, its media type is unknown, or its content is
            clearly of another kind.
    """
    return FilePart(file_url=_attachment("document", source, name))


def part_of(source: str | Path, field: str) -> AttachmentPart:
    """Return the attachment for a `Path` or a URL, by the helper for its media type.

    Args:
        source: The path of a local file, or an http(s) URL or a `data:` URI.
        field: The field that an error names.

    Raises:
        InvalidRequest: The media type is unknown, or the helper refuses the file.
    """
    source = source.strip() if isinstance(source, str) else source
    helper = _helper_for(source)
    said = shown(str(source))
    if helper is None:
        text = " or TextPart(text=…) to send the URL as text" if isinstance(source, str) else ""
        raise InvalidRequest(
            f"{field}: the kind of attachment {said} is unknown; write image(…), video(…), audio(…) or "
            f"document(…){',' if text else ''}{text}",
            field=field,
        )
    try:
        return {"image": image, "video": video, "audio": audio, "document": document}[helper](source)
    except InvalidRequest as error:
        raise InvalidRequest(f"{field}: {str(error).removeprefix(f'{helper}: ')}", field=field) from None


def _helper_for(source: str | Path) -> str | None:
    if isinstance(source, Path):
        return HELPERS.get(source.suffix.lower())
    if is_file_url(source):
        # Any helper refuses it, with the remedy.
        return "document"
    if source.lower().startswith("data:"):
        media_type = re.split("[;,]", source[len("data:") : len("data:") + _LONGEST_TYPE])[0]
        return _HELPERS_BY_TYPE.get((media_type.strip() or "text/plain").partition("/")[0].lower())
    try:
        path = unquote(urlsplit(source).path)
    except ValueError:
        return None
    return HELPERS.get(PurePosixPath(path).suffix.lower())


def _check_kind(helper: str, head: bytes, said: str) -> None:
    """Check that a content is not clearly of another kind than the helper's."""
    # Imported where it is used: it reads its table of signatures, which takes 40 ms.
    import puremagic

    try:
        matches = cast("list[Any]", cast("Any", puremagic).magic_string(head))
    except (puremagic.PureError, ValueError):
        return
    sure = max(match.confidence for match in matches)
    if sure < _SURE:
        return
    # Of the best matches, those whose kind is known. Some extensions come without their dot.
    best = [f".{match.extension.lstrip('.')}" for match in matches if match.confidence == sure]
    known = [extension for extension in best if extension in HELPERS]
    kinds = {kind for each in known for kind in _TWO_KINDS.get(each, HELPERS[each]).split()}
    if kinds and helper not in kinds:
        raise InvalidRequest(
            f"{helper}: the content of {said} is that of a {known[0]} file; "
            f"write {HELPERS[known[0]]}(…), or give another file",
            field=helper,
        )


def _attachment(helper: str, source: Any, name: str | None) -> Attachment:
    if isinstance(source, bytes | bytearray):
        content = bytes(source)
        if not content:
            raise InvalidRequest(f"{helper}: the bytes are empty", field=helper)
        _check_kind(helper, content[:_HEAD], "the bytes")
        media_type = declared_media_type(name or "")
        if media_type is None:
            raise InvalidRequest(
                f"{helper}: the media type of the bytes is unknown; give a file name with a known extension, "
                "such as name='photo.png'",
                field="name",
            )
        return Attachment(url=f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}")
    if isinstance(source, Path):
        path = source.expanduser().absolute()
        check_file(path, helper)
        with path.open("rb") as file:
            _check_kind(helper, file.read(_HEAD), str(path))
        return Attachment.of_local_file(path)
    if isinstance(source, str) and source.startswith(("http://", "https://", "data:")):
        try:
            attachment = Attachment(url=source)
        except ValidationError:
            raise InvalidRequest(
                f"{helper}: {source[:80]!r} is not a valid URL: it is incomplete, or has spaces in it",
                field=helper,
            ) from None
        if attachment.is_inline:
            try:
                content = inline_content(attachment.url)[1]
            except InvalidRequest:
                # Named with its place in the request where its digest is computed.
                return attachment
            _check_kind(helper, content[:_HEAD], "the data URI")
        return attachment
    if isinstance(source, str) and is_file_url(source):
        raise InvalidRequest(
            f"{helper}: {source[:80]!r} is a local file, which is not read where its URL is a string; "
            f"write {helper}(Path(…)) to send it",
            field=helper,
        )
    raise InvalidRequest(
        f"{helper}: {str(source)[:80]!r} is neither a URL nor a data URI; for a local file write "
        f"{helper}(Path({str(source)[:80]!r}))",
        field=helper,
    )


def is_file_url(text: str) -> bool:
    """Return whether a text is a `file:` URL, in any spelling."""
    return text.strip().lower().startswith("file:")
