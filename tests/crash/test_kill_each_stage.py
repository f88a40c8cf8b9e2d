"""`kill -9` of every stage while the flow runs: the archive is that of a reference run over the same `raw`.

Everything lies in a folder, or in a bucket of an S3 server, which for a while does not answer either.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson
import pytest

from loadtest.plants.westermo import traffic
from pipeline.archive.upkeep.diff import compare
from pipeline.archive.upkeep.verify import verify
from pipeline.contracts.raw import END_OF_SOURCE, ICSFLOW_CSV, SourceInfo
from pipeline.runtime.kafka import clients
from pipeline.runtime.storage.location import folder_or_storage
from pipeline.settings import Settings, inherited_environment
from pipeline.tools.chaos import invariants
from pipeline.tools.replay import reference_run
from tests.commands import forebay
from tests.crash import s3_server
from tests.crash.flow import STAGES, Flow, copy_raw, everything_below, running, settings_in
from tests.crash.s3_server import S3Server
from tests.runtime.storage.bucket import KEYS

pytestmark = [pytest.mark.integration, pytest.mark.crash]

MESSAGES_PER_S = 600
MIXED_RECORDS = 2_000


@dataclass(frozen=True)
class Reference:
    """What was sent, and what the stages' functions alone made of it, in folders."""

    settings: Settings
    sent: int


def stages_in_one_trace(path: Path) -> set[str]:
    """The most stages any single trace of the file passes through."""
    stages: dict[str, set[str]] = {}
    for line in path.read_bytes().splitlines():
        with suppress(orjson.JSONDecodeError):  # who was killed may have left half a line
            span = orjson.loads(line)
            stages.setdefault(span["trace_id"], set()).add(span["stage"].removeprefix("forebay-"))
    return max(stages.values(), key=len)


def all_accounted(settings: Settings, sent: int) -> None:
    """`accepted + rejected + late = sent`, proven from files and topics."""
    proof = verify(settings.archive_uri, settings)
    assert proof["ok"], proof["problems"]
    assert sum(row["sent"] for row in proof["sensors"]) == sent
    assert sum(row["accepted"] + row["rejected"] + row["late"] for row in proof["sensors"]) == sent


def send_of_two_sources(settings: Settings, folder: Path) -> int:
    """Send a sensor's records as of two sources, of which one has a lateness of its own, and its end; how many."""
    path = folder / "of-two.csv"
    traffic.write_after_cut(traffic.SENSORS[0], path)
    header, *rows = path.read_text(encoding="utf-8").splitlines()[: MIXED_RECORDS + 1]
    own = SourceInfo(ICSFLOW_CSV, tuple(header.split(",")), "westermo", "mixed", lateness_us=20_000_000)
    producer = clients.producer(settings, "test")
    for number, row in enumerate(rows):
        source = own if number // 7 % 2 else own._replace(lateness_us=None)
        producer.produce(settings.topics.raw, row.encode(), key=source.key, headers=source.headers)
    end = SourceInfo(END_OF_SOURCE, site=own.site, sensor=own.sensor)
    producer.produce(settings.topics.raw, b"", key=end.key, headers=end.headers)
    assert producer.flush(30) == 0
    return len(rows)


@pytest.fixture(scope="module")
def reference(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder, sent = tmp_path_factory.mktemp("reference"), 0
    settings = settings_in(folder, kafka, f"t{uuid.uuid4().hex[:10]}.")
    for sensor in traffic.SENSORS:
        path = folder / f"{sensor}.csv"
        sent += traffic.write_after_cut(sensor, path)
        with path.open("a") as file:
            file.write("this,is,not,a,flow\n")  # a reject must survive the kills as well
        sent += 1
        arguments = ("flow", "send", str(path), "--site", "westermo", "--sensor", sensor)
        done = forebay(*arguments, environment=inherited_environment(settings.variables()))
        assert done.code == 0, done.stderr
    sent += send_of_two_sources(settings, folder)
    assert reference_run.run(settings, folder_or_storage(settings.archive_uri, "archive")).records == sent
    return Reference(settings, sent)


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with s3_server.running(tmp_path / "s3") as server:
        yield server


def same(flow: Flow, reference: Reference) -> None:
    """Rows and closed files are those of the reference."""
    all_accounted(flow.settings, reference.sent)
    difference = compare(reference.settings.archive_uri, flow.settings.archive_uri)
    assert all(table["equal"] for table in difference["rows"].values()), difference
    assert difference["ok"], difference


def same_in_a_bucket(flow: Flow, reference: Reference, folder: Path) -> None:
    """Also alerts, features and samples are those of the stages' functions, and no position is ahead of its state."""
    same(flow, reference)
    flow.wait_drained(reference.sent)
    findings = invariants.check(flow.settings, folder)
    assert findings.ok and findings.alerts, findings


def stream(reference: Reference, flow: Flow, steps: Sequence[Callable[[], object]]) -> None:
    """Copy the reference's `raw`, the steps spread over it; until all of it is archived."""
    left = list(steps)
    for copied in copy_raw(reference.settings, flow.settings, MESSAGES_PER_S):
        if left and copied > (len(steps) - len(left) + 1) * reference.sent // (len(steps) + 2):
            left.pop(0)()
    assert not left
    flow.wait_archived(reference.sent)


def kills(flow: Flow) -> list[Callable[[], None]]:
    return [partial(flow.kill, stage) for stage in STAGES]


def during(outage: AbstractContextManager[None], seconds: float) -> None:
    with outage:
        time.sleep(seconds)


def test_the_archive_is_the_same_after_every_stage_was_killed(
    kafka: str, prefix: str, tmp_path: Path, reference: Reference
) -> None:
    with running(kafka, prefix, tmp_path / "killed") as flow:
        stream(reference, flow, kills(flow))
        same(flow, reference)
    assert {"ingest", "featurize", "score", "alert"} <= stages_in_one_trace(tmp_path / "killed" / "traces.jsonl")


@pytest.mark.nightly
def test_everything_in_a_bucket_that_stands_still_and_is_replaced_and_every_stage_is_killed(
    kafka: str, prefix: str, tmp_path: Path, reference: Reference, s3: S3Server
) -> None:
    with (
        running(kafka, prefix, tmp_path / "flow", **everything_below(s3.bucket)) as flow,
        ThreadPoolExecutor(1) as thread,
    ):
        outages: list[Callable[[], object]] = [
            partial(thread.submit, during, s3.standing_still(), 5.0),
            partial(thread.submit, during, s3.gone(), 6.0),
            thread.shutdown,  # waits for them
        ]
        stream(reference, flow, [*outages, *kills(flow)])  # which fails where a stage has ended by itself
        same_in_a_bucket(flow, reference, tmp_path / "functions")
    assert {path.name for path in (tmp_path / "flow").iterdir()} == {"logs", "traces.jsonl"}


@pytest.mark.nightly
def test_stages_that_end_because_their_bucket_is_away_for_long_are_started_again(
    kafka: str, prefix: str, tmp_path: Path, reference: Reference, s3: S3Server
) -> None:
    with (
        running(kafka, prefix, tmp_path / "flow", **everything_below(s3.bucket)) as flow,
        ThreadPoolExecutor(1) as thread,
    ):
        outages = [thread.submit(during, outage, 60.0) for outage in (s3.standing_still(), s3.gone())]
        ended = []
        for _copied in copy_raw(reference.settings, flow.settings, MESSAGES_PER_S):
            ended += flow.restart_ended()
        enough = time.monotonic() + 140.0  # who gives up at the last moment still has to end
        while time.monotonic() < enough:
            ended += flow.restart_ended()
            time.sleep(0.2)
        assert all(outage.done() for outage in outages)
        flow.wait_archived(reference.sent)
        same_in_a_bucket(flow, reference, tmp_path / "functions")
    for end in ended:
        assert end.code == 1 and "error: " in end.log and "nothing was lost" in end.log, end
    assert {end.stage for end in ended} >= {"featurize", "archive", "retrain"}, ended
