import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.settings import load_settings
from pipeline.tools.cli.main import app
from pipeline.tools.system import unit


def entries(text: str) -> dict[str, list[str]]:
    """The unit's lines by name."""
    result: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            result.setdefault(name, []).append(value)
    return result


def test_the_unit_names_this_interpreter_and_these_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREBAY_SITE_LATENESS_US", '{"my plant": 5000000}')
    monkeypatch.setenv("FOREBAY_SECURITY", '{"sasl.password": "secret"}')
    settings = load_settings()
    text = unit.unit(["--folder=/srv/100% run"], unit.variables_in_force(settings), [Path("/srv/forebay")])
    found = entries(text)
    assert found["ExecStart"] == [f'{sys.executable} -m pipeline.tools.cli up "--folder=/srv/100%% run"']
    assert found["WorkingDirectory"] == [str(tmp_path)]
    assert found["Environment"] == ['"FOREBAY_SITE_LATENESS_US={\\"my plant\\": 5000000}"']
    assert "secret" not in text
    assert found["Type"] == ["notify"] and found["Restart"] == ["on-failure"] and found["KillMode"] == ["mixed"]
    assert found["RestartPreventExitStatus"] == ["73 78"]
    assert found["ReadWritePaths"] == [f"/srv/forebay {tmp_path}"]
    assert found["NoNewPrivileges"] == ["yes"] and found["ProtectSystem"] == ["strict"]


def test_it_is_printed_to_be_put_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["up", "--systemd", "--bootstrap", "kafka:9092"]
    monkeypatch.setattr(sys, "argv", ["forebay", *words])
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# Made by") and result.stdout.endswith("WantedBy=multi-user.target\n")
    assert "--bootstrap=kafka:9092" in result.stdout and "--broker-data" not in result.stdout
    assert "systemctl" in result.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not proven: systemd itself reads the unit")
def test_systemd_reads_it(tmp_path: Path) -> None:
    path = tmp_path / unit.NAME
    path.write_text(unit.unit([], {}, []))
    verified = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stderr
