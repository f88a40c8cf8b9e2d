import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loadtest.plants.westermo import traffic
from models.serving import registry
from pipeline.errors import Failed, RefusedState, Usage
from pipeline.tools.cli.model import app
from tests.models import tiny


def run(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return document


def test_a_registry_with_models_of_an_earlier_version_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "igan-0123456789ab"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"version": 1}')
    listed = run("list", "--registry", str(tmp_path))
    assert [entry["model"] for entry in listed["models"]] == [registry.load().id]
    assert listed["earlier"] == [folder.name]


@pytest.mark.slow
def test_list_show_verify_export(tmp_path: Path) -> None:
    registry.save(tiny.model(), tmp_path / "models")
    folder = str(tmp_path / "models")
    listed = run("list", "--registry", folder)["models"]
    assert [entry["model"] for entry in listed] == [registry.load().id, tiny.model().id]
    assert run("show", "--model", tiny.model().id, "--registry", folder)["feature_set"] == "tiny-1"
    assert run("verify", "--registry", folder)["model"] == registry.load().id
    out = tmp_path / "out"
    exported = run("export", "--model", tiny.model().id, "--registry", folder, "--out", str(out))
    assert exported["sha256"] == tiny.model().sha256 == registry.load(out).sha256


@pytest.mark.slow
def test_a_quiet_stretch_makes_a_version_for_its_site(tmp_path: Path) -> None:
    stretch = tmp_path / "quiet.csv"
    lines = []
    header = ""
    for row in traffic.rows("left"):
        header = header or ",".join(row)
        if row["NST_M_Label"] == "Normal" and traffic.epoch_us(row["end"]) < traffic.FIRST_FLOW_US + 900_000_000:
            lines.append(",".join(row.values()))
    stretch.write_text("\n".join([header, *lines]) + "\n")
    out = tmp_path / "north"
    made = run("calibrate", "--quiet", str(stretch), "--site", "north", "--sensor", "1", "--out", str(out))
    assert made["parent"] == registry.load().id
    assert made["n"] == len(lines) and made["smallest_p_value"] == pytest.approx(1 / (len(lines) + 1))
    model = registry.load(out)
    assert model.origin_of("north/1") == "north/1"
    assert model.document["calibration"]["north/1"]["quiet"]["name"] == "quiet.csv"


def test_wrong_use_says_what_is_right(tmp_path: Path) -> None:
    for words, error, message in (
        (["train", "--augmentation", "magic"], Usage, "smote, gan"),
        (["evaluate", "--train-on", "left"], Usage, "go together"),
        (["evaluate", "--sensor", "attic"], Usage, "bottom, left"),
        (["evaluate", "--small"], Usage, "--small: got no --train-on"),
        (["ablate", "--table", "nsl-kdd"], Usage, "--table and --data go together"),
        (["ablate", "--table", "iris", "--data", str(tmp_path)], RefusedState, "expected one of nsl-kdd"),
        (["export"], Usage, "--out and --onnx"),
        (["export", "--out", str(tmp_path), "--onnx", "x.onnx"], Usage, "--out and --onnx"),
        (["export", "--out", str(tmp_path), "--origin", "mill"], Usage, "got no --onnx"),
        (["show", "--model", str(tmp_path)], RefusedState, "manifest.json"),
    ):
        with pytest.raises(error, match=message):
            CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)


def test_an_export_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(Failed, match=r"got no onnx; install it, in the checkout: pip install '.\[export\]'"):
        CliRunner().invoke(app, ["export", "--onnx", str(tmp_path / "x.onnx")], catch_exceptions=False)
    assert not any(tmp_path.iterdir())


def test_help_names_the_extra_to_install() -> None:
    shown = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "120"})
    assert "pip install '.[export]'" in " ".join(shown.output.split())


def test_a_line_of_calibration_fits_a_terminal() -> None:
    shown = CliRunner().invoke(app, ["show"], env={"COLUMNS": "80"}, catch_exceptions=False)
    lines = [line for line in shown.stderr.splitlines() if "quiet flows" in line]
    assert len(lines) == len(registry.load().document["calibration"])
    assert all("suspect: p <= " in line and len(line) <= 80 for line in lines)
