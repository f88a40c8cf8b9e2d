"""Standard input that comes in pieces gives the records of the whole file, and is read no further than it is there."""

import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.errors import BadData
from pipeline.ingest.files import send_stream
from pipeline.ingest.files.reading import read_file
from pipeline.ingest.files.send_stream import RecordStream, comes_as_it_is_written
from pipeline.ingest.files.source_file import SourceFile
from pipeline.runtime.shutdown import Stop
from tests.ingest.follow.test_records import FILES


class Pipe:
    """A pipe in place of standard input."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reading, self.writing = os.pipe()
        self.stream = os.fdopen(reading, "rb")
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=self.stream))
        monkeypatch.setattr(send_stream, "GATHER_S", 0.05)

    def write(self, data: bytes) -> None:
        os.write(self.writing, data)

    def close(self) -> None:
        os.close(self.writing)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    made = Pipe(monkeypatch)
    yield made
    made.stream.close()


def to_its_end(stream: RecordStream) -> list[SourceFile]:
    files: list[SourceFile] = []
    while not stream.ended:
        files += stream.gather(Stop())
    return files


@pytest.mark.parametrize("name", [name for name in FILES if name != "an array"])
def test_a_pipe_gives_the_records_of_the_file(name: str, pipe: Pipe, tmp_path: Path) -> None:
    data = FILES[name].replace('"proto"', '"label": "Benign", "proto"').encode()
    path = tmp_path / "whole"
    path.write_bytes(data)

    def write() -> None:
        for at in range(0, len(data), 150):
            pipe.write(data[at : at + 150])
        pipe.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert comes_as_it_is_written()
    stream = RecordStream()
    files = to_its_end(stream)
    writer.join()
    whole = read_file(path)
    assert [record for file in files for record in file.records] == whole.records
    assert [number for file in files for number in file.numbers.tolist()] == whole.numbers.tolist()
    assert {file.columns for file in files} == {whole.files[0].columns}
    assert len(stream) == len(whole.records) and stream.skipped == whole.skipped


def test_what_is_there_comes_before_the_rest(pipe: Pipe) -> None:
    line = FILES["zeek json"].split("\n")[0].encode()
    pipe.write(line + b"\n" + line[:50])
    stream = RecordStream()
    assert comes_as_it_is_written()
    assert [file.records for file in stream.gather(Stop())] == [[line]]
    assert stream.gather(Stop()) == []
    pipe.write(line[50:] + b"\n")
    assert [file.records for file in stream.gather(Stop())] == [[line]]
    pipe.close()
    assert to_its_end(stream) == [] and len(stream) == 2


@pytest.mark.parametrize("head", [b"\x1f\x8b\x08\x00", b"PK\x03\x04", b" [{}"])
def test_what_cannot_be_read_in_pieces_is_read_whole(pipe: Pipe, head: bytes) -> None:
    pipe.write(head)
    assert not comes_as_it_is_written()
    pipe.close()


def test_so_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    path.write_text(FILES["zeek json"])
    with path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        assert not comes_as_it_is_written()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"{}")))
    assert not comes_as_it_is_written()


@pytest.mark.parametrize(
    ("data", "content_type", "says"),
    [
        (b"hello\n", None, "unrecognised format"),
        (b"1.5\tC1\t10.0.0.1\n", "zeek-conn+tsv", "no #fields line"),
        (b"a,b\n1,2\n", "argus+csv", "header without"),
    ],
)
def test_what_is_no_source_is_said(pipe: Pipe, data: bytes, content_type: str | None, says: str) -> None:
    pipe.write(data)
    pipe.close()
    with pytest.raises(BadData, match=says):
        to_its_end(RecordStream(content_type))
