"""What a message costs each stage, by how many rows it has: `python -m tests.bench.bench_message [SENSORS]`.

Without Kafka: each stage's step from a message's bytes to the next message's, on records of a made-up plant, processor
time of the thread, the median of many messages, lateness and stitching as by default. The archive only takes rows in.
The last line is one JSON document.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TypeVar

import orjson

from loadtest.conn_json import CONTENT_TYPE, conn_json
from loadtest.scenarios import SCENARIOS, records
from pipeline.alert.grouping import load_grouping
from pipeline.alert.manifests import Manifests
from pipeline.alert.partition import PartitionState as AlertState
from pipeline.alert.partition import advance_partition as advance_alert
from pipeline.archive.pairing import Pairing, read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.contracts.envelope import FlowsFacts, ScoredFacts
from pipeline.contracts.promotions import PromotionLedger
from pipeline.contracts.raw import SourceInfo
from pipeline.featurize.partition import PartitionState, advance_partition
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import pack
from pipeline.runtime.storage.location import folder_or_storage
from pipeline.runtime.wire.messages import read, write
from pipeline.score.group import encoded, score_group
from pipeline.score.group import read as read_features
from pipeline.score.model_cache import ModelCache
from pipeline.settings import load_settings
from tests.contracts.facts import at

ROWS = (1, 10, 100, 1_000, 4_000)
START_US = 1_678_440_000_000_000
MESSAGES = 40
WARM_UP = 8

Input = TypeVar("Input")
Result = TypeVar("Result")


def raw(rows: int, sensors: int) -> Iterator[Messages]:
    """Records of a plant, one a message of `raw`, as many at once as a message of `flows` then has."""
    scenario = replace(SCENARIOS["steady"], sensors=sensors)
    sources = [SourceInfo(CONTENT_TYPE, (), *name) for name in scenario.sensor_names]
    share = max(1, rows // sensors)
    for number in range(WARM_UP + MESSAGES):
        log = []
        for sensor, source in enumerate(sources[:rows]):
            lines = conn_json(records(scenario, 3, sensor, number * share, share, START_US))
            log += [(source, lines.message(row, row + 1)) for row in range(share)]
        first = number * len(log)
        sent_us = START_US + 2**40
        yield Messages.of([RawMessage(0, first + row, sent_us, *each) for row, each in enumerate(log)])


class Times:
    """Processor time of each step, by stage."""

    def __init__(self) -> None:
        self.us: dict[str, list[float]] = {}

    def of(self, stage: str, step: Callable[[Input], Result], message: Input) -> Result:
        """Run a step on a message, and note how long it took."""
        started = time.thread_time_ns()
        result = step(message)
        self.us.setdefault(stage, []).append((time.thread_time_ns() - started) / 1000)
        return result


class Stages:
    """The stages' steps, one after the other, with the state that each has between messages."""

    def __init__(self, folder: Path) -> None:
        self._settings = settings = load_settings(registry_uri=folder / "models", archive_uri=folder / "archive")
        self.times = Times()
        self._models = ModelCache(settings.model, folder_or_storage(settings.registry_uri, "models"), "cpu")
        self._ledger = PromotionLedger(1)
        self._manifests = Manifests(settings.registry_uri)
        self._grouping = load_grouping()
        self._featurize, self._alert = PartitionState.empty(), AlertState.empty()
        self._archive = PartitionArchive(settings.archive_uri, 0, Limits(settings.archive_rows_per_file), "bench")
        self._pairing = Pairing(0, self._archive.progress)
        self._flows_offset = 0

    def take(self, messages: Messages) -> None:
        """What came, through all of them."""
        for flows in self.times.of("ingest", self._ingest, messages):
            for features in self.times.of("featurize", self._featurized, flows):
                suspects, archive, _retrain = self.times.of("score", self._scored, features)
                self.times.of("alert", self._alerted, suspects)
                self.times.of("archive", self._archived, archive)

    def _ingest(self, messages: Messages) -> list[bytes]:
        packed = pack(messages, decode_messages(messages, 2**60), 4_096)
        return [write(each.flows, each.facts) for each in packed]

    def _featurized(self, payload: bytes) -> list[bytes]:
        flows, facts = read(payload, FlowsFacts, at("flows"))
        self._featurize, messages = advance_partition(
            self._featurize, flows, facts, self._flows_offset, self._settings.lateness_of, self._settings.stitch_of
        )
        self._flows_offset += 1
        return [write(each.rows, each.facts) for each in messages]

    def _scored(self, payload: bytes) -> tuple[bytes, bytes, bytes | None]:
        features = read_features(payload, at("features"))
        (routed,) = score_group([features], self._ledger, self._models)
        return encoded(routed, features)

    def _alerted(self, payload: bytes) -> int:
        rows, facts = read(payload, ScoredFacts, at("suspects"))
        return len(advance_alert(self._alert, rows, facts, self._grouping, self._manifests.baseline_of).events)

    def _archived(self, payload: bytes) -> None:
        self._pairing.offer_scored(read_scored(payload, at("archive", offset=self._flows_offset - 1), None))
        while (paired := self._pairing.next()) is not None:
            self._archive.take(paired)


def main() -> None:
    """A table of milliseconds: a line a number of rows, a column a stage."""
    sensors = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    document: dict[str, dict[str, float]] = {}
    for rows in ROWS:
        with tempfile.TemporaryDirectory(prefix="bench-message-") as folder:
            stages = Stages(Path(folder))
            for messages in raw(rows, sensors):
                stages.take(messages)
        document[str(rows)] = {stage: round(median(us[WARM_UP:]) / 1000, 3) for stage, us in stages.times.us.items()}
        shown = "  ".join(f"{stage} {took_ms:7.2f}" for stage, took_ms in document[str(rows)].items())
        print(f"{rows:6,} rows, ms: {shown}")
    print(orjson.dumps({"sensors": sensors, "ms": document}).decode())


if __name__ == "__main__":
    main()
