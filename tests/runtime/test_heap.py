"""A process whose memory is one heap: what one part of it has freed, another uses."""

import subprocess
import sys

import pytest

from tests.contract.tree import ROOT

PROGRAM = """
import sys, threading
from pathlib import Path
import pyarrow as pa
from pipeline.runtime import heap

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) / 256

def python():
    blocks = [b"x" * 2**20 for _ in range(24)]

def thread():
    other = threading.Thread(target=python)
    other.start()
    other.join()

def arrow():
    for column in [pa.allocate_buffer(2**20) for _ in range(24)]:
        memoryview(column).cast("B")[:] = bytes(2**20)

if sys.argv[1] == "shared":
    heap.share()
held = []
for part in (python, thread, arrow):
    before = resident_mib()
    part()
    held.append(round(resident_mib() - before))
print(*held)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="not proven: memory of other systems")
def test_what_is_free_serves_python_its_threads_and_arrow() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, "shared"], cwd=ROOT, check=True, capture_output=True, encoding="ascii"
    )
    first, *others = map(int, run.stdout.split())
    assert first > 16
    assert max(others) < 4, run.stdout
