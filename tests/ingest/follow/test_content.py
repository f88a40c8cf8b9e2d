"""Packed files read like others: from any offset, in pieces, while they are written, and broken."""

import bz2
import gzip
import lzma
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.ingest.follow.content import open_content

DATA = b"".join(b"line %d\n" % number for number in range(100_000))
PACKERS = pytest.mark.parametrize("packer", [gzip, bz2, lzma], ids=lambda module: module.__name__)


@pytest.mark.slow
@PACKERS
def test_a_packed_file_is_read_in_pieces_that_overlap(packer: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "packed"
    path.write_bytes(packer.compress(DATA[:300_000]) + packer.compress(DATA[300_000:]))
    content = open_content(str(path))
    out = b""
    while piece := content.read(max(0, len(out) - 100), 65_536 + min(100, len(out)))[min(100, len(out)) :]:
        out += piece
    assert out == DATA and content.complete
    assert content.read(5, 50) == DATA[5:55]
    assert content.read(len(DATA) + 5, 50) == b""
    content.close()


@pytest.mark.slow
@PACKERS
def test_one_that_is_being_written_is_not_complete(packer: ModuleType, tmp_path: Path) -> None:
    path, packed = tmp_path / "packed", packer.compress(DATA)
    path.write_bytes(packed[: len(packed) // 2])
    content = open_content(str(path))
    first = content.read(0, len(DATA))
    assert DATA.startswith(first) and content.complete is False
    with path.open("ab") as file:
        file.write(packed[len(packed) // 2 :])
    assert first + content.read(len(first), len(DATA)) == DATA
    assert open_content(str(path)).read(len(DATA), 1) == b""
    content.close()


@pytest.mark.slow
@PACKERS
def test_one_that_is_broken_gives_what_it_has(packer: ModuleType, tmp_path: Path) -> None:
    path, packed = tmp_path / "packed", packer.compress(DATA)
    path.write_bytes(packed[: len(packed) // 2] + b"?" * 40 + packed[len(packed) // 2 + 40 :])
    content = open_content(str(path))
    content.read(0, len(DATA))
    assert content.read(len(DATA), 10) == b"" and not content.complete
    content.close()


def test_a_folder_is_no_content(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no regular file"):
        open_content(str(tmp_path))
