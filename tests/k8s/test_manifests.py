import ast

import pytest

from pipeline.settings import Settings
from tests.contract.tree import ROOT, STAGES, modules, within
from tests.k8s.policies import FOLDERS, POLICIES, PROBES, Policy
from tests.k8s.render import COMPONENTS, OVERLAYS, TARGETS, container, documents, named, settings_of, workloads
from tests.patience import PATIENCE_S


def test_every_kustomization_is_tested() -> None:
    folders = {path.parent.relative_to(ROOT / "k8s").as_posix() for path in (ROOT / "k8s").rglob("kustomization.yaml")}
    assert folders == {*TARGETS, *COMPONENTS}


@pytest.mark.slow
@pytest.mark.parametrize("target", [*TARGETS, *OVERLAYS])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_policy(policy: Policy, target: str) -> None:
    manifests = documents(target)
    assert len(manifests) > 20
    assert list(policy(manifests)) == []


@pytest.mark.slow
def test_folders_of_the_code_are_folders_of_the_manifests() -> None:
    used: dict[str, set[str]] = {stage: set() for stage in STAGES}
    for module in modules("pipeline"):
        stages = ["featurize", "alert"] if within(module.name, "pipeline.runtime.faust") else [module.stage]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr.endswith("_uri") and node.attr in Settings.model_fields:
                for stage in filter(None, stages):
                    used[stage].add(f"FOREBAY_{node.attr.upper()}")
    assert sum(map(len, used.values())) >= 5
    for stage, settings in used.items():
        assert settings <= {setting for setting, _ in FOLDERS.get(stage, [])}, stage


def test_the_gpu_overlay_asks_for_a_gpu() -> None:
    (score,) = named(documents("overlays/gpu"), "StatefulSet", "score")
    assert container(score)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "FOREBAY_DEVICE", "value": "cuda"} in container(score)["env"]
    others = [workload for workload in workloads(documents("overlays/gpu")) if workload["metadata"]["name"] != "score"]
    assert len(others) == 5
    assert not any("nvidia.com/gpu" in container(workload)["resources"]["limits"] for workload in others)


@pytest.mark.slow
def test_components_add_and_change_nothing_else() -> None:
    base = documents("base")
    with_both = documents("base with page and outputs")
    assert [each for each in base if each not in with_both] == []
    added = sorted(f"{each['kind']}/{each['metadata']['name']}" for each in with_both if each not in base)
    assert added == [
        "Deployment/triage",
        "NetworkPolicy/metrics-for-the-page",
        "NetworkPolicy/page",
        "NetworkPolicy/receivers",
        "PersistentVolumeClaim/page",
        "PodDisruptionBudget/output",
        "PodDisruptionBudget/triage",
        "Service/output",
        "Service/triage",
        "StatefulSet/output",
    ]
    assert {each["metadata"]["namespace"] for each in with_both if each not in base} == {"forebay"}


@pytest.mark.slow
def test_the_page_starts_with_the_options_and_settings_of_its_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from pipeline.tools.cli.triage import app
    from pipeline.tools.triage import serving

    asked: list[tuple[serving.Request, Settings]] = []
    monkeypatch.setattr(serving, "serve", lambda request, settings, _started: asked.append((request, settings)))
    manifests = documents("base with page and outputs")
    (page,) = named(manifests, "Deployment", "triage")
    for name, value in settings_of(manifests).items():
        monkeypatch.setenv(name, value)
    for variable in container(page)["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "pod-0"))
    result = CliRunner().invoke(app, container(page)["args"][1:])
    assert result.exit_code == 0, result.output
    ((request, settings),) = asked
    assert (request.host, request.port, str(request.folder)) == ("0.0.0.0", 9480, "/var/lib/forebay/page")  # noqa: S104
    assert str(request.tls_cert) == "/etc/forebay/page/tls.crt" and str(request.tls_key) == "/etc/forebay/page/tls.key"
    assert str(request.oidc) == "/etc/forebay/oidc/oidc.yaml"
    assert len(settings.stage_metrics_addresses) == len(STAGES)


def test_the_image_of_page_and_outputs_has_their_packages() -> None:
    text = (ROOT / "k8s/images/Dockerfile").read_text(encoding="utf-8")
    build = text[: text.index(" AS build-inference")]
    assert "-r requirements/base.txt" in build and "-r requirements/triage.txt" in build


def test_the_endpoint_answers_what_the_probes_ask() -> None:
    import urllib.request

    from pipeline.runtime.telemetry import start
    from pipeline.settings import load_settings

    stage = start("score", load_settings(metrics_port=0))
    stage.ready()
    try:
        for path in set(PROBES.values()) | {"/metrics"}:
            with urllib.request.urlopen(f"http://127.0.0.1:{stage.metrics_port}{path}", timeout=PATIENCE_S) as answer:
                assert answer.status == 200
    finally:
        stage.close()


def test_images_are_built_by_the_dockerfile() -> None:
    text = (ROOT / "k8s/images/Dockerfile").read_text(encoding="utf-8")
    for line in (ROOT / "k8s/images/images.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split(":")
            assert f"AS {name.split('/')[1]}\n" in text
            assert f'image.version="{version}"' in text
    assert text.count("USER 10001:10001") == 2 and text.count('ENTRYPOINT ["forebay"]') == 2
    sources = [
        line.split()[1].rstrip("/") for line in text.splitlines() if line.startswith("COPY ") and "--" not in line
    ]
    assert sources and all((ROOT / source).exists() for source in sources)
