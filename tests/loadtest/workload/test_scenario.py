import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from loadtest.plants.generated.attacks import ATTACKS
from loadtest.workload.objectives import ObjectiveError, objective_of
from loadtest.workload.scenario import Outage, ScenarioError, read_scenario, scenario_of, shipped

PLANT = {"plant": {"from_hour": 1, "hours": 1}}


def test_the_shipped_scenarios_are_those_that_were_asked_for() -> None:
    assert set(shipped()) == {
        *("steady-plant", "shift-change", "scan", "flood", "beacons", "exfiltration", "fake-commands"),
        *("sensor-silence", "burst", "many-sites", "busy-network", "westermo"),
    }
    for name in shipped():
        scenario = read_scenario(name)
        assert scenario.title and len(set(scenario.sensor_names)) == scenario.sites * scenario.sensors


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "mine"\nsites = 3\n[plant]\nhours = 2\n[outage]\nthen = "silent"\n', encoding="utf-8")
    scenario = read_scenario(str(path))
    assert scenario.name == "mine" and scenario.sensor_names[2] == ("mine-3", "tap-1")
    assert scenario.outage == Outage(0.4, 0.6, 1.0, "silent")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "got neither, expected one of plant, capture"),
        ({**PLANT, "capture": "left"}, "got both"),
        ({**PLANT, "sites": 0}, "sites: got '0', expected a whole number from 1"),
        ({**PLANT, "sites": True}, "sites: got 'True'"),
        ({**PLANT, "sites": 10_000, "sensors": 2}, "expected at most 10000 in all"),
        ({**PLANT, "attack_at": float("nan")}, "attack_at: got 'nan', expected a number from 0 to 1"),
        ({**PLANT, "title": "a\x1b[2Jb"}, "title: got"),
        ({**PLANT, "speed": 3}, "got 'speed', expected only title, plant, capture, sites, sensors, seeds, in_step,"),
        (
            {"plant": {"hour": 3}},
            "plant: got 'hour', expected only size, from_hour, hours, operations, attacks,",
        ),
        ({**PLANT, "x" * 1_000: 3}, "got 'xxx"),
        ({"plant": {"attacks": ["flood", "worm"]}}, "attacks: got 'worm', expected only names of "),
        ({"plant": {"attacks": "flood"}}, "attacks: got"),
        ({"plant": {"hours": 0.1}}, "hours: got '0.1'"),
        ({"plant": {"copies": 201}}, "copies: got '201', expected a whole number from 1 to 200"),
        ({"plant": []}, "plant: got '[]', expected a table"),
        ({"capture": "right"}, "capture: got 'right', expected one of bottom, left"),
        ({**PLANT, "outage": {"start": 0.5, "end": 0.5}}, "got start 0.5, expected it before end 0.5"),
        ({**PLANT, "outage": {"then": "x" * 1_000}}, "then: got"),
    ],
)
def test_what_is_no_scenario_is_refused_with_the_reason(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        scenario_of(document, "some", "some.toml")
    assert said in str(refused.value) and str(refused.value).startswith("some.toml")
    assert len(str(refused.value)) < 600 and str(refused.value).isprintable()


def test_the_example_of_the_page_is_a_scenario_and_the_page_names_every_attack() -> None:
    page = (Path(__file__).parents[3] / "docs" / "load.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    scenario = scenario_of(tomllib.loads(example), "mine", "docs/load.md")
    assert scenario.plant is not None and scenario.plant.attacks and scenario.outage is not None
    assert [name for name in ATTACKS if f"`{name}`" not in page] == []


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"\xff\xfe\x00")
    digits, deep = tmp_path / "digits.toml", tmp_path / "deep.toml"
    digits.write_text(f"sites = {'9' * 5_000}", encoding="utf-8")
    deep.write_text(f"sites = {'[' * 5_000}", encoding="utf-8")
    missing = str(tmp_path / "missing.toml")
    for name in (str(path), str(digits), str(deep), missing, "a\0.toml", "no-such-name", "../../etc/hosts"):
        with pytest.raises(ScenarioError):
            read_scenario(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p99=50ms", "scored p99 <= 50 ms"),
        ("alerts:p95=2s", "alerts p95 <= 2000 ms"),
        ("flows:p99.9=1.5s", "flows p99.9 <= 1500 ms"),
        ("max=3s", "scored max <= 3000 ms"),
    ],
)
def test_objectives(text: str, shown: str) -> None:
    assert str(objective_of(text)) == shown


@pytest.mark.parametrize(
    "text", ["", "p99", "p99=50", "p100=1s", "p0=1s", "p99=0ms", "p99=-1s", "raw:p99=1s", "p99=1e3s"]
)
def test_what_is_no_objective_is_refused(text: str) -> None:
    with pytest.raises(ObjectiveError):
        objective_of(text)
