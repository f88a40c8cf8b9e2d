"""The stages as the manifests start them, as far as one machine can: their command, settings, probes, and end."""

import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import orjson
import pytest

from pipeline.runtime.kafka import topics
from pipeline.settings import load_settings
from pipeline.tools.processes import Processes, StartedProcess
from tests.contract.tree import STAGES
from tests.k8s.policies import PROBES
from tests.k8s.render import container, documents, pod, settings_of, workloads
from tests.patience import PATIENCE_S
from tests.runtime.storage.bucket import endpoint, make_bucket

__all__ = ["endpoint"]
pytestmark = pytest.mark.integration

READY_WITHIN_S = PATIENCE_S


def port_of(stage: StartedProcess) -> int:
    """Where a stage serves its metrics, as its log says."""
    for line in stage.log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and (entry := orjson.loads(line)).get("event") == "ready":
            return int(entry["metrics_port"])
    raise AssertionError(stage.last_words())


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def eventually(port: int, path: str) -> str:
    """The answer of a probe, once it is 200."""
    deadline = time.monotonic() + READY_WITHIN_S
    while (answer := get(port, path))[0] != 200:
        assert time.monotonic() < deadline, f"{path}: {answer}"
        time.sleep(0.2)
    return answer[1]


def test_stages_as_deployed(kafka: str, prefix: str, tmp_path: Path, endpoint: str) -> None:
    base = documents("base")
    environment = dict(settings_of(base)) | {
        # What belongs to the cluster: where Kafka is and how it is secured, the pod's address.
        "FOREBAY_BOOTSTRAP": kafka,
        "FOREBAY_SECURITY": "{}",
        "FOREBAY_TOPIC_PREFIX": prefix,
        "FOREBAY_REPLICATION_FACTOR": "1",
        "FOREBAY_METRICS_HOST": "127.0.0.1",
        "FOREBAY_METRICS_PORT": "0",
        # The bucket as the manifests name it, on the tests' server.
        **{name: f"{uri}&endpoint={endpoint}" for name, uri in settings_of(base).items() if name.endswith("_URI")},
    }
    make_bucket(endpoint, "forebay")
    settings = load_settings(
        bootstrap=kafka, topic_prefix=prefix, partitions=int(environment["FOREBAY_PARTITIONS"]), replication_factor=1
    )
    topics.create(settings)
    processes = Processes(tmp_path, environment | {"FOREBAY_INSTANCE_ID": "stage-0", "OMP_NUM_THREADS": "1"})
    try:
        stages = {}
        for workload in workloads(base):
            command = [*container(workload)["command"], *container(workload)["args"]]
            assert command[0] == "forebay"
            stages[workload["metadata"]["name"]] = processes.start(workload["metadata"]["name"], *command[1:])
        assert set(stages) == set(STAGES)
        processes.wait_ready(list(stages.values()), READY_WITHIN_S)
        for stage in stages.values():
            for path in set(PROBES.values()):
                eventually(port_of(stage), path)
            status, metrics = get(port_of(stage), "/metrics")
            assert status == 200 and "forebay_up 1.0" in metrics
        grace_s = min(pod(workload)["terminationGracePeriodSeconds"] for workload in workloads(base))
        for stage in stages.values():
            stage.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        codes = {name: stage.process.wait(max(0.1, deadline - time.monotonic())) for name, stage in stages.items()}
        assert codes == dict.fromkeys(stages, 0), {
            name: stages[name].last_words() for name, code in codes.items() if code
        }
        for name, stage in stages.items():
            assert "Traceback" not in stage.log.read_text(encoding="utf-8"), f"{name}:\n{stage.last_words()}"
    finally:
        processes.stop()
