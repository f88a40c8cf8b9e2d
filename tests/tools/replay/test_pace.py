"""An archive at a speed: sensors side by side in order of time, and what comes out is what comes out at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.envelope import SensorWatermark
from pipeline.settings import Settings
from pipeline.tools.replay import partition_replay as parts
from pipeline.tools.replay import run as runs
from pipeline.tools.replay.history import ArchivedStep
from pipeline.tools.replay.pace import Pace, cut, side_by_side, slice_us
from pipeline.tools.replay.request import ARCHIVE, Request
from pipeline.tools.replay.run import Progress
from tests.alert.suspects import SECOND, START_US, scored
from tests.contracts.facts import rows_facts
from tests.tools.replay.plant import archived, raw_log, settings_in
from tests.tools.replay.test_archive_source import incidents_in, rows_of

pytestmark = pytest.mark.slow  # whole replays

# End of each row in seconds, and how far it came late.
ROWS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), min_size=1, max_size=40)


def step(number: int, rows: list[tuple[int, int]], sensor: str = "left") -> ArchivedStep:
    """A step as an archive gives it: on time by time, then late ones as they came."""
    ordered = sorted(row for row in rows if not row[1]) + [row for row in rows if row[1]]
    batch = scored([{"at": at, "late_by_us": late * SECOND, "sensor": sensor} for at, late in ordered])
    until = max(at + late for at, late in rows)
    watermark = SensorWatermark("plant", sensor, START_US + until * SECOND)
    return ArchivedStep(number, batch, rows_facts(seq=number, watermarks=(watermark,)))


def clock_of(step_part: ArchivedStep) -> Any:
    return step_part.rows.column("end_ts_us").to_numpy() + step_part.rows.column("late_by_us").to_numpy()


@given(ROWS, st.integers(1, 30))
def test_slices_are_the_step_in_order_of_the_sensors_clock(rows: list[tuple[int, int]], width_s: int) -> None:
    whole = step(3, rows)
    slices = list(cut(whole, width_s * SECOND))
    numbers = [number for number, _ in slices if number is not None]
    assert numbers == sorted(set(numbers))
    watermark = -1
    for number, step_part in slices:
        assert set(clock_of(step_part) // (width_s * SECOND)) == {number}
        assert clock_of(step_part).min() > watermark
        [[_, _, watermark]] = step_part.facts.watermarks
        assert watermark >= clock_of(step_part).max()
        # On time first, and among themselves as they were.
        offsets = step_part.rows.column("raw_offset").to_numpy()
        assert (np.diff(offsets) > 0).all()
    assert slices[-1][1].facts == whole.facts
    assert sum(len(clock_of(step_part)) for _, step_part in slices) == len(rows)


def test_sensors_come_side_by_side_and_can_be_resumed() -> None:
    def sensors() -> list[Any]:
        left = [
            step(0, [(at, 0) for at in range(10)]),
            ArchivedStep(1, scored([]), rows_facts(seq=1, ended=(("plant", "x"),))),
        ]
        right = [
            step(0, [(at, 0) for at in range(5, 15)], "right"),
            step(1, [(at, 0) for at in range(15, 20)], "right"),
        ]
        return [iter(left), iter(right)]

    came = list(side_by_side(sensors(), 2 * SECOND, 0))
    first = [int(clock_of(step_part).min() // (2 * SECOND)) for step_part in came if len(clock_of(step_part))]
    assert first == sorted(first)
    assert (
        [step_part.position for step_part in came]
        == [step_part.facts.seq for step_part in came]
        == list(range(len(came)))
    )
    ended = next(number for number, step_part in enumerate(came) if step_part.facts.ended)
    assert max(clock_of(step_part).max() for step_part in came[:ended]) < START_US + 12 * SECOND
    assert min(clock_of(step_part).min() for step_part in came[ended + 1 :]) >= START_US + 8 * SECOND
    for position in (1, 4, len(came)):
        again = list(side_by_side(sensors(), 2 * SECOND, position))
        assert [step_part.facts for step_part in again] == [step_part.facts for step_part in came[position:]]
    assert (slice_us(20.0), slice_us(1e-9)) == (20 * SECOND, 1)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_in(tmp_path_factory.mktemp("plant"), archive_rows_per_file=700)
    archived(settings, raw_log())
    return settings


@pytest.fixture
def fresh(plant: Settings, tmp_path: Path) -> Settings:
    return plant.model_copy(update={"replay_uri": tmp_path})


def test_at_a_speed_the_same_comes_out_in_order_of_time(fresh: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = runs.run(fresh, Request("max", ARCHIVE))
    waited: list[ArchivedStep] = []

    def wait_s(_self: Pace, step_part: ArchivedStep) -> float:
        waited.append(step_part)
        return 0.0

    monkeypatch.setattr(Pace, "wait_s", wait_s)
    monkeypatch.setattr(parts, "CHUNK_S", 5.0)
    paced = runs.run(fresh, Request("paced", ARCHIVE, speed=1.0))
    assert (paced["rows"], paced["taken"], paced["suspects"]) == (whole["rows"], whole["taken"], whole["suspects"])
    assert rows_of(fresh.replay_uri / "paced").equals(rows_of(fresh.replay_uri / "max"))
    assert incidents_in(fresh.replay_uri / "paced") == incidents_in(fresh.replay_uri / "max")
    files = sorted((fresh.replay_uri / "paced" / "rows").glob("*.parquet"))
    assert len(files) > 3 and len(waited) > 40
    tables = [pq.read_table(path) for path in files]
    clock = np.concatenate(
        [step_part.column("end_ts_us").to_numpy() + step_part.column("late_by_us").to_numpy() for step_part in tables]
    )
    # What followed an end of source may lie before it: the sensor's clock has started anew.
    assert np.mean(np.diff(clock // SECOND) >= 0) > 0.98
    sensors = [step_part.column("sensor").unique().to_pylist() for step_part in tables[:-1]]
    assert sum(len(names) == 2 for names in sensors) > len(sensors) / 2


def test_it_takes_the_time_it_is_to_take(fresh: Settings) -> None:
    notified: list[Progress] = []
    report = runs.run(fresh, Request("paced", ARCHIVE, speed=25.0), notify=notified.append)
    assert 1.0 < report["seconds"] < 30.0
    shares = [progress.done for progress in notified]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert all(0.0 < progress.left_s < 60.0 for progress in notified if 0.0 < progress.done < 1.0)
    assert any(0.0 < share < 0.7 for share in shares)


@pytest.mark.slow
@pytest.mark.parametrize("dies_after", [2, 6, 11])
def test_killed_at_a_speed_it_ends_with_the_same_bytes(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch, dies_after: int
) -> None:
    monkeypatch.setattr(parts, "CHUNK_S", 5.0)
    monkeypatch.setattr(Pace, "wait_s", lambda _self, _step: 0.0)
    whole = runs.run(fresh, Request("whole", ARCHIVE, speed=2.0))
    true_write, left = parts._write, [dies_after]

    def write(path: Path, data: bytes) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return true_write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(parts, "_write", write)
        with pytest.raises(KeyboardInterrupt):
            runs.run(fresh, Request("killed", ARCHIVE, speed=2.0))
    notified: list[Progress] = []
    again = runs.run(fresh, Request("killed", ARCHIVE, speed=2.0), notify=notified.append)
    for figure in ("rows", "rows_sha256", "incidents_sha256", "taken"):
        assert again[figure] == whole[figure], figure
    assert all(step_part.taken <= whole["taken"] for step_part in notified)
