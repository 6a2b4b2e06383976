"""Media types of attachments, by the extensions of file names.

A media type is part of the generation key. So the types come from this table alone: `mimetypes` has other tables on
other machines and in other versions of Python, and what a detector finds in the bytes changes with its version.
"""

from __future__ import annotations

import mimetypes
import re
from pathlib import PurePath

UNKNOWN = "application/octet-stream"

# The extensions from which the helper of a path or URL follows, and their media types.
_BY_HELPER = {
    "image": {
        "image/avif": ".avif",
        "image/bmp": ".bmp",
        "image/gif": ".gif",
        "image/heic": ".heic",
        "image/heif": ".heif",
        "image/jpeg": ".jpg .jpeg .jpe .jfif",
        "image/png": ".png",
        "image/svg+xml": ".svg",
        "image/tiff": ".tif .tiff",
        "image/webp": ".webp",
    },
    "video": {
        "video/3gpp": ".3gp",
        "video/mp4": ".mp4",
        "video/mpeg": ".mpeg .mpg",
        "video/ogg": ".ogv",
        "video/quicktime": ".mov",
        "video/webm": ".webm",
        "video/x-flv": ".flv",
        "video/x-m4v": ".m4v",
        "video/x-matroska": ".mkv",
        "video/x-ms-wmv": ".wmv",
        "video/x-msvideo": ".avi",
    },
    "audio": {
        "audio/aac": ".aac",
        "audio/aiff": ".aif .aiff",
        "audio/flac": ".flac",
        "audio/mp4": ".m4a",
        "audio/mpeg": ".mp3",
        "audio/ogg": ".ogg .oga .opus",
        "audio/wav": ".wav",
        "audio/x-ms-wma": ".wma",
    },
    "document": {
        "application/epub+zip": ".epub",
        "application/json": ".json",
        "application/msword": ".doc",
        "application/pdf": ".pdf",
        "application/rtf": ".rtf",
        "application/vnd.ms-excel": ".xls",
        "application/vnd.ms-powerpoint": ".ppt",
        "application/vnd.oasis.opendocument.presentation": ".odp",
        "application/vnd.oasis.opendocument.spreadsheet": ".ods",
        "application/vnd.oasis.opendocument.text": ".odt",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
        "application/xml": ".xml",
        "application/yaml": ".yaml .yml",
        "application/zip": ".zip",
        "text/csv": ".csv",
        "text/html": ".htm .html",
        "text/markdown": ".md",
        "text/plain": ".txt",
        "text/tab-separated-values": ".tsv",
    },
}
# Further media types. The helper does not follow from these extensions.
_FURTHER = {
    "application/gzip": ".gz",
    "application/jsonl": ".jsonl .ndjson",
    "application/postscript": ".ai .eps .ps",
    "application/sql": ".sql",
    "application/toml": ".toml",
    "application/vnd.apache.parquet": ".parquet",
    "application/x-7z-compressed": ".7z",
    "application/x-ipynb+json": ".ipynb",
    "application/x-sh": ".sh",
    "application/x-subrip": ".srt",
    "application/x-tar": ".tar",
    "application/x-tex": ".tex",
    "audio/amr": ".amr",
    "audio/midi": ".mid .midi",
    "audio/mp4": ".m4b",
    "audio/mpeg": ".mp2",
    "audio/webm": ".weba",
    "image/jp2": ".jp2",
    "image/jxl": ".jxl",
    "image/vnd.microsoft.icon": ".ico",
    "message/rfc822": ".eml .mht .mhtml",
    "text/calendar": ".ics",
    "text/css": ".css",
    "text/javascript": ".js .mjs",
    "text/plain": ".bat .c .cfg .conf .cpp .go .h .ini .java .log .pl .rs .text .ts",
    "text/vcard": ".vcf",
    "text/vtt": ".vtt",
    "text/x-python": ".py",
    "text/x-rst": ".rst",
    "video/mpeg": ".m1v .mpe",
    "video/quicktime": ".qt",
}

HELPERS = {
    extension: helper
    for helper, types in _BY_HELPER.items()
    for extensions in types.values()
    for extension in extensions.split()
}
"""The helper for an extension, such as `image` for `.png`."""

_TYPES = {
    extension: media_type
    for types in (*_BY_HELPER.values(), _FURTHER)
    for media_type, extensions in types.items()
    for extension in extensions.split()
}
# The first extension of each media type.
_EXTENSIONS = {media_type: extension for extension, media_type in reversed(_TYPES.items())}

# How contents begin, and the media type that they show by that.
_SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb".{4}ftyp(?:heic|heix|mif1)", re.DOTALL), "image/heic"),
    (re.compile(rb".{4}ftypavif", re.DOTALL), "image/avif"),
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"PK\x03\x04"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (re.compile(rb"RIFF.{4}WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xf2\xf3\xfb]"), "audio/mpeg"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb".{4}ftypM4A", re.DOTALL), "audio/mp4"),
    (re.compile(rb".{4}ftypqt", re.DOTALL), "video/quicktime"),
    (re.compile(rb"RIFF.{4}AVI ", re.DOTALL), "video/x-msvideo"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "video/webm"),
)
_OF_THE_REST = {
    "image_url": "image/png",
    "video_url": "video/mp4",
    "audio_url": "audio/mpeg",
    "file_url": "text/plain",
}


def media_type_of(name: str) -> str | None:
    """Return the media type for a file name, or None where its extension is unknown.

    Args:
        name: The file name.
    """
    return _TYPES.get(PurePath(name).suffix.lower())


def declared_media_type(name: str) -> str | None:
    """Return the media type for the name of bytes, which this machine may know where `media_type_of` does not."""
    return media_type_of(name) or mimetypes.guess_type(name)[0]


def extension_of(media_type: str) -> str:
    """Return the usual extension of a media type, such as `.png`, or `.bin`.

    Args:
        media_type: The media type, which may have parameters.
    """
    return _EXTENSIONS.get(media_type.partition(";")[0].strip(), ".bin")


def implied_media_type(head: bytes, kind: str) -> str:
    """Return the one media type that a content in a part of this kind can have without naming it in the key.

    Generation keys depend on this function: what it returns for a content must not change.

    Args:
        head: The first 16 bytes of the content, or more.
        kind: The type of the part, such as `image_url`.
    """
    return next((found for pattern, found in _SIGNATURES if pattern.match(head)), _OF_THE_REST[kind])
