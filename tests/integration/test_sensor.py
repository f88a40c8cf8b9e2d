"""What a sensor has learnt, on a real Kafka: listed, shown, and changed by what a person asks."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.plants.westermo import traffic
from pipeline.alert.ocsf import encode
from pipeline.featurize.baseline.commands import LEFT_FREE
from pipeline.featurize.baseline.kinds import MOST_USUAL
from pipeline.runtime.kafka.sending import send
from pipeline.settings import Settings, inherited_environment
from tests.alert.test_ocsf import scan
from tests.commands import forebay as command
from tests.integration.chains import settings_for, worker
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

NAME = "plant/left"
LEARNING = {"least_s": 300, "most_s": 600, "anchor_s": 900, "admit_s": 300, "shortest_block_s": 10}


def forebay(settings: Settings, *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """The command's JSON document, and what it said to people."""
    run = command(*words, environment=inherited_environment(settings.variables()))
    assert run.code == code, run.stderr
    return (json.loads(run.stdout.splitlines()[-1]) if run.stdout else {}), run.stderr


def eventually(settings: Settings, phase: str) -> dict[str, Any]:
    """The sensor as it is listed, once it is in this phase."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        document, _ = forebay(settings, "sensor", "list", "--json")
        if document["phases"][phase]:
            (listed,) = document["sensors"]
            return dict(listed)
        assert time.monotonic() < deadline, document
        time.sleep(0.5)


def judged_an_attack(settings: Settings, anchored: dict[str, Any]) -> dict[str, Any]:
    """The notice after a verdict of attack on an alert about the first host that came and did not come back."""
    used = next(each for each in anchored["relations"] if each["what"] == "use")
    alert = scan()
    alert["unmapped"] |= {
        "site": "plant",
        "sensor": "left",
        "first_ts_us": used["first_us"],
        "last_ts_us": used["last_us"],
    }
    alert["evidences"] = [each | {"src_endpoint": {"ip": used["source"]}} for each in alert["evidences"][:1]]
    uid = alert["finding_info"]["uid"]
    send(settings, "alerts", settings.topics.alerts, uid, encode(alert), [])
    judged, said = forebay(settings, "alert", "verdict", uid, "--verdict", "tp", "--by", "ada")
    assert "suppresses nothing else and lets no earlier verdict do so" in said
    assert f"what {used['source']} did anew at plant/left" in said and "never becomes usual" in said
    assert [each["address"] for each in judged["commands"]] == [used["source"]]
    return last_notice(settings, "attack")


def verdict_taken_back(settings: Settings, attack: dict[str, Any]) -> dict[str, Any]:
    """The notice after the verdict that an attack's notice names was undone."""
    undone, said = forebay(settings, "alert", "undo", f"{attack['figures']['verdict']:012x}", "--by", "bo")
    assert undone["sent"] and "this can become usual again" in said
    assert [(each["action"], each["number"]) for each in undone["commands"]] == [("undo", attack["number"])]
    return last_notice(settings, "undone")


def last_notice(settings: Settings, kind: str) -> dict[str, Any]:
    """The sensor's last notice, once it is of this kind."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        shown, _ = forebay(settings, "sensor", "show", NAME)
        if shown["notices"][-1]["kind"] == kind:
            return dict(shown["notices"][-1])
        assert time.monotonic() < deadline, shown["notices"][-1]
        time.sleep(1.0)


def test_a_sensor_is_listed_shown_and_asked(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path / "state", learning=LEARNING)
    path = tmp_path / "left.csv"
    traffic.write_after_cut("left", path)
    assert forebay(settings, "sensor", "list", "--json")[0]["sensors"] == []
    with (
        worker(settings, "pipeline.tools.cli ingest run", log=tmp_path / "ingest.log"),
        worker(settings, "pipeline.tools.cli featurize run", log=tmp_path / "featurize.log"),
    ):
        forebay(settings, "flow", "send", str(path), "--site", "plant", "--sensor", "left", "--json")
        listed = eventually(settings, "anchored")
        assert (listed["site"], listed["sensor"], listed["remarks"]) == ("plant", "left", [])
        assert listed["flows"] > 300 and 0 < listed["usual_relations"] <= listed["relations"]
        shown, said = forebay(settings, "sensor", "show", NAME)
        kinds = [notice["kind"] for notice in shown["notices"]]
        assert kinds[:2] == ["learnt", "anchored"]
        assert "learning from its first flow on" in said and "came and did not come back" in said

        refused, said = forebay(settings, "sensor", "accept", NAME, code=2)
        assert not refused and "--yes" in said
        accepted, said = forebay(settings, "sensor", "accept", NAME, "--yes")
        assert "becomes usual" in said and "a person accepted as usual" in said
        figures, number = accepted["notice"]["figures"], accepted["notice"]["number"]
        assert figures["affected_relations"] > 0 and figures["usual_relations"] > listed["usual_relations"]
        assert figures["usual_kinds"] == min(figures["kinds"], MOST_USUAL - LEFT_FREE)
        undone, _ = forebay(settings, "sensor", "undo", NAME, str(number), "--yes", "--json")
        assert undone["notice"]["figures"]["affected_kinds"] == figures["affected_kinds"]
        assert undone["notice"]["figures"]["usual_relations"] == listed["usual_relations"]
        _, said = forebay(settings, "sensor", "undo", NAME, str(number), "--yes", code=2)
        assert "got no notice of that number" in said

        attack = judged_an_attack(settings, shown["notices"][1])
        (source,) = {each["source"] for each in attack["relations"] if each["what"] == "use"}
        assert attack["number"] == number + 2 and attack["figures"]["affected_relations"] >= 1
        lifted = verdict_taken_back(settings, attack)
        assert source in str(lifted["relations"]) and lifted["figures"]["barred_relations"] >= 1

        anew, _ = forebay(settings, "sensor", "relearn", NAME, "--yes", "--json")
        assert (anew["notice"]["number"], anew["notice"]["figures"]["kinds"]) == (number + 4, 0)
        assert eventually(settings, "learning")["flows"] == 0
        forebay(settings, "flow", "send", str(path), "--site", "plant", "--sensor", "left", "--json")
        eventually(settings, "anchored")
        shown, said = forebay(settings, "sensor", "show", NAME)
    numbers = [notice["number"] for notice in shown["notices"]]
    assert numbers == list(range(1, len(numbers) + 1))
    kinds = [notice["kind"] for notice in shown["notices"]]
    assert kinds[-1] != "relearn" and {"accepted", "undone", "attack", "relearn"} <= set(kinds)
    assert said.count("learning from its first flow on") == 2
    _, said = forebay(settings, "sensor", "show", "plant/right", code=2)
    assert "plant/left" in said
