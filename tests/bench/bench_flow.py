"""The whole flow at full speed: records/s from the first one sent until all are scored, and until all are archived."""

import time
from pathlib import Path

import pytest

from loadtest.plants.westermo import traffic
from pipeline.tools.demo.watch import Watch
from tests.crash.flow import running

SENSORS = 6


@pytest.mark.bench
@pytest.mark.timeout(600)
@pytest.mark.parametrize("pack", [1, 100])
def test_records_per_second_through_every_room(kafka: str, prefix: str, tmp_path: Path, pack: int) -> None:
    path = tmp_path / "bottom.csv"
    records = traffic.write_after_cut("bottom", path) * SENSORS
    with running(kafka, prefix, tmp_path / "run") as flow:
        watch = Watch(flow.settings)
        started = time.perf_counter()
        senders = [
            flow.processes.start(
                f"send-{number}",
                *("flow", "send", str(path), "--site", "westermo", "--sensor", f"bottom-{number}"),
                *("--speed", "max", "--pack", str(pack)),
            )
            for number in range(SENSORS)
        ]
        # Six interpreters start on the same cores: count from the first record that is there.
        while watch.raw_messages() == 0:
            time.sleep(0.01)
        first = time.perf_counter()
        while watch.rows < records:
            watch.poll(0.05)
            flow.processes.check()
        scored = time.perf_counter()
        flow.wait_archived(records, 300)
        archived = time.perf_counter()
        assert all(sender.process.wait(60) == 0 for sender in senders)
        watch.close()
    print(
        f"\n{records:,} records of {SENSORS} sensors, {pack} a message: "
        f"scored {records / (scored - first):,.0f}/s, archived {records / (archived - first):,.0f}/s "
        f"(senders, broker and six rooms on the same cores; {first - started:.1f} s until the first record)"
    )
