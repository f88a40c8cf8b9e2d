"""Files are there whole or not at all, and a full disk is said clearly."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models import files as files_of_models
from pipeline.errors import Failed
from pipeline.runtime.files import UNFINISHED, create_exclusive, disk_full_as_failed, write_atomic, write_new
from tests.contract.tree import ROOT

Write = Callable[[Path, bytes], None]
WRITERS = pytest.mark.parametrize("write", [write_atomic, files_of_models.write_atomic], ids=["pipeline", "models"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@WRITERS
def test_a_file_is_replaced_whole_and_its_folder_made(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a" / "b" / "file"
    write(path, b"first")
    write(path, b"second")
    assert path.read_bytes() == b"second" and names(path.parent) == ["file"]


@WRITERS
def test_a_long_name_leaves_space_for_the_unfinished_one(tmp_path: Path, write: Write) -> None:
    write(tmp_path / ("n" * 255), b"x")
    assert names(tmp_path) == ["n" * 255]


@WRITERS
def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    steps = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        steps.append("folder" if Path(f"/proc/self/fd/{handle}").readlink() == tmp_path else "file")
        fsync(handle)

    def replaced(path: Path, target: Path) -> Path:
        steps.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write(tmp_path / "file", b"x")
    assert steps == ["file", "name", "folder"]
    steps.clear()
    write_atomic(tmp_path / "file", b"x", durable=False)
    assert steps == ["name"]


@WRITERS
def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    write(tmp_path / "file", b"old")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "file", b"new")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"old" and names(tmp_path) == ["file"]


def test_killed_before_the_name_the_old_file_stays(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"old")
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pipeline.runtime import files\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_atomic(Path(sys.argv[1]), b'new')"
    )
    died = subprocess.run([sys.executable, "-c", program, str(tmp_path / "file")], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [name.startswith(UNFINISHED) for name in names(tmp_path)] == [True, False]


def test_a_name_that_is_taken_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    assert create_exclusive(path, b"first")
    assert not create_exclusive(path, b"second")
    assert path.read_bytes() == b"first" and names(path.parent) == ["file"]
    with pytest.raises(FileExistsError):
        write_new(path, b"third")
    assert path.read_bytes() == b"first"


def test_a_full_disk_is_said_clearly_and_other_errors_stay_themselves(tmp_path: Path) -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        said = r"state .*: disk full, .*; free some space and start again"
        with pytest.raises(Failed, match=said), disk_full_as_failed("state", tmp_path):
            raise OSError(number, os.strerror(number))
    with pytest.raises(PermissionError), disk_full_as_failed("state", tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
