import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Failed
from pipeline.tools.broker.folder_lock import folder_lock, in_use

HOLD = """
import sys, time
from pathlib import Path
from pipeline.tools.broker.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1]), 5):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"held\n"
        yield started
        started.kill()


def test_the_second_waits_then_says_who_is_in_the_way(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    start_s = time.monotonic()
    with pytest.raises(Failed, match="another forebay command"), folder_lock(tmp_path, wait_s=0.2):
        pytest.fail("two at once")
    assert time.monotonic() - start_s >= 0.2
    assert holder.poll() is None


def test_a_holder_that_is_killed_lets_go(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    with folder_lock(tmp_path, wait_s=60):
        assert holder.wait() == -9


def test_a_folder_is_in_use_until_the_last_heir_of_the_descriptor_ends(tmp_path: Path) -> None:
    with in_use(tmp_path) as descriptor:
        heir = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[descriptor])
    try:
        with pytest.raises(Failed, match=r"state\.json does not name"), in_use(tmp_path):
            pytest.fail("two at once")
    finally:
        heir.kill()
        heir.wait()
    with in_use(tmp_path):
        pass
