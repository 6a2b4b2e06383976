"""Small images, videos and sounds: the results of media generations, the same for the same request."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from dataclasses import dataclass

MEDIA_LIFETIME = 24 * 3600.0
"""Seconds for which the URL of a media result is valid."""

_SUFFIX = {"image": "png", "video": "mp4", "audio": "wav"}
_SIDE = 16
_RATE = 8000


@dataclass(frozen=True)
class GeneratedMedia:
    """A result of a media generation.

    Attributes:
        kind: `image`, `video` or `audio`.
        digest: The digest of the request and the number of the result, which determines the bytes.
        expires: The time at which its URL stops working (Unix seconds).
    """

    kind: str
    digest: str
    expires: float

    @property
    def suffix(self) -> str:
        """The suffix of the file name."""
        return _SUFFIX[self.kind]

    @property
    def media_type(self) -> str:
        """The media type."""
        return f"{self.kind}/{self.suffix}"

    def data(self) -> bytes:
        """Return the bytes of the file."""
        seed = bytes.fromhex(self.digest)
        if self.kind == "image":
            return _png(seed)
        return _wav(seed) if self.kind == "audio" else _mp4(seed)


def _png(seed: bytes) -> bytes:
    rows = b"".join(
        b"\0" + bytes(seed[(x // 4 + y // 4 * 4 + c) % 32] for x in range(_SIDE) for c in range(3))
        for y in range(_SIDE)
    )
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    sections = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_section(name, data) for name, data in sections)


def _png_section(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _wav(seed: bytes) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(_RATE)
        sound.writeframes(bytes(64 + seed[n // 50 % 32] // 2 for n in range(_RATE // 4)))
    return target.getvalue()


def _mp4(seed: bytes) -> bytes:
    def box(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", 8 + len(data)) + name + data

    return box(b"ftyp", b"isom" + struct.pack(">I", 512) + b"isomiso2mp41") + box(b"mdat", seed)
