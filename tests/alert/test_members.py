"""Flows of several incidents made ready at once come to the same as those of each by itself."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert.incident import as_document
from pipeline.alert.members import members_of
from tests.alert.suspects import members, scored
from tests.alert.test_facts import ROW
from tests.alert.test_incident import fresh
from tests.examples import examples

PARTS = st.lists(st.lists(ROW, min_size=1, max_size=6), min_size=1, max_size=6)


@settings(max_examples=examples(60), deadline=None)
@given(PARTS, st.integers(0, 3))
def test_incidents_take_up_the_same_beside_others_as_alone(parts: list[list[dict[str, Any]]], known: int) -> None:
    """Also where they had flows before."""
    rows = [{**row, "raw_offset": number} for number, row in enumerate(row for part in parts for row in part)]
    starts = np.cumsum([0, *map(len, parts[:-1])])
    together = members_of(scored(rows), starts)
    for number, (start, part) in enumerate(zip(starts.tolist(), parts, strict=True)):
        beside, alone = fresh(), fresh()
        for incident in (beside, alone):
            incident.absorb(members(rows[: known + 1]))
        beside.absorb(together, number)
        alone.absorb(members(rows[start : start + len(part)]))
        assert as_document(beside) == as_document(alone)
