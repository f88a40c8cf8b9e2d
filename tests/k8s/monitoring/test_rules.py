"""The alarms, checked and tried by promtool; without it these tests are skipped, and say so."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.topics import topics
from tests.contract.tree import ROOT
from tests.k8s.monitoring.cases import CASES, Case
from tests.k8s.monitoring.written import RULES, rules
from tests.patience import PATIENCE_S

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="not proven: alarms, without promtool")
ALARMS = [rule for group in rules()["groups"] for rule in group["rules"] if "alert" in rule]
RECORDED = [rule for group in rules()["groups"] for rule in group["rules"] if "record" in rule]
SEVERITIES = {"critical", "warning", "info"}


def promtool(*arguments: str) -> str:
    run = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    assert f"{len(ALARMS) + len(RECORDED)} rules found" in promtool("check", "rules", str(RULES))


def _rule(alarm: str) -> dict[str, Any]:
    (rule,) = [each for each in ALARMS if each["alert"] == alarm]
    return dict(rule)


def trial(case: Case) -> list[dict[str, Any]]:
    """Two tests as promtool reads them: the alarm fires with its sentence; it does not."""
    rule = _rule(case.alarm)
    expected = {
        "exp_labels": {**rule["labels"], **case.labels},
        "exp_annotations": {**rule["annotations"], "summary": case.says},
    }
    return [
        {
            "name": f"{case.alarm}, {name}",
            "interval": case.interval,
            "input_series": [{"series": series, "values": values} for series, values in given.items()],
            "alert_rule_test": [{"eval_time": case.at, "alertname": case.alarm, "exp_alerts": alerts}],
        }
        for name, given, alerts in (("fires", case.fires, [expected]), ("quiet", case.quiet, []))
    ]


def rules_of(alarm: str) -> dict[str, Any]:
    """The alarm and what is recorded for alarms: to evaluate all the others beside it takes ten times as long."""
    groups = []
    for group in rules()["groups"]:
        kept = [rule for rule in group["rules"] if rule.get("alert", alarm) == alarm]
        groups += [{**group, "rules": kept}] if kept else []
    return {"groups": groups}


@needs_promtool
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alarm)
def test_it_fires_when_it_should_and_not_before(case: Case, tmp_path: Path) -> None:
    file, alone = tmp_path / "trial.yaml", tmp_path / "rules.yaml"
    alone.write_text(yaml.safe_dump(rules_of(case.alarm)), "utf-8")
    file.write_text(
        yaml.safe_dump({"rule_files": [str(alone)], "evaluation_interval": case.interval, "tests": trial(case)}),
        "utf-8",
    )
    promtool("test", "rules", str(file))


def test_every_alarm_is_tried() -> None:
    assert sorted(case.alarm for case in CASES) == sorted(rule["alert"] for rule in ALARMS)
    assert len(ALARMS) > 30


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_alarm_says_how_bad_it_is_and_what_to_do() -> None:
    page = (ROOT / "docs/alarms.md").read_text(encoding="utf-8")
    for rule in ALARMS:
        assert rule["labels"]["severity"] in SEVERITIES, rule["alert"]
        summary = rule["annotations"]["summary"]
        assert summary.endswith((".", ").")) and len(summary) < 170, rule["alert"]
        file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert file == "docs/alarms.md" and anchor == rule["alert"].lower() and anchor in anchors(page), rule["alert"]
    described = set(re.findall(r"^### (Forebay\w+)$", page, re.MULTILINE))
    assert described == {rule["alert"] for rule in ALARMS}


def test_the_page_says_how_bad_each_alarm_is() -> None:
    page = (ROOT / "docs/alarms.md").read_text(encoding="utf-8")
    for rule in ALARMS:
        _, _, section = page.partition(f"### {rule['alert']}\n\n")
        assert section.lower().startswith(f"*{rule['labels']['severity']}*"), rule["alert"]


def test_lag_is_critical_long_before_messages_are_deleted() -> None:
    shortest_s = min(topic.retention_ms for topic in topics().values() if topic.retention_ms > 0) / 1_000
    (bound,) = re.findall(r"forebay_lag_seconds > (\d+)", _rule("ForebayLagNearRetention")["expr"])
    assert int(bound) * 4 == shortest_s


def test_disks_are_low_where_the_doctor_says_so() -> None:
    from pipeline.tools.doctor.disks import DISK_FAIL_BYTES, DISK_WARN_BYTES

    bounds = {name: float(_rule(name)["expr"].rpartition("< ")[2]) for name in ("ForebayDiskLow", "ForebayDiskFull")}
    assert bounds == {"ForebayDiskLow": DISK_WARN_BYTES, "ForebayDiskFull": DISK_FAIL_BYTES}
