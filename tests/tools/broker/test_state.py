from pathlib import Path

import orjson
import pytest

from pipeline.tools.broker import state
from pipeline.tools.broker.state import Running

RUNNING = Running("127.0.0.1:1", 2, 1, 3, "run", "cluster", "4.3.1", "jars", 5)


def test_a_state_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    state.write(tmp_path, RUNNING)
    assert state.read(tmp_path) == RUNNING
    assert [path.name for path in tmp_path.iterdir()] == [state.NAME]
    state.remove(tmp_path)
    state.remove(tmp_path)
    assert state.read(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 200,
        b"{",
        b"[]",
        b'"text"',
        b"{}",
        orjson.dumps({"pid": 1}),
        b'{"bootstrap":"x","pid":"2","port":1,"controller_port":3,"run_id":"r","cluster_id":"c",'
        b'"kafka_version":"4","source":"jars","started_us":5}',
        b'{"bootstrap":"x","pid":true,"port":1,"controller_port":3,"run_id":"r","cluster_id":"c",'
        b'"kafka_version":"4","source":"jars","started_us":5}',
    ],
)
def test_a_damaged_state_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / state.NAME).write_bytes(content)
    assert state.read(tmp_path) is None


def test_no_folder_is_no_state(tmp_path: Path) -> None:
    assert state.read(tmp_path / "nowhere") is None
