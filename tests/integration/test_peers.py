"""What Forebay is compared with does the whole job: every record answered, with the right count of its window."""

import time
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.bench.path import fill, settings_for
from tests.bench.peers.job import WINDOW_S, Recent
from tests.bench.peers.running import PEERS, Peer, end, installed, start
from tests.integration.ingest_stage import read
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration
RECORDS = 2_000


def counts(records: list[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """What the job says, of records as they come."""
    recent = Recent()
    for record in records:
        yield record["uid"], recent.count(record)


def counts_in_whole_ms(records: list[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """The same where flows that end in the same millisecond are in the window of each other."""
    ends: dict[str, list[int]] = defaultdict(list)
    at = [int((record["ts"] + record.get("duration", 0.0)) * 1000) for record in records]
    for record, end_ms in zip(records, at, strict=True):
        insort(ends[record["id.resp_h"]], end_ms)
    for record, end_ms in zip(records, at, strict=True):
        same = ends[record["id.resp_h"]]
        yield record["uid"], bisect_right(same, end_ms) - bisect_right(same, end_ms - 1000 * int(WINDOW_S))


@pytest.mark.parametrize("pack", [1, 100])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_counts_as_the_job_says(peer: Peer, pack: int, kafka: str, prefix: str, tmp_path: Path) -> None:
    if not installed(peer):
        pytest.skip("not proven: peers of an environment of their own do the job (python -m tests.bench.peers)")
    settings = settings_for(kafka, prefix, tmp_path, partitions=1)
    source, sink = settings.topics.raw, f"{prefix}answers"
    fill(settings, RECORDS, pack, sensors=1, marks=False)
    records = [
        orjson.loads(line) for message in read(settings, source) for line in (message.value() or b"").splitlines()
    ]
    wanted = Counter(counts_in_whole_ms(records) if peer.whole_ms else counts(records))
    assert wanted.total() == RECORDS and max(count for _, count in wanted) > 10

    log = tmp_path / "log.txt"
    process = start(peer, kafka, (source, sink), pack, log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while len(answers := read(settings, sink)) < RECORDS:
            assert process.poll() is None and time.monotonic() < deadline, (len(answers), log.read_text())
            time.sleep(0.2)
    finally:
        end(process)
    documents = [orjson.loads(message.value() or b"") for message in answers]
    assert Counter((each["uid"], each["count"]) for each in documents) == wanted
    assert all(each.keys() == {"uid", "count", "class", "score"} for each in documents)
