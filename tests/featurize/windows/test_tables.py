"""The bounded table against an ordered dictionary."""

from collections import OrderedDict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.featurize.windows.tables import EVICTED, KEY, find, grow, in_order_of_use, new_table, use, with_keys


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(1, 12))
def test_is_a_least_recently_used_dictionary(keys: list[int], bound: int) -> None:
    table, model, gone = new_table(bound), OrderedDict[int, int](), 0
    for key in keys:
        spread = np.uint64(key * 2**58 + key)
        entry, fresh = use(table, spread)
        assert fresh == (key not in model)
        if fresh and len(model) == bound:
            assert model.popitem(last=False)[1] == entry
            gone += 1
        model[key] = entry
        model.move_to_end(key)
        assert find(table, spread) == entry
    assert table.cells[0, EVICTED] == gone
    assert in_order_of_use(table).tolist() == list(model.values())
    assert all(find(table, np.uint64(key * 2**58 + key)) == model.get(key, 0) for key in range(41))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60, unique=True))
def test_room_changes_nothing(keys: list[int]) -> None:
    small, wide = new_table(2), new_table(100)
    for key in keys:
        if small.cells[0, 0] == len(small.cells) - 1:
            small = grow(small, 2 * (len(small.cells) - 1))
        assert use(small, np.uint64(key)) == use(wide, np.uint64(key))
    assert in_order_of_use(small).tolist() == in_order_of_use(wide).tolist()


@given(st.lists(st.integers(0, 30), max_size=60))
def test_written_and_read_again(keys: list[int]) -> None:
    table = new_table(8)
    for key in keys:
        use(table, np.uint64(key))
    order = in_order_of_use(table)
    again = with_keys(table.cells[order, KEY], int(table.cells[0, EVICTED]))
    assert in_order_of_use(again).tolist() == list(range(1, len(order) + 1))
    assert again.cells[in_order_of_use(again), KEY].tolist() == table.cells[order, KEY].tolist()
    assert again.cells[0].tolist()[3] == table.cells[0].tolist()[3]
    for key in range(31):
        assert (find(again, np.uint64(key)) > 0) == (find(table, np.uint64(key)) > 0)
