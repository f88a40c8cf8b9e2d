"""What the benches of the live path share: records in `raw`, stages as processes, what they took and what came out."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from loadtest.scenarios import SCENARIOS
from loadtest.sending import Load, send
from pipeline.runtime.kafka import clients, tail, topics
from pipeline.runtime.wire.batches import decode
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker import local
from pipeline.tools.broker.state import Running
from pipeline.tools.processes import Processes, worker_environment

TICKS = os.sysconf("SC_CLK_TCK")
STILL_S = 2.0


@dataclass(frozen=True)
class Run:
    """One run of the path from `raw` to the last stage's output."""

    records: int
    rows: int
    messages: int
    records_per_s: float
    """From the first message that came out to the last, by their own times of sending."""
    cpu_us_per_record: Mapping[str, float]


@contextmanager
def workplace(prefix: str, broker: Path | None = None) -> Iterator[tuple[Path, Running]]:
    """A folder, removed afterwards, and a broker in it, stopped then; or that of folder `broker`, left running."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
        running = local.start(broker or folder / "broker")
        if broker is None:
            stack.callback(local.stop, folder / "broker")
        yield folder, running


def settings_for(kafka: str, prefix: str, folder: Path, partitions: int = 2) -> Settings:
    """Fresh topics and folders."""
    settings = load_settings(
        bootstrap=kafka,
        topic_prefix=prefix,
        partitions=partitions,
        state_uri=folder / "state",
        metrics_port=0,
    )
    topics.create(settings)
    return settings


def fill(
    settings: Settings, records: int, pack: int, sensors: int = 4, scenario: str = "steady", marks: bool = True
) -> None:
    """Put a plant's records into `raw`, and the ends of their sources where `marks` are wanted."""
    load = Load(replace(SCENARIOS[scenario], sensors=sensors), records, 1, pack=pack, end_of_source=marks)
    sent = send(load, settings.topics.raw, clients.connection(settings, "bench"))
    assert sent.finished, sent.refused


def count_only(settings: Settings, topic: str, most: int = 1_000_000) -> float:
    """Messages a second of a loop that does nothing but `consume`: the yardstick. librdkafka's own defaults."""
    reader = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": "bench-count", "enable.auto.commit": False})
    ends = {number: end for number, (_, end) in watermarks(reader, settings, topic).items()}
    reader.assign([TopicPartition(topic, number, 0) for number in ends])
    wanted = min(most, sum(ends.values()))
    step = min(10_000, max(1, wanted // 20))
    while not (begun := len(reader.consume(step, 1.0))):
        continue
    seen, first = begun, time.perf_counter()
    while seen < wanted:
        seen += len(reader.consume(step, 1.0))
    took = time.perf_counter() - first
    reader.close()
    return (seen - begun) / took


def watermarks(reader: Consumer, settings: Settings, topic: str) -> dict[int, tuple[int, int]]:
    return {
        number: reader.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
        for number in range(settings.partitions)
    }


def cpu_s(pid: int) -> float:
    """CPU seconds a process has used, its dead children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def run_path(
    settings: Settings,
    records: int,
    folder: Path,
    broker: int | None = None,
    timeout_s: float = 300,
    stages: Sequence[str] = ("ingest", "featurize"),
) -> Run:
    """Let the stages work off `raw`, all ready or starting, and see what it took; the last is featurize or score."""
    folder.mkdir(parents=True, exist_ok=True)
    topic, schema = (settings.topics.features, "features")
    if stages[-1] == "score":
        topic, schema = settings.topics.archive, "scored"
    processes = Processes(folder, worker_environment(settings))
    reader = clients.reader(settings, "bench")
    try:
        pids = {"broker": broker} if broker is not None else {}
        for stage in reversed(stages):
            worker = processes.start(stage, stage, "run")
            processes.wait_ready([worker], 90)
            pids[stage] = worker.process.pid
        while not _done(reader, settings, topic):
            time.sleep(0.02)
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        at_begin = _done(reader, settings, topic)
        deadline = time.monotonic() + timeout_s
        seen, since, used = at_begin, time.monotonic(), before
        while time.monotonic() - since < STILL_S:
            time.sleep(0.1)
            processes.check()
            assert time.monotonic() < deadline, f"not done after {timeout_s} s"
            now = _done(reader, settings, topic)
            if now != seen:
                seen, since = now, time.monotonic()
                used = {name: cpu_s(pid) for name, pid in pids.items()}
    finally:
        processes.stop()
        reader.close()
    made, rows = [], 0
    ends = tail.ends(settings, topic, range(settings.partitions))
    # Score writes in transactions: the last offset of a partition is then a mark, which only its end shows.
    whole = clients.reader(settings, "bench", **tail.EOF_EVENTS)
    whole.assign([TopicPartition(topic, number, 0) for number in ends])
    for message in tail.read_to(whole, topic, ends):
        batch, meta = decode(message.value() or b"", schema)
        made.append((message.timestamp()[1], meta["records"]))
        rows += batch.num_rows
    whole.close()
    total = sum(count for _, count in made)
    assert total == records and rows == records, f"{total} records, {rows} rows of {records}"
    first, last = min(at for at, _ in made), max(at for at, _ in made)
    counted = total - sum(count for at, count in made if at == first)
    cpu = {name: (used[name] - before[name]) * 1e6 / counted for name in pids}
    return Run(records, rows, len(made), counted / ((last - first) / 1000), cpu)


def _done(reader: Consumer, settings: Settings, topic: str) -> int:
    return sum(end for _, end in watermarks(reader, settings, topic).values())
