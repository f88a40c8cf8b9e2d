"""`forebay asset import` on a real Kafka: names are there for every reader, can be changed and taken away."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.tools.assets import current, labels, reading
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.label import Label
from pipeline.tools.cli.asset import app
from tests.featurize.flows import batch
from tests.integration.chains import settings_for
from tests.tools.assets.plants import talk

pytestmark = pytest.mark.integration
HEAD = "address,name,criticality\n"


def test_names_of_the_plants(kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(kafka, prefix, tmp_path / "state")
    file, address = tmp_path / "names.csv", "10.0.0.20"
    flows = inventory_of([batch(talk("10.0.0.1", address, 502, 3))])
    monkeypatch.setattr(current, "read_inventory", lambda *_: reading.Reading(flows, 3, 0, 0, []))

    def forebay(*words: str, prefix: str = prefix) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*words, "--bootstrap", kafka, "--prefix", prefix, "--json"])
        assert result.exit_code == 0, (result.output, result.exception)
        document: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return document

    def listed(prefix: str = prefix) -> dict[str, Any]:
        return forebay("list", prefix=prefix)

    assert any("assets: got no such topic" in text for text in listed(f"{prefix}none-")["not_read"])
    assert [each["name"] for each in listed()["assets"]] == [None, None]

    file.write_text(HEAD + f"{address},Pump 3,critical\n10.99.0.1,Spare,\n")
    assert forebay("import", str(file), "--site", "plant", "--dry-run")["new"] == 2
    assert labels.read(settings) == {}
    assert forebay("import", str(file), "--site", "plant")["new"] == 2
    found = {each["address"]: each for each in listed()["assets"]}
    assert (found[address]["name"], found[address]["criticality"]) == ("Pump 3", "critical")
    assert forebay("import", str(file), "--site", "plant")["same"] == 2
    shown = forebay("show", "Pump 3")
    assert shown["address"] == address

    file.write_text(f"address,name,criticality,zone\n{address},Pump 3,critical,Cell 1\n")
    assert forebay("import", str(file), "--site", "plant")["changed"] == 1
    assert [each["address"] for each in forebay("list", "--zone", "Cell 1")["assets"]] == [address]
    file.write_text(HEAD + f"{address},Pump 4,high\n10.99.0.1,,\n")
    made = forebay("import", str(file), "--site", "plant")
    assert (made["changed"], made["removed"]) == (1, 1)
    assert labels.read(settings) == {("plant", address): Label("Pump 4", "high", "Cell 1")}
