import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loadtest.plants.westermo import traffic
from models.serving import registry
from models.serving.card import KNOWN_DATA, card
from models.serving.card_text import markdown
from models.serving.model import Model, finish
from models.training.recalibrate import recalibrate
from pipeline.errors import Failed
from pipeline.tools.cli.model import app
from schemas.model_manifest import sha256
from tests.contract.tree import ROOT
from tests.models import tiny


def remade(**changes: Any) -> Model:
    """The tiny model with another manifest."""
    document = {name: value for name, value in tiny.model().document.items() if name not in ("id", "weights_sha256")}
    return finish({**document, **changes}, tiny.model().weights)


def test_the_shipped_models_card_is_the_one_the_command_writes(tmp_path: Path) -> None:
    out = tmp_path / "CARD.md"
    result = CliRunner().invoke(app, ["card", "--out", str(out), "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["model"] == registry.load().id
    assert out.read_bytes() == (registry.SHIPPED / "CARD.md").read_bytes(), "run forebay model card --out it"


def test_every_model_saved_has_its_card_beside_it(tmp_path: Path) -> None:
    folder = registry.save(tiny.model(), tmp_path)
    text = (folder / "CARD.md").read_text("utf-8")
    assert text == markdown(card(tiny.model())) == markdown(card(registry.load(folder))) and tiny.model().id in text
    (folder / "CARD.md").write_text("of no account")
    assert registry.load(folder).id == tiny.model().id


def test_it_says_what_the_manifest_says() -> None:
    model = tiny.model()
    facts = card(model)
    assert json.loads(json.dumps(facts)) == facts
    by_name = {entry["name"]: entry for entry in facts["classes"]}
    assert by_name["normal"]["kind"] == "benign" == by_name["login"]["kind"]
    assert by_name["misconf"]["kind"] == "fault" and by_name["mitm"]["kind"] == "attack"
    assert by_name["mitm"]["rows_fit"] == model.document["metrics"]["rows"]["fit"]["mitm"]
    assert by_name["mitm"]["named_where"] and not by_name["login"]["named_where"]
    assert facts["odds"]["chosen"] == model.document["metrics"]["odds"]["chosen"]
    assert {"known", "family mitm", "sensor plant/a"} <= set(facts["names"])
    assert facts["names"]["known"]["wrong"] == model.document["metrics"]["names"]["known"]["wrong"]
    for key, entry in facts["calibration"].items():
        assert entry["smallest_p_value"] == model.origins[key].table.smallest_p
    text = markdown(facts)
    for words in ("never an actuator", "0" * 12, tiny.FEATURES.hash[:12], "plant/a", str(tiny.CONFIG.seed), "ask who"):
        assert words in text


def test_later_calibrations_and_parents_are_told() -> None:
    model, quiet = tiny.model(), tiny.rows(seed=9)
    made = recalibrate(
        model, "north/1", quiet.matrix, quiet.end_ts_us, None, {"name": "quiet.csv", "sha256": "ab" * 32}
    )
    text = markdown(card(made))
    assert f"Parent: {model.id}" in text
    assert "north/1 was calibrated later" in text and "quiet.csv" in text and "`abababababab`" in text


def test_a_small_table_and_a_single_site_are_limits() -> None:
    limits = " ".join(card(remade(alert_level=1e-9, data=[{"name": "x", "site": "mill"}]))["limits"])
    assert "plant/a, plant/b" in limits and "(mill)" in limits


def test_figures_may_be_missing() -> None:
    text = markdown(card(remade(metrics={}, training={}, data=[])))
    assert "no figures" in text


def test_the_data_sets_licence_is_known_by_its_digest() -> None:
    digests = {sha256(traffic.zipped(sensor).read_bytes()) for sensor in traffic.SENSORS}
    assert digests == set(KNOWN_DATA)
    (entry,) = card(remade(data=[{"name": "left", "sha256": min(digests)}]))["data"]
    assert entry["data_set"]["licence"] == "CC BY 4.0"
    assert "CC BY 4.0" in (ROOT / "loadtest/plants/westermo/SOURCE.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["a|b\n# Title", "<script>x</script>", "[here](elsewhere)", "\x1b[31mred", "`x`"])
def test_names_in_a_manifest_are_text(name: str) -> None:
    """Nothing of a name is markup, and it stays in its line of the table."""
    lines = markdown(card(remade(data=[{"name": name, "sha256": name, "site": name}]))).splitlines()
    assert len(lines) == len(markdown(card(remade(data=[{"name": "x", "sha256": "x", "site": "x"}]))).splitlines())
    text = "\n".join(lines)
    assert ("\x1b" not in text and "\\<script" in text) or "<script" not in text
    assert "](" not in text.replace("\\](", "")


def test_on_a_terminal_it_is_markdown_and_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["card"], catch_exceptions=False)
    assert "# Model card" in result.stderr and json.loads(result.stdout.splitlines()[-1])["model"]
    with pytest.raises(Failed, match="could not be written"):
        CliRunner().invoke(app, ["card", "--out", str(tmp_path)], catch_exceptions=False)
