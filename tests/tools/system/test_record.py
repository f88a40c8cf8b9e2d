import os
from pathlib import Path

import orjson
import pytest

from pipeline.errors import RefusedState
from pipeline.tools.system import leftovers, record
from pipeline.tools.system.identity import Identity, identity_of
from pipeline.tools.system.record import BrokerRecord, Phase, State, SystemRecord, WorkerRecord


def system(folder: Path) -> SystemRecord:
    me = identity_of(os.getpid())
    assert me is not None
    workers = (
        WorkerRecord("ingest", True, State.READY, Identity(4711, "boot/99"), 9471, restarts=2),
        WorkerRecord("score", True, State.FAILED, None, exit_code=78, last_error="exit 78", remedy="correct it"),
    )
    broker = BrokerRecord(str(folder / "broker"), True)
    return SystemRecord(me, str(folder), Phase.RUNNING, 5, "127.0.0.1:9092", "forebay.", broker=broker, workers=workers)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert record.read(tmp_path) is None
    record.write(tmp_path, system(tmp_path))
    assert record.read(tmp_path) == system(tmp_path)
    record.remove(tmp_path)
    record.remove(tmp_path)
    assert record.read(tmp_path) is None


def test_it_says_whether_all_is_ready_settled_or_failed(tmp_path: Path) -> None:
    some = system(tmp_path)
    assert (some.is_ready, some.has_settled) == (False, True)
    assert [worker.name for worker in some.failed] == ["score"]
    assert not SystemRecord(some.supervisor, "x", Phase.RUNNING, 0).has_settled


@pytest.mark.parametrize(
    "change",
    [
        b"x",
        b"[]",
        b"{}",
        {"format": 2},
        {"supervisor": None},
        {"supervisor": {"pid": -1, "started": "boot/1"}},
        {"supervisor": {"pid": 0, "started": "boot/1"}},
        {"supervisor": {"pid": "12", "started": "boot/1"}},
        {"phase": "dancing"},
        {"workers": [{"name": "x"}]},
        {"unknown": 1},
    ],
)
def test_a_damaged_record_is_refused_and_never_a_pid_to_be_killed(tmp_path: Path, change: object) -> None:
    record.write(tmp_path, system(tmp_path))
    path = tmp_path / record.NAME
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        assert isinstance(change, dict)
        path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **change}))
    with pytest.raises(RefusedState, match="delete the file"):
        record.read(tmp_path)


@pytest.mark.parametrize("left", [b"", b"\0" * 300])
def test_what_a_power_cut_leaves_keeps_no_box_from_starting(tmp_path: Path, left: bytes) -> None:
    (tmp_path / record.NAME).write_bytes(left)
    assert record.read(tmp_path) is None
    assert leftovers.take_over(tmp_path, lambda *_: None) is None
