"""How each fault is done. Every one leaves its stage with one worker that is ready, as an orchestrator would."""

import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from confluent_kafka import KafkaException, Producer

from loadtest.chaos.plan import Injection
from pipeline.archive import paths, snapshot
from pipeline.contracts.envelope import RejectsFacts
from pipeline.errors import Failed, ForebayError, KafkaUnreachable
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.sessions import session_timeout_s
from pipeline.runtime.state import pointers
from pipeline.runtime.telemetry import log
from pipeline.runtime.wire.batches import empty
from pipeline.runtime.wire.messages import write
from pipeline.settings import Settings
from pipeline.tools.broker import local, process
from pipeline.tools.broker import state as broker_state
from pipeline.tools.chaos import disk
from pipeline.tools.chaos.workers import Workers
from pipeline.tools.processes import STAGES
from schemas.sources import sources

POINT_S = 30.0
COMPACTION_S = 120.0
KAFKA_S = 120.0
"""A broker that another fault has stopped is back long before."""
PAST_SESSION_S = 4.0
SMALL_FILE_BYTES = 4_096
SITE, SENSOR = "chaos", "poisoned"
CONTENT_TYPES = sorted({name for source in sources().values() for name in source.content_types})
YEAR_US = 365 * 86_400_000_000
ZEEK = (
    b'{"ts":%d.%06d,"uid":"C%d","id.orig_h":"10.9.0.1","id.orig_p":%d,'
    b'"id.resp_h":"10.9.0.2","id.resp_p":502,"proto":"tcp"}'
)

Answer = TypeVar("Answer")


class FaultInjector:
    """Injects faults into one round's stages and broker.

    `done` counts what was carried out, by fault; a fault that found nothing to do is not counted. `failed` says which
    could not be carried out, and why: a finding about the round, which continues.
    """

    def __init__(self, settings: Settings, workers: Workers, broker: Path | None, disk: Path | None) -> None:
        self._settings, self._workers, self._broker, self._disk = settings, workers, broker, disk
        self._broker_lock = threading.Lock()
        # What writes to the archive from outside its stage, and what fills its file system, have their turns.
        self._disk_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._log = log("chaos")
        self.done: dict[str, int] = {}
        self.failed: list[str] = []

    def inject(self, injection: Injection) -> None:
        """Do it, and wait until its stage is ready again; where that fails, `failed` says so."""
        try:
            self._inject(injection)
        except (ForebayError, KafkaException, OSError) as error:
            self._log.error("fault failed", fault=str(injection), error=str(error))
            with self._count_lock:
                self.failed.append(f"{injection}: not carried out to its end: {error}")

    def _inject(self, injection: Injection) -> None:
        workers = self._workers
        with workers.locks[injection.stage] if injection.stage else nullcontext():
            if injection.stage:
                workers.revive(injection.stage)
            name = self._HOW[injection.fault](self, injection, random.Random(injection.seed))
            with self._count_lock:
                if name is not None:
                    self.done[name] = self.done.get(name, 0) + 1
            if injection.stage:
                workers.revive(injection.stage)

    # ---- processes

    def _kill(self, injection: Injection, _drawn: random.Random) -> str:
        self._workers.kill(self._workers.of(injection.stage))
        return injection.fault

    def _failpoint(self, injection: Injection, _drawn: random.Random) -> str:
        """Start the worker such that it dies there; one that does not reach the point in time is killed."""
        self._workers.kill(self._workers.of(injection.stage))
        doomed = self._workers.start(injection.stage, {"FOREBAY_FAILPOINT": injection.point})
        if self._workers.wait_gone(doomed, POINT_S) and doomed.process.returncode == -signal.SIGKILL:
            return f"failpoint {injection.point.partition(':')[0]}"
        self._workers.kill(doomed)
        return "kill"

    def _pause(self, injection: Injection, drawn: random.Random) -> str:
        worker = self._workers.of(injection.stage)
        self._workers.signal(worker, signal.SIGSTOP)
        time.sleep(drawn.uniform(0.5, 4.0))
        self._workers.signal(worker, signal.SIGCONT)
        return injection.fault

    def _zombie(self, injection: Injection, _drawn: random.Random) -> str:
        """Another worker takes over while the first is stopped; awake, the first believes it still owns everything."""
        asleep = self._workers.of(injection.stage)
        self._workers.signal(asleep, signal.SIGSTOP)
        other = self._workers.start(injection.stage, {"FOREBAY_INSTANCE_ID": f"heir-{injection.number}"})
        time.sleep(session_timeout_s(self._settings, injection.stage) + PAST_SESSION_S)
        self._workers.signal(asleep, signal.SIGCONT)
        time.sleep(PAST_SESSION_S)
        # It may have noticed and left, or stayed a member: both are right.
        self._workers.kill(asleep)
        self._workers.kill(other)
        return injection.fault

    def _storm(self, injection: Injection, drawn: random.Random) -> str:
        """Further workers come and go, not in order."""
        others = [
            self._workers.start(
                injection.stage, {"FOREBAY_INSTANCE_ID": f"storm-{injection.number}-{number}"}, main=False
            )
            for number in range(drawn.randint(1, 2))
        ]
        for other in others:
            self._workers.wait_ready(other, drawn.uniform(2.0, 12.0))
        for other in drawn.sample(others, len(others)):
            self._workers.kill(other)
        return injection.fault

    def _twin(self, injection: Injection, drawn: random.Random) -> str:
        """Two of the same name: the later one takes over, the earlier one is fenced or asked to leave."""
        first = self._workers.of(injection.stage)
        second = self._workers.start(injection.stage)
        self._workers.wait_ready(second, 15.0)
        time.sleep(drawn.uniform(0.0, 3.0))
        self._workers.kill(first)
        return injection.fault

    def _clock(self, injection: Injection, drawn: random.Random) -> str:
        shift_s = drawn.choice((-86_400.0, -3_600.0, 3_600.0, 86_400.0))
        self._workers.kill(self._workers.of(injection.stage))
        skewed = ("-m", "pipeline.tools.chaos.skewed_clock", str(shift_s))
        self._workers.start(injection.stage, program=skewed)
        now_us = time.time_ns() // 1_000
        jumps = [now_us, now_us + YEAR_US, now_us - YEAR_US, now_us + 1_000_000, now_us + round(shift_s * 1e6)]
        records = [ZEEK % (us // 1_000_000, us % 1_000_000, at, 1024 + at) for at, us in enumerate(jumps)]
        self._send_raw([(b"zeek-conn+json", record, now_us // 1_000) for record in records])
        self._send_raw([(b"zeek-conn+json", records[0], (now_us + drawn.choice((-1, 1)) * YEAR_US) // 1_000)])
        # A full disk or a broker that is away may end it meanwhile: it is started again as it was.
        worker = self._workers.revive(injection.stage, skewed)
        time.sleep(drawn.uniform(0.0, 2.0))
        self._workers.kill(worker)
        return injection.fault

    # ---- disk

    def _disk_full(self, injection: Injection, _drawn: random.Random) -> str:
        self._workers.kill(self._workers.of(injection.stage))
        cramped = self._workers.start(injection.stage, file_bytes=SMALL_FILE_BYTES)
        met = self._workers.wait_gone(cramped, POINT_S)
        self._workers.kill(cramped)
        return injection.fault if met else "kill"

    def _file_system_full(self, injection: Injection, drawn: random.Random) -> str:
        """Not a byte is left for archive, states and samples, whoever writes them; then there is space again."""
        if self._disk is None:
            limited = replace(injection, fault="disk-full", stage="archive")
            with self._workers.locks[limited.stage]:
                self._workers.revive(limited.stage)
                name = self._disk_full(limited, drawn)
                self._workers.revive(limited.stage)
            return name
        with self._disk_lock:
            filler = disk.fill(self._disk)
            try:
                time.sleep(drawn.uniform(2.0, 12.0))
            finally:
                filler.unlink()
        return injection.fault

    def _compaction(self, injection: Injection, drawn: random.Random) -> str:
        """The archive is compacted, replaced files deleted at once; half the time the compaction is killed in it."""
        arguments = ("archive", "compact", "--newest", "--grace-s", "0", "--target-mib", "1")
        patience_s = drawn.uniform(1.0, 4.0) if drawn.random() < 0.5 else COMPACTION_S
        with self._disk_lock:
            compaction = self._workers.run(f"compact-{injection.number}", *arguments)
            ended = self._workers.wait_gone(compaction, patience_s)
            self._workers.kill(compaction)
        if (ended and compaction.process.returncode != 0) or (not ended and patience_s == COMPACTION_S):
            raise Failed(f"archive compact failed; its log {compaction.log} ends:\n{compaction.last_words()}")
        return injection.fault

    def _half_written(self, injection: Injection, drawn: random.Random) -> str | None:
        self._workers.kill(self._workers.of(injection.stage))
        with self._disk_lock:
            return injection.fault if self._leave_halves(injection, drawn) else None

    def _leave_halves(self, injection: Injection, drawn: random.Random) -> bool:
        """Half a data file, manifest and segment in each partition; whether there was any."""
        done = False
        archive = Path(self._settings.archive_uri)
        for partition_files in snapshot.read(archive):
            last = partition_files.last
            if last is None:
                continue
            alone = [entry for entry in partition_files.files if partition_files.locations[entry.path].pack is None]
            for entry in alone[-1:]:
                whole = (archive / entry.path).read_bytes()
                stray = (archive / entry.path).with_name(
                    f"p{partition_files.partition}-999999999.0-999999999.{injection.number}.parquet"
                )
                stray.write_bytes(whole[: drawn.randrange(len(whole))])
            manifest = archive / paths.manifest(partition_files.partition, last.number)
            half = manifest.read_bytes()[: drawn.randrange(1, 200)]
            manifest.with_name(f".{manifest.name}.{injection.seed:016x}").write_bytes(half)
            segment = archive / paths.segment(partition_files.partition, last.number + 1, 0)
            segment.parent.mkdir(parents=True, exist_ok=True)
            segment.write_bytes(b"ARROW1\0\0" + drawn.randbytes(64))
            temp = archive / paths.temporary(partition_files.partition, 0)
            temp.mkdir(parents=True, exist_ok=True)
            (temp / "0.parquet").write_bytes(b"PAR1")
            done = True
        return done

    def _damaged_state(self, injection: Injection, drawn: random.Random) -> str:
        """The newest state is cut where there is an older one to resume from; otherwise the fault was a kill."""
        cut = False
        self._workers.kill(self._workers.of(injection.stage))
        topics = {"featurize": self._settings.topics.featurize_state, "alert": self._settings.topics.alert_state}
        known = _once_kafka_answers(
            lambda: pointers.read(self._settings, topics[injection.stage], range(self._settings.partitions))
        )
        for newest, *older in filter(None, known.values()):
            if any(state.digest != newest.digest for state in older):
                blob = Path(self._settings.state_uri) / newest.uri
                with self._disk_lock, suppress(FileNotFoundError):
                    blob.write_bytes(blob.read_bytes()[: drawn.randrange(1, 64)])
                    cut = True
        return injection.fault if cut else "kill"

    # ---- Kafka

    def _restart_broker(self, injection: Injection, drawn: random.Random) -> str | None:
        return injection.fault if self._without_broker(drawn.uniform(0.0, 3.0)) else None

    def _kafka_away(self, injection: Injection, drawn: random.Random) -> str | None:
        """No broker for longer than any stage's session and any transaction, as this campaign's settings have them."""
        longest_s = max(
            self._settings.transaction_timeout_s, *(session_timeout_s(self._settings, stage) for stage in STAGES)
        )
        return injection.fault if self._without_broker(longest_s * drawn.uniform(1.2, 2.0)) else None

    def _without_broker(self, away_s: float) -> bool:
        """Kill the broker and start it again after so long; False where it is not the campaign's own."""
        if self._broker is None:
            return False
        with self._broker_lock:
            running = broker_state.read(self._broker)
            if running is not None:
                process.stop(running.pid, running.run_id, grace_s=0.0)
            time.sleep(away_s)
            local.start(self._broker)
        return True

    def _poison(self, injection: Injection, drawn: random.Random) -> str:
        record = ZEEK % (1_700_000_000, injection.number, injection.number, 4_000)
        arrow = write(empty("flow"), RejectsFacts(raw_partition=0))
        payloads = [
            record[: drawn.randrange(1, len(record))],
            arrow[: drawn.randrange(1, len(arrow))],
            arrow,
            drawn.randbytes(drawn.randrange(1, 4_000)),
            b"\0" * 64,
            b'{"ts":' * 2_000,
            b'{"ts":"' + b"9" * 200_000 + b'"}',
            record + b"\n" + record[:40] + b"\n\n" + drawn.randbytes(40).replace(b"\n", b"") + b"\n" + record,
            b"\xef\xbb\xbf" + record,
        ]
        chosen = drawn.sample(payloads, 5)
        self._send_raw([(drawn.choice(CONTENT_TYPES).encode(), payload, None) for payload in chosen])
        return injection.fault

    def _aborted(self, injection: Injection, drawn: random.Random) -> str:
        """What nobody may ever see, and what a reader of uncommitted records would choke on."""
        names = self._settings.topics
        arrow = write(empty("flow"), RejectsFacts(raw_partition=0))
        try:
            writer = clients.transactional_producer(self._settings, f"chaos-aborted-{injection.number}")
            writer.begin_transaction()
            for topic in (names.flows, names.suspects, names.archive, names.retrain):
                half = arrow[: drawn.randrange(1, len(arrow))]
                writer.produce(topic, half, partition=drawn.randrange(self._settings.partitions))
            writer.flush(10)
            time.sleep(drawn.uniform(0.0, 1.0))
            writer.abort_transaction(30)
        except KafkaException as error:
            # The broker was killed meanwhile: Kafka aborts the transaction itself when its time is up, which would hold
            # everything back for a minute; whoever takes the name over aborts it at once.
            self._log.info("transaction left open", error=str(error))
            clients.transactional_producer(self._settings, f"chaos-aborted-{injection.number}")
        return injection.fault

    def _send_raw(self, messages: list[tuple[bytes, bytes, int | None]]) -> None:
        """Messages of the sensor that is no sensor: content-type, payload, Kafka's timestamp in ms (None: now)."""
        producer = clients.producer(self._settings, "chaos-poison")
        for content_type, payload, timestamp_ms in messages:
            headers: list[tuple[str, str | bytes | None]] = [
                ("content-type", content_type),
                ("site", SITE),
                ("sensor", SENSOR),
            ]
            stamped: dict[str, Any] = {} if timestamp_ms is None else {"timestamp": timestamp_ms}
            producer.produce(self._settings.topics.raw, payload, key=f"{SITE}/{SENSOR}", headers=headers, **stamped)
        _flush(producer)

    def end_of_poison(self) -> None:
        """The sensor that is no sensor has sent everything: its files close."""
        self._send_raw([(b"end-of-source", b"", None)])

    _HOW: ClassVar[dict[str, Callable[["FaultInjector", Injection, random.Random], str | None]]] = {
        "kill": _kill,
        "failpoint": _failpoint,
        "pause": _pause,
        "zombie": _zombie,
        "storm": _storm,
        "twin": _twin,
        "broker": _restart_broker,
        "kafka-away": _kafka_away,
        "disk-full": _disk_full,
        "file-system-full": _file_system_full,
        "compaction": _compaction,
        "half-written": _half_written,
        "damaged-state": _damaged_state,
        "poison": _poison,
        "aborted": _aborted,
        "clock": _clock,
    }


def _once_kafka_answers(read: Callable[[], Answer]) -> Answer:
    """What is read from Kafka, again while another fault has its broker; the last error after KAFKA_S."""
    deadline = time.monotonic() + KAFKA_S
    while True:
        try:
            return read()
        except (KafkaException, KafkaUnreachable):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _flush(producer: Producer) -> None:
    left = producer.flush(120)
    if left:
        raise Failed(f"raw: {left} messages not acknowledged in 120 s; check the broker")
