"""What retention deleted before it was read is counted from the offsets that are missing below the first one held."""

import numpy as np
import pytest

from pipeline.runtime.kafka.retention import holes


@pytest.mark.parametrize(
    ("expected", "offsets", "first_held", "deleted"),
    [
        (10, [10, 11, 12], 0, 0),
        (10, [11, 12], 11, 0),  # a mark alone
        (10, [40, 41], 40, 30),
        (10, [40, 41], 0, 0),  # an aborted transaction, still held
        (10, [10, 11, 40, 41], 40, 28),  # what had been fetched was read
        (10, [40, 41, 42], 42, 30),  # more is deleted while these are read
        (41, [40, 41, 42], 40, 0),  # read again after an abort
    ],
)
def test_holes_below_the_first_offset_held(expected: int, offsets: list[int], first_held: int, deleted: int) -> None:
    assert holes(expected, np.array(offsets, np.int64), first_held) == deleted
