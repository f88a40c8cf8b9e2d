"""Mapped files: their content stays whatever becomes of the file, their pages go when they are released."""

import os
from pathlib import Path

import pytest

from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.storage.mapped_files import map_file, release_pages

SIZE = 32 * 1024 * 1024


def resident_file_bytes() -> int:
    """Memory of this process that is of mapped files."""
    [line] = [line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if "RssFile" in line]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what is resident")
def test_released_pages_are_no_memory_of_the_process_and_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    content = os.urandom(4096) * (SIZE // 4096)
    path.write_bytes(content)
    with path.open("rb") as file:
        buffer = map_file(file.fileno())
    path.unlink()
    before = resident_file_bytes()
    assert buffer.to_pybytes() == content
    assert resident_file_bytes() - before > SIZE // 2
    release_pages()
    assert resident_file_bytes() - before < SIZE // 4
    assert buffer.to_pybytes() == content


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what is resident")
def test_a_look_at_a_page_takes_little_of_what_was_written_at_once(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    with storage.sink("rows") as sink:
        for _ in range(SIZE // 2**20):
            sink.write(os.urandom(4096) * 256)
    view = memoryview(storage.mapped("rows"))
    before = resident_file_bytes()
    for megabyte in range(SIZE // 2**20):
        assert isinstance(view[megabyte * 2**20 + 500_000], int)
    assert resident_file_bytes() - before < SIZE // 4
    release_pages()


def test_an_empty_file_is_an_empty_buffer(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file:
        assert map_file(file.fileno()).size == 0
