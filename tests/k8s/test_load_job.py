"""The load run as a Job: what an overlay with the component gets beside the base."""

import os

import pytest
import yaml
from typer.main import get_command

from pipeline.tools.cli.load import app
from tests.contract.tree import ROOT
from tests.k8s.policies import pods_are_restricted, schema
from tests.k8s.render import Document, container, documents, kustomized, named, pod, settings_of


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    overlay = tmp_path_factory.mktemp("overlay").resolve()

    def relative(folder: str) -> str:
        return os.path.relpath(ROOT / "k8s" / folder, overlay)

    kustomization = {"resources": [relative("base")], "components": [relative("components/load")]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), "utf-8")
    return [each for each in yaml.safe_load_all(kustomized(overlay)) if each]


def test_it_adds_a_job_and_changes_nothing_else(manifests: list[Document]) -> None:
    base = documents("base")
    assert [each["kind"] for each in manifests if each not in base] == ["Job"]
    assert [each for each in base if each not in manifests] == []


def test_it_is_as_restricted_as_a_stage_and_has_a_principal_of_its_own(manifests: list[Document]) -> None:
    assert list(schema(manifests)) == [] and list(pods_are_restricted(manifests)) == []
    (job,) = named(manifests, "Job")
    assert job["spec"]["backoffLimit"] == 0 and pod(job)["restartPolicy"] == "Never"
    secrets = [
        source["secret"]["name"]
        for volume in pod(job)["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
    ]
    assert "forebay-load" in secrets
    # The conduits of the stages hold for it, and it has their settings.
    assert job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "forebay"
    (config,) = [source["configMapRef"]["name"] for source in container(job)["envFrom"]]
    assert named(manifests, "ConfigMap", config) and settings_of(manifests)


def test_no_service_and_no_disruption_budget_selects_it(manifests: list[Document]) -> None:
    (job,) = named(manifests, "Job")
    labels = job["spec"]["template"]["metadata"]["labels"].items()
    for kind in ("Service", "PodDisruptionBudget"):
        for each in named(manifests, kind):
            selector = each["spec"]["selector"]
            assert not (selector if kind == "Service" else selector["matchLabels"]).items() <= labels


def test_it_runs_a_command_that_there_is(manifests: list[Document]) -> None:
    (job,) = named(manifests, "Job")
    box = container(job)
    words = [*box["command"], *box["args"]]
    assert words[:3] == ["forebay", "load", "run"] and box["image"].startswith("forebay/pipeline:")
    verb = getattr(get_command(app), "commands")["run"]  # noqa: B009 - not every command has any
    parsed = verb.make_context("run", list(words[3:]))
    assert parsed.params["not_local"] is True and parsed.params["slo"] == ["p99=1s"]
