"""Names of addresses: as many as there is room for, the same ones however flows are cut."""

from typing import Any

import numpy as np
import pytest

from pipeline.featurize.baseline.address_names import (
    NOT_NOTED,
    OUTSIDE_WORDS,
    UNKNOWN_WORDS,
    AddressNames,
    forget_unnamed,
    name_of,
    remember,
    room_for_names,
    tidy,
)
from pipeline.featurize.baseline.keys import OUTSIDE, flow_relations
from pipeline.featurize.baseline.recurrence import BLOCKS, LAST_BLOCK
from pipeline.featurize.baseline.relations import LEAST_ROOM, MOST_RELATIONS, ROOM, SOURCE, TARGET, no_relations
from pipeline.featurize.rows import rows_of
from pipeline.featurize.windows.tables import USED
from tests.featurize.baseline.plant import lived, poll, polls
from tests.featurize.flows import batch

LEAST_NAMES, LEAST_CHARACTERS = 512, 15_000


def _noted(rows: list[dict[str, Any]], cuts: tuple[int, ...] = (), room: int = LEAST_ROOM) -> AddressNames:
    flows, names = batch(rows), AddressNames()
    relations = flow_relations(flows, rows_of(flows))
    for part in np.split(np.arange(len(rows)), cuts):
        remember(names, part, relations, flows.column("src_addr"), flows.column("dst_addr"), room)
    return names


def _hosts(count: int, prefix: str = "10.0") -> list[dict[str, Any]]:
    return [poll(0.0, f"{prefix}.{number >> 8}.{number & 255}", "203.0.113.4") for number in range(count)]


def _long(count: int) -> list[dict[str, Any]]:
    return [poll(0.0, f"fd00:1111:2222:3333:4444:5555:6666:{number:04x}", "203.0.113.4") for number in range(count)]


def test_names_are_noted_and_public_addresses_are_not() -> None:
    names = _noted([poll(0.0, "10.0.0.1", "10.0.0.2"), poll(0.0, "10.0.0.1", "203.0.113.4")])
    assert sorted(names.values()) == ["10.0.0.1", "10.0.0.2"]
    assert sorted(name_of(names, key) for key in names) == ["10.0.0.1", "10.0.0.2"]
    assert name_of(names, int(OUTSIDE)) == OUTSIDE_WORDS and name_of(names, 77) == UNKNOWN_WORDS


def test_there_is_room_for_so_many_names() -> None:
    assert len(_noted(_hosts(900))) == LEAST_NAMES
    assert list(_noted(_hosts(900)).values()) == [row["src_addr"] for row in _hosts(LEAST_NAMES)]


def test_there_is_more_room_for_names_where_there_is_for_relations() -> None:
    assert room_for_names(LEAST_ROOM) == (LEAST_NAMES, LEAST_CHARACTERS)
    assert room_for_names(MOST_RELATIONS) == (16 * LEAST_NAMES, 16 * LEAST_CHARACTERS)
    assert len(_noted(_hosts(900), room=4_000)) == 900
    relations, names = no_relations(), _noted(_hosts(900), room=4_000)
    relations.counts[ROOM] = 4_000
    tidy(names, relations)
    assert not names, "nine in ten are crowded"


@pytest.mark.parametrize("cuts", [(), (1,), (100, 380, 381), tuple(range(0, 900, 13))])
def test_long_names_take_more_room_and_cuts_change_nothing(cuts: tuple[int, ...]) -> None:
    rows = [*_long(450), *_hosts(50), *_long(450)]
    names = _noted(rows, cuts)
    assert names.characters == sum(len(name) + 1 for name in names.values()) <= LEAST_CHARACTERS
    assert names == _noted(rows)
    assert 350 < len(names) < LEAST_NAMES


def test_names_that_nothing_needs_are_dropped_where_it_gets_crowded() -> None:
    relations = no_relations()
    names = _noted(_hosts(100))
    tidy(names, relations)
    assert len(names) == 100, "there is room"
    names = _noted(_hosts(400))
    needed = sorted(names)[:3]
    relations.ends[1:3, SOURCE], relations.ends[1:3, TARGET] = needed[:2], needed[2]
    tidy(names, relations)
    assert sorted(names) == needed and names.characters == sum(len(names[key]) + 1 for key in needed)
    names[needed[0]] = "fd00::1"
    assert names.characters == sum(len(names[key]) + 1 for key in needed)
    crowded = _noted(_long(330))
    tidy(crowded, relations)
    assert not crowded


def test_ends_without_a_name_are_one() -> None:
    relations = no_relations()
    names = AddressNames({5: "10.0.0.5"})
    relations.ends[1:4, SOURCE], relations.ends[1:4, TARGET] = (5, 6, OUTSIDE), (0, 7, 5)
    relations.table.cells[0, USED] = 4
    relations.cells[1:5, BLOCKS], relations.cells[1:5, LAST_BLOCK] = (1, 1, 1, 2), 9
    relations.ends[4] = 6
    forget_unnamed(names, relations, 8)
    assert relations.ends[1:4, SOURCE].tolist() == [5, 6, OUTSIDE]
    forget_unnamed(names, relations, 9)
    assert relations.ends[4, SOURCE] == 6, "what came in two blocks was seen to in the first"
    assert relations.ends[1:4, SOURCE].tolist() == [5, NOT_NOTED, OUTSIDE]
    assert relations.ends[1:4, TARGET].tolist() == [0, NOT_NOTED, 5]


@pytest.mark.parametrize("saved", [False, True])
def test_a_crowded_book_is_the_same_after_restarts(saved: bool) -> None:
    strangers = [poll(20.0 + number / 10, row["src_addr"]) for number, row in enumerate([*_long(400), *_hosts(300)])]
    rows = sorted([*polls(300), *strangers], key=lambda row: float(row["at"]))
    assert lived(rows, range(0, len(rows), 90), saved) == lived(rows)
