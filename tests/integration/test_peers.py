"""What Forebay is compared with does the whole job: every record answered, with the right count of its window."""

import time
from collections import Counter
from pathlib import Path

import orjson
import pytest

from tests.bench.path import fill, settings_for
from tests.bench.peers.job import Recent
from tests.bench.peers.running import PEERS, Peer, installed, start
from tests.integration.ingest_stage import read
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration
RECORDS = 2_000


@pytest.mark.parametrize("pack", [1, 100])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_counts_as_the_job_says(peer: Peer, pack: int, kafka: str, prefix: str, tmp_path: Path) -> None:
    if peer.its_own_environment and not installed():
        pytest.skip("not proven: peers of an environment of their own do the job (python -m tests.bench.peers)")
    settings = settings_for(kafka, prefix, tmp_path, partitions=1)
    source, sink = settings.topics.raw, f"{prefix}answers"
    fill(settings, RECORDS, pack, sensors=1, marks=False)
    recent = Recent()
    records = [
        orjson.loads(line) for message in read(settings, source) for line in (message.value() or b"").splitlines()
    ]
    wanted = Counter((record["uid"], recent.count(record)) for record in records)
    assert wanted.total() == RECORDS and max(count for _, count in wanted) > 10

    log = tmp_path / "log.txt"
    process = start(peer, kafka, (source, sink), pack, log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while len(answers := read(settings, sink)) < RECORDS:
            assert process.poll() is None and time.monotonic() < deadline, (len(answers), log.read_text())
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    documents = [orjson.loads(message.value() or b"") for message in answers]
    assert Counter((each["uid"], each["count"]) for each in documents) == wanted
    assert all(each.keys() == {"uid", "count", "class", "score"} for each in documents)
