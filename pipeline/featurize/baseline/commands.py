"""Commands of a person carried out on a sensor's baseline, at their place among its flows."""

import numpy as np

from pipeline.contracts.baseline_commands import ACCEPT, RELEARN, BaselineCommand
from pipeline.contracts.notices import ACCEPTED, RELEARNT, UNDONE, Notice
from pipeline.featurize.baseline import keys
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.book import name_of
from pipeline.featurize.baseline.change import STEADY_S, Entries
from pipeline.featurize.baseline.keys import kind_and_service, kind_of
from pipeline.featurize.baseline.learning import LAST_US, LEAST_BLOCKS, NUMBER, SINCE_US, seconds
from pipeline.featurize.baseline.phases import await_first
from pipeline.featurize.baseline.recurrence import (
    BLOCKS,
    FIRST_S,
    LAST_S,
    LONGEST_S,
    MADE_BY,
    OWED,
    RELATED,
    USUAL,
    begin_again,
)
from pipeline.featurize.baseline.relations import SOURCE, TARGET, WHAT
from pipeline.featurize.baseline.sensor_baseline import Baseline, no_baseline
from pipeline.featurize.baseline.telling import UNDOABLE, affected, figures, notice_of, service_words
from pipeline.featurize.baseline.undoable import code_of, forget, kinds_made_by, new_code, relations_made_by
from pipeline.featurize.windows.tables import USED

COUNTED_AT_TARGET = (keys.USE, keys.WRITE, keys.CONTROL, keys.HARDWARE)
LEFT_FREE = 64
"""Places for usual kinds of flow that accepting leaves free, a sixth: what comes back later needs some."""
NOTHING = np.zeros(0, np.int64)


def carry_out(baseline: Baseline, command: BaselineCommand) -> tuple[Baseline, Notice]:
    """The baseline, which is taken over, after a command, and what there is to tell."""
    if command.action == RELEARN:
        return _begin_anew(baseline, command)
    return baseline, _accept(baseline, command) if command.action == ACCEPT else _undo(baseline, command)


def _begin_anew(before: Baseline, command: BaselineCommand) -> tuple[Baseline, Notice]:
    """Nothing stays of what was usual; notices are numbered on."""
    after, was = no_baseline(), figures(before)
    last_us = before.clock[LAST_US]
    after.clock[NUMBER], after.clock[LAST_US], after.clock[SINCE_US] = before.clock[NUMBER], last_us, last_us
    await_first(after.clock)
    given_up = {"affected_relations": was["usual_relations"], "affected_kinds": was["usual_kinds"]}
    return after, _notice(after, command, RELEARNT, NOTHING, given_up)


def _accept(baseline: Baseline, command: BaselineCommand) -> Notice:
    """What came and is not usual is so from now on."""
    cells = baseline.relations.cells
    meant = _meant(baseline, command)
    relations = meant[cells[meant, USUAL] == 0]
    kinds = _kinds(baseline, meant if command.address or command.service else None)
    code = new_code(baseline, int(baseline.clock[NUMBER]) + 1)
    cells[relations, USUAL], cells[relations, MADE_BY] = 1, code
    cells[_counted(baseline, relations), OWED] += 1
    baseline.relations.counts[of_relations.USUAL_RELATIONS] += len(relations)
    # What came in few blocks is no poller whose silence would say something.
    seldom = relations[cells[relations, BLOCKS] < baseline.clock[LEAST_BLOCKS]]
    cells[seldom, LONGEST_S] = np.maximum(cells[seldom, LONGEST_S], STEADY_S + 1)
    for kind in kinds.tolist():  # ascending: what changes places with it stands before the next
        baseline.kinds.cells[of_kinds.make_usual(baseline.kinds, kind), MADE_BY] = code
    return _notice(baseline, command, ACCEPTED, relations, affected(baseline, relations, kinds))


def _undo(baseline: Baseline, command: BaselineCommand) -> Notice:
    """What a notice made usual is not usual any more, and has to come back to become so."""
    cells, code = baseline.relations.cells, code_of(baseline, command.number)
    relations = NOTHING if code is None else relations_made_by(baseline, code, UNDOABLE)
    kinds = NOTHING if code is None else kinds_made_by(baseline, code)
    now_s = seconds(baseline.clock, int(baseline.clock[LAST_US]))
    cells[_counted(baseline, relations), OWED] -= 1
    baseline.relations.counts[of_relations.USUAL_RELATIONS] -= len(relations)
    begin_again(cells, relations, now_s)
    for kind in kinds[::-1].tolist():  # descending: what changes places with it stands behind the next
        of_kinds.make_unusual(baseline.kinds, kind)
    first = int(baseline.kinds.counts[of_kinds.USUAL_KINDS])
    begin_again(baseline.kinds.cells, np.arange(first, first + len(kinds)), now_s)
    forget(baseline, command.number)
    number = {"undone": command.number}
    return _notice(baseline, command, UNDONE, relations, affected(baseline, relations, kinds) | number)


def _notice(
    baseline: Baseline, command: BaselineCommand, kind: str, relations: Entries, more_figures: dict[str, int]
) -> Notice:
    name = command.site, command.sensor
    return notice_of(baseline, name, kind, relations, int(baseline.clock[LAST_US]), more_figures)


def _meant(baseline: Baseline, command: BaselineCommand) -> Entries:
    """Entries of the relations a command is about, usual or not."""
    relations, book = baseline.relations, baseline.book
    entries = np.arange(1, int(relations.table.cells[0, USED]) + 1)
    entries = entries[np.isin(kind_of(relations.ends[entries, WHAT]), UNDOABLE)]
    if command.address:
        ends = relations.ends[:, [SOURCE, TARGET]]
        named = [key for key in np.unique(ends).tolist() if key and name_of(book, key) == command.address]
        entries = entries[np.isin(ends[entries], np.array(named, np.uint64)).any(axis=1)]
    if command.service:
        services = [kind_and_service(number)[1:] for number in relations.ends[entries, WHAT].tolist()]
        entries = entries[np.array([service_words(*service) == command.service for service in services], np.bool_)]
    return entries


def _kinds(baseline: Baseline, related: Entries | None) -> Entries:
    """Numbers of kinds that are not usual, ascending: all, or those whose last flow was of one of these relations; as
    many as there is room for, those that came in most blocks first.
    """
    cells, counts = baseline.kinds.cells, baseline.kinds.counts
    kinds = np.arange(int(counts[of_kinds.USUAL_KINDS]), int(counts[of_kinds.USED]))
    if related is not None:
        relation = cells[kinds, RELATED]
        # A relation that began after the kind's last flow has taken another's entry.
        is_theirs = baseline.relations.cells[relation, FIRST_S] <= cells[kinds, LAST_S]
        kinds = kinds[np.isin(relation, related) & is_theirs]
    room = max(of_kinds.MOST_USUAL - LEFT_FREE - int(counts[of_kinds.USUAL_KINDS]), 0)
    chosen: Entries = np.sort(kinds[np.argsort(-cells[kinds, BLOCKS], kind="stable")[:room]])
    return chosen


def _counted(baseline: Baseline, relations: Entries) -> Entries:
    """Those of them that count at their target."""
    counted: Entries = relations[np.isin(kind_of(baseline.relations.ends[relations, WHAT]), COUNTED_AT_TARGET)]
    return counted
