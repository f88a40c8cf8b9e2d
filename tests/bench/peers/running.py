"""How a peer's program is run on a topic that lies ready, and what it takes."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pipeline.tools.broker.java import find_java
from pipeline.tools.broker.state import Running
from pipeline.tools.system.identity import usage_of
from tests.bench.path import cpu_s, fill, settings_for
from tests.bench.peers.connector import connector
from tests.contract.tree import ROOT

MARK = "installed.txt"
PATIENCE_S = 150.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that does the job of job.py.

    environment: which of requirements/ it is installed from, "" for Forebay's own. share: of the records, as what takes
    one a second takes another a minute. transactions: answers and offsets are one, so that progress is what the group
    has committed. connector: the program is given the jar of Flink's Kafka connector. whole_ms: its event time has no
    parts of milliseconds.
    """

    name: str
    title: str
    module: str
    package: str
    share: float
    guarantee: str
    leaves_out: str
    transactions: bool = False
    environment: str = "peers"
    arguments: tuple[str, ...] = ()
    connector: bool = False
    whole_ms: bool = False


HAND = Peer(
    "hand",
    "a loop by hand, confluent-kafka",
    "hand_loop",
    "confluent-kafka",
    1.0,
    "none: a crash loses or doubles records",
    "checks of records, order of event time, saved state, metrics",
    environment="",
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
        environment="",
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
    Peer(
        "flink",
        "Flink SQL, batches of 10,000 to Python",
        "flink_job",
        "apache-flink",
        0.5,
        "exactly once, the window included",
        "checks of records",
        transactions=True,
        environment="flink",
        connector=True,
        whole_ms=True,
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
        environment="",
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


def installed(peer: Peer) -> bool:
    """Whether the peer's environment is there, made from the locked requirements of today."""
    mark = _folder(peer) / MARK
    return not peer.environment or (mark.exists() and mark.read_bytes() == _lock(peer).read_bytes())


def peers_python(peer: Peer) -> Path:
    """The Python of the peer's environment, made on first use from the locked requirements."""
    if not peer.environment:
        return Path(sys.executable)
    folder, lock = _folder(peer), _lock(peer)
    python = folder / "bin" / "python"
    if not installed(peer):
        print(f"installing {peer.environment} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(lock)], check=True)
        (folder / MARK).write_bytes(lock.read_bytes())
    return python


def _folder(peer: Peer) -> Path:
    return ROOT / "var" / peer.environment


def _lock(peer: Peer) -> Path:
    return ROOT / "requirements" / f"{peer.environment}.txt"


def version(peer: Peer) -> str:
    """What stands in the lock of the peer's environment, or is installed here."""
    if not peer.environment:
        return importlib.metadata.version(peer.package)
    match = re.search(rf"^{peer.package}==(\S+)", _lock(peer).read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else "unknown"


def start(peer: Peer, bootstrap: str, topics: tuple[str, str], pack: int, log: Path) -> "subprocess.Popen[bytes]":
    """Create the second topic, of one partition, and start the program that works the first one off into it."""
    admin = AdminClient({"bootstrap.servers": bootstrap})  # its answers come only while it lives
    admin.create_topics([NewTopic(topics[1], 1, 1)])[topics[1]].result(20)
    python = peers_python(peer)
    module = f"tests.bench.peers.{peer.module}"
    program = [str(python), "-m", module, bootstrap, *topics, str(pack), *peer.arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if peer.connector:
        program.append(str(connector(_folder(peer))))
        environment["JAVA_HOME"] = str(find_java().parents[1])
    with log.open("wb") as out:
        return subprocess.Popen(program, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a program, and what it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def session_cpu_s(pid: int) -> float:
    """CPU seconds that the processes of a program's session have used: its own, and those it has started."""
    used_s = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):  # it has ended meanwhile
            if os.getsid(int(folder.name)) == pid:
                used_s += usage_of(int(folder.name), with_pss=False).cpu_s or 0.0
    return used_s


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

    def used_s() -> dict[str, float]:
        return {"program": session_cpu_s(process.pid), "broker": cpu_s(broker.pid)}

    first: tuple[float, int, dict[str, float]] | None = None
    deadline, rate, cpu = time.monotonic() + PATIENCE_S, 0.0, dict[str, float]()
    try:
        while time.monotonic() < deadline and process.poll() is None:
            done, now = _answered(reader, peer, source, sink, pack), time.monotonic()
            if done and first is None:
                first = now, done, used_s()
            if first and done >= messages * pack:
                counted = max(1, done - first[1])
                rate = counted / max(now - first[0], 1e-9) if done > first[1] else 0.0
                cpu = {each: round((used - first[2][each]) * 1e6 / counted, 2) for each, used in used_s().items()}
                break
            time.sleep(0.02)
    finally:
        end(process)
        reader.close()
    if not rate:
        print(f"{peer.name}: not done; its last words:\n{log.read_text(errors='replace')[-800:]}", flush=True)
    return PeerRun(pack, messages * pack, round(rate), cpu)


def _answered(reader: Consumer, peer: Peer, source: str, sink: str, pack: int) -> int:
    """Records that have been answered: messages in the sink, or, where marks of transactions lie between, committed."""
    if not peer.transactions:
        return reader.get_watermark_offsets(TopicPartition(sink, 0), timeout=10)[1]
    try:
        (at,) = reader.committed([TopicPartition(source, 0)], timeout=10)
    except KafkaException as error:
        if not error.args[0].retriable():
            raise
        return 0  # a broker that is asked for a group for the first time has no coordinator yet
    return max(0, at.offset) * pack
