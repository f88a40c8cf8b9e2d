"""A worker that cannot start while another fault lasts is started again as it was, until it is ready."""

import os
import threading
from pathlib import Path

import pytest

from pipeline.errors import Failed
from pipeline.settings import load_settings
from pipeline.tools.chaos import workers as chaos_workers
from pipeline.tools.chaos.workers import Workers
from tests.patience import PATIENCE_S

# Stands for `forebay STAGE run` in a process of its own: it ends like a worker whose disk is full, or is ready.
PROGRAM = """
import pathlib, sys, time
if pathlib.Path(sys.argv[1]).exists():
    sys.exit("forebay: error: no space to write")
print('"event": "ready"', file=sys.stderr, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_faults_combine(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.touch()
    program = ("-c", PROGRAM, str(full))
    workers = Workers(load_settings(), tmp_path / "logs")
    try:
        first = workers.start("archive", program=program)

        def make_room() -> None:
            first.process.wait(PATIENCE_S)
            full.unlink()

        threading.Thread(target=make_room).start()
        ready = workers.revive("archive", program)
        command = Path(f"/proc/{ready.process.pid}/cmdline").read_bytes()
        assert ready.ready and ready is not first and os.fsencode(full) in command
        assert workers.ended[0] == f"{first.name}: exit 1: forebay: error: no space to write"
    finally:
        workers.close()


@pytest.mark.slow
def test_one_that_never_comes_up_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos_workers, "MAX_RESTARTS", 2)
    workers = Workers(load_settings(), tmp_path / "logs")
    program = ("-c", PROGRAM, str(tmp_path))
    try:
        workers.start("archive", program=program)
        with pytest.raises(Failed, match=r"does not stay up: ended 2 times(.|\n)*no space to write"):
            workers.revive("archive", program)
    finally:
        workers.close()
