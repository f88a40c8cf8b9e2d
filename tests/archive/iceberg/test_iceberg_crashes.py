"""The Iceberg copy through crashes at every step, SIGKILL, and other committers: every row once."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException

from pipeline.archive.iceberg import tables
from pipeline.archive.iceberg.copy import copy
from pipeline.archive.iceberg.proof import prove
from pipeline.archive.upkeep.retain import retain
from pipeline.errors import Failed
from tests.archive.iceberg.iceberg_tables import archive, check, contents, warehouse
from tests.archive.plant import MEMORY
from tests.contract.tree import ROOT
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.slow

POINTS = ("data file written", "commit staged", "committed", "before the catalog", "after the catalog")


class Died(Exception):
    """Stands in for SIGKILL."""


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.archive.iceberg.copy.MAX_FILES", 3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return archive(tmp_path / "archive")


def around_commits(catalog: Catalog, step: Callable[[str], None]) -> None:
    """Let `step` know when the catalog is about to take a commit, and when it has."""
    real = catalog.commit_table

    def commit(*arguments: Any, **named: Any) -> Any:
        step("before the catalog")
        answer = real(*arguments, **named)
        step("after the catalog")
        return answer

    catalog.commit_table = commit  # type: ignore[method-assign]


def dying(point: str, times: int) -> Callable[[str], None]:
    left = [times]

    def step(name: str) -> None:
        left[0] -= name == point
        if name == point and left[0] == 0:
            raise Died

    return step


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_every_step(tmp_path: Path, source: Path, point: str) -> None:
    died = 0
    for times in (1, 2, 5):
        with warehouse(tmp_path / "warehouse") as catalog:
            step = dying(point, times)
            around_commits(catalog, step)
            try:
                copy(source, catalog, step=step)
            except Died:
                died += 1
    assert died > 1
    with warehouse(tmp_path / "warehouse") as catalog:
        copy(source, catalog)
        check(source, catalog)


@pytest.mark.parametrize("point", ["commit staged", "after the catalog"])
def test_a_crash_while_rows_are_purged(tmp_path: Path, source: Path, point: str) -> None:
    with warehouse(tmp_path / "warehouse") as catalog:
        copy(source, catalog)
        retain(source, "2100-01-01", ("flows", "late"), 2.0**40)
        step = dying(point, 2)
        around_commits(catalog, step)
        with pytest.raises(Died):
            copy(source, catalog, step=step)
    with warehouse(tmp_path / "warehouse") as catalog:
        copy(source, catalog)
        check(source, catalog)


COMMITTER = """
import sys
from pipeline.archive.iceberg import copy as copies
from pipeline.archive.iceberg.warehouse import opened
copies.MAX_FILES = 2
def step(name):
    print(name, flush=True)
with opened(sys.argv[2], {}) as catalog:
    copies.copy(sys.argv[1], catalog, step=step)
print("done", flush=True)
"""


def committer(source: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", COMMITTER, str(source), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_sigkill(tmp_path: Path, source: Path) -> None:
    """A process is killed somewhere behind a step, again and again, or comes through."""
    random, killed = Random(4), 0
    for _round in range(3):
        with committer(source, tmp_path / "warehouse") as process:
            assert process.stdout is not None
            lines, after = 0, random.randrange(2, 12)
            last = ""
            for line in process.stdout:
                lines, last = lines + 1, line.strip()
                if lines == after and last != "done":
                    process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        if last == "done" and process.returncode == 0:
            break
        with warehouse(tmp_path / "warehouse") as catalog:
            assert prove(source, catalog)["problems"] == [], "whole after every kill, if perhaps behind"
    assert killed >= 2
    with warehouse(tmp_path / "warehouse") as catalog:
        copy(source, catalog)
        check(source, catalog)


def test_two_committers_at_once(tmp_path: Path, source: Path) -> None:
    """Past the lock, which only a folder has: the loser of a commit reads the position of the table, and continues."""
    with warehouse(tmp_path / "warehouse") as catalog:
        for name in ("flows", "late", "rejects"):
            tables.find_or_make(catalog, name)
    first, second = (committer(source, tmp_path / "warehouse") for _ in range(2))
    for process in (first, second):
        assert process.communicate(timeout=PATIENCE_S)[0].endswith("done\n")
        assert process.returncode == 0
    with warehouse(tmp_path / "warehouse") as catalog:
        check(source, catalog)


def test_who_comes_second_copies_nothing_twice(tmp_path: Path, source: Path) -> None:
    """The other committer commits just before us: our files are not added too. They stay: our commit may have won."""
    with warehouse(tmp_path / "warehouse") as catalog, warehouse(tmp_path / "warehouse") as other:
        # Somebody has taken back the setting that keeps pyiceberg from adding the same files again.
        with tables.find_or_make(catalog, "flows").transaction() as changing:
            changing.set_properties({"commit.retry.num-retries": "4"})
        turns = [0]

        def step(name: str) -> None:
            if name == "commit staged" and not turns[0]:
                turns[0] = 1
                copy(source, other)

        done = copy(source, catalog, step=step)
        assert turns[0]
        assert done["flows"]["commits"] == 0
        check(source, catalog)
        listed = {task.file.file_path for task in catalog.load_table("forebay.flows").scan().plan_files()}
        there = {f"file://{path}" for path in (tmp_path / "warehouse/forebay/flows/data").rglob("*.parquet")}
        assert listed < there


def test_a_commit_whose_answer_is_lost(tmp_path: Path, source: Path) -> None:
    with warehouse(tmp_path / "warehouse") as catalog:
        lost = [0]

        def step(name: str) -> None:
            if name == "after the catalog":
                lost[0] += 1
                if lost[0] in (2, 4):
                    raise CommitStateUnknownException("no answer")

        for name in ("flows", "late", "rejects"):
            tables.find_or_make(catalog, name)
        around_commits(catalog, step)
        copy(source, catalog)
        assert lost[0] > 4
        check(source, catalog)


def test_a_committer_that_always_loses_fails(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.archive.iceberg.copy.ATTEMPTS", 3)
    with warehouse(tmp_path / "warehouse") as catalog:
        for name in ("flows", "late", "rejects"):
            tables.find_or_make(catalog, name)

        def step(name: str) -> None:
            if name == "before the catalog":
                raise CommitFailedException("another was faster")

        around_commits(catalog, step)
        with pytest.raises(Failed, match="another committer was faster, 3 times"):
            copy(source, catalog)
        assert not any(contents(catalog).values())


def test_being_stopped_commits_what_there_is(tmp_path: Path, source: Path) -> None:
    with warehouse(tmp_path / "warehouse") as catalog:
        asked = iter([False] * 6)
        done = copy(source, catalog, stopped=lambda: next(asked, True))
        assert (done["flows"]["files"], done["flows"]["commits"]) == (5, 2)
        assert done["late"]["files"] == 0
        assert prove(source, catalog)["problems"] == []
        copy(source, catalog)
        check(source, catalog)
