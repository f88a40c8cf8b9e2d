"""`forebay archive iceberg`: what it says, its exit codes, and how it stops."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import orjson
import pytest

from pipeline.archive.iceberg.warehouse import single_committer
from pipeline.archive.partition import PartitionArchive
from tests.archive.iceberg.iceberg_tables import LIMITS, archive, check, topics, warehouse
from tests.archive.plant import Wire, feed
from tests.commands import forebay
from tests.contract.tree import ROOT

pytestmark = pytest.mark.slow


def run(*words: str) -> tuple[int, dict[str, object], str]:
    completed = forebay("archive", "iceberg", *words)
    lines = completed.stdout.splitlines()
    return completed.code, orjson.loads(lines[-1]) if lines else {}, completed.stderr


def test_a_copy_and_its_proof(tmp_path: Path) -> None:
    archived, folder = archive(tmp_path / "archive"), tmp_path / "warehouse"
    where = ("--archive", str(archived), "--warehouse", str(folder))
    code, document, said = run(*where)
    assert (code, document["stopped"]) == (0, False)
    assert "forebay.flows: " in said and "closed files added" in said
    code, document, said = run(*where, "--verify", "--json")
    assert (code, document["ok"], said) == (0, True, "")
    with warehouse(folder) as catalog:
        check(archived, catalog)
        catalog.load_table("forebay.late").delete("raw_offset >= 0")
    code, document, said = run(*where, "--verify")
    assert (code, document["ok"]) == (1, False)
    assert "wrong: late/site=" in said and "NOT in order" in said
    with single_committer(str(folder)):
        code, document, said = run(*where)
    assert code == 1 and f"process {os.getpid()} on" in said


def test_following_until_it_is_stopped(tmp_path: Path) -> None:
    wire, archived, folder = topics(3), tmp_path / "archive", tmp_path / "warehouse"
    feed(PartitionArchive(archived, 0, LIMITS, "w"), Wire(wire.archive[:2], wire.rejects), Random(1))
    words = ("--archive", str(archived), "--warehouse", str(folder), "--follow", "--every", "1", "--json")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline.tools.cli", "archive", "iceberg", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        feed(PartitionArchive(archived, 0, LIMITS, "w"), wire, Random(1))
        for line in process.stdout:
            if any(table["commits"] for table in orjson.loads(line)["tables"]):
                process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    with warehouse(folder) as catalog:
        check(archived, catalog)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--verify", "--follow"), 2, "expected one of --verify and --follow"),
        (("--property", "x"), 2, "expected KEY=VALUE"),
        (("--warehouse", "s3://bucket/x"), 78, "a bucket holds no catalog of its own"),
        (("--archive", "nowhere"), 2, "no such folder"),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, words: tuple[str, ...], code: int, message: str) -> None:
    completed, _, said = run("--warehouse", str(tmp_path), *words)
    assert completed == code
    assert message in said


def test_missing_packages_are_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['pyiceberg'] = None\n"
        f"sys.argv = ['forebay', 'archive', 'iceberg', '--warehouse', {str(tmp_path)!r}]\n"
        "from pipeline.tools.cli.main import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60
    )
    assert completed.returncode == 1
    assert "got no pyiceberg; install it, in the checkout: pip install '.[iceberg]'" in completed.stderr
