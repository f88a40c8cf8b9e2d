"""The rule of coming back, as its page shows it."""

import re

import numpy as np

from pipeline.featurize.baseline import recurrence
from pipeline.featurize.baseline.recurrence import BLOCKS, CELLS, FIRST_S, LAST_BLOCK, MOST_BLOCKS, began, mark

LEAST_BLOCKS, LEAST_SPAN_S = 3, 600


def test_the_example_of_the_module_is_what_the_rule_gives() -> None:
    table = re.findall(r"^ {4}(\d+) +(\d+) +(\d+) +(\d+) +(yes|no)", recurrence.__doc__ or "", re.MULTILINE)
    assert len(table) == 5
    cells = np.zeros((1, CELLS), np.int32)
    began(cells, 0, int(table[0][0]))
    for at, block, blocks, span, usual in table:
        is_usual = mark(cells, 0, int(block), int(at), LEAST_BLOCKS, LEAST_SPAN_S, False)
        assert (cells[0, BLOCKS], int(at) - cells[0, FIRST_S]) == (int(blocks), int(span))
        assert is_usual == (usual == "yes")


def test_an_entry_that_begins_has_come_in_no_block() -> None:
    cells = np.full((2, CELLS), 7, np.int32)
    began(cells, 1, 90)
    assert cells[1, FIRST_S] == 90 and cells[1, LAST_BLOCK] == -1 and cells[1, BLOCKS] == 0
    assert (cells[0] == 7).all()


def test_blocks_are_counted_up_to_what_is_saved() -> None:
    cells = np.zeros((1, CELLS), np.int32)
    cells[0, BLOCKS] = MOST_BLOCKS
    mark(cells, 0, 5, 100, LEAST_BLOCKS, LEAST_SPAN_S, False)
    assert cells[0, BLOCKS] == MOST_BLOCKS and cells[0, LAST_BLOCK] == 5
