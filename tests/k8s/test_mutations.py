"""The policies work: each way of breaking the manifests below must be found by the policy it is listed with."""

from collections.abc import Callable

import pytest

from tests.k8s import policies
from tests.k8s.policies import Policy
from tests.k8s.render import Document, container, documents, named, pod, settings_of, workloads

Mutation = Callable[[list[Document]], object]


def _workload(manifests: list[Document], stage: str) -> Document:
    (match,) = [workload for workload in workloads(manifests) if workload["metadata"]["name"] == stage]
    return match


def _box(manifests: list[Document], stage: str) -> Document:
    return container(_workload(manifests, stage))


def _probe(manifests: list[Document], stage: str) -> Document:
    probe: Document = _box(manifests, stage)["startupProbe"]["httpGet"]
    return probe


def _drop(manifests: list[Document], kind: str, name: str) -> None:
    manifests.remove(named(manifests, kind, name)[0])


MUTATIONS: dict[str, tuple[Policy, Mutation]] = {
    "a misspelt field": (policies.schema, lambda d: _workload(d, "ingest")["spec"].update(replica=2)),
    "a wrong type": (policies.schema, lambda d: _workload(d, "score")["spec"].update(replicas="two")),
    "a stage without a workload": (policies.one_workload_a_stage, lambda d: d.remove(_workload(d, "alert"))),
    "a workload twice": (policies.one_workload_a_stage, lambda d: d.append(_workload(d, "archive"))),
    "a command that is not there": (policies.commands_exist, lambda d: _box(d, "ingest").update(args=["ingest", "go"])),
    "another stage's command": (policies.commands_exist, lambda d: _box(d, "ingest").update(args=["score", "run"])),
    "an option that is not there": (policies.commands_exist, lambda d: _box(d, "alert")["args"].append("--turbo")),
    "a long port name": (
        policies.ports_and_probes,
        lambda d: _box(d, "score")["ports"].append({"name": "prometheus-metrics", "containerPort": 9}),
    ),
    "a port that nobody listens on": (
        policies.ports_and_probes,
        lambda d: _box(d, "score")["ports"][0].update(containerPort=8080),
    ),
    "a probe of a path that is not there": (
        policies.ports_and_probes,
        lambda d: _box(d, "featurize")["livenessProbe"]["httpGet"].update(path="/healthz"),
    ),
    "no readiness probe": (policies.ports_and_probes, lambda d: _box(d, "archive").pop("readinessProbe")),
    "a setting that is not there": (policies.settings_are_real, lambda d: settings_of(d).update(FOREBAY_TURBO="1")),
    "a value out of range": (policies.settings_are_real, lambda d: settings_of(d).update(FOREBAY_PARTITIONS="0")),
    "root": (policies.pods_are_restricted, lambda d: pod(_workload(d, "ingest"))["securityContext"].clear()),
    "a privileged container": (
        policies.pods_are_restricted,
        lambda d: _box(d, "score")["securityContext"].update(privileged=True),
    ),
    "a writable root": (
        policies.pods_are_restricted,
        lambda d: _box(d, "retrain")["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    "a token": (policies.pods_are_restricted, lambda d: pod(_workload(d, "alert")).pop("automountServiceAccountToken")),
    "no memory limit": (policies.pods_are_restricted, lambda d: _box(d, "featurize")["resources"].pop("limits")),
    "a role": (policies.no_rights, lambda d: d.append({"kind": "ClusterRoleBinding", "metadata": {"name": "all"}})),
    "no default deny": (policies.conduits, lambda d: _drop(d, "NetworkPolicy", "deny-everything")),
    "an open conduit": (
        policies.conduits,
        lambda d: named(d, "NetworkPolicy", "kafka")[0]["spec"].update(egress=[{}]),
    ),
    "every address": (
        policies.conduits,
        lambda d: named(d, "NetworkPolicy", "kafka")[0]["spec"]["egress"][0]["to"].append(
            {"ipBlock": {"cidr": "0.0.0.0/0"}}
        ),
    ),
    "a port into the plant": (
        policies.conduits,
        lambda d: named(d, "NetworkPolicy", "kafka")[0]["spec"]["egress"][0]["ports"].append({"port": 502}),
    ),
    "Kafka at a closed port": (policies.conduits, lambda d: settings_of(d).update(FOREBAY_BOOTSTRAP="kafka:19092")),
    "metrics at another port": (policies.conduits, lambda d: settings_of(d).update(FOREBAY_METRICS_PORT="9999")),
    "a pod outside the policies": (
        policies.conduits,
        lambda d: _workload(d, "score")["spec"]["template"]["metadata"]["labels"].pop("app.kubernetes.io/part-of"),
    ),
    "a budget that blocks drains": (
        policies.selectors_match,
        lambda d: named(d, "PodDisruptionBudget", "score")[0]["spec"].update(minAvailable=1),
    ),
    "a service for another stage": (
        policies.selectors_match,
        lambda d: named(d, "Service", "alert")[0]["spec"]["selector"].update({"app.kubernetes.io/component": "score"}),
    ),
    "no headless service": (policies.selectors_match, lambda d: _drop(d, "Service", "featurize")),
    "an unlisted image": (policies.images_are_listed, lambda d: _box(d, "ingest").update(image="busybox:1.0.0")),
    "no version": (policies.images_are_listed, lambda d: _box(d, "ingest").update(image="forebay/pipeline:latest")),
    "score without torch": (
        policies.images_are_listed,
        lambda d: _box(d, "score").update(image="forebay/pipeline:0.1.0"),
    ),
    "state on nothing": (policies.storage_is_reached, lambda d: _drop(d, "PersistentVolumeClaim", "state")),
    "a volume that several nodes share": (
        policies.storage_is_reached,
        lambda d: named(d, "PersistentVolumeClaim", "models")[0]["spec"].update(accessModes=["ReadWriteMany"]),
    ),
    "a bucket beside a volume": (
        policies.storage_is_reached,
        lambda d: settings_of(d).update(FOREBAY_STATE_URI="s3://forebay/state"),
    ),
    "a bucket that nobody may reach": (
        policies.conduits,
        lambda d: settings_of(d).update(FOREBAY_ARCHIVE_URI="s3://forebay/archive"),
    ),
    "a registry that retrain cannot write": (
        policies.storage_is_reached,
        lambda d: [mount.update(readOnly=True) for mount in _box(d, "retrain")["volumeMounts"]],
    ),
    "a shared Kafka principal": (
        policies.storage_is_reached,
        lambda d: [
            volume["projected"]["sources"].pop()
            for volume in pod(_workload(d, "archive"))["volumes"]
            if "projected" in volume
        ],
    ),
    "more workers than partitions": (policies.sizes_fit, lambda d: _workload(d, "score")["spec"].update(replicas=9)),
    "two retrains at once": (policies.sizes_fit, lambda d: _workload(d, "retrain")["spec"].pop("strategy")),
    "a page without TLS": (policies.ports_and_probes, lambda d: _probe(d, "triage").pop("scheme")),
    "a page's probe of a path that it has not": (
        policies.ports_and_probes,
        lambda d: _probe(d, "triage").update(path="/startupz"),
    ),
    "the page's certificate on nothing": (
        policies.files_are_mounted,
        lambda d: _box(d, "triage")["args"].append("--tls-cert=/etc/forebay/tls/tls.crt"),
    ),
    "outputs that nobody mounts": (policies.files_are_mounted, lambda d: _box(d, "output")["volumeMounts"].pop()),
    "a stage that the page does not ask": (
        policies.the_page_asks_every_stage,
        lambda d: [each.update(value="http://ingest:9464/metrics") for each in _box(d, "triage")["env"]],
    ),
    "two pages on one store": (policies.sizes_fit, lambda d: _workload(d, "triage")["spec"].pop("strategy")),
    "a page that nobody reaches": (policies.conduits, lambda d: _drop(d, "NetworkPolicy", "page")),
    "receivers at every port": (
        policies.conduits,
        lambda d: named(d, "NetworkPolicy", "receivers")[0]["spec"]["egress"][0].pop("ports"),
    ),
    "an output without its own principal": (
        policies.storage_is_reached,
        lambda d: pod(_workload(d, "output"))["volumes"][0]["projected"]["sources"].pop(),
    ),
    "three replicas on one broker": (
        policies.one_broker_at_the_edge,
        lambda d: settings_of(d).update(FOREBAY_REPLICATION_FACTOR="3"),
    ),
}


def test_there_are_enough_mutations() -> None:
    assert len(MUTATIONS) >= 15
    assert {policy for policy, _ in MUTATIONS.values()} == set(policies.POLICIES), "a policy that no mutation tests"


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_manifest_is_found(name: str) -> None:
    policy, mutate = MUTATIONS[name]
    manifests = documents("one node with page and outputs")
    mutate(manifests)
    assert list(policy(manifests))


def test_a_bucket_needs_its_credentials_and_a_conduit() -> None:
    manifests = documents("base")
    _box(manifests, "score")["envFrom"].pop()
    assert any("credentials" in breach for breach in policies.storage_is_reached(manifests))
    manifests = documents("base")
    _drop(manifests, "NetworkPolicy", "storage")
    assert any("egress lacks" in breach for breach in policies.conduits(manifests))


def test_the_base_needs_no_volume() -> None:
    assert not named(documents("base"), "PersistentVolumeClaim")
    assert not named(documents("overlays/gpu"), "PersistentVolumeClaim")
