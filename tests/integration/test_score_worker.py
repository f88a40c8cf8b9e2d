"""Score on a real broker: every features message scored exactly once, whatever happens to the worker."""

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Message, TopicPartition

from models.serving import registry
from models.serving.model import Model
from pipeline.contracts.promotions import PromotionLedger
from pipeline.runtime.kafka import clients
from pipeline.runtime.wire.batches import decode
from pipeline.runtime.wire.messages import write
from pipeline.runtime.wire.traceparent import parse
from pipeline.score.group import encoded, read, score_group
from pipeline.score.model_cache import ModelCache
from pipeline.settings import Settings
from pipeline.tools.broker import local
from tests.contracts.facts import at
from tests.integration.chains import settings_for, wait_for, worker
from tests.patience import PATIENCE_S
from tests.score.small_model import facts, features, small_model

pytestmark = pytest.mark.integration
SCORE = "pipeline.tools.cli score run"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Log = dict[int, list[bytes]]


@pytest.fixture
def settings(kafka: str, prefix: str, tmp_path: Path) -> Settings:
    for seed in range(3):
        registry.save(small_model(seed), tmp_path / "models")
    return settings_for(
        kafka,
        prefix,
        tmp_path / "state",
        registry_uri=tmp_path / "models",
        model=small_model(0).id,
        score_group_messages=4,
        device="cpu",
    )


def payload(seq: int, partition: int, rows: int = 20, **changes: Any) -> bytes:
    """Features message `seq`: rows at raw offsets, and event times of 1 ms a row, that follow from it."""
    batch = features(rows, partition, first_offset=seq * 100)
    return write(batch, replace(facts(seq, partition, batch), **changes))


def send(settings: Settings, messages: Mapping[int, list[bytes]]) -> None:
    """Put features messages into their partitions, as featurize does: without a transaction."""
    producer = clients.producer(settings, "test")
    for partition, payloads in messages.items():
        for value in payloads:
            producer.produce(
                settings.topics.features,
                value=value,
                key=b"north/tap",
                partition=partition,
                headers={"traceparent": TRACE},
            )
    assert producer.flush(30) == 0


def received(
    settings: Settings, topic: str, enough: Mapping[int, int], timeout_s: float = PATIENCE_S
) -> dict[int, list[Message]]:
    """What a read_committed reader gets, until partition p has enough[p] messages, and what follows within a second."""
    reader = clients.reader(settings, "test")
    reader.assign([TopicPartition(topic, partition, 0) for partition in enough])
    messages: dict[int, list[Message]] = {partition: [] for partition in enough}
    deadline = time.monotonic() + timeout_s
    while any(len(messages[p]) < enough[p] for p in enough):
        assert time.monotonic() < deadline, f"{topic}: { ({p: len(each) for p, each in messages.items()}) } of {enough}"
        for message in reader.consume(500, 0.2):
            messages[message.partition() or 0].append(clients.raise_for(message))
    for message in reader.consume(500, 1.0):
        messages[message.partition() or 0].append(clients.raise_for(message))
    reader.close()
    return messages


def values(scored: Mapping[int, list[Message]]) -> Log:
    return {partition: [message.value() or b"" for message in messages] for partition, messages in scored.items()}


def reference(
    settings: Settings, messages: Mapping[int, list[bytes]], ledger: PromotionLedger | None = None
) -> tuple[Log, Log, Log]:
    """What suspects, archive and retrain hold after a run in which nothing happened, with the models of a ledger."""
    cache = ModelCache(settings.model, Path(settings.registry_uri), "cpu")
    outputs: list[Log] = [{partition: [] for partition in messages} for _topic in range(3)]
    for partition, payloads in messages.items():
        group = [read(value, at("features", partition)) for value in payloads]
        for entry, routed in zip(group, score_group(group, ledger or PromotionLedger(2), cache), strict=True):
            for output, value in zip(outputs, encoded(routed, entry), strict=True):
                if value is not None:
                    output[partition].append(value)
    suspects, archive, retrain = outputs
    return suspects, archive, retrain


def promote(settings: Settings, model: Model, name: str, from_us: int) -> None:
    record = {
        "kind": "promotion",
        "promotion": name,
        "model": model.id,
        "sha256": model.sha256,
        "uri": model.id,
        "effective_from_us": from_us,
    }
    producer = clients.producer(settings, "test")
    producer.produce(settings.topics.models, key=name.encode(), value=orjson.dumps(record), partition=0)
    assert producer.flush(30) == 0


def decisions(settings: Settings, *promotions: str) -> list[dict[str, Any]]:
    """Records of `models` once each of these promotions is refused, or accepted for both partitions."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        records = [orjson.loads(value) for value in values(received(settings, settings.topics.models, {0: 1}))[0]]
        votes = Counter((entry["promotion"], entry["kind"]) for entry in records)
        if all(votes[name, "refusal"] or votes[name, "acceptance"] == 2 for name in promotions):
            return records
        assert time.monotonic() < deadline, votes


def models_by_time(messages_by_partition: Mapping[int, list[Message]]) -> list[tuple[int, str]]:
    rows: list[tuple[int, str]] = []
    for messages in values(messages_by_partition).values():
        for value in messages:
            batch, _ = decode(value, "scored")
            rows += zip(batch.column("end_ts_us").to_pylist(), batch.column("model").to_pylist(), strict=True)
    return rows


def test_killed_at_any_moment_every_message_is_scored_exactly_once(settings: Settings, tmp_path: Path) -> None:
    messages = {p: [payload(seq, p) for seq in range(120)] for p in (0, 1)}
    for part in range(4):
        send(settings, {p: all_of[part * 30 : (part + 1) * 30] for p, all_of in messages.items()})
        with worker(settings, SCORE) as process:
            enough = part * 30 + 15 if part < 3 else 120
            scored = received(settings, settings.topics.archive, {0: enough, 1: enough})
            process.kill()
    suspects, archive, retrain = reference(settings, messages)
    for partition in (0, 1):
        assert values(scored)[partition] == archive[partition]
    everything = {0: 120, 1: 120}
    assert values(received(settings, settings.topics.suspects, everything)) == suspects
    samples = {partition: len(sent) for partition, sent in retrain.items()}
    assert values(received(settings, settings.topics.retrain, samples)) == retrain
    first = scored[0][0]
    headers = clients.headers_of(first)
    assert first.key() == b"north/tap"
    assert headers["content-type"] == b"application/vnd.forebay.rows"
    parent, span = parse(TRACE), parse(headers["traceparent"])
    assert parent is not None
    assert span is not None
    assert span.trace_id == parent.trace_id
    assert span.span_id != parent.span_id


def test_what_a_zombie_emits_again_is_dropped(settings: Settings) -> None:
    messages = [payload(seq, 0) for seq in range(14)]
    send(settings, {0: messages[:10] + messages[5:12] + messages[:3] + messages[12:]})
    with worker(settings, SCORE) as process:
        scored = received(settings, settings.topics.archive, {0: 14})
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert values(scored)[0] == reference(settings, {0: messages})[1][0]


def test_a_paused_worker_and_its_twin_fence_each_other_and_nothing_is_doubled(
    settings: Settings, tmp_path: Path
) -> None:
    """The broker lets one of two workers of the same name live, or neither; whoever is started next continues."""
    messages = [payload(seq, 0) for seq in range(60)]
    log = tmp_path / "log"
    send(settings, {0: messages[:20]})
    with worker(settings, SCORE, log=log) as zombie:
        received(settings, settings.topics.archive, {0: 20})
        zombie.send_signal(signal.SIGSTOP)
        send(settings, {0: messages[20:40]})
        with worker(settings, SCORE):
            received(settings, settings.topics.archive, {0: 40})
            send(settings, {0: messages[40:]})
            zombie.send_signal(signal.SIGCONT)
            assert zombie.wait(PATIENCE_S) == 75
    assert "another worker took over" in log.read_text()
    with worker(settings, SCORE):
        scored = received(settings, settings.topics.archive, {0: 60})
    assert values(scored)[0] == reference(settings, {0: messages})[1][0]


@pytest.mark.crash
def test_a_broker_that_dies_and_comes_back_changes_nothing(tmp_path: Path) -> None:
    registry.save(small_model(0), tmp_path / "models")
    broker = local.start(tmp_path / "broker")
    try:
        settings = settings_for(
            broker.bootstrap,
            "t.",
            tmp_path / "state",
            registry_uri=tmp_path / "models",
            model=small_model(0).id,
            score_group_messages=4,
            session_timeout_s=0,  # its own, which is long because of this: a broker may be away for so long
        )
        messages = [payload(seq, 0) for seq in range(60)]
        send(settings, {0: messages[:20]})
        with worker(settings, SCORE, log=tmp_path / "log") as process:
            received(settings, settings.topics.archive, {0: 20})
            send(settings, {0: messages[20:40]})
            os.kill(broker.pid, signal.SIGKILL)
            time.sleep(2)
            local.start(tmp_path / "broker")
            send(settings, {0: messages[40:]})
            # The group's session (45 s) may have to run out before the worker is given its partition again.
            scored = received(settings, settings.topics.archive, {0: 60})
            assert process.poll() is None
    finally:
        local.stop(tmp_path / "broker", grace_s=10.0)
    assert values(scored)[0] == reference(settings, {0: messages})[1][0]


def test_a_missing_message_stops_the_worker_and_nothing_is_skipped(settings: Settings, tmp_path: Path) -> None:
    messages = [payload(seq, 0) for seq in (0, 1, 3)]
    send(settings, {0: messages[:2]})
    log = tmp_path / "log"
    with worker(settings, SCORE, log=log) as process:
        received(settings, settings.topics.archive, {0: 2})
        send(settings, {0: messages[2:]})
        assert process.wait(PATIENCE_S) == 1
    assert "got seq 3, expected 2" in log.read_text().replace("\n", " ")
    with worker(settings, SCORE) as process:
        assert process.wait(PATIENCE_S) == 1
    assert len(received(settings, settings.topics.archive, {0: 2})[0]) == 2


def test_features_that_were_deleted_unscored_stop_the_worker(settings: Settings, tmp_path: Path) -> None:
    send(settings, {0: [payload(seq, 0) for seq in range(2)]})
    with worker(settings, SCORE) as process:
        received(settings, settings.topics.archive, {0: 2})
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    send(settings, {0: [payload(seq, 0) for seq in range(2, 6)]})
    admin = clients.admin(settings)
    for future in admin.delete_records([TopicPartition(settings.topics.features, 0, 4)]).values():
        future.result(30)
    log = tmp_path / "log"
    with worker(settings, SCORE, log=log) as process:
        assert process.wait(PATIENCE_S) == 66
    text = " ".join(log.read_text().split())
    assert "features[0]: the committed position is 2, the topic holds 4 and later" in text
    assert "raise the topic's retention" in text


def test_other_features_than_the_models_stop_the_worker_with_both_names(settings: Settings, tmp_path: Path) -> None:
    send(settings, {0: [payload(0, 0, feature_set="other", feature_hash="beef" * 16)]})
    log = tmp_path / "log"
    with worker(settings, SCORE, log=log) as process:
        assert process.wait(PATIENCE_S) == 1
    text = log.read_text().replace("\n", " ")
    assert "small 5a11" in text
    assert "other beef" in text


def test_a_promotion_holds_from_its_event_time(settings: Settings, tmp_path: Path) -> None:
    first, second, third = small_model(0), small_model(1), small_model(2)
    messages = {p: [payload(seq, p) for seq in range(40)] for p in (0, 1)}  # 1.0 s to 4.92 s of event time
    send(settings, {p: all_of[:10] for p, all_of in messages.items()})
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    with worker(settings, SCORE, "a", logs[0]) as a, worker(settings, SCORE, "b", logs[1]):
        received(settings, settings.topics.archive, {0: 10, 1: 10})
        wait_until_shared(logs)  # a partition that moves may be voted for twice
        promote(settings, second, "late", 1_500_000)
        promote(settings, second, "good", 3_000_000)
        votes = decisions(settings, "late", "good")
        assert [(entry["kind"], entry["promotion"]) for entry in votes].count(("acceptance", "good")) == 2
        send(settings, {p: all_of[10:30] for p, all_of in messages.items()})
        received(settings, settings.topics.archive, {0: 30, 1: 30})
        a.kill()
    promote(settings, third, "unordered", 3_000_000)
    promote(settings, third, "next", 4_500_000)
    with worker(settings, SCORE, "a"), worker(settings, SCORE, "b"):
        # Sent at once: rows beyond 4.5 s may arrive before both partitions have voted, and wait.
        send(settings, {p: all_of[30:] for p, all_of in messages.items()})
        scored = received(settings, settings.topics.archive, {0: 40, 1: 40})
    votes = decisions(settings, "late", "good", "unordered", "next")
    assert {entry["kind"] for entry in votes if entry["promotion"] in ("late", "unordered")} == {"promotion", "refusal"}
    assert {entry["kind"] for entry in votes if entry["promotion"] in ("good", "next")} == {"promotion", "acceptance"}
    for end_us, model in models_by_time(scored):
        assert model == (first if end_us < 3_000_000 else second if end_us < 4_500_000 else third).id


def test_rows_beyond_an_undecided_promotion_wait(settings: Settings, tmp_path: Path) -> None:
    """The owner of partition 1 is paused, so it has not voted: what partition 0 has beyond the time waits."""
    messages = [payload(seq, 0) for seq in range(20)]
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    # The paused one keeps its partition: after a session's end the other would vote for both.
    settings = settings.model_copy(update={"session_timeout_s": PATIENCE_S})
    with worker(settings, SCORE, "a", logs[0]) as a, worker(settings, SCORE, "b", logs[1]) as b:
        send(settings, {0: messages[:5]})
        received(settings, settings.topics.archive, {0: 5})
        wait_until_shared(logs)
        owners = {process: last_partitions(log) for process, log in zip((a, b), logs, strict=True)}
        [other] = [process for process, partitions in owners.items() if partitions == [1]]
        other.send_signal(signal.SIGSTOP)
        promote(settings, small_model(1), "p", 2_000_000)  # seq 10 is the first beyond it
        send(settings, {0: messages[5:]})
        time.sleep(3)
        assert len(received(settings, settings.topics.archive, {0: 10})[0]) == 10
        other.send_signal(signal.SIGCONT)
        scored = received(settings, settings.topics.archive, {0: 20})
    assert len(scored[0]) == 20
    assert {model for end_us, model in models_by_time(scored) if end_us >= 2_000_000} == {small_model(1).id}


def wait_until_shared(logs: list[Path]) -> None:
    """Each worker has one partition: the second one's joining moves one, perhaps after its first `ready`."""
    for log in logs:
        wait_for(log, "ready")
    deadline = time.monotonic() + PATIENCE_S
    while sorted(map(last_partitions, logs)) != [[0], [1]]:
        assert time.monotonic() < deadline, list(map(last_partitions, logs))
        time.sleep(0.2)


def last_partitions(log: Path) -> list[int]:
    lines = [orjson.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    partitions: list[int] = [line["partitions"] for line in lines if line["event"] == "ready"][-1]
    return partitions
