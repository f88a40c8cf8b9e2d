"""A call that hangs while the broker answers ends in the same process started anew; otherwise nothing happens."""

import subprocess
import sys
from pathlib import Path

import pytest

HANGS = """
import pathlib, sys, time
from pipeline.runtime.kafka.watchdog import Watchdog

runs = pathlib.Path(sys.argv[1])
runs.write_text(runs.read_text() + "." if runs.exists() else ".")
if len(runs.read_text()) > 1:
    print("came back", sys.argv[2])
    raise SystemExit(0)
with Watchdog("score", lambda: {answers}, stuck_s=0.2).watching():
    time.sleep({hangs})
print("returned")
"""


def run(tmp_path: Path, answers: str, hangs: float) -> tuple[str, str]:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            HANGS.format(answers=answers, hangs=hangs),
            str(tmp_path / "runs"),
            "its arguments",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("answers", "hangs", "said"),
    [
        ("True", 60.0, "came back its arguments\n"),
        ("False", 1.0, "returned\n"),  # the broker is away: it waits
        ("True", 0.0, "returned\n"),
    ],
)
def test_only_a_call_that_hangs_beside_a_live_broker_starts_the_process_anew(
    tmp_path: Path, answers: str, hangs: float, said: str
) -> None:
    stdout, stderr = run(tmp_path, answers, hangs)
    assert stdout.endswith(said)
    assert ("starting anew" in stdout + stderr) == said.startswith("came back")
