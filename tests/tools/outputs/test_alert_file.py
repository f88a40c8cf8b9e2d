"""A file gets each line exactly once: killed at any step, full, rotated, with a journal that is not ours."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Failed, Misconfigured
from pipeline.runtime.files import write_atomic
from pipeline.tools.outputs import alert_file
from pipeline.tools.outputs.alert_file import AlertFile


class Killed(BaseException):
    """What stands for kill -9: nothing after it runs."""


def positions_of(file: AlertFile) -> dict[int, int] | None:
    return file.positions


def text_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_lines_and_position_move_as_one(tmp_path: Path) -> None:
    path = tmp_path / "alerts.ndjson"
    file = AlertFile(path)
    assert positions_of(file) is None
    file.append(["one", "zwei ü"], {0: 2})
    file.append(["three"], {1: 5})
    assert positions_of(file) == {0: 2, 1: 5}
    file.close()
    again = AlertFile(path)
    assert again.positions == {0: 2, 1: 5} and text_of(path) == ["one", "zwei ü", "three"]
    again.close()


def test_two_workers_cannot_write_one_file(tmp_path: Path) -> None:
    file = AlertFile(tmp_path / "alerts.ndjson")
    with pytest.raises(Failed, match=f"process {os.getpid()}"):
        AlertFile(tmp_path / "alerts.ndjson")
    file.close()


@given(kills=st.lists(st.sampled_from(["", "journal", "nothing written", "half written", "unmarked"]), max_size=12))
def test_after_a_kill_at_any_step_each_line_is_there_once(tmp_path_factory: Any, kills: list[str]) -> None:
    path = tmp_path_factory.mktemp("file") / "alerts.ndjson"
    expected: list[str] = []
    for number, kill in enumerate(kills):
        file = AlertFile(path)
        start = (file.positions or {0: 0})[0]
        assert start == len(expected), "the position is that of what is written"
        lines = [f"{number} line {each} ü" for each in range(2)]
        with pytest.MonkeyPatch.context() as patch:
            _kill_at(patch, kill)
            with suppress(Killed):
                file.append(lines, {0: start + 2})
        file.close()
        # Killed before the journal was replaced, the worker reads and sends the same again.
        if kill != "journal":
            expected += lines
    AlertFile(path).close()
    assert (text_of(path) if path.exists() else []) == expected


def _kill_at(patch: pytest.MonkeyPatch, step: str) -> None:
    def killed(*_arguments: Any, **_named: Any) -> None:
        raise Killed

    def half(handle: int, data: bytes, offset: int) -> int:
        write(handle, data[: len(data) // 2], offset)
        raise Killed

    write = os.pwrite

    def unmarked(path: Path, data: bytes, durable: bool = True) -> None:
        if not durable:
            raise Killed
        write_atomic(path, data, durable)

    if step == "journal":
        patch.setattr(alert_file, "write_atomic", killed)
    elif step == "nothing written":
        patch.setattr(os, "pwrite", killed)
    elif step == "half written":
        patch.setattr(os, "pwrite", half)
    elif step == "unmarked":
        patch.setattr(alert_file, "write_atomic", unmarked)


def test_a_full_disk_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "alerts.ndjson"
    file = AlertFile(path)

    def full(_handle: int, _data: bytes, _offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            file.append(["one"], {0: 1})
    pending = [file.is_pending]
    file.redo()
    pending.append(file.is_pending)
    assert pending == [True, False] and text_of(path) == ["one"] and file.positions == {0: 1}
    file.close()


def test_a_rotated_file_is_completed_and_a_new_one_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rotated = tmp_path / "alerts.ndjson", tmp_path / "alerts.ndjson.1"
    file = AlertFile(path)
    file.append(["one"], {0: 1})
    with monkeypatch.context() as patch:
        _kill_at(patch, "half written")
        with pytest.raises(Killed):
            file.append(["a line that is cut"], {0: 2})
    file.close()
    path.rename(rotated)
    file = AlertFile(path)
    assert text_of(rotated) == ["one", "a line that is cut"]
    file.append(["three"], {0: 3})
    file.close()
    assert text_of(path) == ["three"]
    rotated.unlink()
    path.unlink()
    AlertFile(path).close()
    assert not path.exists() or text_of(path) == [], "a file that was removed is not written again"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"7", b'{"version": 9}', b'{"version":1,"text":1}', b"\xff\xfe"]
)
def test_a_journal_that_is_not_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "alerts.ndjson.position").write_bytes(content)
    with pytest.raises(Misconfigured, match="no journal of ours"):
        AlertFile(tmp_path / "alerts.ndjson")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no folder"):
        AlertFile(tmp_path / "absent" / "alerts.ndjson")
    os.mkfifo(tmp_path / "pipe")
    file = AlertFile(tmp_path / "pipe")
    with pytest.raises((Misconfigured, OSError)):
        file.append(["one"], {0: 1})
    file.close()
    (tmp_path / "elsewhere").write_text("not ours\n")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    file = AlertFile(tmp_path / "link")
    with pytest.raises(OSError, match="symbolic"):
        file.append(["one"], {0: 1})
    file.close()
    assert (tmp_path / "elsewhere").read_text() == "not ours\n"
