import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.errors import Usage
from pipeline.tools.cli import doctor


def test_the_packages_we_ask_for_are_found() -> None:
    assert doctor.packages("", "packages", "fail", "remedy").verdict == "ok"
    assert doctor.packages("broker", "packages", "warn", "remedy").verdict == "ok"


def test_the_java_of_the_wheel_is_new_enough() -> None:
    assert doctor.java().verdict == "ok"


def test_what_java_warns_of_first_is_not_taken_for_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor.java().found
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xlog:gc+init")
    assert doctor.java().found == version and version.startswith("openjdk ")


@pytest.mark.parametrize(
    ("text", "name", "version", "extra"),
    [
        ("numpy", "numpy", None, None),
        ("aiokafka[lz4,snappy,zstd]", "aiokafka", None, None),
        ("confluent-kafka==2.16.1", "confluent-kafka", "2.16.1", None),
        ('torch==2.9.0; extra == "model"', "torch", "2.9.0", "model"),
        ('jgo; extra == "broker"', "jgo", None, "broker"),
        ('x>=1; python_version < "3.12" and extra == "broker"', "x", None, "broker"),
    ],
)
def test_requirements_are_read(text: str, name: str, version: str | None, extra: str | None) -> None:
    requirement = doctor.REQUIREMENT.match(text)
    assert requirement is not None
    assert (requirement["name"], requirement["version"], requirement["extra"]) == (name, version, extra)


def test_folders_are_told_apart(tmp_path: Path) -> None:
    assert doctor.writable("x", tmp_path).verdict == "ok"
    assert "made on first use" in doctor.writable("x", tmp_path / "a" / "b").found
    if sys.platform == "linux":
        assert doctor.writable("x", Path("/proc/nowhere")).verdict == "fail"


def test_a_stage_that_is_none_is_refused_before_anything_is_asked() -> None:
    done = CliRunner().invoke(doctor.app, ["--stage", "socre\x1b[2J"])
    assert isinstance(done.exception, Usage)
    assert "expected one of ingest, featurize, score" in str(done.exception) and "\x1b" not in str(done.exception)
