"""One round: stages, traffic, faults; then the stages come to rest, and the invariants are checked."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition

from loadtest.chaos.plan import Injection
from pipeline.archive.upkeep import raw_counts
from pipeline.archive.upkeep.verify import account
from pipeline.runtime.kafka import clients, tail, topics
from pipeline.runtime.state import pointers
from pipeline.settings import Settings, load_settings
from pipeline.tools.chaos import disk
from pipeline.tools.chaos.faults import FaultInjector
from pipeline.tools.chaos.invariants import Findings, check, committed
from pipeline.tools.chaos.traffic import Traffic
from pipeline.tools.chaos.workers import Workers
from pipeline.tools.processes import STAGES

AT_ONCE = 4
"""So many faults are under way at a time; those on one stage wait for each other."""
DRAIN_S = 180.0
QUIET_S = 40.0
MAX_MIB = 1_536
"""No stage needs more, whatever is done to it: score holds torch and two models, the others a few hundred MiB."""
POLL_S = 1.0
DISK = "disk"
"""Where a round keeps archive, states and samples."""
AN_ERROR = ": error: "
LAST = 50
"""Among so many offsets at a partition's end there is a message."""

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Round:
    """What a round is: its number, its faults, and the seed of its traffic."""

    number: int
    seed: int
    injections: tuple[Injection, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a round."""

    number: int
    faults: dict[str, int]
    findings: Findings
    ended: list[str]
    memory_mib: dict[str, float]
    seconds: float
    drained_s: float

    def as_document(self) -> dict[str, Any]:
        """As JSON has it."""
        figures = asdict(self.findings)
        return {
            "round": self.number,
            "ok": self.findings.ok,
            "faults": dict(sorted(self.faults.items())),
            **figures,
            "ended_by_themselves": self.ended,
            "memory_mib": {stage: round(mib) for stage, mib in self.memory_mib.items()},
            "seconds": round(self.seconds, 1),
            "drained_s": round(self.drained_s, 1),
        }


def settings_for(folder: Path, bootstrap: str, prefix: str, broken_order: str) -> Settings:
    """Settings of one round alone: small files and short stretches, so that much is committed in little time."""
    return load_settings(
        bootstrap=bootstrap,
        topic_prefix=prefix,
        partitions=2,
        state_uri=folder / DISK / "state",
        archive_uri=folder / DISK / "archive",
        registry_uri=folder / "models",
        samples_uri=folder / DISK / "samples",
        metrics_port=-1,
        archive_rows_per_file=1_000,
        flows_rows=512,
        # Sensors learn within a round, in blocks of seconds: whatever dies dies in one.
        learning={"least_s": 600, "most_s": 1_200, "anchor_s": 1_800, "admit_s": 600, "shortest_block_s": 10},
        idle_us=0,  # a tick is a decision by the wall clock: the same `raw` must not hold others the next time
        broken_order=broken_order,
        # Short, so that Kafka can be away for longer than both in little time (fault kafka-away).
        session_timeout_s=10.0,
        transaction_timeout_s=12.0,
        device="cpu",
    )


def run(spec: Round, settings: Settings, folder: Path, broker: Path | None, notify: Notify) -> Result:
    """Run a round in its folder; raises the error that ends it early."""
    started = time.monotonic()
    topics.create(settings)
    with disk.mounted(folder / DISK) as small:
        with _workers(settings, folder) as workers:
            for stage in STAGES:
                workers.start(stage)
            for stage in STAGES:
                workers.revive(stage)
            traffic = Traffic(settings, workers, folder / "traffic", spec.seed)
            injector = FaultInjector(settings, workers, broker, folder / DISK if small else None)
            memory = _inject_all(spec.injections, injector, workers, notify)
            sent_records = traffic.finish(360.0)
            injector.end_of_poison()
            notify(f"{sent_records:,} records of sensors sent; waiting until every stage has taken them in")
            drained_s = _drain(settings, workers)
            workers.finish()
            ended = list(workers.ended)
        notify("comparing with a reference run over the same raw")
        findings = None
        try:
            findings = check(settings, folder / "reference")
            findings.violations += injector.failed + not_as_promised(drained_s, memory, ended)
        finally:
            if small and (findings is None or not findings.ok):
                shutil.copytree(folder / DISK, folder / "disk-copy")  # the mount goes away with the round
    return Result(spec.number, injector.done, findings, ended, memory, time.monotonic() - started, drained_s)


def not_as_promised(drained_s: float, memory_mib: dict[str, float], ended: list[str]) -> list[str]:
    """What was wrong while the round ran."""
    wrong = ["the stages did not come to rest after the last record was sent"] * (drained_s >= DRAIN_S)
    wrong += [
        f"{stage}: {mib:.0f} MiB of memory, expected {MAX_MIB} at most"
        for stage, mib in memory_mib.items()
        if mib > MAX_MIB
    ]
    # A stage may stop where it can't continue, and says what people have to do then: a traceback is a fault of ours.
    return wrong + [f"{ending}; expected `error: ...` and a remedy" for ending in ended if AN_ERROR not in ending]


@contextmanager
def _workers(settings: Settings, folder: Path) -> Iterator[Workers]:
    workers = Workers(settings, folder / "logs")
    try:
        yield workers
    finally:
        workers.close()


def _inject_all(
    injections: tuple[Injection, ...], injector: FaultInjector, workers: Workers, notify: Notify
) -> dict[str, float]:
    """Inject all faults in their order, a few at a time; return the peak memory seen of each stage's worker."""
    most: dict[str, float] = {}
    started = time.monotonic()
    running: set[Future[None]] = set()
    with ThreadPoolExecutor(AT_ONCE, "injection") as pool:
        for injection in injections:
            time.sleep(injection.after_s)
            while len(running) >= AT_ONCE:
                running = _reap(running, workers)
            notify(f"{time.monotonic() - started:6.1f} s  {injection.number + 1}/{len(injections)}  {injection}")
            running.add(pool.submit(injector.inject, injection))
            for stage, mib in workers.memory_mib().items():
                most[stage] = max(most.get(stage, 0.0), mib)
        while running:
            running = _reap(running, workers)
    return most


def _reap(running: set[Future[None]], workers: Workers) -> set[Future[None]]:
    """Those still under way after a moment; what a finished one raised is raised here."""
    done, left = wait(running, POLL_S, FIRST_COMPLETED)
    for future in done:
        future.result()
    workers.revive_all()
    return left


def _drain(settings: Settings, workers: Workers) -> float:
    """Wait until every stage has made durable all that was sent; the seconds it took, DRAIN_S where it never did."""
    started, records = time.monotonic(), _records(settings)
    before: list[int] = []
    moved_at = started
    while (waited := time.monotonic() - started) < DRAIN_S:
        workers.revive_all()
        missing = work_left(settings, records)
        if not any(missing):
            return waited
        if missing != before:
            before, moved_at = missing, time.monotonic()
        elif time.monotonic() - moved_at > QUIET_S:
            break  # whatever is missing will not come any more: the checks say what it is
        time.sleep(POLL_S)
    return DRAIN_S


def work_left(settings: Settings, records: int) -> list[int]:
    """What is left to do of `records` in `raw`: offsets of each stateless stage, offsets of each stateful one, records
    of the archive.
    """
    names, left = settings.topics, []
    for stage, source in (("ingest", names.raw), ("score", names.features), ("retrain", names.retrain)):
        left.append(_behind(committed(settings, stage, source), _after_last(settings, source)))
    for source, topic in ((names.flows, names.featurize_state), (names.suspects, names.alert_state)):
        known = pointers.read(settings, topic, range(settings.partitions))
        at = {partition: some[0].position for partition, some in known.items() if some}
        left.append(_behind(at, _after_last(settings, source)))
    archived = sum(int(row["accepted"] + row["late"] + row["rejected"]) for row in account(settings.archive_uri))
    return [*left, max(0, records - archived)]


def _behind(at: dict[int, int], ends: dict[int, int]) -> int:
    return sum(max(0, end - at.get(partition, 0)) for partition, end in ends.items())


def _after_last(settings: Settings, topic: str) -> dict[int, int]:
    """The offset after each partition's last committed message; after it there may be transaction markers."""
    reader = clients.reader(settings, "chaos", **tail.EOF_EVENTS)
    after_last: dict[int, int] = {}
    try:
        ends = tail.ends(settings, topic, range(settings.partitions))
        reader.assign([TopicPartition(topic, partition, max(0, end - LAST)) for partition, end in ends.items()])
        for message in tail.read_to(reader, topic, ends, 60.0):
            after_last[message.partition() or 0] = (message.offset() or 0) + 1
    finally:
        reader.close()
    return after_last


def _records(settings: Settings) -> int:
    return sum(
        int(window.records.sum())
        for partition in range(settings.partitions)
        for window in raw_counts.windows(settings, partition)
    )


def clear(settings: Settings, folder: Path) -> None:
    """Remove what a round that went well has left: its topics and its folder."""
    names = [topic.name for topic in topics.wanted(settings)]
    client = clients.admin(settings)  # held until the answers are here: they come through its thread
    for future in client.delete_topics(names).values():
        future.result(30)
    shutil.rmtree(folder, ignore_errors=True)
