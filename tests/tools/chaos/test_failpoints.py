import signal
import subprocess
import sys

import pytest

from pipeline.errors import Misconfigured
from pipeline.runtime import failpoints
from pipeline.settings import load_settings

PROGRAM = """
from pipeline.runtime import failpoints
failpoints.arm({setting!r})
for number in range(5):
    failpoints.reached("score.begun")
    failpoints.reached("score.produced")
    print(number, flush=True)
"""


def run(setting: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setting=setting)], capture_output=True, text=True, check=False
    )


def test_a_process_dies_where_and_when_it_was_told_to() -> None:
    died = run("score.produced:3")
    assert died.returncode == -signal.SIGKILL
    assert died.stdout.split() == ["0", "1"]


@pytest.mark.parametrize("setting", ["", "score.committed:1", "score.produced:6"])
def test_no_other_process_notices(setting: str) -> None:
    lived = run(setting)
    assert lived.returncode == 0, lived.stderr
    assert len(lived.stdout.split()) == 5


@pytest.mark.parametrize(
    "setting", ["score.produced", ":3", "score.produced:0", "score.produced:x", "score.produced:-1"]
)
def test_what_is_no_failpoint_is_refused(setting: str) -> None:
    with pytest.raises(Misconfigured, match="NAME:N"):
        failpoints.arm(setting)


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"(?i)broken_order"):
        load_settings(broken_order="whatever")
