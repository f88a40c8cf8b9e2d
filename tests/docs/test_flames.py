"""Flame graphs: stacks become boxes whose widths add up."""

import os
from collections import Counter

import pytest

from tests.bench.flames import KAFKA, drawn, folded, kafka_share, largest, threads_s, tree

SAMPLED = """main (worker.py:10);step (pipeline/score/group.py:5);loads (orjson) 6
main (worker.py:11);step (pipeline/score/group.py:9);loads (orjson) 2
main (worker.py:11);wait (<frozen>:1) 2
"""


def test_lines_of_a_function_are_one() -> None:
    stacks = folded(SAMPLED)
    assert stacks == {
        ("main (worker.py)", "step (pipeline/score/group.py)", "loads (orjson)"): 8,
        ("main (worker.py)", "wait (<frozen>)"): 2,
    }
    assert folded("") == Counter()


def test_boxes_hold_what_they_call() -> None:
    root = tree(folded(SAMPLED), 0.5)
    main = root.inside["main (worker.py)"]
    assert root.inside[KAFKA].weight == main.weight == pytest.approx(0.5)
    assert main.inside["step (pipeline/score/group.py)"].weight == pytest.approx(0.4)


def test_the_largest_are_those_that_are_innermost() -> None:
    assert largest(folded(SAMPLED), 0.3) == [
        ("loads (orjson)", pytest.approx(0.56)),
        (KAFKA, 0.3),
        ("wait (<frozen>)", pytest.approx(0.14)),
    ]


def test_a_picture_escapes_names_and_leaves_narrow_boxes_out() -> None:
    stacks: Counter[tuple[str, ...]] = Counter({("a <b> (x.py)",): 999, ("tiny (y.py)",): 1})
    text = drawn("score & others", tree(stacks, 0.0))
    assert "a &lt;b&gt; (x.py) 99.9%" in text and "tiny" not in text and "score &amp; others" in text


def test_threads_are_counted_by_name() -> None:
    used = threads_s(os.getpid())
    assert sum(used.values()) > 0
    assert kafka_share(Counter(), Counter({"rdk:main": 1, "rdk:broker1": 2, "python": 1})) == 0.75
