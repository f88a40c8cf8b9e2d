"""Policies that the manifests must meet, beyond their schema: each yields a sentence per breach."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath

import kubernetes_validate  # type: ignore[import-untyped]
from typer.main import get_command

from pipeline.settings import Settings
from schemas.topics import topics
from tests.contract.tree import ROOT, STAGES
from tests.k8s.render import Document, container, named, pod, settings_of, workloads

Policy = Callable[[list[Document]], Iterator[str]]
PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
# Workloads that are no stages, of components: the command that each runs, and the port that its probes ask.
EXTRAS = {"output": ("run", "metrics"), "triage": ("serve", "page")}
PAGE_PROBES = {**PROBES, "startupProbe": "/livez"}
PAGE_PORT = 9480
OWN_VOLUME: dict[str, Document] = {"store": {}}
"""Of the page: its audit log lies in no bucket."""
OWN_FILES = PurePosixPath("/etc/forebay")
STORAGE_SECRET = "forebay-storage"
# What the settings name that a stage needs, and whether it writes there.
FOLDERS = {
    "featurize": [("FOREBAY_STATE_URI", True)],
    "alert": [("FOREBAY_STATE_URI", True), ("FOREBAY_REGISTRY_URI", False)],
    "archive": [("FOREBAY_ARCHIVE_URI", True)],
    "score": [("FOREBAY_REGISTRY_URI", False)],
    "retrain": [("FOREBAY_REGISTRY_URI", True), ("FOREBAY_SAMPLES_URI", True)],
    "triage": [("FOREBAY_ARCHIVE_URI", False), ("FOREBAY_REGISTRY_URI", False), ("FOREBAY_SAMPLES_URI", False)],
}
TORCH_STAGES = {"score", "retrain"}


def schema(manifests: list[Document]) -> Iterator[str]:
    """Kubernetes' own schemas, unknown fields refused."""
    for document in manifests:
        breach = _breach_of_schema(json.dumps(document, sort_keys=True))
        if breach:
            yield f"{document['kind']}/{document['metadata'].get('name')}: {breach}"


@cache
def _breach_of_schema(document: str) -> str:
    """What is wrong with a document; most are alike in all overlays, so each is validated once."""
    try:
        kubernetes_validate.validate(json.loads(document), kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return ""


def _expected(manifests: list[Document]) -> list[str]:
    """The stages, and what components have added."""
    return sorted([*STAGES, *EXTRAS.keys() & {workload["metadata"]["name"] for workload in workloads(manifests)}])


def one_workload_a_stage(manifests: list[Document]) -> Iterator[str]:
    """Each stage of the command line has exactly one workload, and there are no others but those of components."""
    names = [workload["metadata"]["name"] for workload in workloads(manifests)]
    if sorted(names) != _expected(manifests):
        yield f"workloads {sorted(names)}, expected {_expected(manifests)}"


def commands_exist(manifests: list[Document]) -> Iterator[str]:
    """What a container runs is a command of this `forebay`, with options it has."""
    for workload in workloads(manifests):
        stage, box = workload["metadata"]["name"], container(workload)
        words = [*box.get("command", []), *box.get("args", [])]
        name, _ = EXTRAS.get(stage, ("run", ""))
        if words[:3] != ["forebay", stage, name]:
            yield f"{stage}: runs {words}, expected forebay {stage} {name}"
            continue
        command = get_command(import_module(f"pipeline.tools.cli.{'outputs' if stage == 'output' else stage}").app)
        verb = getattr(command, "commands", {}).get(name)
        known = {option for parameter in getattr(verb, "params", []) for option in parameter.opts}
        if verb is None:
            yield f"{stage}: the command line has no `forebay {stage} {name}`"
        for word in words[3:]:
            if word.startswith("-") and word.partition("=")[0] not in known:
                yield f"{stage}: `forebay {stage} {name}` has no {word}"


def ports_and_probes(manifests: list[Document]) -> Iterator[str]:
    """Port names are valid; every probe asks a path that the endpoint answers, at a port that is there."""
    metrics = int(settings_of(manifests)["FOREBAY_METRICS_PORT"])
    for workload in workloads(manifests):
        stage, box = workload["metadata"]["name"], container(workload)
        ports = {port["name"]: port["containerPort"] for port in box.get("ports", [])}
        yield from (f"{stage}: port name {name} is over 15 characters" for name in ports if len(name) > 15)
        _, port = EXTRAS.get(stage, ("", "metrics"))
        number = metrics if port == "metrics" else PAGE_PORT
        if ports.get(port) != number:
            yield f"{stage}: container port {port} is {ports.get(port)}, expected {number}"
        for probe, path in (PROBES if port == "metrics" else PAGE_PROBES).items():
            asked = box.get(probe, {}).get("httpGet", {})
            if asked.get("path") != path or asked.get("port") not in {port, number}:
                yield f"{stage}: {probe} asks {asked}, expected {path} at {port}"
            if (asked.get("scheme", "HTTP") == "HTTPS") != (port == "page"):
                yield f"{stage}: {probe} asks by {asked.get('scheme', 'HTTP')}"
        start = box.get("startupProbe", {})
        if start.get("periodSeconds", 0) * start.get("failureThreshold", 0) < 120:
            yield f"{stage}: under two minutes to start; compiled windows and a large state need longer"


def settings_are_real(manifests: list[Document]) -> Iterator[str]:
    """Every FOREBAY_ variable is a setting, and the values are valid ones."""
    values = dict(settings_of(manifests))
    for workload in workloads(manifests):
        for variable in container(workload).get("env", []):
            if variable["name"].startswith("FOREBAY_"):
                values[variable["name"]] = variable.get("value", "pod-0")
    fields = {}
    for name, value in values.items():
        field = name.removeprefix("FOREBAY_").lower()
        if field not in Settings.model_fields:
            yield f"{name} is not a setting"
        elif field != "outputs":  # a file of the cluster's
            fields[field] = json.loads(value) if value.startswith("{") else value
    try:
        Settings.model_validate(fields)
    except ValueError as error:
        yield f"settings: {error}"


def pods_are_restricted(manifests: list[Document]) -> Iterator[str]:
    """Pod Security's restricted profile, and more: no token, no writable root, no service links."""
    for workload in workloads(manifests):
        stage, spec, box = workload["metadata"]["name"], pod(workload), container(workload)
        context, box_context = spec.get("securityContext", {}), box.get("securityContext", {})
        demands = {
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "runAsUser over 10000": context.get("runAsUser", 0) > 10_000,
            "seccompProfile RuntimeDefault": context.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "no privilege escalation": box_context.get("allowPrivilegeEscalation") is False,
            "not privileged": not box_context.get("privileged", False),
            "read-only root": box_context.get("readOnlyRootFilesystem") is True,
            "all capabilities dropped": box_context.get("capabilities") == {"drop": ["ALL"]},
            "no token": spec.get("automountServiceAccountToken") is False,
            "no service links": spec.get("enableServiceLinks") is False,
            "own service account": spec.get("serviceAccountName") == "forebay",
            "no host namespaces": not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
            "no host paths": not any("hostPath" in volume for volume in spec.get("volumes", [])),
            "memory limit": "memory" in box.get("resources", {}).get("limits", {}),
            "no CPU limit": "cpu" not in box.get("resources", {}).get("limits", {}),
            "time to finish": spec.get("terminationGracePeriodSeconds", 30) >= 60,
        }
        yield from (f"{stage}: lacks {name}" for name, met in demands.items() if not met)


def no_rights(manifests: list[Document]) -> Iterator[str]:
    """No role is bound to anybody, and the namespace enforces the restricted profile."""
    yield from (
        f"{document['kind']}/{document['metadata']['name']}" for document in manifests if "Role" in document["kind"]
    )
    for namespace in named(manifests, "Namespace"):
        if namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "the namespace does not enforce the restricted profile"
    if not named(manifests, "Namespace"):
        yield "no namespace"


def _allowed(manifests: list[Document], direction: str) -> set[tuple[str, int]]:
    return {
        (port.get("protocol", "TCP"), port["port"])
        for policy in named(manifests, "NetworkPolicy")
        for rule in policy["spec"].get(direction) or []
        for port in rule.get("ports", [{"protocol": "any", "port": 0}])
    }


def conduits(manifests: list[Document]) -> Iterator[str]:
    """Everything is denied but names, Kafka, traces and metrics; policies select our pods only."""
    ours = {"app.kubernetes.io/part-of": "forebay"}
    denying = [
        policy
        for policy in named(manifests, "NetworkPolicy")
        if set(policy["spec"].get("policyTypes", [])) == {"Ingress", "Egress"}
        and not policy["spec"].get("ingress")
        and not policy["spec"].get("egress")
    ]
    if not denying:
        yield "no policy denies by default"
    for policy in named(manifests, "NetworkPolicy"):
        name, spec = policy["metadata"]["name"], policy["spec"]
        if not ours.items() <= spec["podSelector"].get("matchLabels", {}).items():
            yield f"{name}: selects {spec['podSelector']}, not our pods"
        for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
            peers = rule.get("to") or rule.get("from")
            if not rule.get("ports") or not peers:
                yield f"{name}: a rule without ports or peers opens everything"
            for peer in peers or []:
                if peer.get("ipBlock", {}).get("cidr") in {"0.0.0.0/0", "::/0"}:
                    yield f"{name}: reaches every address; name those of the peer"
    values = settings_of(manifests)
    kafka = {("TCP", int(server.rpartition(":")[2])) for server in values["FOREBAY_BOOTSTRAP"].split(",")}
    wanted = {("UDP", 53), ("TCP", 53), ("TCP", 4318)} | kafka
    if any(values[setting].startswith("s3://") for stage in FOLDERS.values() for setting, _ in stage):
        wanted |= {("TCP", 9000)}
    added = _expected(manifests)
    wanted |= {("TCP", 6514), ("TCP", 443), ("TCP", 587)} if "output" in added else set()
    wanted |= {("TCP", 443), ("TCP", int(values["FOREBAY_METRICS_PORT"]))} if "triage" in added else set()
    if wanted - _allowed(manifests, "egress"):
        yield f"egress lacks {sorted(wanted - _allowed(manifests, 'egress'))}"
    if _allowed(manifests, "egress") - wanted - {("TCP", 9092), ("TCP", 9093)}:
        yield f"egress to undeclared ports {sorted(_allowed(manifests, 'egress') - wanted)}"
    entries = {("TCP", int(values["FOREBAY_METRICS_PORT"]))} | ({("TCP", PAGE_PORT)} if "triage" in added else set())
    if _allowed(manifests, "ingress") != entries:
        yield f"ingress at {_allowed(manifests, 'ingress')}, expected {entries} only"
    for workload in workloads(manifests):
        labels = workload["spec"]["template"]["metadata"].get("labels", {})
        if not ours.items() <= labels.items():
            yield f"{workload['metadata']['name']}: its pods are outside every policy"


def selectors_match(manifests: list[Document]) -> Iterator[str]:
    """Services and disruption budgets each select exactly the pods of the stage they are named after."""
    for kind in ("Service", "PodDisruptionBudget"):
        names = [selecting["metadata"]["name"] for selecting in named(manifests, kind)]
        if sorted(names) != _expected(manifests):
            yield f"{kind}s {sorted(names)}, expected {_expected(manifests)}"
        for selecting in named(manifests, kind):
            selector = selecting["spec"]["selector"]
            labels = selector if kind == "Service" else selector["matchLabels"]
            hit = [
                workload["metadata"]["name"]
                for workload in workloads(manifests)
                if labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
            ]
            if hit != [selecting["metadata"]["name"]]:
                yield f"{kind}/{selecting['metadata']['name']} selects {hit}"
    for workload in named(manifests, "StatefulSet"):
        (service,) = named(manifests, "Service", workload["spec"]["serviceName"]) or [{"spec": {}}]
        if service["spec"].get("clusterIP") != "None":
            yield f"{workload['metadata']['name']}: its service is missing or not headless"
    for budget in named(manifests, "PodDisruptionBudget"):
        if budget["spec"].get("maxUnavailable") != 1 or "minAvailable" in budget["spec"]:
            yield f"PodDisruptionBudget/{budget['metadata']['name']}: would block a drain"


def images_are_listed(manifests: list[Document]) -> Iterator[str]:
    """Every image is in images.txt, with a tag; torch is in the stages that need it and in no other."""
    lines = (ROOT / "k8s/images/images.txt").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    for workload in workloads(manifests):
        stage, image = workload["metadata"]["name"], container(workload)["image"]
        if image not in listed:
            yield f"{stage}: image {image} is not in images.txt"
        if not re.search(r":\d+\.\d+\.\d+$|@sha256:", image):
            yield f"{stage}: image {image} has no version"
        if ("inference" in image) != (stage in TORCH_STAGES):
            yield f"{stage}: runs {image}"


def storage_is_reached(manifests: list[Document]) -> Iterator[str]:
    """What the settings name as folders lies on volumes of the stages that use them, writable where they write; for
    buckets, the stages get the credentials. No volume is shared between nodes.
    """
    values = settings_of(manifests)
    claims = {claim["metadata"]["name"]: claim["spec"] for claim in named(manifests, "PersistentVolumeClaim")}
    for name, claim in claims.items():
        if claim.get("accessModes") != ["ReadWriteOnce"]:
            yield f"{name}: {claim.get('accessModes')}: what several nodes share lies in a bucket"
    for workload in workloads(manifests):
        stage, spec, box = workload["metadata"]["name"], pod(workload), container(workload)
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        mounts = {mount["mountPath"]: mount for mount in box.get("volumeMounts", [])}
        for path in ("/tmp", "/var/cache/forebay"):
            if "emptyDir" not in volumes.get(mounts.get(path, {}).get("name", ""), {}):
                yield f"{stage}: nothing to write on at {path}"
        for setting, writes in FOLDERS.get(stage, []):
            if values[setting].startswith("s3://"):
                yield from _bucket(stage, setting, box, {**volumes, **OWN_VOLUME} if stage == "triage" else volumes)
                continue
            folder = PurePosixPath(values[setting])
            holding = [path for path in mounts if folder.is_relative_to(path)]
            claimed = volumes.get(mounts[holding[0]]["name"], {}).get("persistentVolumeClaim") if holding else None
            if claimed is None or claimed["claimName"] not in claims:
                yield f"{stage}: {setting}={folder} is on no claimed volume"
            elif writes and (claimed.get("readOnly") or mounts[holding[0]].get("readOnly")):
                yield f"{stage}: writes to {folder}, which is mounted read-only"
        secrets = {
            source["secret"]["name"]
            for source in volumes.get("kafka", {}).get("projected", {}).get("sources", [])
            if "secret" in source
        }
        if f"forebay-{stage}" not in secrets:
            yield f"{stage}: has no Kafka principal of its own, only {sorted(secrets)}"


def _bucket(stage: str, setting: str, box: Document, volumes: dict[str, Document]) -> Iterator[str]:
    secrets = [source["secretRef"] for source in box.get("envFrom", []) if "secretRef" in source]
    if [secret.get("name") for secret in secrets] != [STORAGE_SECRET]:
        yield f"{stage}: {setting} is a bucket, and its credentials ({STORAGE_SECRET}) are not given"
    if any("persistentVolumeClaim" in volume for volume in volumes.values()):
        yield f"{stage}: {setting} is a bucket, and there is a volume that nobody uses"


def files_are_mounted(manifests: list[Document]) -> Iterator[str]:
    """Every file of ours that a container's options and variables name lies in a Secret that is mounted there."""
    for workload in workloads(manifests):
        stage, box = workload["metadata"]["name"], container(workload)
        volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
        secret = [
            mount["mountPath"]
            for mount in box["volumeMounts"]
            if volumes[mount["name"]].keys() & {"secret", "projected"} and mount.get("readOnly")
        ]
        given = [word.partition("=")[2] for word in box.get("args", [])]
        given += [variable.get("value", "") for variable in box.get("env", [])]
        for path in map(PurePosixPath, given):
            if path.is_relative_to(OWN_FILES) and not any(path.is_relative_to(each) for each in secret):
                yield f"{stage}: {path} is in no mounted Secret"


def the_page_asks_every_stage(manifests: list[Document]) -> Iterator[str]:
    """The page's setting names the Service of each stage, at the port of its metrics."""
    port = settings_of(manifests)["FOREBAY_METRICS_PORT"]
    wanted = {f"http://{stage}:{port}/metrics" for stage in STAGES}
    for workload in named(manifests, "Deployment", "triage"):
        given = {each["name"]: each.get("value", "") for each in container(workload)["env"]}
        asked = set(given.get("FOREBAY_STAGE_METRICS", "").split(","))
        if asked != wanted:
            yield f"triage: asks {sorted(asked)}, expected {sorted(wanted)}"


def sizes_fit(manifests: list[Document]) -> Iterator[str]:
    """No more workers than partitions; a rollout never runs two where two cannot run."""
    partitions = int(settings_of(manifests)["FOREBAY_PARTITIONS"])
    most = max(topic.partition_count(partitions) for topic in topics().values())
    for workload in workloads(manifests):
        stage, spec = workload["metadata"]["name"], workload["spec"]
        if not 1 <= spec.get("replicas", 1) <= most:
            yield f"{stage}: {spec['replicas']} workers for {most} partitions"
        if workload["kind"] == "Deployment":
            strategy = spec.get("strategy", {})
            surge = strategy.get("rollingUpdate", {}).get("maxSurge", "25%")
            if strategy.get("type") != "Recreate" and surge not in {0, "0"}:
                yield f"{stage}: a rollout would run two at once"


def one_broker_at_the_edge(manifests: list[Document]) -> Iterator[str]:
    """Volumes of one node need a single broker: three replicas would never be in sync there."""
    claims = {claim["metadata"]["name"]: claim["spec"] for claim in named(manifests, "PersistentVolumeClaim")}
    once = "ReadWriteOnce" in claims.get("state", {}).get("accessModes", [])
    replicas = int(settings_of(manifests)["FOREBAY_REPLICATION_FACTOR"])
    if once and replicas != 1:
        yield f"one node, but {replicas} replicas of every topic"


POLICIES: tuple[Policy, ...] = (
    schema,
    one_workload_a_stage,
    commands_exist,
    ports_and_probes,
    settings_are_real,
    pods_are_restricted,
    no_rights,
    conduits,
    selectors_match,
    images_are_listed,
    storage_is_reached,
    files_are_mounted,
    the_page_asks_every_stage,
    sizes_fit,
    one_broker_at_the_edge,
)
