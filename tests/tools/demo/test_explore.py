from pathlib import Path

import pytest

from pipeline.settings import load_settings
from pipeline.tools.demo.explore import next_commands, write_settings
from pipeline.tools.demo.watch import SeenAlert


def alert(uid: str, severity: int, start_time: int, message: str = "a scan") -> SeenAlert:
    document = {"finding_info": {"uid": uid}, "severity_id": severity, "start_time": start_time, "message": message}
    return SeenAlert(document, 1, 0.0, [])


def test_the_settings_file_gives_the_runs_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_settings(
        topic_prefix="demo-1.", archive_uri=tmp_path / "archive", metrics_port=0, security={"sasl.password": "secret"}
    ).model_copy(update={"bootstrap": "127.0.0.1:4711"})
    path = write_settings(tmp_path, made)
    assert "secret" not in path.read_text()
    monkeypatch.setenv("FOREBAY_CONFIG", str(path))
    assert load_settings() == made.model_copy(update={"security": {}})


def test_the_next_commands_show_the_gravest_alerts_of_this_run(tmp_path: Path) -> None:
    alerts = [
        alert("a" * 64, 3, 50), alert("b" * 64, 5, 90), alert("c" * 64, 3, 10, "\x1b[31mred"), alert("d" * 64, 1, 0),
    ]  # fmt: skip
    lines = next_commands(tmp_path / "forebay.yaml", alerts)
    assert lines[0] == f"export FOREBAY_CONFIG={tmp_path}/forebay.yaml"
    shown = [line.split(" alert show ")[1][:12] for line in lines if " alert show " in line]
    assert shown == ["b" * 12, "c" * 12, "a" * 12]
    assert lines[-1].split("    #")[0].endswith("forebay down")
    assert all(line.isprintable() for line in lines)
