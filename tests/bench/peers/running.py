"""How a peer's program is run on a topic that lies ready, and what it takes."""

import importlib.metadata
import os
import re
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pipeline.tools.broker.state import Running
from tests.bench.path import cpu_s, fill, settings_for
from tests.contract.tree import ROOT

LOCK = ROOT / "requirements" / "peers.txt"
FOLDER = ROOT / "var" / "peers"
MARK = FOLDER / "installed.txt"
PATIENCE_S = 150.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that does the job of job.py. share: of the records, as what takes one a second takes another a minute.

    transactions: answers and offsets are one, so that progress is what the group has committed.
    """

    name: str
    title: str
    module: str
    package: str
    share: float
    guarantee: str
    leaves_out: str
    transactions: bool = False
    its_own_environment: bool = True
    arguments: tuple[str, ...] = ()


HAND = Peer(
    "hand",
    "a loop by hand, confluent-kafka",
    "hand_loop",
    "confluent-kafka",
    1.0,
    "none: a crash loses or doubles records",
    "checks of records, order of event time, saved state, metrics",
    its_own_environment=False,
)
PEERS = (
    Peer(
        "faust",
        "Faust, a record at a time",
        "faust_job",
        "faust-streaming",
        0.05,
        "at least once; the window is lost with the process",
        "batches, checks of records, order of event time",
        its_own_environment=False,
    ),
    Peer(
        "quix",
        "Quix Streams, a record at a time",
        "quix_job",
        "quixstreams",
        0.2,
        "exactly once in Kafka; the window is lost with the process",
        "batches, checks of records, order of event time",
        transactions=True,
    ),
    Peer(
        "bytewax",
        "Bytewax, batches of 1,000",
        "bytewax_job",
        "bytewax",
        0.5,
        "none: no recovery is switched on, its Kafka output has no transactions",
        "checks of records, order of event time, saved state",
    ),
    Peer(
        "pathway",
        "Pathway, commits of 10,000 at most",
        "pathway_job",
        "pathway",
        1.0,
        "none: no persistence is switched on, its Kafka output has no transactions",
        "checks of records, order of event time between commits and of answers within one, saved state",
    ),
    HAND,
    Peer(
        "hand-transactions",
        "the loop by hand, in transactions",
        "hand_loop",
        "confluent-kafka",
        1.0,
        "exactly once in Kafka; the window is lost with the process",
        "checks of records, order of event time, saved state, metrics",
        transactions=True,
        its_own_environment=False,
        arguments=("transactions",),
    ),
)


@dataclass(frozen=True, slots=True)
class PeerRun:
    """What a peer showed; 0 records a second where it did not come to an end."""

    pack: int
    records: int
    records_per_s: int
    cpu_us_per_record: dict[str, float]
    """Of the program and of the broker."""


def installed() -> bool:
    """Whether the environment with the peers in it is there, made from the locked requirements of today."""
    return MARK.exists() and MARK.read_bytes() == LOCK.read_bytes()


def peers_python() -> Path:
    """An environment with the peers in it, made on first use from the locked requirements."""
    python = FOLDER / "bin" / "python"
    if not installed():
        print("installing the peers ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(LOCK)], check=True)
        MARK.write_bytes(LOCK.read_bytes())
    return python


def version(peer: Peer) -> str:
    """What stands in the peers' lock, or is installed here."""
    match = re.search(rf"^{peer.package}==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match and peer.its_own_environment else importlib.metadata.version(peer.package)


def start(peer: Peer, bootstrap: str, topics: tuple[str, str], pack: int, log: Path) -> "subprocess.Popen[bytes]":
    """Create the second topic, of one partition, and start the program that works the first one off into it."""
    admin = AdminClient({"bootstrap.servers": bootstrap})  # its answers come only while it lives
    admin.create_topics([NewTopic(topics[1], 1, 1)])[topics[1]].result(20)
    python = peers_python() if peer.its_own_environment else Path(sys.executable)
    module = f"tests.bench.peers.{peer.module}"
    program = [str(python), "-m", module, bootstrap, *topics, str(pack), *peer.arguments]
    with log.open("wb") as out:
        return subprocess.Popen(program, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=out, stderr=out)


def run_peer(peer: Peer, broker: Running, records: int, pack: int, folder: Path) -> PeerRun:
    """Fill a topic of one partition, let the program work it off, from its first answers to the last."""
    name = f"{peer.name}-{pack}-{uuid.uuid4().hex[:8]}"
    settings = settings_for(broker.bootstrap, f"{name}.", folder / name, partitions=1)
    source, sink = settings.topics.raw, f"peers.{name}"
    messages = max(1, round(records / pack))
    fill(settings, messages * pack, pack, sensors=1, marks=False)
    log = folder / f"{name}.log"
    process = start(peer, broker.bootstrap, (source, sink), pack, log)
    # A reader that is there before the topic may not know its partition at first.
    reader = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": sink, "enable.auto.commit": False})
    pids = {"program": process.pid, "broker": broker.pid}
    first: tuple[float, int, dict[str, float]] | None = None
    deadline, rate, cpu = time.monotonic() + PATIENCE_S, 0.0, dict[str, float]()
    try:
        while time.monotonic() < deadline and process.poll() is None:
            done, now = _answered(reader, peer, source, sink, pack), time.monotonic()
            if done and first is None:
                first = now, done, {each: cpu_s(pid) for each, pid in pids.items()}
            if first and done >= messages * pack:
                counted = max(1, done - first[1])
                rate = counted / max(now - first[0], 1e-9) if done > first[1] else 0.0
                cpu = {each: round((cpu_s(pid) - first[2][each]) * 1e6 / counted, 2) for each, pid in pids.items()}
                break
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
        reader.close()
    if not rate:
        print(f"{peer.name}: not done; its last words:\n{log.read_text(errors='replace')[-800:]}", flush=True)
    return PeerRun(pack, messages * pack, round(rate), cpu)


def _answered(reader: Consumer, peer: Peer, source: str, sink: str, pack: int) -> int:
    """Records that have been answered: messages in the sink, or, where marks of transactions lie between, committed."""
    if not peer.transactions:
        return reader.get_watermark_offsets(TopicPartition(sink, 0), timeout=10)[1]
    (at,) = reader.committed([TopicPartition(source, 0)], timeout=10)
    return max(0, at.offset) * pack
