"""Verdicts on a real broker: said before, given, the same again suppressed and listed, taken back."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.alert.ocsf import encode
from pipeline.runtime.kafka.sending import send
from pipeline.settings import Settings, inherited_environment
from pipeline.tools.alerts.current import read_current
from tests.alert.test_ocsf import scan
from tests.commands import forebay as command
from tests.integration.chains import settings_for

pytestmark = pytest.mark.integration
DAY_US = 86_400_000_000
HOSTILE = "<b>\u202eour scanner\x1b[2J"


def forebay(settings: Settings, *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """A command: its last line as JSON, and what it says to people."""
    run = command(*words, environment=inherited_environment(settings.variables()))
    assert run.code == code, run.stderr
    return (json.loads(run.stdout.splitlines()[-1]) if run.stdout else {}), run.stderr


def scanned(number: int, target: str = "") -> dict[str, Any]:
    """An incident like the others, a day after the one before; with a target, to another one."""
    alert = scan()
    alert["finding_info"]["uid"] = f"{number:032x}"
    alert["count"] = sum(each["data"]["flows"] for each in alert["evidences"])
    for name in ("opened_ts_us", "first_ts_us", "last_ts_us"):
        alert["unmapped"][name] += number * DAY_US
    if target:
        alert["evidences"][0]["dst_endpoint"]["ip"] = target
    return alert


def suppressed(settings: Settings) -> list[str]:
    return [each["uid"] for each in reversed(read_current(settings).documents()) if each["suppressed"]]


def test_a_verdict_suppresses_the_same_again_until_it_is_taken_back(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path)
    alerts = [scanned(1), scanned(2), scanned(3, "10.9.9.9"), scanned(4)]
    for alert in alerts[:3]:
        send(settings, "alerts", settings.topics.alerts, alert["finding_info"]["uid"], encode(alert), [])
    first, second, _, third = (alert["finding_info"]["uid"] for alert in alerts)
    judge = ("alert", "verdict", first, "--verdict", "benign", "--by", "ada", "--note", HOSTILE)

    would, said = forebay(settings, *judge, "--dry-run")
    assert not would["sent"] and would["matches"] == 1
    assert "suppresses the same again" in said and f"1 of 3 incidents ({second[:12]})" in said
    _, said = forebay(settings, *judge, code=2)
    assert "expected --yes" in said
    assert suppressed(settings) == []

    done, said = forebay(settings, *judge, "--yes")
    assert done["sent"] and done["matches"] == 1 and "alert undo" in said
    assert suppressed(settings) == [second]
    alert = alerts[3]
    send(settings, "alerts", settings.topics.alerts, third, encode(alert), [])
    assert suppressed(settings) == [third, second], "what came after the verdict too"

    listed, said = forebay(settings, "alert", "verdicts")
    [row] = listed["verdicts"]
    assert (row["state"], row["suppresses"], row["note"]) == ("active", 2, HOSTILE)
    assert "\x1b" not in said and "\u202e" not in said

    undone, said = forebay(settings, "alert", "undo", done["id"][:8], "--by", "bo", "--json")
    assert sorted(undone["released"]) == sorted([second, third]) and said == ""
    assert suppressed(settings) == []
    listed, _ = forebay(settings, "alert", "verdicts", "--json", "--state", "undone")
    assert [each["id"] for each in listed["verdicts"]] == [done["id"]]

    rule = ("alert", "suppress", "--site", alert["unmapped"]["site"], "--by", "ada", "--for", "30d", "--json", "--yes")
    source = alert["evidences"][0]["src_endpoint"]["ip"]
    made, _ = forebay(settings, *rule, "--asset", source, "--from", "1970-01-01", "--up-to", "critical", code=2)
    made, _ = forebay(settings, *rule, "--asset", source)
    assert made["matches"] == [] and made["uid"] is None, "from now on; these began before"
    times = ("--from", "2023-03-10T00:00Z", "--to", "2023-03-13T00:00Z")
    window = ("alert", "maintenance", "--site", alert["unmapped"]["site"], *times, "--by", "ada", "--yes", "--json")
    made, _ = forebay(settings, *window)
    assert suppressed(settings) == sorted(made["matches"], reverse=True) != []
