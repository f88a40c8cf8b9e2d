"""A file's bytes as text in UTF-8 with Unix's line ends, whatever wrote them."""

import re
from pathlib import Path
from typing import NamedTuple

from pipeline.contracts.raw import BYTE_ORDER_MARK
from pipeline.errors import BadData

_BYTE_ORDER_MARKS = (
    *((b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32")),
    *((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")),
)
# How the first two characters of ASCII look where there is no mark: x is a byte that is not zero.
_PATTERNS = (("x000x000", "utf-32-le"), ("000x000x", "utf-32-be"), ("x0x0", "utf-16-le"), ("0x0x", "utf-16-be"))
_ZEROS = re.compile(rb"(?:(?<=\n)|\A)\x00+|\x00+\Z")
_MAC_LINE_ENDS = re.compile(rb"\r(?!\n)")


class Text(NamedTuple):
    """Text in UTF-8, and what there is to say about what was left out of it."""

    data: bytes
    notes: tuple[str, ...] = ()


def as_text(path: Path | str, data: bytes) -> Text:
    """Text without byte order marks (`cat` of several files has some inside), zeros and the end mark of DOS.

    Zeros stand where a disk or a copy lost what was written: what follows them is read.
    """
    encoding = _encoding(data)
    if encoding:
        data = _decoded(path, data, encoding)
    data = data.removeprefix(BYTE_ORDER_MARK).replace(b"\n" + BYTE_ORDER_MARK, b"\n")
    notes: list[str] = []
    if b"\0" in data:
        size = len(data)
        data = _ZEROS.sub(b"", data)
        if len(data) < size and data.strip():
            notes.append(f"{size - len(data):,} zeros are left out: the disk or a copy lost what stood there")
    if b"\r" in data and b"\n" not in data:
        data = _MAC_LINE_ENDS.sub(b"\n", data)
    return Text(data.removesuffix(b"\x1a"), tuple(notes))


def _encoding(data: bytes) -> str:
    marked = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "")
    if marked or b"\0" not in data[:8]:
        return marked
    shape = "".join("x" if byte else "0" for byte in data[:8])
    return next((name for pattern, name in _PATTERNS if shape.startswith(pattern)), "")


def _decoded(path: Path | str, data: bytes, encoding: str) -> bytes:
    # A file that was cut off, or is still written, may end inside a character.
    width = 4 if encoding.startswith("utf-32") else 2
    try:
        return data[: len(data) - len(data) % width].decode(encoding).encode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise BadData(
            f"{path}: got text in {encoding.upper()} that is broken, expected UTF-8: {error.reason}"
        ) from error
