"""A message that is none, or lacks one of its facts, stops every reader by the same error, at its position; one of an
earlier version stops none.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson
import pyarrow as pa
import pytest

from pipeline.alert.worker import AlertStage
from pipeline.archive.pairing import read_rejects, read_scored
from pipeline.contracts.envelope import ScoredFacts
from pipeline.errors import BadData, BadEnvelope, SchemaMismatch
from pipeline.featurize.worker import Featurize
from pipeline.retrain.worker import RetrainWorker
from pipeline.runtime.faust.stage import Incoming
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry
from pipeline.runtime.wire import batches, framing
from pipeline.score import group
from pipeline.settings import Settings, load_settings
from pipeline.tools import promotion
from tests.contract.tree import modules
from tests.contracts.facts import at, features_facts, flows_facts
from tests.runtime.wire.earlier import written_plain, written_with_facts_in_its_schema


class Message:
    """A message as confluent_kafka gives it."""

    def __init__(self, topic: str, value: bytes) -> None:
        self._topic, self._value = topic, value

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 918

    def value(self) -> bytes:
        return self._value

    def headers(self) -> None:
        return None


def incoming(value: bytes) -> Incoming:
    return Incoming(0, 918, 0, None, value, {})


def featurize(settings: Settings, telemetry: Telemetry, value: bytes) -> object:
    stage = Featurize(settings, telemetry)
    return stage.advance(stage.restore(0, None, {}), incoming(value))


def score(settings: Settings, _telemetry: Telemetry, value: bytes) -> object:
    return group.read(value, clients.position_of(cast("Any", Message(settings.topics.features, value))))


def alert(settings: Settings, telemetry: Telemetry, value: bytes) -> object:
    stage = AlertStage(settings, telemetry)
    return stage.advance(stage.restore(0, None, {}), incoming(value))


def archive(settings: Settings, _telemetry: Telemetry, value: bytes) -> object:
    return read_scored(value, at(settings.topics.archive, 0, 918))


def rejects(settings: Settings, _telemetry: Telemetry, value: bytes) -> object:
    return read_rejects(value, at(settings.topics.rejects, 0, 918))


def retrain(settings: Settings, telemetry: Telemetry, value: bytes) -> None:
    kafka = KafkaWatch("retrain", settings, telemetry, Stop())
    worker = RetrainWorker(settings, telemetry, kafka)
    worker._collect(cast("Any", Message(settings.topics.retrain, value)))


def promote(settings: Settings, _telemetry: Telemetry, value: bytes) -> int:
    return promotion._highest_us(cast("Any", Message(settings.topics.retrain, value)))


FEATURES, SCORED = features_facts().document(), ScoredFacts.of(features_facts()).document()
STAGES: dict[Callable[[Settings, Telemetry, bytes], object], tuple[str, str, dict[str, object], str]] = {
    featurize: ("flows", "flow", flows_facts().document(), "last"),
    score: ("features", "features", FEATURES, "seq"),
    alert: ("suspects", "scored", SCORED, "seq"),
    archive: ("archive", "scored", SCORED, "through"),
    rejects: ("rejects", "reject", {"raw_partition": 0}, "raw_partition"),
    retrain: ("retrain", "scored", SCORED, "feature_hash"),
    promote: ("retrain", "scored", SCORED, "watermarks"),
}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_missing_fact_stops_every_reader_by_the_same_error(
    stage: Callable[[Settings, Telemetry, bytes], object], tmp_path: Path
) -> None:
    topic, schema, facts, missing = STAGES[stage]
    settings, telemetry = _reader(stage.__name__, tmp_path)
    without = {name: value for name, value in facts.items() if name != missing}
    with pytest.raises(BadEnvelope, match=rf"^{topic}\[0\]@918: fact '{missing}' of .*: got nothing .*expected"):
        stage(settings, telemetry, batches.encode(batches.empty(schema), without))


def _first_frame_of(size: int) -> Callable[[bytes], bytes]:
    """The first of a message's three frames says that it has so many bytes unpacked."""
    return lambda value: value[:-25] + size.to_bytes(4, "little") + value[-21:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _value: b"",
    "cut at its end": lambda value: value[:-1],
    "cut at its begin": lambda value: value[1:],
    "its first half": lambda value: value[: len(value) // 2],
    "another mark": lambda value: value[:-1] + b"3",
    "rubbish before it": lambda value: b"rubbish" + value,
    "rubbish behind it": lambda value: value + b"rubbish",
    "twice": lambda value: value * 2,
    "of no frames": lambda value: value[:-5] + b"\0" + value[-4:],
    "of more frames": lambda value: value[:-5] + b"\xff" + value[-4:],
    "a frame of nothing": _first_frame_of(0),
    "a frame of less": _first_frame_of(100),
    "a frame of more": _first_frame_of(20_000),
    "a frame of all there may be": _first_frame_of(framing.MAX_UNPACKED_BYTES),
    "a frame of four gigabytes": _first_frame_of(2**32 - 1),
    "of other columns": lambda _value: batches.encode(pa.record_batch({"x": [1]}), {}),
}


def _reader(name: str, folder: Path) -> tuple[Settings, Telemetry]:
    settings = load_settings(
        topic_prefix="", bootstrap="127.0.0.1:1", state_uri=folder, registry_uri=folder, metrics_port=-1
    )
    return settings, Telemetry(name, settings)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_malformed_message_stops_every_reader_at_its_position(
    stage: Callable[[Settings, Telemetry, bytes], object], tmp_path: Path
) -> None:
    topic, schema, facts, _ = STAGES[stage]
    value = batches.encode(batches.empty(schema), facts)
    settings, telemetry = _reader(stage.__name__, tmp_path)
    for name, damage in DAMAGES.items():
        with pytest.raises((BadData, SchemaMismatch)) as raised:
            stage(settings, telemetry, damage(value))
            pytest.fail(name)
        said = str(raised.value)
        assert said.startswith(f"{topic}[0]@918: ") and "got " in said and "expected " in said, said


@pytest.mark.parametrize("written", [written_plain, written_with_facts_in_its_schema])
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_message_of_an_earlier_version_is_read_by_every_reader(
    stage: Callable[[Settings, Telemetry, bytes], object],
    written: Callable[[pa.RecordBatch, bytes], bytes],
    tmp_path: Path,
) -> None:
    _, schema, facts, _ = STAGES[stage]
    stage(*_reader(stage.__name__, tmp_path), written(batches.empty(schema), orjson.dumps(facts)))


@pytest.mark.slow
def test_nobody_reads_a_messages_facts_but_through_the_envelope() -> None:
    """`batches` gives facts as JSON: only the message reader takes them from it.

    Besides, alert for its own saved state, and the scoring server for answers, which are no messages of a topic.
    """
    allowed = {
        "pipeline.runtime.wire.messages",
        "pipeline.runtime.wire.batches",
        "pipeline.alert.partition",
        "pipeline.tools.inference.arrow_bodies",
    }
    raw = ("encode", "decode")
    users = set()
    for module in modules():
        text = module.path.read_text("utf-8")
        names = {statement.name for statement in module.imports}
        imported = any(f"pipeline.runtime.wire.batches.{name}" in names for name in raw)
        if imported or any(f"batches.{name}(" in text for name in raw):
            users.add(module.name)
    assert users <= allowed, f"read or write messages past the envelope: {sorted(users - allowed)}"
