from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import load_settings
from pipeline.tools.demo.explore import next_commands, offline_commands, write_settings


def incident(uid: str, severity: int, first_us: int, says: str = "a scan") -> dict[str, Any]:
    members = [{"uid": uid.upper(), "sensor": "bottom"}, {"uid": uid, "sensor": "left"}]
    sensors = {"sensors": ["bottom", "left"], "members": members}
    return {"uid": uid, "severity_id": severity, "first_us": first_us, "says": says, **sensors}


def test_the_settings_file_gives_the_runs_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_settings(
        topic_prefix="demo-1.", archive_uri=tmp_path / "archive", metrics_port=0, security={"sasl.password": "secret"}
    ).model_copy(update={"bootstrap": "127.0.0.1:4711"})
    path = write_settings(tmp_path, made)
    assert "secret" not in path.read_text()
    monkeypatch.setenv("FOREBAY_CONFIG", str(path))
    assert load_settings() == made.model_copy(update={"security": {}})


INCIDENTS = [
    incident("a" * 32, 3, 50), incident("b" * 32, 5, 90), incident("c" * 32, 3, 10, "\x1b[31mred"),
    incident("d" * 32, 1, 0),
]  # fmt: skip


def test_the_commands_without_kafka_name_the_gravest_incident_by_the_sensors_own_alert(tmp_path: Path) -> None:
    lines = offline_commands(tmp_path / "bottom.csv", "plant", "bottom", INCIDENTS)
    assert f"flow score {tmp_path}/bottom.csv --site plant --sensor bottom --show {'B' * 12} " in lines[1]
    assert "demo --keep" in lines[-1]
    assert len(offline_commands(tmp_path / "x.csv", "plant", "x", INCIDENTS)) == 2


def test_the_next_commands_show_the_gravest_incidents_of_this_run(tmp_path: Path) -> None:
    lines = next_commands(tmp_path / "forebay.yaml", INCIDENTS)
    assert lines[0] == f"export FOREBAY_CONFIG={tmp_path}/forebay.yaml"
    shown = [line.split(" alert show ")[1][:12] for line in lines if " alert show " in line]
    assert shown == ["b" * 12, "c" * 12, "a" * 12]
    assert lines[-1].split("    #")[0].endswith("forebay down")
    assert all(line.isprintable() for line in lines)
