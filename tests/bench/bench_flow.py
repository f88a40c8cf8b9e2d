"""What the whole flow sustains: all records lie in `raw`, then the six stages start together and work them off.

`python -m tests.bench.bench_flow [--records N] [--pack 1,100] [--broker FOLDER] [--not-calibrated]`; a table, and in
the last line one JSON document. The model is calibrated on quiet records of each sensor, as an operator's is; without
that every row is a suspect. Counted from the first `flows` message: the rate until the last row stood in `archive`, by
the messages' own times, and CPU until every record lay in a closed file.
"""

import argparse
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson
from confluent_kafka import TopicPartition

from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.sending import Load, messages, send
from models.serving import registry
from models.training.recalibrate import recalibrate
from pipeline.archive.upkeep.verify import account
from pipeline.runtime.kafka import clients, tail, topics
from pipeline.runtime.wire.batches import decode
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker import local
from pipeline.tools.offline.training_rows import Span, read_rows
from pipeline.tools.processes import STAGES, Processes, worker_environment
from tests.bench.path import cpu_s, watermarks

SCENARIO: Scenario = replace(SCENARIOS["sites"], sites=4, sensors=2)
SEED = 1
QUIET_RECORDS = 20_000
"""Of each sensor: enough for a table of p-values that reaches below the alert level."""
LOOK_S = 0.5
"""How often the archive's manifests are read: seldom enough to take no CPU that would be counted."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed."""

    records: int
    pack: int
    calibrated: bool
    records_per_s: int
    """From the first `flows` message to the last `archive` message."""
    archived_per_s: int
    """From the first `flows` message until every record lay in a closed file."""
    suspects: int
    cpu_us_per_record: dict[str, float]
    memory_peak_mib: dict[str, int]


def calibrated(folder: Path, quiet_records: int) -> str:
    """The shipped model, calibrated on so many quiet records of each sensor, in the registry `folder`; its id."""
    load = Load(SCENARIO, quiet_records * len(SCENARIO.sensor_names), SEED)
    model = registry.load()
    lines: list[list[bytes]] = [[] for _ in SCENARIO.sensor_names]
    for number, part in messages(load, time.time_ns() // 1000 - load.span_us):
        lines[number] += [value for value, _ in part]
    for (site, sensor), records in zip(SCENARIO.sensor_names, lines, strict=True):
        path = folder / f"{site}-{sensor}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(records) + b"\n")
        rows = read_rows(path, site, sensor, load_settings(), Span(), None)
        model = recalibrate(model, f"{site}/{sensor}", rows.matrix, rows.end_ts_us)
    registry.save(model, folder)
    return model.id


def measure(kafka: str, broker: int, records: int, pack: int, model: str, models: Path, folder: Path) -> Run:
    """Fill `raw` of fresh topics, start the six stages, and see what they need until all is archived."""
    settings = load_settings(
        bootstrap=kafka,
        topic_prefix=f"b{uuid.uuid4().hex[:10]}.",
        state_uri=folder / "state",
        archive_uri=folder / "archive",
        samples_uri=folder / "samples",
        registry_uri=models,
        model=model,
        metrics_port=0,
    )
    topics.create(settings)
    sent = send(Load(SCENARIO, records, SEED, pack=pack), settings.topics.raw, clients.connection(settings, "bench"))
    assert sent.finished, sent.refused
    (folder / "logs").mkdir(parents=True)
    processes = Processes(folder / "logs", worker_environment(settings))
    reader = clients.reader(settings, "bench")
    try:
        workers = {stage: processes.start(stage, stage, "run") for stage in STAGES}
        pids = {"broker": broker, **{stage: worker.process.pid for stage, worker in workers.items()}}
        while not any(end for _, end in watermarks(reader, settings, settings.topics.flows).values()):
            processes.check()
            time.sleep(0.02)
        before, started = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
        while _archived(settings) < records:
            processes.check()
            time.sleep(LOOK_S)
        took = time.monotonic() - started
        used = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
        memory = {name: _memory_peak_mib(pid) for name, pid in pids.items()}
    finally:
        reader.close()
        processes.stop()
    first, last = _times(settings, settings.topics.flows), _times(settings, settings.topics.archive)
    return Run(
        records,
        pack,
        bool(model),
        round(records / (max(last) - min(first)) * 1000),
        round(records / took),
        _rows(settings, settings.topics.suspects),
        {name: round(seconds * 1e6 / records, 2) for name, seconds in used.items()},
        memory,
    )


def _archived(settings: Settings) -> int:
    """Records in closed files, as the manifests state them."""
    return sum(row["accepted"] + row["late"] + row["rejected"] for row in account(settings.archive_uri))


def _memory_peak_mib(pid: int) -> int:
    """The most resident memory a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0


def _times(settings: Settings, topic: str) -> list[int]:
    """When each message of a topic was sent, in ms."""
    return [at for at, _ in _read(settings, topic)]


def _rows(settings: Settings, topic: str) -> int:
    """Rows in all messages of a topic."""
    return sum(decode(value, "scored")[0].num_rows for _, value in _read(settings, topic))


def _read(settings: Settings, topic: str) -> list[tuple[int, bytes]]:
    reader = clients.reader(settings, "bench", **tail.EOF_EVENTS)
    try:
        wanted = tail.ends(settings, topic, range(settings.partitions))
        reader.assign([TopicPartition(topic, partition, 0) for partition in wanted])
        return [
            (message.timestamp()[1], message.value() or b"") for message in tail.read_to(reader, topic, wanted, 60.0)
        ]
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
            f"{sum(run.cpu_us_per_record.values()):>6.1f}",
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
    parser.add_argument("--not-calibrated", action="store_true", help="the shipped model as it is: all are suspects")
    arguments = parser.parse_args()
    runs = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-flow-")))
        model = "" if arguments.not_calibrated else calibrated(folder / "models", arguments.quiet)
        running = local.start(arguments.broker or folder / "broker")
        if arguments.broker is None:
            stack.callback(local.stop, folder / "broker")
        for pack in map(int, arguments.pack.split(",")):
            here = folder / f"pack-{pack}"
            runs.append(
                measure(running.bootstrap, running.pid, arguments.records, pack, model, folder / "models", here)
            )
    show(runs)
    print(orjson.dumps({"runs": [asdict(run) for run in runs]}).decode())


if __name__ == "__main__":
    main()
