"""What following files costs: records a second when behind, memory, CPU when nothing comes, and how late a line is.

`python -m tests.bench.bench_follow [RECORDS] [IDLE_S]`, with a Kafka at FOREBAY_BOOTSTRAP; topics of its own prefix.
"""

import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import TopicPartition

from pipeline.runtime.kafka import clients, topics
from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.output import emit
from tests.bench.path import cpu_s

RECORDS, IDLE_S, LINES = 2_000_000, 60.0, 40
ROOT = Path(__file__).parents[2]
LINE = (
    b'{"ts":%d.078823,"uid":"CXW%09d","id.orig_h":"192.168.1.9","id.orig_p":50820,"id.resp_h":"45.33.32.156",'
    b'"id.resp_p":443,"proto":"tcp","service":"ssl","duration":0.20696377754211426,"orig_bytes":120,"resp_bytes":4000,'
    b'"conn_state":"SF","missed_bytes":0,"history":"ShADadFf","orig_pkts":7,"orig_ip_bytes":420,"resp_pkts":9,'
    b'"resp_ip_bytes":4400}\n'
)


def line(number: int) -> bytes:
    return LINE % (1_678_440_574 + number // 1_000, number)


def memory_mib(pid: int) -> float:
    """The most resident memory of a process so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM")) / 1024


@contextmanager
def follower(settings: Settings, path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.tools.cli", "flow", "follow", str(path), "--site", "bench", "--sensor", "one"],
        env={**os.environ, **settings.variables()}, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    for log_line in process.stderr:
        if b'"ready"' in log_line:
            break
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


class Reader:
    """Counts committed records of `raw` as they come."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = clients.reader(settings, "bench")
        parts = range(settings.partitions)
        self._consumer.assign([TopicPartition(settings.topics.raw, number, 0) for number in parts])
        self.records = 0

    def until(self, records: int, every: float = 0.02) -> float:
        """When so many were there."""
        while self.records < records:
            for message in self._consumer.consume(500, every):
                if message.error() is None:
                    self.records += bytes(message.value() or b"").count(b"\n") + 1
        return time.monotonic()


def main() -> None:
    """Print the figures, one JSON document as the last line."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    idle_s = float(sys.argv[2]) if len(sys.argv) > 2 else IDLE_S
    settings = load_settings(topic_prefix=f"bench{uuid.uuid4().hex[:8]}.", metrics_port=-1)
    topics.create(settings)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "conn.log"
        with path.open("wb") as file:
            for number in range(count):
                file.write(line(number))
        size_mb = path.stat().st_size / 1e6
        reader = Reader(settings)
        with follower(settings, path) as process:
            started, before_s = time.monotonic(), cpu_s(process.pid)
            behind_s = reader.until(count) - started
            behind_cpu_s, peak_mib = cpu_s(process.pid) - before_s, memory_mib(process.pid)
            time.sleep(3)
            before_s, started = cpu_s(process.pid), time.monotonic()
            time.sleep(idle_s)
            idle = (cpu_s(process.pid) - before_s) / (time.monotonic() - started)
            late = []
            for number in range(LINES):
                time.sleep(0.37)
                with path.open("ab") as file:
                    file.write(line(count + number))
                written = time.monotonic()
                late.append(reader.until(count + number + 1) - written)
    emit(
        {
            "records": count,
            "megabytes": round(size_mb),
            "records_per_s": round(count / behind_s),
            "cpu_us_a_record": round(behind_cpu_s / count * 1e6, 2),
            "peak_mib": round(peak_mib, 1),
            "idle_cpu_percent": round(100 * idle, 3),
            "latency_p50_s": round(statistics.median(late), 3),
            "latency_max_s": round(max(late), 3),
        }
    )


if __name__ == "__main__":
    main()
