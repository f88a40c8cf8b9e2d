"""`forebay demo --keep`: what is left running can be looked at with the commands that it names, and ended."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from pipeline.tools.system import record
from pipeline.tools.system.identity import is_alive

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def test_what_the_demo_leaves_running_is_explored_and_ended_as_it_says(kafka: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    environment["PYTHONPATH"] = str(ROOT)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline.tools.cli", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)

    demo = run("demo", "--keep", "--speed", "0", "--bootstrap", kafka, "--json")
    assert demo.returncode == 0, demo.stderr
    document = orjson.loads(demo.stdout.splitlines()[-1])
    assert document["accounting_exact"]
    first, *commands = document["next"]
    environment["FOREBAY_CONFIG"] = first.removeprefix("export FOREBAY_CONFIG=")
    [folder] = (tmp_path / "var" / "demo").iterdir()
    system = record.read(folder)
    assert system is not None
    try:
        uids = [line.split(" alert show ")[1].split()[0] for line in commands if " alert show " in line]
        assert len(uids) == 3
        shown = run("alert", "show", uids[0], "--json")
        assert orjson.loads(shown.stdout.splitlines()[-1])["incident"]["uid"].startswith(uids[0])
        assert run("status").returncode == 0
        asked = orjson.loads(run("archive", "query", "select count(*) from flows", "--json").stdout.splitlines()[-1])
        assert asked["rows"][0][0] > 0 and asked["not_read"] == []
    finally:
        ended = run("down")
    assert ended.returncode == 0
    assert not [each for each in (system.supervisor, *system.processes) if is_alive(each)]
