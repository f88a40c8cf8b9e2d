"""What is written under k8s/components/monitoring from rules and a table of panels: `make docs`; a test compares."""

import json
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.contract.tree import ROOT

FOLDER = ROOT / "k8s/components/monitoring"
RULES = FOLDER / "rules/forebay.yaml"
PANELS = FOLDER / "dashboards/panels.toml"
OPERATORS_RULES = FOLDER / "prometheusrule.yaml"
SCHEMA_VERSION = 39
"""Grafana 10.4 and later read it."""
COLUMNS, HEIGHT = 24, 8
MERGED = [{"id": "merge", "options": {}}, {"id": "organize", "options": {"excludeByName": {"Time": True}}}]
"""A table's answers side by side, without the time at which they were asked."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
Panel = dict[str, Any]


@cache
def rules() -> dict[str, Any]:
    """The plain rules, as Prometheus reads them."""
    document: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return document


def operators_rules() -> str:
    """The same for the Prometheus operator."""
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "forebay", "namespace": "forebay", "labels": {"app.kubernetes.io/name": "forebay"}},
        "spec": rules(),
    }
    head = "# Written from rules/forebay.yaml by `make docs`.\n"
    return head + yaml.safe_dump(document, sort_keys=False, width=120)


@cache
def table() -> dict[str, Any]:
    """The dashboards' panels, as people edit them."""
    return tomllib.loads(PANELS.read_text(encoding="utf-8"))


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard as Grafana imports it."""
    said = table()[name]
    variables = [_source_variable(), *(_label_variable(each, said["of"][each]) for each in said.get("of", {}))]
    return {
        "uid": f"forebay-{name}",
        "title": said["title"],
        "description": said["about"],
        "tags": ["forebay"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": variables},
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "tags": ["forebay"], "title": "Forebay", "asDropdown": True, "icon": "external link"}
        ],
        "panels": _placed(said["panels"]),
    }


def _source_variable() -> Panel:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1}


def _label_variable(label: str, metric: str) -> Panel:
    query = f"label_values({metric}, {label})"
    return {
        "name": label,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": label},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def _placed(panels: list[Panel]) -> list[Panel]:
    """Panels from left to right, a new line where one does not fit; a row takes a line of its own."""
    made: list[Panel] = []
    x = y = tallest = 0
    for number, said in enumerate(panels, 1):
        is_row = said.get("kind") == "row"
        width, height = (COLUMNS, 1) if is_row else (said.get("width", 8), said.get("height", HEIGHT))
        if x and (is_row or x + width > COLUMNS):
            x, y = 0, y + tallest
        made.append({"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": height}, **_drawn(said)})
        tallest = height if x == 0 else max(tallest, height)
        x += width
        if x >= COLUMNS:
            x, y = 0, y + tallest
    return made


def _drawn(said: Panel) -> Panel:
    """A panel by its kind: row, stat, lines (the default) or table."""
    kind = said.get("kind", "lines")
    if kind == "row":
        return {"type": "row", "title": said["title"], "collapsed": False, "panels": []}
    steps = [{"color": "green", "value": None}]
    steps += [
        {"color": colour, "value": said[word]} for word, colour in (("warn", "orange"), ("bad", "red")) if word in said
    ]
    defaults: Panel = {"unit": said.get("unit", "short"), "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if kind == "lines":
        stack = {"mode": "normal" if said.get("stacked") else "none", "group": "A"}
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 10,
            "showPoints": "never",
            "stacking": stack,
        }
    instant = kind != "lines"
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": SOURCE,
            "expr": each,
            "legendFormat": legend,
            "instant": instant,
            "range": not instant,
            **({"format": "table"} if kind == "table" else {}),
        }
        for number, (legend, each) in enumerate(said["shows"].items())
    ]
    return {
        "type": {"lines": "timeseries", "stat": "stat", "table": "table"}[kind],
        "title": said["title"],
        "description": said.get("about", ""),
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(kind),
        "targets": targets,
        **({"transformations": MERGED} if kind == "table" else {}),
    }


def _options(kind: str) -> Panel:
    if kind == "stat":
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": reduced, "colorMode": "value", "graphMode": "area", "textMode": "auto"}
    if kind == "table":
        return {"showHeader": True, "cellHeight": "sm"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def expressions() -> list[str]:
    """Every expression of rules and dashboards, with values in the place of Grafana's variables."""
    found = [rule["expr"] for group in rules()["groups"] for rule in group["rules"]]
    for name in table():
        found += [target["expr"] for panel in dashboard(name)["panels"] for target in panel.get("targets", [])]
    return [re.sub(r"\$(stage|site|sensor)\b", ".*", each.replace("$__rate_interval", "5m")) for each in found]


def files() -> dict[Path, str]:
    """What each written file holds."""
    boards = {FOLDER / f"dashboards/{name}.json": _a_line_each(dashboard(name)) for name in table()}
    return {OPERATORS_RULES: operators_rules(), **boards}


def _a_line_each(document: dict[str, Any]) -> str:
    """JSON with a line for each thing that a dashboard has, and one for each of its panels."""
    lines = [
        f"{json.dumps(key)}: "
        + ("[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]" if key == "panels" else json.dumps(value))
        for key, value in document.items()
    ]
    return "{\n " + ",\n ".join(lines) + "\n}\n"


if __name__ == "__main__":
    for path, text in files().items():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {'unchanged' if before == text else 'written'}\n")
