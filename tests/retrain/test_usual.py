from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.baseline import Evidence, Phase
from pipeline.contracts.sample_shares import NORMAL_ONE_IN
from pipeline.retrain import samples, usual
from pipeline.retrain.labels import Labels
from pipeline.retrain.samples import SampleRange
from pipeline.retrain.usual import MAX_STRANGENESS, Seen, even, of_stretch, sensor_rows
from tests.retrain.small_training import FEATURES, SECOND
from tests.retrain.usual_samples import SENSOR, attacks, usual_rows

FOR_EVER_US = 2**62


def keys(phase: list[int | None], end_us: list[int], **given: Any) -> pa.Table:
    """Keys of samples of SENSOR."""
    rows = len(phase)
    columns: Mapping[str, Any] = {
        "site": [SENSOR[0]] * rows,
        "sensor": [SENSOR[1]] * rows,
        "class": ["normal"] * rows,
        "suspect": [False] * rows,
        "raw_partition": np.zeros(rows, np.int32),
        "raw_offset": np.arange(rows, dtype=np.int64),
        "raw_index": np.zeros(rows, np.int32),
        "source_record": np.arange(rows, dtype=np.int64),
        "phase": pa.array(phase, pa.uint8()),
        "end_ts_us": np.array(end_us, np.int64),
        **given,
    }
    return pa.table(columns)


def stretch_of(table: pa.Table, until_us: int = FOR_EVER_US) -> usual.Stretch:
    seen = Seen(SENSOR, until_us)
    assert not seen.select(table).any()
    return seen.stretch


phases = st.lists(st.sampled_from([None, *(int(phase) for phase in Phase)]), max_size=40)


@given(phase=phases, cut=st.integers(0, 40), data=st.data())
def test_a_stretch_begins_behind_the_last_row_that_was_learnt(
    phase: list[int | None], cut: int, data: st.DataObject
) -> None:
    end_us = data.draw(st.lists(st.integers(1, 1_000), min_size=len(phase), max_size=len(phase)))
    seen = Seen(SENSOR, 900)
    table = keys(phase, end_us)
    for part in (table.slice(0, cut), table.slice(cut)):
        seen.select(part)
    rows = [(at, each or 0) for at, each in zip(end_us, phase, strict=True) if at <= 900]
    began_us = max((at + 1 for at, each in rows if each in usual.LEARNS), default=0)
    anchored = any(each == Phase.ANCHORED for at, each in rows if at >= began_us)
    assert seen.newest_us == max((at for at, _ in rows), default=0)
    assert seen.stretch.is_anchored == anchored
    if anchored:
        assert seen.stretch.began_us == began_us


def test_a_long_stretch_is_thinned_and_covers_as_much_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usual, "MAX_ROWS", 200)
    table = keys([3] * 1_900, list(range(1_900)))
    stretch = stretch_of(table)
    assert (stretch.began_us, stretch.thinned) == (0, 10)
    chosen = np.flatnonzero(of_stretch(SENSOR, 0, FOR_EVER_US, Labels(), stretch.thinned)(table))
    assert 120 < len(chosen) < 280 and chosen[0] < 100 and chosen[-1] > 1_800
    assert np.isin(chosen, np.flatnonzero(even(table))).all()


def test_other_sensors_are_others(tmp_path: Path) -> None:
    table = keys([3, 3], [5, 6], sensor=["else", "edge"])
    assert stretch_of(table).thinned == 1
    assert of_stretch(SENSOR, 0, 10, Labels())(table).tolist() == [False, True]


def test_even_rows_are_one_share_of_all(tmp_path: Path) -> None:
    rows = 40_000
    at = np.arange(rows)
    names = {"class": ["normal", "normal", "mitm", "mitm"] * (rows // 4)}
    table = keys([3] * rows, [1] * rows, suspect=at % 2 == 0, **names)
    chosen = even(table)
    assert chosen[at % 4 == 1].all()
    for mask, one_in in ((at % 2 == 0, NORMAL_ONE_IN), (at % 4 == 3, 8)):
        assert abs(chosen[mask].mean() - 1 / one_in) < 0.3 / one_in
    assert np.array_equal(even(table.slice(7)), chosen[7:])


def test_what_is_usual() -> None:
    rows = 8
    batch = usual_rows(
        rows,
        phase=[3] * rows,
        evidence=[0, int(Evidence.STRANGE), int(Evidence.NEW_HOST), 0, 0, 0, 0, 0],
        strangeness=[0.1, 0.1, 0.1, MAX_STRANGENESS + 0.1, float("inf"), None, 0.1, 0.1],
    )
    found = sensor_rows(pa.Table.from_batches([batch]), attacks([6]))
    assert found.usual.tolist() == [True, False, True, False, False, False, False, True]
    assert found.shown.tolist() == [False, True, *[False] * 6]
    assert found.attack.tolist() == [False] * 6 + [True, False]
    assert found.even.all()


def test_labelled_rows_are_read_whatever_their_share(tmp_path: Path) -> None:
    table = usual_rows(400, suspect=[True] * 400)
    keys_of = pa.Table.from_batches([table])
    chosen = of_stretch(SENSOR, 0, FOR_EVER_US, attacks(range(5)))(keys_of)
    assert chosen[:5].all() and 0 < chosen[5:].sum() < 40


def test_files_of_an_earlier_version_were_not_judged(tmp_path: Path) -> None:
    batch = usual_rows(50, phase=[3] * 50)
    name = samples.write(tmp_path, [batch], SampleRange(0, 0, 1, FEATURES.hash))
    seen = Seen(SENSOR, FOR_EVER_US)
    samples.read(tmp_path, FEATURES.hash, seen.select, usual.KEYS)
    assert seen.stretch.is_anchored
    table = pq.read_table(tmp_path / name)
    pq.write_table(table.drop_columns(["phase", "evidence", "strangeness", "baseline"]), tmp_path / name)
    samples._FOOTERS.clear()
    seen = Seen(SENSOR, FOR_EVER_US)
    assert samples.read(tmp_path, FEATURES.hash, seen.select, usual.KEYS).num_rows == 0
    assert not seen.stretch.is_anchored
    read = samples.read(tmp_path, FEATURES.hash, of_stretch(SENSOR, 0, FOR_EVER_US, Labels()), usual.KEYS)
    assert read.num_rows == 50 and not sensor_rows(read, Labels()).usual.any()


def test_no_samples_no_stretch() -> None:
    assert Seen(SENSOR, 5 * SECOND).stretch == usual.NO_STRETCH
    assert stretch_of(keys([1, 1], [5, 6])) == usual.NO_STRETCH
