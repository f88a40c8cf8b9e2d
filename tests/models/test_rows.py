import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.rows import concatenate, held_out_blocks
from tests.models import tiny

BLOCK_US, EMBARGO_US = 1_000, 100


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=200), st.integers(2, 4))
def test_blocks_never_touch(times: list[int], every: int) -> None:
    end = np.array([0, *times], dtype=np.int64)
    fit, held_out = held_out_blocks(end, BLOCK_US, every, EMBARGO_US)
    assert not (fit & held_out).any()
    for at, in_fit, in_held_out in zip(end.tolist(), fit.tolist(), held_out.tolist(), strict=True):
        block = at // BLOCK_US
        assert not (in_held_out and block % every != every - 1)
        assert not (in_fit and block % every == every - 1)
        # The row just before the border was on the other side: nothing of the first EMBARGO_US is used.
        border = block > 0 and ((block % every == every - 1) != ((block - 1) % every == every - 1))
        assert (in_fit or in_held_out) != (border and at % BLOCK_US < EMBARGO_US)


def test_concatenated_rows_come_apart_again() -> None:
    rows = tiny.rows(count=50)
    twice = concatenate([rows, rows])
    assert len(twice) == 100
    assert np.array_equal(twice.take(np.arange(50, 100)).matrix, rows.matrix)
    assert set(rows.origin) == {"plant/a", "plant/b"}
