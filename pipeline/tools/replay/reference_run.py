"""What a reference run leaves of a `raw`: archive, alerts, samples; the stages' functions alone, and no faults.

No transactions, groups, states or restarts are in here: what a fault campaign leaves is compared with this.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
from confluent_kafka import Message, TopicPartition

from pipeline.alert.explain import read_baseline
from pipeline.alert.grouping import load_grouping
from pipeline.alert.ocsf import encode as encode_alert
from pipeline.alert.partition import PartitionState as Incidents
from pipeline.alert.partition import advance_partition as advance_incidents
from pipeline.alert.site_techniques import meanings_of_sites
from pipeline.archive.pairing import Pairing, read_rejects, read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.contracts.envelope import MessagePosition, RejectsFacts, ScoredFacts
from pipeline.contracts.uids import RAW_POSITION
from pipeline.featurize.feature_set import FeatureSet
from pipeline.featurize.feature_sets import named
from pipeline.featurize.messages import FeaturesMessage
from pipeline.featurize.partition import PartitionState as Windows
from pipeline.featurize.partition import advance_partition as advance_windows
from pipeline.featurize.windows.calendars import Calendars
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.headers import HeaderCache
from pipeline.ingest.messages import Messages
from pipeline.ingest.pack import pack
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.storage.location import StorageLike, folder_or_storage
from pipeline.runtime.wire.messages import write
from pipeline.settings import Settings

MESSAGES_A_TURN = 8_192
READ_S = 120.0
WRITER = "reference"


@dataclass
class Outcome:
    """What came out: records of `raw`, alerts by (uid, revision), raw positions of what retrain gets in any run and of
    all suspects, of which it gets some, and the last notice of each key.
    """

    records: int = 0
    alerts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    samples: set[tuple[int, int, int]] = field(default_factory=set)
    suspects: set[tuple[int, int, int]] = field(default_factory=set)
    notices: dict[str, bytes] = field(default_factory=dict)


def run(settings: Settings, archive: StorageLike) -> Outcome:
    """Take all that topic `raw` holds now through the stages' functions, into an archive of its own.

    The model is the one the settings name: promotions are not followed.
    """
    outcome, raw = Outcome(), settings.topics.raw
    for partition in range(settings.partitions):
        headers = HeaderCache()
        reader = clients.reader(settings, WRITER, **tail.EOF_EVENTS)
        try:
            reader.assign([TopicPartition(raw, partition, 0)])
            end = tail.ends(settings, raw, [partition])
            came = _by(MESSAGES_A_TURN, tail.read_to(reader, raw, end, READ_S))
            take(settings, archive, partition, map(headers.messages, came), outcome)
        finally:
            reader.close()
    return outcome


def take(settings: Settings, archive: StorageLike, partition: int, came: Iterable[Messages], outcome: Outcome) -> None:
    """Take one partition's raw messages through, and commit its archive in the end."""
    run = _PartitionRun(settings, archive, partition, outcome)
    for messages in came:
        run.take(messages)
    run.finish()


class _PartitionRun:
    """One partition from `raw` to the archive."""

    def __init__(self, settings: Settings, archive: StorageLike, partition: int, outcome: Outcome) -> None:
        from pipeline.contracts.promotions import PromotionLedger
        from pipeline.score.device import choose_device
        from pipeline.score.model_cache import ModelCache

        self._settings, self._partition, self._outcome = settings, partition, outcome
        self._feature_set: FeatureSet = named(settings.feature_set, live=True)
        self._calendars = Calendars(settings.calendars)
        self._windows, self._incidents = Windows.empty(self._feature_set), Incidents.empty()
        self._models = ModelCache(
            settings.model, folder_or_storage(settings.registry_uri, "models"), choose_device(settings.device)[0]
        )
        self._ledger = PromotionLedger(settings.partitions)
        self._baseline = read_baseline(self._models.first.manifest)
        self._grouping = load_grouping()
        self._meanings_of = meanings_of_sites(settings.techniques, settings.site_techniques)
        self._archive = PartitionArchive(archive, partition, Limits(settings.archive_rows_per_file), WRITER)
        self._pairing = Pairing(partition, self._archive.progress)
        self._scored = self._rejects = 0

    def finish(self) -> None:
        """The last commit."""
        if self._archive.moved:
            self._archive.commit()

    def take(self, messages: Messages) -> None:
        """The next messages, in offset order."""
        decoded, topics = decode_messages(messages, self._settings.max_future_us), self._settings.topics
        for number, packed in enumerate(pack(messages, decoded, self._settings.flows_rows)):
            for rejects in packed.rejects:
                payload = write(rejects, RejectsFacts(raw_partition=self._partition))
                position = MessagePosition(topics.rejects, self._partition, self._rejects)
                self._pairing.offer_rejects(self._rejects, read_rejects(payload, position))
                self._rejects += 1
            self._windows, features = advance_windows(
                self._windows,
                packed.flows,
                packed.facts,
                number,
                self._settings.lateness_of,
                self._settings.stitch_of,
                self._calendars,
                self._settings.learning_of,
            )
            for message in features:
                self._outcome.notices |= {notice.key: notice.payload() for notice in message.facts.notices}
                self._score(message)
            self._outcome.records += packed.flows.num_rows + sum(len(batch_rejects) for batch_rejects in packed.rejects)

    def _score(self, features: FeaturesMessage) -> None:
        from pipeline.score.route import route, sent_anyhow
        from pipeline.score.scoring import score_batches

        [scored] = score_batches([features.rows], self._ledger, self._models)
        suspects, archived, samples = route(scored)
        self._outcome.samples |= set(_positions(samples.filter(pa.array(sent_anyhow(samples)))))
        self._outcome.suspects |= set(_positions(suspects))
        facts = ScoredFacts.of(features.facts)
        position = MessagePosition(self._settings.topics.archive, self._partition, self._scored)
        self._pairing.offer_scored(read_scored(write(archived, facts), position))
        self._scored += 1
        while (paired := self._pairing.next()) is not None:
            self._archive.take(paired)
            if self._archive.due:
                self._archive.commit()
        advanced = advance_incidents(
            self._incidents,
            suspects,
            facts,
            self._grouping,
            lambda _model: self._baseline,
            self._meanings_of,
            self._settings.pages_of,
        )
        self._incidents = advanced.state
        for event in advanced.events:
            key = event["finding_info"]["uid"], event["metadata"]["sequence"]
            self._outcome.alerts[key] = encode_alert(event)


def _positions(rows: pa.RecordBatch) -> Iterator[tuple[int, int, int]]:
    columns = (rows.column(name).to_pylist() for name in RAW_POSITION)
    return zip(*columns, strict=True)


def _by(count: int, messages: Iterator[Message]) -> Iterator[list[Message]]:
    some: list[Message] = []
    for message in messages:
        some.append(message)
        if len(some) == count:
            yield some
            some = []
    if some:
        yield some


def final_alerts(alerts: dict[tuple[str, int], bytes]) -> dict[str, bytes]:
    """The last revision of each incident."""
    last: dict[str, tuple[int, bytes]] = {}
    for (uid, revision), document in alerts.items():
        if uid not in last or last[uid][0] < revision:
            last[uid] = revision, document
    return {uid: document for uid, (_, document) in last.items()}


def content(document: bytes) -> dict[str, Any]:
    """An alert without what says how often it was emitted: that depends on how the log was cut into messages."""
    event: dict[str, Any] = orjson.loads(document)
    event["metadata"] = {name: value for name, value in event["metadata"].items() if name not in ("sequence", "uid")}
    return event
