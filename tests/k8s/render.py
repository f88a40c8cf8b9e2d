"""The manifests as the cluster gets them, rendered by the kubectl of the virtual environment."""

import copy
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.contract.tree import ROOT
from tests.patience import PATIENCE_S

Document = dict[str, Any]
TARGETS = ("base", "overlays/edge-cpu", "overlays/gpu")
# What overlays may name; monitoring and load have tests of their own (tests/k8s/monitoring, test_load_job.py).
PAGE, OUTPUTS, ONE_NODE = "components/page", "components/outputs", "components/page-on-one-node"
COMPONENTS = ("components/monitoring", "components/load", PAGE, OUTPUTS, ONE_NODE)
# Overlays as people make them of these: what they build on, and the components that they name.
OVERLAYS = {
    "base with page and outputs": ("base", PAGE, OUTPUTS),
    "one node with page and outputs": ("overlays/edge-cpu", PAGE, ONE_NODE, OUTPUTS),
}
KUBECTL = Path(sys.executable).parent / "kubectl"


@cache
def rendered(target: str) -> str:
    """What `kubectl kustomize` prints of a folder, or of one of OVERLAYS; it asks no cluster."""
    if target not in OVERLAYS:
        return kustomized(ROOT / "k8s" / target)
    with tempfile.TemporaryDirectory() as folder:
        return with_components(Path(folder).resolve(), *OVERLAYS[target])


def with_components(overlay: Path, built_on: str, *components: str) -> str:
    """The same of an overlay, made in a folder, that builds on a folder of ours and names components."""
    resource, *named_ones = (os.path.relpath(ROOT / "k8s" / each, overlay) for each in (built_on, *components))
    kustomization = {"resources": [resource], "components": named_ones}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), "utf-8")
    return kustomized(overlay)


def kustomized(folder: Path) -> str:
    """The same of any folder."""
    run = subprocess.run([str(KUBECTL), "kustomize", str(folder)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert run.returncode == 0 and not run.stderr, run.stderr
    return run.stdout


@cache
def _parsed(target: str) -> tuple[Document, ...]:
    return tuple(document for document in yaml.safe_load_all(rendered(target)) if document)


def documents(target: str) -> list[Document]:
    """The rendered documents, a copy each time: a test may break them."""
    return copy.deepcopy(list(_parsed(target)))


def named(manifests: list[Document], kind: str, name: str | None = None) -> list[Document]:
    """The documents of a kind, or the one of that name."""
    return [each for each in manifests if each["kind"] == kind and (name is None or each["metadata"]["name"] == name)]


def workloads(manifests: list[Document]) -> list[Document]:
    """Everything that runs pods."""
    kinds = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "ReplicaSet"}
    return [each for each in manifests if each["kind"] in kinds]


def pod(workload: Document) -> Document:
    """A workload's pod specification."""
    spec: Document = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Document) -> Document:
    """A workload's one container."""
    (only,) = pod(workload)["containers"]
    assert isinstance(only, dict)
    return only


def settings_of(manifests: list[Document]) -> dict[str, str]:
    """The environment that the shared ConfigMap gives."""
    (config,) = [
        document for document in named(manifests, "ConfigMap") if "forebay-settings" in document["metadata"]["name"]
    ]
    data: dict[str, str] = config["data"]
    return data
