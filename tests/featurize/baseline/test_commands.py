"""What a person asks of a baseline is done at its place in the log, the same however the log is cut and restored."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.baseline import Evidence, Phase, shown
from pipeline.contracts.baseline_commands import ACCEPT, ATTACK, RELEARN, UNDO, BaselineCommand
from pipeline.contracts.notices import ACCEPTED, ADMITTED, RELEARNT, STATUS, UNDONE, Notice
from pipeline.contracts.notices import ATTACK as CALLED_ATTACK
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.commands import MOST_BARRED, MOST_BARRED_KINDS
from pipeline.featurize.baseline.judge import COLUMNS
from pipeline.featurize.baseline.recurrence import BARRED, MADE_BY, OTHERS, OWED, SLOTS, USUAL
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.featurize.baseline.undoable import is_barred
from pipeline.featurize.partition import PartitionState, advance_partition
from pipeline.featurize.snapshot import snapshot
from pipeline.featurize.windows.tables import USED
from tests.contracts.facts import flows_facts
from tests.examples import examples
from tests.featurize.baseline.plant import (
    CONTROLLERS,
    LATENESS_US,
    MASTER,
    QUICK,
    Rows,
    columns_of,
    flood,
    lives,
    poll,
    polls,
)
from tests.featurize.flows import SECOND, START_US, batch, saved_again

STRANGER, LAPTOP = "10.0.9.9", "10.0.9.8"
NAME = ("plant", "left")
PHASE, EVIDENCE, OTHER_SOURCES = (COLUMNS.index(name) for name in ("phase", "evidence", "others"))
Commands = Mapping[int, BaselineCommand]
"""By the number of flows before it."""


def command(action: str, **facts: Any) -> BaselineCommand:
    return BaselineCommand(site="plant", sensor="left", action=action, **facts)


class Life:
    """A sensor's flows and what was asked of its baseline, through featurize as messages bring them."""

    def __init__(self, rows: Rows, commands: Commands, cuts: Sequence[int] = (), saved: bool = False) -> None:
        self.columns: dict[int, tuple[Any, ...]] = {}
        self.notices: list[Notice] = []
        self.state = PartitionState.empty()
        flows = batch(rows)
        edges = {0, len(rows), *(min(cut, len(rows)) for cut in [*cuts, *commands])}
        for start, end in pairwise([*sorted(edges), len(rows)]):
            if start in commands:
                self.take(batch([]), commands=(commands[start],))
            self.take(flows.slice(start, end - start))
            if saved:
                self.state = saved_again(self.state)
        self.take(batch([]), ended=(NAME,))

    def take(self, flows: Any, **facts: Any) -> None:
        self.state, messages = advance_partition(
            self.state, flows, flows_facts(**facts), 0, lambda _site: LATENESS_US, learning_of=lambda _site: QUICK
        )
        for rows, told in messages:
            self.columns |= columns_of(rows)
            self.notices += told.notices

    @property
    def baseline(self) -> Baseline:
        return self.state.sensors[NAME].baseline

    def told(self, *kinds: str) -> list[Notice]:
        return [notice for notice in self.notices if notice.kind in kinds]

    def is_shown(self, offset: int) -> bool:
        said = self.columns[offset]
        return bool(shown(np.array([said[PHASE]], np.uint8), np.array([said[EVIDENCE]], np.uint32))[0])


def strange_polls(count: int, start_s: float, source: str = STRANGER, every_s: float = 1.0) -> list[dict[str, Any]]:
    """A host that never polled before polls a controller."""
    return [poll(start_s + number * every_s, source, src_mac=None) for number in range(count)]


ANCHORED = polls(260)
COMMANDS = st.builds(
    command,
    st.sampled_from([RELEARN, ACCEPT, ACCEPT, UNDO, UNDO, ATTACK, ATTACK, ATTACK]),
    address=st.sampled_from(["", "", STRANGER, CONTROLLERS[0], "any public address"]),
    service=st.sampled_from(["", "", "502/tcp", "arp", "22/tcp"]),
    number=st.integers(0, 12),
    first_us=st.sampled_from([0, START_US, START_US + 200 * SECOND]),
    last_us=st.sampled_from([START_US + 250 * SECOND, START_US + 10**6 * SECOND]),
)


def same(one: Life, other: Life) -> None:
    assert one.columns == other.columns
    assert one.notices == other.notices
    states = [life.state.sensors.get(NAME) for life in (one, other)]
    assert len({state and snapshot(state) for state in states}) == 1
    for state in filter(None, states):
        consistent(state.baseline)


def consistent(baseline: Baseline) -> None:
    """Counts are those of the tables; usual kinds come first; no source counts less than never."""
    cells = baseline.relations.cells[1 : int(baseline.relations.table.cells[0, USED]) + 1]
    assert baseline.relations.counts[of_relations.USUAL_RELATIONS] == cells[:, USUAL].sum()
    known, usual = baseline.kinds.counts[[of_kinds.USED, of_kinds.USUAL_KINDS]].tolist()
    assert baseline.kinds.cells[:known, USUAL].tolist() == [1] * usual + [0] * (known - usual)
    assert np.isin(cells[:, OWED], (-1, 0, 1)).all() and (cells[:, OTHERS] >= 0).all()
    assert len(baseline.undoable) == SLOTS and (cells[:, MADE_BY] < 64).all()


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None)
@given(lives(), st.dictionaries(st.integers(0, 400), COMMANDS, max_size=6), st.lists(st.integers(0, 400), max_size=6))
def test_commands_at_any_place_and_cuts_and_restarts(rows: Rows, asked: Commands, cuts: list[int]) -> None:
    same(Life(rows, asked, cuts, saved=True), Life(rows, asked))


@settings(max_examples=examples(8), deadline=None)
@given(lives(most=120), st.dictionaries(st.integers(0, 120), COMMANDS, max_size=3), st.integers(0, 120))
def test_a_restart_around_commands_changes_nothing(rows: Rows, asked: Commands, cut: int) -> None:
    same(Life(rows, asked, [cut], saved=True), Life(rows, asked))


def test_a_restart_after_every_flow_around_each_command_changes_nothing() -> None:
    rows = [*ANCHORED, *strange_polls(40, 262), *polls(60, start_s=310), *strange_polls(40, 380, LAPTOP)]
    asked = {280: command(ACCEPT, address=STRANGER), 300: command(UNDO, number=3), 380: command(ACCEPT)}
    whole = Life(rows, asked)
    assert {notice.kind for notice in whole.notices} >= {ACCEPTED, UNDONE}
    same(Life(rows, asked, range(len(rows)), saved=True), whole)


def called_attack(start_s: float, end_s: float, address: str = STRANGER) -> BaselineCommand:
    times = {"first_us": START_US + int(start_s * SECOND), "last_us": START_US + int(end_s * SECOND)}
    return command(ATTACK, address=address, **times)


def attacked(every_s: float = 10.0) -> list[dict[str, Any]]:
    """A host that never polled polls for a long time, with packets as nobody sends them, beside the plant."""
    attack = [row | {"fwd_pkts": 90_000, "fwd_bytes": 5_000_000} for row in strange_polls(40, 262.5, every_s=every_s)]
    return sorted([*ANCHORED, *attack, *polls(400, start_s=260)], key=lambda row: float(row["at"]))


def test_an_attack_never_becomes_usual_by_coming_back() -> None:
    rows = attacked()
    last, asked = max(number for number, row in enumerate(rows) if row["src_addr"] == STRANGER), 290
    without, life = Life(rows, {}), Life(rows, {asked: called_attack(262, 280)})
    assert without.told(ADMITTED) and not without.is_shown(last)
    assert life.is_shown(last) and not life.told(ADMITTED), "neither the relation nor its kinds of flow"
    (notice,) = life.told(CALLED_ATTACK)
    assert [(each.what, each.source) for each in notice.relations] == [("use", STRANGER)]
    assert notice.figures["affected_kinds"] >= 1
    plant = [number for number, row in enumerate(rows) if row["src_addr"] == MASTER and number > asked]
    assert not any(life.is_shown(number) for number in plant)
    same(Life(rows, {asked: called_attack(262, 280)}, range(0, len(rows), 5), saved=True), life)


def test_what_became_usual_meanwhile_is_taken_out_and_what_was_usual_before_stays() -> None:
    rows = [*attacked(), *strange_polls(3, 670), *polls(8, start_s=675)]
    life = Life(rows, {len(rows) - 11: called_attack(262, 280)})
    assert life.told(ADMITTED) and not life.is_shown(len(rows) - 12 - 20) and life.is_shown(len(rows) - 10)
    assert life.told(CALLED_ATTACK)[0].figures["affected_relations"] == 1
    of_master = Life(rows, {len(rows) - 11: called_attack(262, 280, MASTER)})
    assert of_master.told(CALLED_ATTACK)[0].figures["affected_relations"] == 0
    assert not any(of_master.is_shown(number) for number in range(len(rows) - 8, len(rows)))
    at_another_time = Life(rows, {len(rows) - 11: called_attack(1, 2)})
    assert at_another_time.told(CALLED_ATTACK)[0].figures["affected_relations"] == 0


def test_what_came_once_before_an_attack_and_once_after_it_is_not_its_own() -> None:
    renewals = [poll(at, STRANGER, src_mac=None, dst_port=67) for at in (262.0, 4_200.0)]
    attack = strange_polls(20, 2_200, every_s=2.0)
    rows = sorted([*ANCHORED, *polls(4_000, start_s=260), *attack, *renewals], key=lambda row: float(row["at"]))
    for first_s, expected in ((2_199.0, {"502/tcp"}), (4_100.0, {"67/tcp"})):
        life = Life(rows, {len(rows) - 5: called_attack(first_s, first_s + 60)})
        (notice,) = life.told(CALLED_ATTACK)
        assert {each.service for each in notice.relations} == expected


def test_a_verdict_is_undone_and_what_it_barred_comes_back() -> None:
    rows, asked = attacked(), 290
    number = _number(Life(rows, {asked: called_attack(262, 280)}), CALLED_ATTACK)
    life = Life(rows, {asked: called_attack(262, 280), asked + 10: command(UNDO, number=number)})
    (undone,) = life.told(UNDONE)
    (barred,) = life.told(CALLED_ATTACK)
    for name in ("affected_relations", "affected_addresses", "affected_kinds"):
        assert undone.figures[name] == barred.figures[name]
    assert undone.figures["barred_relations"] >= 1
    last = max(number for number, row in enumerate(rows) if row["src_addr"] == STRANGER)
    assert life.told(ADMITTED) and not life.is_shown(last)


def test_accepting_everything_leaves_an_attack_out_and_accepting_it_by_name_takes_it_in() -> None:
    rows, asked = attacked(), 290
    last = max(number for number, row in enumerate(rows) if row["src_addr"] == STRANGER)
    for accepted, is_usual in ((command(ACCEPT), False), (command(ACCEPT, address=STRANGER), True)):
        life = Life(rows, {asked: called_attack(262, 280), asked + 10: accepted})
        assert life.is_shown(last) is not is_usual


def test_a_bar_outlasts_its_undoing_and_a_flood() -> None:
    """Sixty-one later notices can be undone and this one cannot any more; new relations by the thousand come."""
    rows = [*ANCHORED, *strange_polls(SLOTS + 20, 262)]
    asked = {264: called_attack(262, 270)} | {270 + number: command(ACCEPT) for number in range(SLOTS)}
    life = Life(rows, asked)
    of_stranger = life.baseline.relations.cells[:, MADE_BY] == BARRED
    assert of_stranger.sum() >= 1 and life.is_shown(len(rows) - 1)
    for number in range(12):
        life.take(flood(2_000, 400 + 60 * number, 50), ended=())
    assert (life.baseline.relations.cells[:, MADE_BY] == BARRED).sum() == of_stranger.sum()


def test_of_a_sweep_no_more_is_barred_than_there_is_room_for() -> None:
    sweep = [poll(262 + n / 100, STRANGER, f"10.3.{n // 250}.{n % 250}", dst_port=n % 100 + 1) for n in range(5_000)]
    life = Life([*ANCHORED, *sweep, *polls(4, start_s=330)], {len(ANCHORED) + 4_999: called_attack(262, 330)})
    cells = life.baseline.relations.cells
    assert (
        200 < is_barred(cells).sum() <= MOST_BARRED and is_barred(life.baseline.kinds.cells).sum() <= MOST_BARRED_KINDS
    )


def test_a_sensor_begins_anew_and_nothing_old_stays() -> None:
    rows = [*ANCHORED, *polls(230, start_s=270)]
    life = Life(rows, {len(ANCHORED): command(RELEARN)})
    (notice,) = life.told(RELEARNT)
    assert (notice.phase, notice.figures["flows"], notice.figures["usual_relations"]) == (Phase.LEARNING, 0, 0)
    assert notice.figures["affected_relations"] > 4 and notice.figures["affected_kinds"] > 0
    first = life.columns[len(ANCHORED)]
    assert (life.columns[250][PHASE], first[PHASE]) == (Phase.ANCHORED, Phase.LEARNING)
    assert first[EVIDENCE] & Evidence.NEW_SERVICE_USE
    numbers = [notice.number for notice in life.notices if notice.kind != STATUS]
    assert numbers == list(range(1, len(numbers) + 1)), "they are numbered on"
    assert life.baseline.phase == Phase.ANCHORED
    assert life.notices[-1].figures["began_us"] >= notice.at_us, "flows that still waited are the first"


def test_numbers_go_on_where_the_sensor_sends_nothing_any_more() -> None:
    life = Life(ANCHORED, {})
    life.take(batch([]), commands=(command(RELEARN),))
    (number,) = (notice.number for notice in life.told(RELEARNT))
    assert not life.baseline.has_begun
    again = saved_again(life.state).sensors[NAME].baseline
    assert again.is_remembered and again.phase == Phase.LEARNING
    assert number == max(notice.number for notice in life.notices)


def test_what_is_accepted_is_usual_with_the_next_flow() -> None:
    rows = [*ANCHORED, *strange_polls(20, 262), *strange_polls(5, 300)]
    without, life = Life(rows, {}), Life(rows, {280: command(ACCEPT)})
    assert without.is_shown(282) and life.is_shown(270) and not life.is_shown(283)
    (notice,) = life.told(ACCEPTED)
    assert notice.figures["affected_relations"] >= 1 and notice.figures["affected_addresses"] >= 1
    assert [(each.what, each.source, each.service) for each in notice.relations] == [("use", STRANGER, "502/tcp")]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"address": STRANGER}, (False, True)),
        ({"address": LAPTOP}, (True, False)),
        ({"address": CONTROLLERS[0]}, (False, False)),
        ({"service": "502/tcp"}, (False, False)),
        ({"service": "22/tcp"}, (True, True)),
        ({"address": STRANGER, "service": "22/tcp"}, (True, True)),
    ],
)
def test_only_what_a_person_means_is_accepted(chosen: dict[str, str], expected: tuple[bool, bool]) -> None:
    rows = [*ANCHORED, *strange_polls(20, 262), *strange_polls(20, 290, LAPTOP)]
    after = [*strange_polls(4, 320), *strange_polls(4, 330, LAPTOP)]
    life = Life([*rows, *after], {len(rows): command(ACCEPT, **chosen)})
    first = len(rows) + 2
    assert (life.is_shown(first), life.is_shown(first + 4)) == expected


def test_kinds_of_flow_are_accepted_with_the_hosts_they_are_of() -> None:
    large = [poll(262 + number, target=CONTROLLERS[1], fwd_pkts=90_000, fwd_bytes=5_000_000) for number in range(6)]
    rows = [*ANCHORED, *large, *[{**row, "at": row["at"] + 20} for row in large]]
    strange = [bool(Life(rows, {}).columns[267][EVIDENCE] & Evidence.STRANGE)]
    for address in (CONTROLLERS[2], CONTROLLERS[1]):
        life = Life(rows, {266: command(ACCEPT, address=address)})
        strange.append(bool(life.columns[268][EVIDENCE] & Evidence.STRANGE))
    assert strange == [True, True, False]


def test_what_is_accepted_has_the_sizes_with_which_it_was_shown() -> None:
    """A nightly copy of a gigabyte is usual once it was accepted; one of a terabyte is not."""
    copies = [row | {"fwd_bytes": 2**30} for row in strange_polls(6, 262)]
    more = [copies[0] | {"at": 300.0}, copies[0] | {"at": 310.0, "fwd_bytes": 2**40}]
    rows = [*ANCHORED, *copies, *more, poll(320)]
    life = Life(rows, {266: command(ACCEPT, address=STRANGER)})
    evidence = [life.columns[number][EVIDENCE] & Evidence.MORE_BYTES for number in (266, 267)]
    assert evidence == [0, Evidence.MORE_BYTES]


def test_an_accepted_source_counts_at_its_target_once() -> None:
    asks = polls(3, start_s=340)
    rows = [*ANCHORED, *strange_polls(20, 262), *strange_polls(4, 300), *strange_polls(1, 320, LAPTOP), *asks]
    accepted = Life(rows, {280: command(ACCEPT, address=STRANGER)})
    undone = Life(
        rows, {280: command(ACCEPT, address=STRANGER), 284: command(UNDO, number=_number(accepted, ACCEPTED))}
    )
    of_laptop = 284
    assert Life(rows, {}).columns[of_laptop][OTHER_SOURCES] == 1, "the master"
    assert accepted.columns[of_laptop][OTHER_SOURCES] == 2
    assert undone.columns[of_laptop][OTHER_SOURCES] in (1, 2), "it counts until it comes again"


def _number(life: Life, kind: str) -> int:
    return life.told(kind)[-1].number


def test_what_is_undone_is_shown_again_and_becomes_usual_by_the_rules_of_an_anchored_sensor() -> None:
    accepted = [*ANCHORED, *strange_polls(20, 262), *strange_polls(5, 290)]
    number = _number(Life(accepted, {280: command(ACCEPT)}), ACCEPTED)
    back = sorted([*strange_polls(20, 300.5, every_s=10), *polls(200, start_s=300)], key=lambda row: row["at"])
    rows = [*accepted, *back, *strange_polls(1, 501)]
    life = Life(rows, {280: command(ACCEPT), len(accepted): command(UNDO, number=number)})
    (undone,) = life.told(UNDONE)
    assert undone.figures["undone"] == number and undone.figures["affected_relations"] >= 1
    assert undone.relations[0].source == STRANGER
    assert not life.is_shown(281) and life.is_shown(len(accepted) + 1)
    (admitted,) = life.told(ADMITTED)
    assert admitted.at_us >= START_US + (300 + QUICK.admit_s) * SECOND
    assert not life.is_shown(len(rows) - 1)


def test_what_was_admitted_is_undone() -> None:
    back = strange_polls(20, 262, every_s=10)
    rows = [*ANCHORED, *back, *strange_polls(2, 470)]
    without = Life(rows, {})
    (admitted,) = without.told(ADMITTED)
    assert admitted.figures["affected_relations"] >= 1 and not without.is_shown(len(rows) - 1)
    life = Life(rows, {len(rows) - 2: command(UNDO, number=admitted.number)})
    (undone,) = life.told(UNDONE)
    assert undone.figures["affected_relations"] == admitted.figures["affected_relations"]
    assert undone.figures["affected_kinds"] == admitted.figures["affected_kinds"]
    assert life.is_shown(len(rows) - 1)


def test_what_was_undone_does_not_become_usual_before_the_sensor_is_anchored() -> None:
    learning = [*polls(30), *strange_polls(3, 31), *polls(4, start_s=36)]
    rows = [
        *learning,
        *[row for at in range(0, 100, 4) for row in [*polls(2, start_s=40 + at), poll(42 + at, STRANGER)]],
    ]
    asked = {len(learning): command(ACCEPT), len(learning) + 6: command(UNDO, number=1)}
    life = Life(rows, asked)
    assert [notice.number for notice in life.told(ACCEPTED, UNDONE)] == [1, 2]
    assert Life(rows, {}).columns[len(rows) - 1][EVIDENCE] & Evidence.NEW_SERVICE_USE == 0
    assert life.columns[len(rows) - 1][PHASE] != Phase.ANCHORED
    assert life.columns[len(rows) - 1][EVIDENCE] & Evidence.NEW_SERVICE_USE


def test_undoing_twice_or_what_made_nothing_usual_changes_nothing() -> None:
    rows = [*ANCHORED, *strange_polls(20, 262)]
    asked = {270: command(ACCEPT), 272: command(UNDO, number=3), 274: command(UNDO, number=3), 276: command(UNDO)}
    once, twice, never = Life(rows, asked).told(UNDONE)
    assert once.figures["affected_relations"] >= 1
    for notice in (twice, never):
        assert notice.figures["affected_relations"] == notice.figures["affected_kinds"] == 0


def test_only_the_last_notices_can_be_undone() -> None:
    rows = [*ANCHORED, *strange_polls(SLOTS + 10, 262)]
    asked = {265 + number: command(ACCEPT) for number in range(SLOTS + 1)}
    first = _number(Life(rows, {265: asked[265]}), ACCEPTED)
    life = Life(rows, {**asked, len(rows) - 1: command(UNDO, number=first)})
    (undone,) = life.told(UNDONE)
    assert undone.figures["affected_relations"] == 0
    assert not life.is_shown(len(rows) - 2)


def test_what_came_seldom_and_was_accepted_does_not_fall_silent() -> None:
    rows = [*ANCHORED, *strange_polls(3, 262), *polls(1_800, every_s=3, start_s=300)]
    life = Life(rows, {263: command(ACCEPT)})
    assert not [notice for notice in life.notices if notice.kind == "silent" and STRANGER in str(notice.relations)]


def test_a_sensor_that_nobody_heard_of_is_asked_in_vain() -> None:
    state, [(rows, facts)] = advance_partition(
        PartitionState.empty(), batch([]), flows_facts(commands=(command(RELEARN),)), 0, lambda _site: 0
    )
    assert (len(rows), facts.notices, dict(state.sensors)) == (0, (), {})


def test_the_master_is_still_usual_after_what_others_did_was_accepted() -> None:
    rows = [*ANCHORED, *strange_polls(20, 262), *polls(20, start_s=300)]
    life = Life(rows, {280: command(ACCEPT, address=STRANGER)})
    assert not any(life.is_shown(offset) for offset in range(281, len(rows)))
    assert MASTER not in str(life.told(ACCEPTED)[0].relations)
