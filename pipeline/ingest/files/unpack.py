"""Streams of gzip, bzip2 and xz: what they begin with, and what unpacks them."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"


class Unpacker(Protocol):
    """What the libraries' decompressors have in common."""

    @property
    def eof(self) -> bool:
        """Whether the packed stream has ended."""

    @property
    def unused_data(self) -> bytes:
        """What was given beyond its end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """The next unpacked bytes, at most so many."""


_UNPACKERS: dict[bytes, Callable[[], Unpacker]] = {
    GZIP: lambda: zlib.decompressobj(wbits=31),
    BZIP2: bz2.BZ2Decompressor,
    XZ: lzma.LZMADecompressor,
}


def magic_of(head: bytes) -> bytes | None:
    """Which of the formats a file with these first bytes has; None where none of them."""
    return next((magic for magic in _UNPACKERS if head.startswith(magic)), None)


def unpacker(magic: bytes) -> Unpacker:
    """A decompressor for one stream."""
    return _UNPACKERS[magic]()
