"""Dashboards, rules and manifests of the monitoring: written from their tables, whole, and asking for what there is."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.tree import ROOT
from tests.docs.test_docs import exported
from tests.k8s.monitoring.test_rules import needs_promtool, promtool
from tests.k8s.monitoring.written import COLUMNS, FOLDER, dashboard, expressions, files, rules, table

METRIC = re.compile(r"\b(forebay_[a-z_]+)")
ONE_BOX = {"forebay_worker_ready", "forebay_worker_restarts_total"}
"""What the endpoint of `forebay up` adds to what the workers report (pipeline/tools/system/endpoint.py)."""


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_what_is_written_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == files()[path], "run `make docs`"


def known_metrics() -> set[str]:
    """Every series that a stage can register, by the calls that name it."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return ONE_BOX | {
        name + suffix for name, calls in exported().items() for kind, _ in calls for suffix in suffixes[kind]
    }


def test_every_metric_is_one_that_stages_register() -> None:
    asked = {name for each in expressions() for name in METRIC.findall(each)}
    assert len(asked) > 40
    assert not asked - known_metrics()


@needs_promtool
def test_prometheus_reads_every_expression_of_the_dashboards(tmp_path: Path) -> None:
    shown = [{"record": f"forebay:shown:{number}", "expr": each} for number, each in enumerate(expressions())]
    file = tmp_path / "shown.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": shown}]}), "utf-8")
    assert f"{len(shown)} rules found" in promtool("check", "rules", str(file))


@needs_promtool
def test_prometheus_takes_the_configuration_for_one_box() -> None:
    from pipeline.tools.system.worker_table import ENDPOINT_PORT

    assert "SUCCESS" in promtool("check", "config", str(FOLDER / "prometheus.yaml"))
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert re.fullmatch(r"(.+/)?forebay", job["job_name"])
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{ENDPOINT_PORT}"]}]


@pytest.mark.parametrize("name", table())
def test_panels_neither_overlap_nor_stick_out(name: str) -> None:
    panels = dashboard(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    squares = [panel["gridPos"] for panel in panels]
    assert all(each["x"] >= 0 and each["x"] + each["w"] <= COLUMNS and each["h"] > 0 for each in squares)
    for one, other in combinations(squares, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


@pytest.mark.parametrize("name", table())
def test_a_dashboard_asks_the_prometheus_that_is_chosen_and_knows_its_variables(name: str) -> None:
    document: dict[str, Any] = json.loads((FOLDER / f"dashboards/{name}.json").read_text(encoding="utf-8"))
    assert re.fullmatch(r"[a-z-]{1,40}", document["uid"]) and document["schemaVersion"] >= 36
    variables = {each["name"] for each in document["templating"]["list"]}
    for panel in document["panels"]:
        assert panel["title"]
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"} <= variables, panel["title"]
    assert len({panel["title"] for panel in document["panels"]}) == len(document["panels"])


def test_names_of_dashboards_are_their_own() -> None:
    assert len({dashboard(name)["uid"] for name in table()}) == len(table())


def test_the_operators_rules_are_the_plain_ones() -> None:
    document = yaml.safe_load((FOLDER / "prometheusrule.yaml").read_text(encoding="utf-8"))
    assert document["spec"] == rules()


def test_the_readme_of_the_manifests_names_the_component() -> None:
    assert "components/monitoring" in (ROOT / "k8s/README.md").read_text(encoding="utf-8")
