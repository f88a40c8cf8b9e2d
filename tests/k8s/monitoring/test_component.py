"""The component as an overlay gets it: beside the base, in its namespace, with selectors that find its pods."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.tree import ROOT
from tests.k8s import policies
from tests.k8s.monitoring.operator_fields import faults
from tests.k8s.monitoring.written import dashboard, rules, table
from tests.k8s.render import Document, container, documents, named, with_components, workloads


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """The base with the component, as `kubectl kustomize` prints them."""
    overlay = tmp_path_factory.mktemp("overlay").resolve()
    text = with_components(overlay, "base", "components/monitoring")
    return [each for each in yaml.safe_load_all(text) if each]


def test_it_adds_three_kinds_and_changes_nothing_else(manifests: list[Document]) -> None:
    base = documents("base")
    added = [each for each in manifests if each not in base]
    assert [each for each in base if each not in manifests] == []
    assert sorted(each["kind"] for each in added) == ["ConfigMap", "PodMonitor", "PrometheusRule"]
    assert {each["metadata"]["namespace"] for each in added} == {"forebay"}


def test_the_pod_monitor_finds_every_worker_at_a_port_that_is_there(manifests: list[Document]) -> None:
    (monitor,) = named(manifests, "PodMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for workload in workloads(manifests):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert wanted <= labels.items(), workload["metadata"]["name"]
        assert endpoint["port"] in {port["name"] for port in container(workload)["ports"]}


def test_the_job_is_called_as_the_alarms_expect(manifests: list[Document]) -> None:
    (monitor,) = named(manifests, "PodMonitor")
    job = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    (matcher,) = {match for match in re.findall(r'job=~"([^"]+)"', str(rules()))}
    assert re.fullmatch(matcher, job)


@pytest.mark.parametrize("kind", ["PrometheusRule", "PodMonitor"])
def test_the_operator_takes_what_is_its(manifests: list[Document], kind: str) -> None:
    (manifest,) = named(manifests, kind)
    assert faults(manifest) == []
    assert kind == "PodMonitor" or manifest["spec"] == rules()


def changed(manifests: list[Document], kind: str, path: tuple[Any, ...], value: Any) -> Document:
    """A copy of a manifest with another value at a path of its spec."""
    (manifest,) = named(manifests, kind)
    copy: Document = deepcopy(manifest)
    part: Any = copy["spec"]
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return copy


RULE, ENDPOINT = ("groups", 0, "rules", 0), ("podMetricsEndpoints", 0)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("PrometheusRule", (*RULE, "for"), "5 minutes"),
        ("PrometheusRule", (*RULE, "for"), 300),
        ("PrometheusRule", (*RULE, "labels", "severity"), 1),
        ("PrometheusRule", (*RULE, "annotation"), {"summary": "misspelt"}),
        ("PrometheusRule", (*RULE, "record"), "both:kinds"),
        ("PrometheusRule", ("groups", 0, "name"), ""),
        ("PrometheusRule", ("groups", 1, "name"), "forebay-stages"),
        ("PrometheusRule", ("rules",), []),
        ("PodMonitor", (*ENDPOINT, "interval"), "15"),
        ("PodMonitor", (*ENDPOINT, "targetPort"), 9_479),
        ("PodMonitor", (*ENDPOINT, "port"), 9_479),
        ("PodMonitor", ("selector", "app"), "forebay"),
        ("PodMonitor", ("endpoints",), []),
    ],
)
def test_what_the_operator_refuses_is_found(
    manifests: list[Document], kind: str, path: tuple[Any, ...], value: Any
) -> None:
    assert faults(changed(manifests, kind, path, value))


def test_grafana_finds_the_dashboards(manifests: list[Document]) -> None:
    (config,) = named(manifests, "ConfigMap", "forebay-dashboards")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in config["data"].items()} == {
        f"{name}.json": dashboard(name) for name in table()
    }
    assert sum(map(len, config["data"].values())) < 1_000_000, "a ConfigMap holds 1 MiB"
    assert list(policies.schema([config])) == []


def test_nothing_of_the_base_is_opened(manifests: list[Document]) -> None:
    ours = [each for each in manifests if each["kind"] not in ("PodMonitor", "PrometheusRule")]
    settings_alone = [each for each in ours if each["metadata"]["name"] != "forebay-dashboards"]
    for policy in (policies.conduits, policies.no_rights, policies.selectors_match):
        assert list(policy(settings_alone)) == []


def test_the_example_of_the_readme_is_a_component() -> None:
    document = yaml.safe_load((ROOT / "k8s/components/monitoring/kustomization.yaml").read_text(encoding="utf-8"))
    assert document["kind"] == "Component"
    listed = [Path(name).stem for name in document["configMapGenerator"][0]["files"]]
    assert listed == list(table())
