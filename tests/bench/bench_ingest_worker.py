"""What ingest's worker takes on a real broker while it is behind: CPU, memory, and how it fills messages.

`python -m tests.bench.bench_ingest_worker [--records N] [--pack 1,100] [--broker FOLDER]`; a line a run, and in the
last one a JSON document. All records lie in `raw` before the worker starts, as in `bench_flow`.
"""

import argparse
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition

from loadtest.sending import Load, send
from pipeline.runtime.kafka import clients, errors, tail, topics
from pipeline.settings import Settings, load_settings
from pipeline.tools.processes import Processes, worker_environment
from tests.bench.bench_flow import SCENARIO, SEED, memory_peak_mib
from tests.bench.path import cpu_s, workplace

CHECK_S = 0.05


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed, from when the worker was ready until its last commit."""

    records: int
    pack: int
    records_per_s: int
    cpu_us_per_record: dict[str, float]
    memory_peak_mib: int
    flows_messages: int
    rows_per_message: int
    marks: int
    """Of transactions, in `flows`: one a partition of each."""


def measure(kafka: str, broker: int, records: int, pack: int, folder: Path) -> Run:
    """Fill `raw` of fresh topics, start the worker, and see what it needs until all of it is committed."""
    settings = load_settings(bootstrap=kafka, topic_prefix=f"b{uuid.uuid4().hex[:10]}.", metrics_port=0)
    topics.create(settings)
    load = Load(SCENARIO, records, SEED, pack=pack, end_of_source=False)
    sent = send(load, settings.topics.raw, clients.connection(settings, "bench"))
    assert sent.finished, sent.refused
    folder.mkdir(parents=True)
    processes = Processes(folder, worker_environment(settings))
    partitions = range(settings.partitions)
    ends = tail.ends(settings, settings.topics.raw, partitions)
    wanted = {TopicPartition(settings.topics.raw, partition): end for partition, end in ends.items() if end}
    group = clients.reader(settings, "bench", **{"group.id": f"{settings.topic_prefix}ingest"})
    try:
        worker = processes.start("ingest", "ingest", "run")
        pids = {"broker": broker, "ingest": worker.process.pid}
        processes.wait_ready([worker], 90)
        before, started = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
        first = _committed(group, wanted)
        while (now := _committed(group, wanted)) != wanted:
            processes.check()
            time.sleep(CHECK_S)
        took = time.monotonic() - started
        used = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
        memory = memory_peak_mib(worker.process.pid)
    finally:
        group.close()
        processes.stop()
    counted = (sum(now.values()) - sum(first.values())) * pack
    ends = tail.ends(settings, settings.topics.flows, partitions)
    made = _flows_messages(settings, ends)
    return Run(
        records,
        pack,
        round(counted / took),
        {name: round(seconds * 1e6 / counted, 2) for name, seconds in used.items()},
        memory,
        made,
        round(records / made),
        sum(ends.values()) - made,
    )


def _committed(group: Consumer, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """What ingest has committed; of a coordinator that is just being found, nothing yet."""
    try:
        return {at: max(at.offset, 0) for at in group.committed(list(partitions), 10)}
    except KafkaException as error:
        if errors.kind_of(error.args[0]) is not errors.Kind.AWAY:
            raise
        return dict.fromkeys(partitions, 0)


def _flows_messages(settings: Settings, ends: dict[int, int]) -> int:
    reader = clients.reader(settings, "bench", **tail.EOF_EVENTS)
    try:
        reader.assign([TopicPartition(settings.topics.flows, partition, 0) for partition in ends])
        return sum(1 for _ in tail.read_to(reader, settings.topics.flows, ends))
    finally:
        reader.close()


def main() -> None:
    """Print a line a run, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--pack", default="1,100", help="records a message; several measure one after the other")
    parser.add_argument(
        "--broker", type=Path, help="a local broker's folder, where it runs already or is to keep running"
    )
    arguments = parser.parse_args()
    runs = []
    with workplace("bench-ingest-", arguments.broker) as (folder, running):
        for pack in map(int, arguments.pack.split(",")):
            run = measure(running.bootstrap, running.pid, arguments.records, pack, folder / f"pack-{pack}")
            print(
                f"ingest, {pack} a message: {run.records_per_s:,} records/s; CPU µs a record: "
                f"{', '.join(f'{name} {us}' for name, us in run.cpu_us_per_record.items())}; "
                f"{run.memory_peak_mib} MiB at most; {run.flows_messages:,} flows messages of {run.rows_per_message:,}"
            )
            runs.append(asdict(run))
    print(orjson.dumps({"runs": runs}).decode())


if __name__ == "__main__":
    main()
