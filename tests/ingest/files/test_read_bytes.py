"""Files of any size and bombs: what is read is bounded, and what is not read is said."""

import gzip
import io
import os
import resource
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import BadData
from pipeline.ingest.files.read_bytes import RATIO_FROM_BYTES, TooLarge, read_bytes
from pipeline.ingest.files.reading import read_source
from tests.contract.tree import ROOT
from tests.ingest.files.one_source import read_records

CONTENT = b"0123456789" * 1_000


def zipped(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conn.log", content)
    return path


def forms(folder: Path) -> list[Path]:
    (folder / "a.log").write_bytes(CONTENT)
    (folder / "b.log.gz").write_bytes(gzip.compress(CONTENT[:4_000]) + gzip.compress(CONTENT[4_000:]))
    return [folder / "a.log", folder / "b.log.gz", zipped(folder / "c.zip", CONTENT)]


def test_so_many_bytes_and_not_one_more(tmp_path: Path) -> None:
    for path in forms(tmp_path):
        assert read_bytes(path, len(CONTENT)) == CONTENT
        with pytest.raises(TooLarge, match=rf"{path.name}: got more than 9,999 bytes, .* FOREBAY_FILE_MAX_BYTES"):
            read_bytes(path, len(CONTENT) - 1)


def test_from_a_pipe_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, path in enumerate(forms(tmp_path)):
        for limit in (len(CONTENT), len(CONTENT) - 1):
            pipe = tmp_path / f"pipe-{number}-{limit}"
            os.mkfifo(pipe)
            writer = threading.Thread(target=pipe.write_bytes, args=(path.read_bytes(),))
            writer.start()
            if limit == len(CONTENT):
                assert read_bytes(pipe, limit) == CONTENT
            else:
                with pytest.raises(TooLarge):
                    read_bytes(pipe, limit)
            writer.join()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
        assert read_bytes("-") == CONTENT


def bomb(path: Path, size: int) -> Path:
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return path


@pytest.mark.slow
def test_bombs_are_refused_long_before_the_bound(tmp_path: Path) -> None:
    packed = bomb(tmp_path / "bomb.gz", 4 * RATIO_FROM_BYTES)
    with pytest.raises(TooLarge, match=r"bomb.gz: got .* packed into .* that is no log"):
        read_bytes(packed)
    with pytest.raises(TooLarge, match=r"bomb.zip: got .* that is no log"):
        read_bytes(zipped(tmp_path / "bomb.zip", bytes(2 * RATIO_FROM_BYTES)))
    # A small file may be packed as well as it likes.
    (tmp_path / "small.gz").write_bytes(gzip.compress(bytes(RATIO_FROM_BYTES >> 4)))
    assert len(read_bytes(tmp_path / "small.gz")) == RATIO_FROM_BYTES >> 4


@pytest.mark.slow
def test_a_bomb_takes_no_memory_and_no_traceback(tmp_path: Path) -> None:
    """4 GiB in 4 MB, in a process that may have 2 GiB: exit 64, and one line."""
    path = bomb(tmp_path / "conn.log.gz", 1 << 30)
    path.write_bytes(path.read_bytes() * 4)
    limit = 2 << 30

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    command = [sys.executable, "-m", "pipeline.tools.cli", "flow", "check", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=bounded, check=False)
    assert done.returncode == 64
    assert "Traceback" not in done.stderr and "that is no log" in done.stderr.replace("\n", " ")


def test_files_of_a_folder_count_together_and_none_is_left_out_for_its_size(tmp_path: Path) -> None:
    line = b'{"ts":1.0,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":2,'
    line += b'"proto":"tcp","conn_state":"SF"}\n'
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(line)
    assert len(read_source(tmp_path, max_bytes=2 * len(line))) == 2
    with pytest.raises(TooLarge, match=r"b.log"):
        read_source(tmp_path, max_bytes=2 * len(line) - 3)


@pytest.mark.parametrize("mark", ["\\x", "\\xg1", "\\u20ac", "\\N{BULLET}", "\\U00110000", "\\"])
def test_a_separator_that_is_none_is_bad_data(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "conn.log"
    path.write_text(f"#separator {mark}\n#path\tconn\n#fields\tts\tid.orig_h\tid.resp_h\tconn_state\n1.0\ta\tb\tSF\n")
    with pytest.raises(BadData, match=r"conn.log: got #separator .* expected a character"):
        read_records(path)
