"""A file's bytes, unpacked, and never more of them than asked for: a large file or a bomb is refused, not read."""

import gzip
import io
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from pipeline.errors import BadData

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
# Files are held in memory and sorted there: `forebay flow check` takes five times their bytes (measured: 1.19 GB for
# 231 MB of conn.log), so this is what a machine of 8 GB can do.
MAX_FILE_BYTES = 1 << 30
# Deflate packs a thousand zeros into a byte, and a log of flows, whose times and ports differ, about tenfold. What
# packs better may be one record over and over: in a small file that is none of our business.
MAX_RATIO = 200
RATIO_FROM_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""


class TooLarge(BadData):
    """A file with more bytes than are read."""


def read_bytes(path: Path | str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of a file, of standard input for "-"; gzip, and a zip with one member, are unpacked.

    BadData where it cannot be read; TooLarge where it has more than `max_bytes` unpacked, or is packed as no log is.
    """
    try:
        if str(path) == "-":
            return _content(path, _buffered(sys.stdin.buffer), max_bytes)
        with Path(path).open("rb") as file:
            return _content(path, file, max_bytes)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise BadData(f"{path}: got an archive that cannot be unpacked ({error}), expected a whole one") from error
    except OSError as error:
        raise BadData(f"{path}: got {error.strerror or error}, expected a file that can be read") from error


def _buffered(stream: BinaryIO) -> io.BufferedReader:
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[arg-type]


def _content(path: Path | str, file: io.BufferedReader, max_bytes: int) -> bytes:
    head = file.peek(4)[:4]
    if head.startswith(GZIP):
        # It is asked how much has been read of the packed file: a little more than has been unpacked.
        counted = _Counted(file)
        return _bounded(path, gzip.GzipFile(fileobj=counted, mode="rb"), max_bytes, lambda: counted.size)
    if head == ZIP:
        whole = file if file.seekable() else io.BytesIO(_bounded(path, file, max_bytes))
        with zipfile.ZipFile(whole) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                raise BadData(f"{path}: got a zip of {len(members)} files, expected one; unpack it and name the file")
            with archive.open(members[0]) as member:
                return _bounded(path, member, max_bytes, lambda: members[0].compress_size)
    if file.seekable() and file.seek(0, io.SEEK_END) > max_bytes:
        raise _too_large(path, max_bytes)
    if file.seekable():
        file.seek(0)
    return _bounded(path, file, max_bytes)


class _Counted(io.RawIOBase):
    """A stream that knows how many bytes were read of it."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.size += len(data)
        return data


def _bounded(path: Path | str, stream: Readable, max_bytes: int, packed: Callable[[], int] | None = None) -> bytes:
    """All of a stream; BadData once it has too many bytes, or too many for so few `packed` ones."""
    content = io.BytesIO()
    while chunk := stream.read(_CHUNK_BYTES):
        size = content.tell() + len(chunk)
        if size > max_bytes:
            raise _too_large(path, max_bytes)
        if packed is not None and size > RATIO_FROM_BYTES and size > MAX_RATIO * packed():
            raise TooLarge(
                f"{path}: got {size:,} bytes packed into {packed():,}, expected at most {MAX_RATIO} for each; that is "
                "no log: unpack it yourself if it is one"
            )
        content.write(chunk)
    return content.getvalue()


def _too_large(path: Path | str, max_bytes: int) -> TooLarge:
    return TooLarge(
        f"{path}: got more than {max_bytes:,} bytes, expected at most so many, unpacked: files are sorted in memory; "
        "split it by time and name the parts one after another, or allow more with FOREBAY_FILE_MAX_BYTES"
    )
