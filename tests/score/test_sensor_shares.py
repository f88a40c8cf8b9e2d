from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.score.sensor_shares import suspects_by_sensor

ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans()), max_size=30)


@given(ROWS)
def test_each_row_counts_once_with_its_sensor(rows: list[tuple[str, str, bool]]) -> None:
    sites, sensors, suspects = zip(*rows, strict=True) if rows else ((), (), ())
    types = (pa.string(), pa.string(), pa.bool_())
    columns = [pa.array(list(each), kind) for each, kind in zip((sites, sensors, suspects), types, strict=True)]
    batch = pa.RecordBatch.from_arrays(columns, names=["site", "sensor", "suspect"])
    counted = Counter(rows)
    expected = {(site, sensor): (0, 0) for site, sensor, _ in rows}
    assert suspects_by_sensor(batch) == {name: (counted[(*name, True)], counted[(*name, False)]) for name in expected}
