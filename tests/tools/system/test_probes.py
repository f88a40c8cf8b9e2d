import socket
import threading
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.runtime.telemetry.telemetry import Telemetry
from pipeline.settings import load_settings
from pipeline.tools.system import probes


def metrics_of(stage: str) -> str:
    """What a stage's endpoint would say after a few rows."""
    from prometheus_client import generate_latest

    telemetry = Telemetry(stage, load_settings(metrics_port=-1))
    telemetry.stage.rows_in(3)
    telemetry.stage.rows_in(4)
    telemetry.stage.batch(0.2)
    telemetry.gauge("forebay_partitions", 2)
    telemetry.count("forebay_strange", label='quoted "text", with = and }')
    return generate_latest(telemetry.registry).decode()


def test_an_answer_that_comes_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "BODY_S", 0.2)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            asker, _ = server.accept()
            with asker, suppress(OSError):
                asker.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while not ended.wait(0.02):
                    asker.sendall(b"#")

        slow = threading.Thread(target=drip)
        slow.start()
        assert probes.get("127.0.0.1", server.getsockname()[1], "/metrics") is None
        ended.set()
        slow.join()


def test_merged_metrics_have_each_family_once_and_every_sample_its_stage() -> None:
    texts = {stage: metrics_of(stage) for stage in ("featurize", "score", "alert")}
    merged = probes.merge(texts)
    families = list(text_string_to_metric_families(merged))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert merged.count("# TYPE forebay_partitions ") == 1
    samples = [(sample.name, tuple(sorted(sample.labels.items()))) for family in families for sample in family.samples]
    assert len(samples) == len(set(samples))
    assert all(dict(labels)["stage"] in texts for _, labels in samples)
    before = {
        (sample.name, stage, sample.value, len(sample.labels.keys() | {"stage"}))
        for stage, text in texts.items()
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    after = {
        (sample.name, sample.labels["stage"], sample.value, len(sample.labels))
        for family in families
        for sample in family.samples
    }
    assert after == before


def test_sums_are_over_all_labels() -> None:
    text = 'a_total{site="x",y="} 7"} 3\na_total{site="z"} 4.5\n# TYPE a_total counter\nb 1e3\n'
    assert probes.sums(text, ("a_total", "b", "c")) == {"a_total": 7.5, "b": 1000.0}


def test_who_does_not_answer_is_not_ready_and_not_known_to_hang() -> None:
    assert probes.get("127.0.0.1", 1, "/metrics") is None
    assert not probes.is_ready("127.0.0.1", 1, "/readyz")
    assert not probes.hangs("127.0.0.1", 1)
    assert probes.reachable_host("::") == "::1"


def test_samples_are_added_up_by_a_label() -> None:
    text = "\n".join(
        [
            "# TYPE sensors gauge",
            'sensors{partition="0",phase="learning"} 2.0',
            'sensors{partition="1",phase="learning"} 1.0',
            'sensors{partition="1",phase="anchored"} 4.0',
            'sensors_total{partition="1",phase="anchored"} 9.0',
            "sensors 7.0",
        ]
    )
    assert probes.sums_by(text, "sensors", "phase") == {"learning": 3.0, "anchored": 4.0}
    assert probes.sums_by("", "sensors", "phase") == {}
