"""SIGKILL in each phase of a replay, or of its processes' parent; one process or several: always the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.archive import snapshot
from pipeline.errors import RefusedState
from pipeline.settings import Settings, inherited_environment
from pipeline.tools.replay import partition_replay
from pipeline.tools.replay import run as runs
from pipeline.tools.replay.request import ARCHIVE, Request
from pipeline.tools.system.identity import identity_of
from tests.contract.tree import ROOT
from tests.patience import PATIENCE_S
from tests.tools.replay.plant import archived, raw_log, settings_in

PARTITIONS = 4
LONG_S = 1_200.0  # what a replay at a twentieth of its speed takes
FIGURES = ("rows", "taken", "suspects", "incidents", "rows_sha256", "incidents_sha256")

# A replay with small files, which dies at the failpoint it is started with.
PROGRAM = """
from pipeline.settings import load_settings
from pipeline.tools.replay import partition_replay, run
from pipeline.tools.replay.request import ARCHIVE, Request
partition_replay.CHUNK_ROWS, partition_replay.BATCH_ROWS = 700, 200
run.run(load_settings(), Request("killed", ARCHIVE))
"""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_in(tmp_path_factory.mktemp("plant"), archive_rows_per_file=300, partitions=PARTITIONS)
    for partition in range(PARTITIONS):
        archived(settings, raw_log(300, partition), partition=partition)
    return settings


@pytest.fixture
def fresh(plant: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(partition_replay, "CHUNK_ROWS", 700)
    monkeypatch.setattr(partition_replay, "BATCH_ROWS", 200)
    return plant.model_copy(update={"replay_uri": tmp_path})


def figures(report: dict[str, Any]) -> dict[str, Any]:
    return {name: report[name] for name in FIGURES}


def environment(settings: Settings) -> dict[str, str]:
    return inherited_environment({**settings.variables(), "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_so_many_processes_give_the_same_bytes(plant: Settings, tmp_path: Path) -> None:
    settings = plant.model_copy(update={"replay_uri": tmp_path})
    reports = [runs.run(settings, Request(f"w{count}", ARCHIVE), count) for count in (1, 4)]
    assert figures(reports[0]) == figures(reports[1])
    assert reports[0]["rows"] == PARTITIONS * 2 * 2 * 300
    files = [{path.name: path.read_bytes() for path in (tmp_path / f"w{count}" / "rows").iterdir()} for count in (1, 4)]
    assert files[0] == files[1]


@pytest.fixture(scope="module")
def whole(plant: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """The report of a replay that was left alone, and how many files it wrote."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(partition_replay, "CHUNK_ROWS", 700)
        patched.setattr(partition_replay, "BATCH_ROWS", 200)
        report = runs.run(plant.model_copy(update={"replay_uri": folder}), Request("whole", ARCHIVE))
    # request; of each chunk rows, events and head; incidents; report.
    return report, 1 + sum(1 for _ in (folder / "whole").glob("*/*.*")) + PARTITIONS + 2


EVERY_NIGHT = {"request", "events", "head"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "phase",
    [
        pytest.param(each, marks=[pytest.mark.nightly] if each in EVERY_NIGHT else [])
        for each in ("request", "rows", "events", "head", "other partition", "incidents", "report")
    ],
)
def test_sigkill_in_each_phase(fresh: Settings, whole: tuple[dict[str, Any], int], phase: str) -> None:
    report, writes = whole
    nth = {"request": 1, "rows": 2, "events": 3, "head": 4, "other partition": writes // 2 + 1}
    failpoint = f"replay.next file:{nth.get(phase, writes - (phase == 'incidents'))}"
    killed = environment(fresh.model_copy(update={"failpoint": failpoint}))
    died = subprocess.run([sys.executable, "-c", PROGRAM], env=killed, cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL, f"{failpoint} of {writes} files was not reached"
    assert figures(runs.run(fresh, Request("killed", ARCHIVE))) == figures(report)


# A process of a replay that has nothing to do, and its parent.
WORKER = """
import multiprocessing, os, time
from pipeline.tools.replay import run
def idle(connection):
    run._initialise(None)
    connection.send(os.getpid())
    time.sleep(600)
if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    context.Process(target=idle, args=(there,)).start()
    print(here.recv(), flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_no_process_outlives_a_killed_parent(plant: Settings, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, str(tmp_path / "worker.py")]
    parent_environment = {**environment(plant), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=parent_environment, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while identity_of(worker) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_partition_that_fails_is_reported_at_once(plant: Settings, tmp_path: Path) -> None:
    shutil.copytree(plant.archive_uri, tmp_path / "archive")
    settings = plant.model_copy(update={"replay_uri": tmp_path, "archive_uri": tmp_path / "archive"})
    entry = next(iter(snapshot.read_partition(settings.archive_uri, 3).files))
    (tmp_path / "archive" / entry.path).write_bytes(b"PAR1PAR1")
    started = time.monotonic()
    with pytest.raises(RefusedState, match="cannot be read"):
        runs.run(settings, Request("r", ARCHIVE, speed=0.05), PARTITIONS)  # the others would take LONG_S
    assert time.monotonic() - started < LONG_S


@pytest.mark.slow
def test_processes_left_behind_by_their_parent_do_no_harm(plant: Settings, tmp_path: Path) -> None:
    settings = plant.model_copy(update={"replay_uri": tmp_path})
    whole = runs.run(settings, Request("whole", ARCHIVE, speed=60.0), 2)
    command = [sys.executable, "-m", "pipeline.tools.cli", "replay", "run", "--run", "killed", "--source", "archive"]
    process = subprocess.Popen([*command, "--speed", "60", "--workers", "2"], env=environment(settings), cwd=ROOT)
    deadline = time.monotonic() + PATIENCE_S
    while not list((tmp_path / "killed").glob(".lock-p*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert figures(runs.run(settings, Request("killed", ARCHIVE, speed=60.0), 2)) == figures(whole)
