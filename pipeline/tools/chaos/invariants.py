"""What must hold after a round, whatever happened; judged from topics, manifests and states, never from logs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import orjson
import pyarrow.parquet as pq
from confluent_kafka import Message, TopicPartition

from pipeline.archive import snapshot
from pipeline.archive.upkeep.diff import compare
from pipeline.archive.upkeep.verify import verify
from pipeline.contracts.envelope import FeaturesFacts, FlowsFacts
from pipeline.contracts.notices import STATUS
from pipeline.contracts.uids import RAW_POSITION
from pipeline.retrain import samples
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.state import pointers
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.wire.messages import read
from pipeline.settings import Settings
from pipeline.tools.replay import reference_run
from pipeline.tools.replay.reference_run import Outcome

MAX_NAMED = 3

Key = TypeVar("Key")


@dataclass
class Findings:
    """The four figures that must be 0, what they are counted from, and everything else that is wrong."""

    sent: int = 0
    lost: int = 0
    doubled: int = 0
    differing_rows: int = 0
    differing_files: int = 0
    alerts: int = 0
    notices: int = 0
    """Of sensors' baselines: what each learnt, and when."""
    repeated: int = 0
    """Messages that a stage sent again after a crash; one with other bytes is a violation."""
    violations: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.differing_rows or self.differing_files or self.violations)


def check(settings: Settings, reference: Path) -> Findings:
    """Check a run that has come to rest; the reference run over the same `raw` writes its archive to `reference`."""
    findings = Findings()
    outcome = reference_run.run(settings, reference)
    _accounting(settings, findings)
    _same_archive(settings, reference, findings)
    _same_alerts(settings, outcome, findings)
    _same_notices(settings, outcome, findings)
    _same_features_again(settings, findings)
    _same_samples(settings, outcome, findings)
    _positions_behind_state(settings, findings)
    return findings


def _accounting(settings: Settings, findings: Findings) -> None:
    """Invariants 1 and 6: every raw position once; accepted + late + rejected = sent."""
    proof = verify(settings.archive_uri, settings)
    for row in proof["sensors"]:
        findings.sent += row["sent"]
        findings.lost += max(0, row["sent"] - row["accepted"] - row["rejected"] - row["late"])
        findings.doubled += row["doubles"] + row["unsent"]
    findings.violations += [f"accounting: {problem}" for problem in proof["problems"]]


def _same_archive(settings: Settings, reference: Path, findings: Findings) -> None:
    """Invariant 4 and the promise: same rows (features and scores among them), same bytes of closed files."""
    difference = compare(reference, settings.archive_uri)
    files = difference["files"]
    findings.differing_rows = sum(table["differing_rows"] for table in difference["rows"].values())
    findings.differing_files = sum(len(files[kind]) for kind in ("only_in_first", "only_in_second", "different"))
    for name, table in difference["rows"].items():
        if not table["equal"] and not table["differing_rows"]:
            counts = f"{table['first_rows']} rows in the reference run, {table['second_rows']} in this one"
            findings.violations.append(f"{name}: {counts}, alike at every position")
        for row in table["differing"][:MAX_NAMED]:
            where = "reference run only" if not row["second"] else "this run only" if not row["first"] else "both"
            findings.violations.append(f"{name} raw {row['position']}: in {where}; columns {row['columns']}")


def _same_alerts(settings: Settings, outcome: Outcome, findings: Findings) -> None:
    """Invariant 2: the incidents of the reference run, every re-emitted revision with the same bytes."""
    emitted: dict[tuple[str, int], bytes] = {}
    for message in _all(settings, settings.topics.alerts):
        payload = message.value() or b""
        key = (message.key() or b"").decode(), int(clients.headers_of(message)["revision"])
        _emitted_again(findings, f"alert {key[0][:12]} revision {key[1]}", emitted, key, payload)
    last, expected = reference_run.final_alerts(emitted), reference_run.final_alerts(outcome.alerts)
    findings.alerts = len(last)
    for uid in sorted(last.keys() | expected.keys()):
        if uid not in last or uid not in expected:
            findings.violations.append(f"alert {uid[:12]}: only in {'this' if uid in last else 'the reference'} run")
            continue
        got, wanted = reference_run.content(last[uid]), reference_run.content(expected[uid])
        if got != wanted:
            differing = [name for name in got.keys() | wanted.keys() if got.get(name) != wanted.get(name)]
            findings.violations.append(f"alert {uid[:12]}: {sorted(differing)} are not those of the reference run")


def _same_notices(settings: Settings, outcome: Outcome, findings: Findings) -> None:
    """Invariant 4, of what sensors learnt: the notices of the reference run; a re-emitted one has the same bytes. A
    sensor that was forgotten numbers anew: its notices are told apart by when its baseline began.
    """
    emitted: dict[tuple[str, int], bytes] = {}
    last: dict[str, bytes] = {}
    for message in _all(settings, settings.topics.baselines):
        key, payload = (message.key() or b"").decode(), message.value() or b""
        if not key.endswith(f"/{STATUS}"):  # a later status takes the earlier one's place
            began_us = orjson.loads(payload)["figures"]["began_us"]
            _emitted_again(findings, f"notice {key}", emitted, (key, began_us), payload)
        last[key] = payload
    findings.notices = len(last)
    for key in sorted(last.keys() | outcome.notices.keys()):
        if last.get(key) != outcome.notices.get(key):
            where = "both, not alike" if key in last.keys() & outcome.notices.keys() else "one run only"
            findings.violations.append(f"notice {key}: in {where}")


def _same_features_again(settings: Settings, findings: Findings) -> None:
    """Invariant 5: a re-emitted features message has the same bytes, and `seq` has no gaps."""
    emitted: dict[tuple[int, int], bytes] = {}
    for message in _all(settings, settings.topics.features):
        payload, partition = message.value() or b"", message.partition() or 0
        seq = read(payload, FeaturesFacts, clients.position_of(message))[1].seq
        _emitted_again(findings, f"features {partition} seq {seq}", emitted, (partition, seq), payload)
    for partition in range(settings.partitions):
        numbers = {seq for of, seq in emitted if of == partition}
        missing = sorted(set(range(max(numbers, default=-1) + 1)) - numbers)
        if missing:
            findings.violations.append(
                f"features {partition}: seq {missing[:MAX_NAMED]} missing, {len(missing)} in all"
            )


def _emitted_again(findings: Findings, what: str, emitted: dict[Key, bytes], key: Key, payload: bytes) -> None:
    first = emitted.setdefault(key, payload)
    if first is not payload:
        findings.repeated += 1
        if first != payload:
            findings.violations.append(f"{what}: emitted twice, with different bytes")


def _same_samples(settings: Settings, outcome: Outcome, findings: Findings) -> None:
    """Retrain has stored the samples that any run sends to it, and besides nothing but suspects.

    Of a flood a share is sent that depends on how the log was cut into messages.
    """
    stored: set[tuple[int, int, int]] = set()
    storage = open_storage(settings.samples_uri, "samples")
    for file in samples.files(storage):
        with storage.open(file.name) as source:
            table = pq.read_table(source, columns=list(RAW_POSITION))
        stored |= set(zip(*(table.column(name).to_pylist() for name in RAW_POSITION), strict=True))
    missing, more = len(outcome.samples - stored), len(stored - outcome.samples - outcome.suspects)
    if missing or more:
        findings.violations.append(f"retrain: {missing} samples missing, {more} that should not be there")


def _positions_behind_state(settings: Settings, findings: Findings) -> None:
    """Invariant 3: no stage has committed a position beyond what it has made durable."""
    names = settings.topics
    for stage, source, topic in (
        ("featurize", names.flows, names.featurize_state),
        ("alert", names.suspects, names.alert_state),
    ):
        known = pointers.read(settings, topic, range(settings.partitions))
        durable = {partition: some[0].position for partition, some in known.items() if some}
        _compare_positions(findings, stage, committed(settings, stage, source), durable)
    lasts = {files.partition: files.last for files in snapshot.read(settings.archive_uri)}
    durable = {partition: last.progress.archive_next or 0 for partition, last in lasts.items() if last}
    _compare_positions(findings, "archive", committed(settings, "archive", names.archive), durable)
    ends: dict[int, int] = {}
    for message in _all(settings, names.flows):
        _, facts = read(message.value() or b"", FlowsFacts, clients.position_of(message))
        ends[message.partition() or 0] = facts.last[0] + 1
    _compare_positions(findings, "ingest", committed(settings, "ingest", names.raw), ends)


def _compare_positions(findings: Findings, stage: str, at: dict[int, int], durable: dict[int, int]) -> None:
    for partition, offset in at.items():
        if offset > durable.get(partition, 0):
            findings.violations.append(
                f"{stage} {partition}: committed position {offset}, durable only up to {durable.get(partition, 0)}"
            )


def committed(settings: Settings, stage: str, topic: str) -> dict[int, int]:
    """The committed offsets of a stage's group, of the partitions that have one."""
    return tail.committed(settings, stage, topic, range(settings.partitions))


def _all(settings: Settings, topic: str) -> Iterator[Message]:
    """Every committed message of a topic, in the order of its partitions."""
    reader = clients.reader(settings, "chaos-check", **tail.EOF_EVENTS)
    try:
        ends = tail.ends(settings, topic, range(settings.partitions))
        reader.assign([TopicPartition(topic, partition, 0) for partition in ends])
        yield from tail.read_to(reader, topic, ends, 120.0)
    finally:
        reader.close()
