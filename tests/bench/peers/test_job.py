"""The peers' job counts what it says it counts."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.peers.job import INPUTS, WINDOW_S, Recent, answer, inputs, scores


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), max_size=40))
def test_flows_to_the_destination_in_the_last_two_seconds(flows: list[tuple[int, str]]) -> None:
    rows: list[dict[str, Any]] = [{"ts": at / 4, "id.resp_h": host} for at, host in sorted(flows)]
    recent = Recent()
    for index, row in enumerate(rows):
        before = [earlier for earlier in rows[: index + 1] if earlier["id.resp_h"] == row["id.resp_h"]]
        assert recent.count(row) == sum(earlier["ts"] > row["ts"] - WINDOW_S for earlier in before)


def test_scores_are_those_of_a_row_alone() -> None:
    rows = [inputs({name: first + number for first, name in enumerate(INPUTS)}, number) for number in range(5)]
    together = scores(rows)
    assert together.shape == (5, 5)
    assert np.allclose(together, np.concatenate([scores([row]) for row in rows]), atol=1e-5)
    assert answer({"uid": "C1"}, 2, together[0]).startswith(b'{"uid":"C1","count":2,"class":')
