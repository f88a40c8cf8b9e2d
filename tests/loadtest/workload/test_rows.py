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


@pytest.mark.parametrize("count", [0, 1, 2, 3, 255])
def test_what_is_no_message_is_refused(count: int) -> None:
    payload = batches.encode(pa.record_batch({"site": ["a"]}), {"seq": 1})
    with pytest.raises(ValueError, match="expected b'FBY2'"):
        rows_of(b"no message")
    for damaged in (
        b"FBY2",
        bytes([count]) + b"FBY2",
        payload[1:],
        payload[:10] + payload[20:],
        payload[:40] + b"\0" * 40 + payload[80:],
        payload[:-5] + bytes([2 if count == 3 else count]) + b"FBY2",
    ):
        with pytest.raises(ValueError, match=r"^message of \d+ bytes: got .*, expected frames that hold rows"):
            rows_of(damaged)
