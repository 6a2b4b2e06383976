"""What the other generations make: small files, always the same for the same request (contract §9)."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from dataclasses import dataclass

MEDIA_KEPT = 24 * 3600.0
"""Seconds that the URLs of results live (contract §3)."""

_SUFFIX = {"image": "png", "video": "mp4", "audio": "wav"}
_SIDE = 16
_RATE = 8000


@dataclass(frozen=True)
class MadeMedia:
    """A result.

    Attributes:
        kind: `image`, `video` or `audio`.
        digest: The request's digest, which decides the bytes.
        until: When its URL is gone (Unix seconds).
    """

    kind: str
    digest: str
    until: float

    @property
    def suffix(self) -> str:
        """The suffix of its file name."""
        return _SUFFIX[self.kind]

    @property
    def media_type(self) -> str:
        """Its media type."""
        return f"{self.kind}/{self.suffix}"

    def data(self) -> bytes:
        """Its bytes."""
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
    pieces = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in pieces
    )


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
