"""A lock on a file: one holder, who is named, for as long as it lives."""

import fcntl
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import Failed
from pipeline.runtime.locks import HOLDER, exclusive
from tests.contract.tree import ROOT
from tests.patience import PATIENCE_S

HOLD = """
import sys, time
from pathlib import Path
from pipeline.runtime.locks import exclusive
with exclusive(Path(sys.argv[1]), 0, "busy"):
    print("held", flush=True)
    time.sleep(60)
"""
BUSY = f"folder: {HOLDER} works here; wait"


@pytest.mark.slow
def test_the_holder_is_named_and_a_killed_ones_lock_is_gone(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        said = rf"^folder: process {holder.pid} on \S+ works here; wait$"
        with pytest.raises(Failed, match=said), exclusive(path, 0, BUSY):
            raise AssertionError
        holder.kill()
        holder.wait()
    with exclusive(path, 0, BUSY):
        assert path.read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.slow
def test_a_lock_is_waited_for_so_long_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with exclusive(path, 0, BUSY):
        start = time.monotonic()
        with pytest.raises(Failed), exclusive(path, 0.2, BUSY):
            raise AssertionError
        assert time.monotonic() - start >= 0.2
    for wait_s in (30.0, math.inf):
        locked, released = threading.Event(), threading.Event()

        def hold(locked: threading.Event = locked, released: threading.Event = released) -> None:
            with exclusive(path, 0, BUSY):
                locked.set()
                released.wait(PATIENCE_S)

        thread = threading.Thread(target=hold)
        thread.start()
        assert locked.wait(PATIENCE_S)
        threading.Timer(0.1, released.set).start()
        with exclusive(path, wait_s, BUSY):
            assert released.is_set()
        thread.join()


def test_a_process_that_inherits_the_descriptor_holds_it_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with exclusive(path, 0, BUSY) as descriptor:
        heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,))
    with pytest.raises(Failed), exclusive(path, 0, BUSY):
        raise AssertionError
    heir.communicate(b"\n")
    with exclusive(path, 0, BUSY):
        assert path.exists()


def test_nobody_knows_who_holds_a_lock_of_another_program(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Failed, match="folder: another process works here"), exclusive(tmp_path / ".lock", 0, BUSY):
            raise AssertionError
