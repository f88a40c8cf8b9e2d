from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.score.sensor_shares import UNUSUAL_P, Counted, rows_by_sensor

P_VALUES = st.sampled_from([0.0, 0.0005, UNUSUAL_P, 0.10001, 0.5, 1.0])
ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans(), P_VALUES), max_size=30)
TYPES = (pa.string(), pa.string(), pa.bool_(), pa.float32())


@given(ROWS)
def test_each_row_counts_once_with_its_sensor(rows: list[tuple[str, str, bool, float]]) -> None:
    columns = zip(*rows, strict=True) if rows else ((),) * 4
    arrays = [pa.array(list(each), kind) for each, kind in zip(columns, TYPES, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, names=["site", "sensor", "suspect", "p_value"])
    suspects = Counter((site, sensor) for site, sensor, suspect, _ in rows if suspect)
    others = Counter((site, sensor) for site, sensor, suspect, _ in rows if not suspect)
    unusual = Counter((site, sensor) for site, sensor, _, p_value in rows if p_value <= UNUSUAL_P)
    assert rows_by_sensor(batch) == {
        name: Counted(suspects[name], others[name], unusual[name]) for name in suspects | others
    }
