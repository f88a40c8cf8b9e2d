"""What a customer reads by docs/formats.md is what the system wrote."""

import pyarrow as pa
import pytest

from loadtest.workload.rows import rows_of
from pipeline.runtime.wire import batches


@pytest.mark.parametrize("count", [0, 1, 5_000])
def test_rows_are_read_whose_columns_lie_in_one_part_or_in_two(count: int) -> None:
    batch = pa.record_batch({"site": ["a"] * count, "end_ts_us": range(count), "suspect": [True] * count})
    whole = batches.encode(batch, {"seq": 1})
    beside = batches.encode_beside(batches.encode(batch.select(["site", "end_ts_us"]), {"seq": 1}), batch, {"seq": 1})
    assert whole != beside
    for payload in (whole, beside):
        assert rows_of(payload).equals(batch)


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(ValueError, match="expected b'FBY2'"):
        rows_of(b"no message")
