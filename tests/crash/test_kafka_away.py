"""Kafka goes away in mid-stream and comes back: no stage ends, each says so twice, and the books are exact."""

import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from pipeline.archive.upkeep.verify import verify
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from pipeline.tools.broker import local
from tests.crash.flow import STAGES, Flow, running
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.crash]

LOG = logging.getLogger(__name__)
SITE, SENSORS = "dam", ("gate", "pump")
RECORDS_PER_S = 400
PACK = 10
AFTER_S = 5.0
BEFORE_RECORDS = 2_000
"""So many are archived before Kafka goes away: every stage has worked, and loaded what it needs for that."""
MAX_MIB = 1_536
"""Limit of any stage, as in the chaos campaign: afterwards each processes the backlog in Kafka."""
MAX_GROWTH_MIB = 64.0
"""Limit of each stage's growth while Kafka is away: what was read waits, and no more comes."""
MAX_LINES = 10
FIRST_US = 1_700_000_000_000_000


class Memory(threading.Thread):
    """The most resident memory of each stage since it was last asked for, MiB."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(name="memory", daemon=True)
        self._flow = flow
        self._peak = dict.fromkeys(STAGES, 0.0)
        self._lock = threading.Lock()
        self.enough = threading.Event()

    def run(self) -> None:
        """Read the memory several times a second until `enough` is set."""
        while not self.enough.wait(0.2):
            with self._lock:
                self._peak = {stage: max(mib, self._flow.stages[stage].memory_mib) for stage, mib in self._peak.items()}

    def peak(self) -> dict[str, float]:
        """Peak of each stage since the last call."""
        with self._lock:
            peak, self._peak = self._peak, dict.fromkeys(STAGES, 0.0)
        return peak


class Sensors(threading.Thread):
    """Sensors that send all the time; while Kafka is away, what they have to send waits in their own queue."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="sensors", daemon=True)
        self._settings, self._producer = settings, clients.producer(settings, "sensors", **{"message.timeout.ms": 0})
        self.enough = threading.Event()
        self.sent = 0

    def run(self) -> None:
        """Send until `enough` is set; then send the mark of each sensor's end."""
        started = time.monotonic()
        while not self.enough.is_set():
            for sensor in SENSORS:
                self._send(sensor, b"\n".join(self._record(self.sent + at) for at in range(PACK)))
                self.sent += PACK
            self._producer.poll(0)
            time.sleep(max(0.0, started + self.sent / RECORDS_PER_S - time.monotonic()))
        for sensor in SENSORS:
            self._send(sensor, b"", "end-of-source")
        assert self._producer.flush(PATIENCE_S) == 0

    def _send(self, sensor: str, payload: bytes, kind: str = "zeek-conn+json") -> None:
        headers: dict[str, str | bytes | None] = {"content-type": kind, "site": SITE, "sensor": sensor}
        self._producer.produce(self._settings.topics.raw, payload, key=f"{SITE}/{sensor}", headers=headers)

    def _record(self, number: int) -> bytes:
        seconds, micros = divmod(FIRST_US + number * 2_500, 1_000_000)
        return (
            b'{"ts":%d.%06d,"uid":"C%d","id.orig_h":"10.0.0.%d","id.orig_p":%d,"id.resp_h":"10.0.1.1","id.resp_p":502,'
            b'"proto":"tcp"}' % (seconds, micros, number, number % 200, 1024 + number % 60_000)
        )


def ports(flow: Flow) -> dict[str, int]:
    """Address at which each stage answers probes, from its log."""
    by_stage = {}
    for stage in STAGES:
        lines = [orjson.loads(line) for line in flow.stages[stage].log.read_bytes().splitlines()]
        by_stage[stage] = next(line["metrics_port"] for line in lines if line.get("event") == "ready")
    return by_stage


def ready(port: int) -> bool:
    """Whether `/readyz` says yes."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return False
    except OSError:  # the process has ended: the test says which one did
        return False


def wait_until(what: str, stages: dict[str, int], expected: bool) -> None:
    """Wait until `/readyz` of every stage says what is expected."""
    deadline = time.monotonic() + PATIENCE_S
    while wrong := [stage for stage, port in stages.items() if ready(port) is not expected]:
        assert time.monotonic() < deadline, f"{what}: {wrong} after {PATIENCE_S:.0f} s"
        time.sleep(0.2)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Path]:
    """The folder of a broker of the test's own, which it may stop."""
    data = tmp_path / "broker"
    yield data
    local.stop(data, grace_s=5.0)


@pytest.mark.parametrize(
    ("away_s", "timeouts"),
    [
        pytest.param(10.0, {}, id="10 s"),
        # Longer than every timeout that is left, several times over: what ten minutes are to the timeouts as they are.
        pytest.param(
            25.0,
            {"session_timeout_s": 6.0, "transaction_timeout_s": 5.0},
            id="ten minutes, shortened",
            marks=pytest.mark.nightly,
        ),
        pytest.param(61.0, {}, id="61 s", marks=pytest.mark.nightly),
    ],
)
def test_kafka_goes_away_and_comes_back(
    away_s: float, timeouts: dict[str, float], broker: Path, prefix: str, tmp_path: Path
) -> None:
    started = local.start(broker)
    with running(started.bootstrap, prefix, tmp_path / "flow", **timeouts) as flow:
        probes = ports(flow)
        lines_before = {stage: len(flow.stages[stage].log.read_bytes().splitlines()) for stage in STAGES}
        sensors = Sensors(flow.settings)
        sensors.start()
        memory = Memory(flow)
        memory.start()
        flow.wait_archived(BEFORE_RECORDS)
        local.stop(broker, grace_s=10.0)
        gone_at = time.monotonic()
        wait_until("not ready while Kafka is away", probes, False)
        before = memory.peak()  # what had been fetched is worked on for a moment
        time.sleep(max(0.0, gone_at + away_s - time.monotonic()))
        flow.processes.check()
        assert not any(ready(port) for port in probes.values())
        during = memory.peak()
        LOG.info("MiB before and while Kafka is away: %s", {name: (before[name], during[name]) for name in STAGES})
        assert all(during[stage] < before[stage] + MAX_GROWTH_MIB for stage in STAGES), (before, during)
        local.start(broker, started.port)
        wait_until("ready when Kafka is back", probes, True)
        time.sleep(AFTER_S)
        sensors.enough.set()
        sensors.join(PATIENCE_S)
        assert not sensors.is_alive()
        flow.wait_archived(sensors.sent)
        memory.enough.set()
        after = memory.peak()
        LOG.info("MiB since Kafka is back: %s", after)
        assert max(after.values()) < MAX_MIB, after
        proof = verify(flow.settings.archive_uri, flow.settings)
        assert proof["ok"], proof["problems"]
        assert sum(row["sent"] for row in proof["sensors"]) == sensors.sent
        assert sum(row["accepted"] + row["rejected"] + row["late"] for row in proof["sensors"]) == sensors.sent
        flow.processes.check()
        assert all(flow.stages[stage].process.poll() is None for stage in STAGES), "a stage has ended"
        for stage in STAGES:
            lines = [orjson.loads(line) for line in flow.stages[stage].log.read_bytes().splitlines()]
            events = [line["event"] for line in lines if str(line["event"]).startswith("Kafka is")]
            assert events == ["Kafka is away", "Kafka is back"], (stage, lines)
            work = sum(line["event"] == "files closed" for line in lines)  # of the archive, as without an outage
            assert len(lines) - work - lines_before[stage] < MAX_LINES, (stage, lines)
