"""A file's bytes, unpacked, and never more of them than asked for: a large file or a bomb is refused, not read."""

import contextlib
import io
import lzma
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from pipeline.errors import BadData
from pipeline.ingest.files.near_miss import is_tar
from pipeline.ingest.files.unpack import XZ, magic_of, unpacker

ZIP, ZSTD = b"PK\x03\x04", b"\x28\xb5\x2f\xfd"
_EMPTY_ZIP = b"PK\x05\x06"
# What systems and file managers add to an archive, and no sensor wrote.
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
# What every document of an office program has, and the flag of an encrypted member (APPNOTE 4.4.4).
_OFFICE = {"[Content_Types].xml", "xl/workbook.xml"}
_ENCRYPTED = 1
# Files are held in memory and sorted there: `forebay flow check` takes five times their bytes (measured: 1.19 GB for
# 231 MB of conn.log), so this is what a machine of 8 GB can do.
MAX_FILE_BYTES = 1 << 30
# Deflate packs a thousand zeros into a byte, and a log of flows, whose times and ports differ, about tenfold. What
# packs better may be one record over and over, which a small file may hold.
MAX_RATIO = 200
RATIO_FROM_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""


class TooLarge(BadData):
    """A file with more bytes than are read."""


class Content(NamedTuple):
    """A file's bytes, and what of it could not be read, empty where that is nothing."""

    data: bytes
    lost: str = ""


def read_bytes(path: Path | str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of a file as far as it can be read (`read_content`)."""
    return read_content(path, max_bytes).data


def read_content(path: Path | str, max_bytes: int = MAX_FILE_BYTES) -> Content:
    """The content of a file, of standard input for "-", unpacked: gzip, bzip2, xz, zstd, zip and tar with one member.

    Of an archive that is truncated the whole lines before the end are read; one that is damaged is not. BadData where
    nothing can be read; TooLarge where there are more than `max_bytes` unpacked, or they are packed as no log is.
    """
    try:
        if str(path) == "-":
            return _member(path, _content(path, _buffered(sys.stdin.buffer), max_bytes))
        with Path(path).open("rb") as file:
            return _member(path, _content(path, file, max_bytes))
    except NotImplementedError as error:
        raise BadData(
            f"{path}: got an archive that cannot be unpacked ({error}); unpack it and name the file"
        ) from error
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, RuntimeError) as error:
        raise BadData(
            f"{path}: got an archive that cannot be unpacked ({error}), expected a whole one; copy it again"
        ) from error
    except OSError as error:
        raise BadData(f"{path}: got {error.strerror or error}, expected a file that can be read") from error


def _buffered(stream: BinaryIO) -> io.BufferedReader:
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[arg-type]


def _content(path: Path | str, file: io.BufferedReader, max_bytes: int) -> Content:
    head = file.peek(len(XZ))[: len(XZ)]
    # It is asked how much has been read of the packed file: a little more than has been unpacked.
    counted = _Counted(file)
    magic = magic_of(head)
    if magic is not None:
        return _bounded(path, _Unpacked(counted, magic), max_bytes, lambda: counted.size)
    if head.startswith(ZSTD):
        import pyarrow as pa

        return _bounded(path, pa.CompressedInputStream(counted, "zstd"), max_bytes, lambda: counted.size)
    if head.startswith((ZIP, _EMPTY_ZIP)):
        whole = file if file.seekable() else io.BytesIO(_bounded(path, file, max_bytes).data)
        with zipfile.ZipFile(whole) as archive:
            members = [
                member for member in archive.infolist() if not member.is_dir() and not _is_litter(member.filename)
            ]
            if {member.filename for member in members} | {"xl/workbook.xml"} >= _OFFICE:
                raise BadData(
                    f"{path}: got an office program's document; send the sensor's own log: a spreadsheet changes times"
                )
            _require_one(path, "zip", len(members))
            if members[0].flag_bits & _ENCRYPTED:
                raise BadData(f"{path}: got a zip that is encrypted; unpack it and name the file")
            with archive.open(members[0]) as member:
                return _bounded(path, member, max_bytes, lambda: members[0].compress_size)
    if file.seekable() and file.seek(0, io.SEEK_END) > max_bytes:
        raise _too_large(path, max_bytes)
    if file.seekable():
        file.seek(0)
    return _bounded(path, file, max_bytes)


def _member(path: Path | str, content: Content) -> Content:
    """The one file in a tar archive; the content itself where it is none."""
    if not is_tar(content.data):
        return content
    members: list[tarfile.TarInfo] = []
    with tarfile.open(fileobj=io.BytesIO(content.data), mode="r:") as archive, contextlib.suppress(tarfile.ReadError):
        members += (member for member in archive if member.isfile() and not _is_litter(member.name))
    _require_one(path, "tar archive", len(members))
    data = content.data[members[0].offset_data :][: members[0].size]
    return Content(data) if len(data) == members[0].size else _cut_off(data)


def _require_one(path: Path | str, archive: str, files: int) -> None:
    if files != 1:
        remedy = "unpack it and name the file, or the folder where they are one sensor's" if files else "name the log"
        raise BadData(f"{path}: got a {archive} of {files} files, expected one; {remedy}")


def _is_litter(name: str) -> bool:
    last = name.rpartition("/")[2]
    return name.removeprefix("./").startswith(_LITTER) or last in _LITTER or last.startswith("._")


class _Unpacked:
    """The unpacked bytes of a stream; files packed one after another are one."""

    def __init__(self, file: Readable, magic: bytes) -> None:
        self._file, self._magic = file, magic
        self._unpacker = unpacker(magic)
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end; EOFError where the stream ends inside a packed file."""
        while not self._ended:
            if self._unpacker.eof:
                self._next_file()
                continue
            packed = getattr(self._unpacker, "unconsumed_tail", b"")
            if not packed and getattr(self._unpacker, "needs_input", True):
                packed = self._file.read(_CHUNK_BYTES)
            unpacked = self._unpacker.decompress(packed, size)
            if unpacked:
                return unpacked
            if not packed and not self._unpacker.eof:
                raise EOFError("it ends too early")
        return b""

    def _next_file(self) -> None:
        # Zeros after a packed file are padding; what else is no packed file is none of it.
        rest = self._unpacker.unused_data.lstrip(b"\0")
        while len(rest) < len(self._magic) and (more := self._file.read(_CHUNK_BYTES)):
            rest = (rest + more).lstrip(b"\0")
        if not rest.startswith(self._magic):
            self._ended = True
            return
        self._unpacker = unpacker(self._magic)
        self._file = _Behind(rest, self._file)


class _Behind:
    """Bytes that were read too early, then the stream they are from."""

    def __init__(self, before: bytes, file: Readable) -> None:
        self._before, self._file = before, file

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        if not self._before:
            return self._file.read(size)
        data, self._before = self._before[:size], self._before[size:]
        return data


class _Counted(io.RawIOBase):
    """A stream that knows how many bytes were read of it."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.size = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.size += len(data)
        return data


def _bounded(path: Path | str, stream: Readable, max_bytes: int, packed: Callable[[], int] | None = None) -> Content:
    """All of a stream; BadData once it has too many bytes, or too many for so few `packed` ones."""
    content = io.BytesIO()
    while True:
        try:
            chunk = stream.read(_CHUNK_BYTES)
        except (EOFError, OSError) as error:
            if isinstance(error, OSError) and "truncated" not in str(error).lower():
                raise EOFError(f"it is damaged: {error}") from error
            # Whole lines were written before what is lost; the rest of the last one would be a reject.
            cut_off = _cut_off(content.getvalue())
            if packed is None or not cut_off.data:
                raise EOFError(str(error)) from error
            return cut_off
        if not chunk:
            return Content(content.getvalue())
        size = content.tell() + len(chunk)
        if size > max_bytes:
            raise _too_large(path, max_bytes)
        if packed is not None and size > RATIO_FROM_BYTES and size > MAX_RATIO * packed():
            raise TooLarge(
                f"{path}: got {size:,} bytes packed into {packed():,}, expected at most {MAX_RATIO} for each; that is "
                "no log: unpack it yourself if it is one"
            )
        content.write(chunk)


def _cut_off(data: bytes) -> Content:
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.count(b"\n")
    return Content(whole, f"the archive is truncated: its first {lines:,} lines are read, the others are lost")


def _too_large(path: Path | str, max_bytes: int) -> TooLarge:
    return TooLarge(
        f"{path}: got more than {max_bytes:,} bytes, expected at most so many, unpacked: files are sorted in memory; "
        "split it by time and name the parts one after another, or allow more with FOREBAY_FILE_MAX_BYTES"
    )
