"""A candidate in shadow of the model in use, on a real broker: every row once, whoever is killed or promoted."""

import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import orjson
import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition

from models.serving import registry
from pipeline.contracts.promotions import PromotionLedger
from pipeline.runtime.kafka import clients
from pipeline.runtime.wire.batches import decode
from pipeline.runtime.wire.messages import write
from pipeline.score.group import encoded, read, score_group
from pipeline.score.model_cache import ModelCache
from pipeline.score.scoring import score_batches
from pipeline.settings import Settings
from pipeline.tools import promotion
from pipeline.tools.shadow import report
from pipeline.tools.shadow import state as states
from pipeline.tools.shadow.counts import Counts
from pipeline.tools.shadow.state import ShadowState
from tests.contracts.facts import at
from tests.integration.chains import settings_for, wait_for, worker
from tests.patience import PATIENCE_S
from tests.score.small_model import facts, features, small_model

pytestmark = pytest.mark.integration
SCORE = "pipeline.tools.cli score run"
IN_USE, CANDIDATE, OTHER = small_model(0), small_model(1), small_model(2, feature_hash="beef" * 16)
ROWS = 50
PARTITIONS = (0, 1)


@pytest.fixture
def settings(kafka: str, prefix: str, tmp_path: Path) -> Settings:
    for model in (IN_USE, CANDIDATE, OTHER):
        registry.save(model, tmp_path / "models")
    return settings_for(
        kafka, prefix, tmp_path / "state", registry_uri=tmp_path / "models", model=IN_USE.id, device="cpu"
    )


def payload(seq: int, partition: int) -> bytes:
    """Features message `seq`: event times of 1 ms a row that follow from it."""
    batch = features(ROWS, partition, first_offset=seq * ROWS)
    return write(batch, facts(seq, partition, batch))


class Sender:
    """Sends features messages until told to stop, both partitions side by side."""

    def __init__(self, settings: Settings) -> None:
        self._producer, self._topic = clients.producer(settings, "test"), settings.topics.features
        self.sent = 0
        self.enough = Event()

    def run(self) -> None:
        while not self.enough.is_set() and self.sent < 3_000:
            for partition in PARTITIONS:
                self._producer.produce(self._topic, payload(self.sent, partition), partition=partition)
            self.sent += 1
            self._producer.poll(0)
            time.sleep(0.08)
        assert self._producer.flush(30) == 0


@contextmanager
def streaming(settings: Settings) -> Iterator[Sender]:
    """A sender at work, stopped at the end where it was not before."""
    sender = Sender(settings)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sender.run)
        try:
            yield sender
        finally:
            sender.enough.set()
            running.result()


def command(model: str, *options: str) -> str:
    return " ".join(("pipeline.tools.cli model shadow", model, *options, "--json"))


def saved(settings: Settings, model: str, rows: int) -> ShadowState:
    """What a shadow has saved, once it has so many rows."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        state = states.read(settings.registry_uri, model)
        if state is not None and state.counts.total.sum() >= rows:
            return state
        time.sleep(0.1)
    raise AssertionError(f"{model}: {None if state is None else state.counts.total.tolist()}, expected {rows} rows")


def archived(settings: Settings, messages: int) -> list[pa.RecordBatch]:
    """The rows of `archive` once each partition has so many messages."""
    reader = clients.reader(settings, "test")
    reader.assign([TopicPartition(settings.topics.archive, partition, 0) for partition in PARTITIONS])
    batches: list[pa.RecordBatch] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(batches) < messages * len(PARTITIONS):
        assert time.monotonic() < deadline, len(batches)
        came = [clients.raise_for(message).value() or b"" for message in reader.consume(500, 0.2)]
        batches += [decode(value, "scored")[0] for value in came]
    reader.close()
    return batches


def counted(batches: list[pa.RecordBatch], model: str, settings: Settings) -> Counts:
    """What a shadow counts that nothing happened to."""
    cache = ModelCache(model, Path(settings.registry_uri), "cpu")
    counts = Counts()
    counts.take(
        pa.concat_batches(batches),
        pa.concat_batches(score_batches(batches, PromotionLedger(len(PARTITIONS)), cache)),
    )
    return counts


def test_killed_and_with_a_promotion_meanwhile_every_row_counts_once(settings: Settings) -> None:
    chance = random.Random(1)
    earliest = ("--start", "earliest")
    with (
        worker(settings, SCORE),
        streaming(settings) as sender,
        worker(settings, command(IN_USE.id, *earliest)) as same,
    ):
        for kill in range(3):
            with worker(settings, command(CANDIDATE.id, *earliest)) as shadow:
                rows = 0 if kill == 0 else int(saved(settings, CANDIDATE.id, 0).counts.total.sum())
                saved(settings, CANDIDATE.id, rows + 1)
                time.sleep(chance.uniform(0.0, 1.5))
                shadow.kill()
        beside_itself = saved(settings, IN_USE.id, 2 * ROWS)
        decided = promotion.promote(
            settings, promotion.Target(CANDIDATE.id, CANDIDATE.sha256, CANDIDATE.id), None, 1_000_000
        )
        while 1_000_000 + sender.sent * ROWS * 1_000 < decided["effective_from_us"] + 1_000_000:
            time.sleep(0.05)
        sender.enough.set()
        batches = archived(settings, sender.sent)
        with worker(settings, command(CANDIDATE.id)) as shadow:
            candidate = saved(settings, CANDIDATE.id, sum(map(len, batches)))
            shadow.send_signal(signal.SIGTERM)
            assert shadow.wait(PATIENCE_S) == 0
        swapped = saved(settings, IN_USE.id, sum(map(len, batches)))
        same.send_signal(signal.SIGTERM)
        assert same.wait(PATIENCE_S) == 0
    assert decided["decision"] == "accepted"
    # Not one bit differs of what the model in use says itself, and of what another says nearly all does.
    assert beside_itself.counts.differing.tolist() == [0] * 5
    assert beside_itself.counts.p_changes.sum() == beside_itself.counts.p_changes.max() > 0
    assert candidate.counts.document() == counted(batches, CANDIDATE.id, settings).document()
    assert swapped.counts.document() == counted(batches, IN_USE.id, settings).document()
    # The promotion splits the rows by their event time, none lost and none twice.
    from_us = decided["effective_from_us"]
    ends_us = [end_us for batch in batches for end_us in batch.column("end_ts_us").to_pylist()]
    by_model = {each["model"]: each for each in report.document(candidate)["models_in_use"]}
    assert by_model[IN_USE.id]["rows"] == sum(end_us < from_us for end_us in ends_us) > 0
    assert by_model[CANDIDATE.id]["rows"] == sum(end_us >= from_us for end_us in ends_us) > 0
    assert (by_model[IN_USE.id]["to_us"], by_model[CANDIDATE.id]["from_us"]) == (
        max(end_us for end_us in ends_us if end_us < from_us),
        min(end_us for end_us in ends_us if end_us >= from_us),
    )
    assert (by_model[CANDIDATE.id]["added"], by_model[CANDIDATE.id]["dropped"]) == (0, 0)
    assert candidate.counts.differing[0] > 0


def send_scored(settings: Settings, seqs: range) -> list[pa.RecordBatch]:
    """Put messages into `archive` as score does; their rows."""
    cache = ModelCache(IN_USE.id, Path(settings.registry_uri), "cpu")
    producer, rows = clients.producer(settings, "test"), []
    for seq in seqs:
        for partition in PARTITIONS:
            entry = read(payload(seq, partition), at("features", partition))
            [routed] = score_group([entry], PromotionLedger(len(PARTITIONS)), cache)
            producer.produce(settings.topics.archive, encoded(routed, entry)[1], partition=partition)
            rows.append(routed.archive)
    assert producer.flush(30) == 0
    return rows


def test_it_ends_by_itself_and_says_what_was_deleted_before_it_read_it(settings: Settings, tmp_path: Path) -> None:
    rows = send_scored(settings, range(4))
    log = tmp_path / "log"
    for_a_moment = command(CANDIDATE.id, "--start", "earliest", "--for", "1s")
    with worker(settings, for_a_moment, log=log) as shadow:
        assert shadow.wait(PATIENCE_S) == 0
    later = send_scored(settings, range(4, 9))
    admin = clients.admin(settings)
    for future in admin.delete_records([TopicPartition(settings.topics.archive, 1, 7)]).values():
        future.result(30)
    with worker(settings, command(CANDIDATE.id), log=log) as shadow:
        wait_for(log, "deleted before it was read")
        found = saved(settings, CANDIDATE.id, sum(map(len, [*rows, *later])) - 3 * ROWS)
        shadow.send_signal(signal.SIGTERM)
        assert shadow.wait(PATIENCE_S) == 0
    left = [*rows, *(batch for number, batch in enumerate(later) if number not in (1, 3, 5))]
    assert found.counts.document() == counted(left, CANDIDATE.id, settings).document()
    assert report.summary(found)["messages_deleted_unread"] == 3
    refused = tmp_path / "refused"
    with worker(settings, command(OTHER.id, "--start", "earliest"), log=refused) as shadow:
        assert shadow.wait(PATIENCE_S) == 1
    text = " ".join(refused.read_text().split())
    assert "small 5a11" in text and "small beef" in text
    lines = [orjson.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [line["messages"] for line in lines if line["event"] == "deleted before it was read"] == [3]
