"""What the whole flow sustains: all records lie in `raw`, then the six stages start together and work them off.

`python -m tests.bench.bench_flow [--records N] [--pack 1,100] [--sensors N] [--broker FOLDER] [--flooded]`; a table,
and in the last line one JSON document. `--records 5000000` is the sustained run. The model is calibrated on quiet
records of each sensor, as an operator's is; flooded, the same with an alert level of 1, so that every row is a suspect.
Counted from the first `flows` message: the rate until the last row stood in `archive`, by the messages' own times, and
CPU until every record lay in a closed file. In the end the archive is verified: every file hashed and counted again,
every position of `raw` there once.
"""

import argparse
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson
from confluent_kafka import Message, TopicPartition

from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.sending import Load, messages, send
from models.serving import registry
from models.training.recalibrate import recalibrate
from pipeline.archive.upkeep.verify import account, verify
from pipeline.runtime.kafka import clients, tail, topics
from pipeline.runtime.wire.batches import decode
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker.state import Running
from pipeline.tools.offline.training_rows import Span, read_rows
from pipeline.tools.processes import STAGES, Processes, worker_environment
from tests.bench.path import cpu_s, watermarks, workplace

SCENARIO: Scenario = replace(SCENARIOS["sites"], sites=4, sensors=2)
SEED = 1
QUIET_RECORDS = 20_000
"""Of each sensor: enough for a table of p-values that reaches below the alert level."""
LOOK_S = 0.5
"""How often the archive's manifests are read: seldom enough to take no CPU that would be counted."""
LAST_OFFSETS = 64
"""A partition's last message is among so many offsets: the others are marks of transactions."""
Pids = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Flow:
    """What is measured. calm: else every row is a suspect; workers: of each stage.

    pinned: the first worker of each stage on one core, the second on another.
    """

    records: int
    pack: int = 1
    calm: bool = True
    workers: int = 1
    pinned: bool = False
    scenario: Scenario = SCENARIO


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is measured: a broker, a folder, and in the registry `models` the calibrated model and the other one."""

    broker: Running
    folder: Path
    models: Path
    model: str
    flooded: str


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed."""

    records: int
    pack: int
    calm: bool
    sensors: int
    workers: int
    records_per_s: int
    """From the first `flows` message to the last `archive` message."""
    archived_per_s: int
    """From the first `flows` message until every record lay in a closed file."""
    suspects: int
    verified: bool
    cpu_us_per_record: dict[str, float]
    memory_peak_mib: dict[str, int]

    @property
    def cpu_us(self) -> float:
        """What a record costs, broker and all stages, in microseconds of a core."""
        return sum(self.cpu_us_per_record.values())


def calibrated(folder: Path, quiet_records: int, scenario: Scenario = SCENARIO) -> tuple[str, str]:
    """The shipped model, calibrated on so many quiet records of each sensor, in the registry `folder`; its id.

    And that of another one, by which every row is a suspect. Where there is one site alone, it is calibrated as a
    whole, on its first sensor.
    """
    load = Load(scenario, quiet_records * len(scenario.sensor_names), SEED)
    calm = flooded = registry.load()
    lines: list[list[bytes]] = [[] for _ in scenario.sensor_names]
    for number, part in messages(load, time.time_ns() // 1000 - load.span_us):
        lines[number] += [value for value, _ in part]
    for (site, sensor), records in zip(scenario.sensor_names, lines, strict=True):
        path = folder / f"{site}-{sensor}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(records) + b"\n")
        rows = read_rows(path, site, sensor, load_settings(), Span(), None)
        origin = f"{site}/{sensor}" if scenario.sites > 1 else site
        calm = recalibrate(calm, origin, rows.matrix, rows.end_ts_us)
        flooded = recalibrate(flooded, origin, rows.matrix, rows.end_ts_us, alert_level=1.0)
        if scenario.sites == 1:
            break
    registry.save(calm, folder)
    registry.save(flooded, folder)
    return calm.id, flooded.id


@contextmanager
def place(
    broker: Path | None = None, quiet_records: int = QUIET_RECORDS, scenario: Scenario = SCENARIO
) -> Iterator[Place]:
    """A folder, a calibrated model and a broker of its own, or that of the folder `broker`; removed afterwards.

    Also where the bench is ended by SIGTERM.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with workplace("bench-flow-", broker) as (folder, running):
        model, flooded = calibrated(folder / "models", quiet_records, scenario)
        yield Place(running, folder, folder / "models", model, flooded)


def measure(
    where: Place,
    flow: Flow,
    began: Callable[[Pids], None] = lambda _pids: None,
    ended: Callable[[Settings], None] = lambda _settings: None,
) -> Run:
    """Fill `raw` of fresh topics, start the six stages, and see what they need until all is archived.

    began: called with the pids, by stage, once the first `flows` message is there. ended: with the settings, once the
    stages have ended.
    """
    name = f"b{uuid.uuid4().hex[:10]}"
    folder = where.folder / name
    settings = load_settings(
        bootstrap=where.broker.bootstrap,
        topic_prefix=f"{name}.",
        state_uri=folder / "state",
        archive_uri=folder / "archive",
        samples_uri=folder / "samples",
        registry_uri=where.models,
        model=where.model if flow.calm else where.flooded,
        metrics_port=0,
        max_sensors=max(256, len(flow.scenario.sensor_names)),  # all may lie in one partition
    )
    topics.create(settings)
    load = Load(flow.scenario, flow.records, SEED, pack=flow.pack)
    sent = send(load, settings.topics.raw, clients.connection(settings, "bench"))
    assert sent.finished, sent.refused
    (folder / "logs").mkdir(parents=True)
    processes = Processes(folder / "logs", worker_environment(settings))
    reader = clients.reader(settings, "bench")
    try:
        pids = {"broker": where.broker.pid, **_started(processes, flow)}
        while not any(end for _, end in watermarks(reader, settings, settings.topics.flows).values()):
            processes.check()
            time.sleep(0.02)
        before, started = {worker: cpu_s(pid) for worker, pid in pids.items()}, time.monotonic()
        began(pids)
        while archived(settings) < flow.records:
            processes.check()
            time.sleep(LOOK_S)
        took = time.monotonic() - started
        used = _by_stage({worker: cpu_s(pid) - before[worker] for worker, pid in pids.items()})
        memory = _by_stage({worker: memory_peak_mib(pid) for worker, pid in pids.items()})
    finally:
        reader.close()
        processes.stop()
    ended(settings)
    first, last = _sent_ms(settings, settings.topics.flows)[0], _sent_ms(settings, settings.topics.archive)[1]
    return Run(
        records=flow.records,
        pack=flow.pack,
        calm=flow.calm,
        sensors=len(flow.scenario.sensor_names),
        workers=flow.workers,
        records_per_s=round(flow.records / (last - first) * 1000),
        archived_per_s=round(flow.records / took),
        suspects=_rows(settings, settings.topics.suspects),
        verified=bool(verify(settings.archive_uri, None)["ok"]),
        cpu_us_per_record={stage: round(seconds * 1e6 / flow.records, 2) for stage, seconds in used.items()},
        memory_peak_mib={stage: round(mib) for stage, mib in memory.items()},
    )


def _started(processes: Processes, flow: Flow) -> dict[str, int]:
    """Start the workers; their pids by stage, with a number behind the stage of each but the first."""
    pids = {}
    cores = sorted(os.sched_getaffinity(0))
    for number in range(flow.workers):
        for stage in STAGES:
            worker = stage if number == 0 else f"{stage}-{number}"
            own = {"FOREBAY_INSTANCE_ID": str(number)}
            pids[worker] = processes.start(worker, stage, "run", environment=own).process.pid
            if flow.pinned:  # its threads do not run yet, and inherit it
                os.sched_setaffinity(pids[worker], {cores[number % len(cores)]})
    return pids


def _by_stage(values: Mapping[str, float]) -> dict[str, float]:
    """The sum over a stage's workers."""
    sums: dict[str, float] = {}
    for worker, value in values.items():
        stage = worker.partition("-")[0]
        sums[stage] = sums.get(stage, 0) + value
    return sums


def archived(settings: Settings) -> int:
    """Records in closed files, as the manifests state them."""
    return sum(row["accepted"] + row["late"] + row["rejected"] for row in account(settings.archive_uri))


def memory_peak_mib(pid: int) -> int:
    """The most resident memory a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0


def _sent_ms(settings: Settings, topic: str) -> tuple[int, int]:
    """When the first and the last message of a topic were sent, in ms."""
    ends = tail.ends(settings, topic, range(settings.partitions))
    firsts = [
        next(_read(settings, topic, {partition: 0}, {partition: end})) for partition, end in ends.items() if end > 0
    ]
    lasts = _read(settings, topic, {partition: max(0, end - LAST_OFFSETS) for partition, end in ends.items()}, ends)
    return min(at.timestamp()[1] for at in firsts), max(at.timestamp()[1] for at in lasts)


def _rows(settings: Settings, topic: str) -> int:
    """Rows in all messages of a topic."""
    ends = tail.ends(settings, topic, range(settings.partitions))
    messages = _read(settings, topic, dict.fromkeys(ends, 0), ends)
    return sum(decode(message.value() or b"", "scored")[0].num_rows for message in messages)


def _read(settings: Settings, topic: str, start: Mapping[int, int], ends: dict[int, int]) -> Iterator[Message]:
    """Messages of a topic from the offsets `start` to `ends`."""
    reader = clients.reader(settings, "bench", **tail.EOF_EVENTS)
    try:
        reader.assign([TopicPartition(topic, partition, offset) for partition, offset in start.items()])
        yield from tail.read_to(reader, topic, ends, 60.0)
    finally:
        reader.close()


def show(runs: list[Run]) -> None:
    """The runs as a table."""
    names = ["broker", *STAGES]
    print(f"{'records a message':>18} {'records/s':>10} {'archived/s':>10} {'suspects':>9}  CPU µs a record: ", end="")
    print(" ".join(f"{name:>9}" for name in names), f"{'sum':>6}")
    for run in runs:
        cells = " ".join(f"{run.cpu_us_per_record[name]:>9.1f}" for name in names)
        print(
            f"{run.pack:>18} {run.records_per_s:>10,} {run.archived_per_s:>10,} {run.suspects:>9,} {'':>18}",
            cells,
            f"{run.cpu_us:>6.1f}",
        )
        print(f"{'most memory, MiB':>70}", " ".join(f"{run.memory_peak_mib[name]:>9,}" for name in names))


def main() -> None:
    """Measure each pack, print the table, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_600_000)
    parser.add_argument("--pack", default="1,100", help="records a message; several measure one after the other")
    parser.add_argument(
        "--broker", type=Path, help="a local broker's folder, where it runs already or is to keep running"
    )
    parser.add_argument("--quiet", type=int, default=QUIET_RECORDS, help="quiet records a sensor, to calibrate on")
    parser.add_argument("--sensors", type=int, help="so many at one site, instead of eight at four")
    parser.add_argument("--flooded", action="store_true", help="every row is a suspect")
    parser.add_argument("--workers", type=int, default=1, help="of each stage")
    parser.add_argument("--pinned", action="store_true", help="the first worker of each stage on one core, and so on")
    arguments = parser.parse_args()
    packs = map(int, arguments.pack.split(","))
    site = replace(SCENARIO, sites=1, sensors=1)  # its calibration holds for any number of its sensors
    scenario = replace(site, sensors=arguments.sensors) if arguments.sensors else SCENARIO
    with place(arguments.broker, arguments.quiet, site if arguments.sensors else SCENARIO) as where:
        runs = [
            measure(
                where,
                Flow(arguments.records, pack, not arguments.flooded, arguments.workers, arguments.pinned, scenario),
            )
            for pack in packs
        ]
    show(runs)
    print(orjson.dumps({"runs": [asdict(run) for run in runs]}).decode())


if __name__ == "__main__":
    main()
