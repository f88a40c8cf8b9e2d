"""The same job by Faust, Quix Streams, Bytewax and a loop by hand, and what Forebay does, on one broker.

`python -m tests.bench.peers [--records N] [--only faust,quix,...]`, one after the other; the last line is one JSON
document. Forebay's part is not the same job: records are checked and put in order, 75 features are computed, all of it
exactly once; scoring is not in it.
"""

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import orjson
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pipeline.tools.broker import local
from tests.bench.path import fill, run_path, settings_for
from tests.contract.tree import ROOT

LOCK = ROOT / "requirements" / "peers.txt"
FOLDER = ROOT / "var" / "peers"
PATIENCE_S = 150.0
# How much of the records each gets: what takes a second of one takes a minute of another.
SHARES = {"faust": 0.1, "quix": 0.2, "bytewax": 0.5, "hand": 1.0}
PROGRAMS = {"faust": "faust_job", "quix": "quix_job", "bytewax": "bytewax_job", "hand": "hand_loop"}


def peers_python() -> Path:
    """An environment with the peers in it, made on first use from the locked requirements."""
    python = FOLDER / "bin" / "python"
    mark = FOLDER / "installed.txt"
    if not mark.exists() or mark.read_bytes() != LOCK.read_bytes():
        print("installing the peers ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(LOCK)], check=True)
        mark.write_bytes(LOCK.read_bytes())
    return python


def version(peer: str) -> str:
    """What stands in the lock, or is installed here."""
    name = {"faust": "faust-streaming", "quix": "quixstreams", "bytewax": "bytewax", "hand": "confluent-kafka"}[peer]
    match = re.search(rf"^{name}==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else importlib.metadata.version(name)


def run_peer(peer: str, python: Path, bootstrap: str, source: str, records: int, log: Path) -> float:
    """Records a second, from the first answers to the last; 0 where it does not come to an end."""
    sink = f"peers.{peer}.{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})  # its answers come only while it lives
    admin.create_topics([NewTopic(sink, 1, 1)])[sink].result(20)
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "peers"})
    program = [str(python), "-m", f"tests.bench.peers.{PROGRAMS[peer]}", bootstrap, source, sink]
    with log.open("wb") as out:
        process = subprocess.Popen(
            program, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=out, stderr=out
        )
    first: tuple[float, int] | None = None
    deadline, rate = time.monotonic() + PATIENCE_S, 0.0
    try:
        while time.monotonic() < deadline and process.poll() is None:
            done, now = reader.get_watermark_offsets(TopicPartition(sink, 0), timeout=10)[1], time.monotonic()
            if done and first is None:
                first = now, done
            if first and done >= records:
                rate = (done - first[1]) / (now - first[0])
                break
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
        reader.close()
    if not rate:
        print(f"{peer}: not done; its last words:\n{log.read_text(errors='replace')[-800:]}", flush=True)
    return rate


def main() -> None:
    """Print a line a peer, and all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--only", default="faust,quix,bytewax,hand,forebay")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    python = peers_python()
    results: dict[str, dict[str, object]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-peers-")))
        running = local.start(folder / "broker")
        stack.callback(local.stop, folder / "broker")
        for peer in (name for name in SHARES if name in wanted):
            settings = settings_for(running.bootstrap, f"b{uuid.uuid4().hex[:8]}.", folder / peer, partitions=1)
            records = int(arguments.records * SHARES[peer])
            fill(settings, records, 1, sensors=1, marks=False)
            its_own = Path(sys.executable) if peer == "faust" else python
            rate = run_peer(peer, its_own, running.bootstrap, settings.topics.raw, records, folder / f"{peer}.log")
            results[peer] = {"version": version(peer), "records": records, "records_per_s": round(rate)}
            print(f"{peer:8} {version(peer):10} {records:>9,} records  {rate:>10,.0f} records/s", flush=True)
        if "forebay" in wanted:
            settings = settings_for(running.bootstrap, f"b{uuid.uuid4().hex[:8]}.", folder / "forebay")
            fill(settings, 2 * arguments.records, 1)
            run = run_path(settings, 2 * arguments.records, folder / "stages", running.pid)
            results["forebay"] = {"records": run.records, "records_per_s": round(run.records_per_s)}
            print(f"forebay  raw to features  {run.records:>9,} records  {run.records_per_s:>10,.0f} records/s")
    print(orjson.dumps(results).decode())


if __name__ == "__main__":
    main()
