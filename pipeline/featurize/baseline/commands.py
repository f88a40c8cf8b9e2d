"""Commands of a person carried out on a sensor's baseline, at their place among its flows."""

import numpy as np
import numpy.typing as npt

from pipeline.contracts.baseline_commands import ACCEPT, ATTACK, RELEARN, UNDO, BaselineCommand
from pipeline.contracts.notices import ACCEPTED, RELEARNT, UNDONE, Notice
from pipeline.contracts.notices import ATTACK as CALLED_ATTACK
from pipeline.featurize.baseline import keys
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.address_names import name_of
from pipeline.featurize.baseline.baseline_notices import UNDOABLE, affected, figures, notice_of, service_words
from pipeline.featurize.baseline.change import STEADY_S, Entries
from pipeline.featurize.baseline.keys import kind_and_service, kind_of
from pipeline.featurize.baseline.learning import BEGAN_US, LAST_US, LEAST_BLOCKS, NUMBER, SINCE_US, seconds
from pipeline.featurize.baseline.phases import LONGEST_US, await_first
from pipeline.featurize.baseline.recurrence import (
    BARRED,
    BLOCKS,
    BY_ITSELF,
    FIRST_S,
    KIND,
    LAST_S,
    LONGEST_S,
    MADE_BY,
    OWED,
    PENDING,
    RELATED,
    USUAL,
    begin_again,
)
from pipeline.featurize.baseline.relations import SOURCE, TARGET, WHAT
from pipeline.featurize.baseline.sensor_baseline import Baseline, no_baseline
from pipeline.featurize.baseline.undoable import (
    code_of,
    forget,
    is_barred,
    kinds_barred_with,
    kinds_made_by,
    new_code,
    relations_barred_by,
    relations_made_by,
)
from pipeline.featurize.windows.tables import USED

COUNTED_AT_TARGET = (keys.USE, keys.WRITE, keys.CONTROL, keys.HARDWARE)
LEFT_FREE = 64
"""Places for usual kinds of flow that accepting leaves free, a sixth: what comes back later needs some."""
MOST_BARRED, MOST_BARRED_KINDS = 512, 64
"""Relations and kinds of flow that stay in their tables as an attack's, a quarter at most and an eighth: the rest is
free for what comes. Of more, those that came in most blocks are barred: they are nearest to becoming usual."""
LONGEST_BLOCK_S = LONGEST_US // 1_000_000
NOTHING = np.zeros(0, np.int64)


def carry_out(baseline: Baseline, command: BaselineCommand) -> tuple[Baseline, Notice]:
    """The baseline, which is taken over, after a command, and its notice."""
    if command.action == RELEARN:
        return _begin_anew(baseline, command)
    notice = _CARRIED_OUT_BY[command.action](baseline, command)
    of_relations.forget_spares(baseline.relations)
    return baseline, notice


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
    meant, is_chosen = _meant(baseline, command), bool(command.address or command.service)
    if not is_chosen:  # an attack's is meant only where it is named
        meant = meant[~is_barred(cells[meant])]
    relations = meant[cells[meant, USUAL] == 0]
    kinds = _kinds(baseline, meant if is_chosen else None)
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


def _bar(baseline: Baseline, command: BaselineCommand) -> Notice:
    """What came of an attack never becomes usual by coming back, nor do the kinds of flow that came with it."""
    cells, kind_cells = baseline.relations.cells, baseline.kinds.cells
    relations = _of_attack(cells, _meant(baseline, command), baseline.clock, command)
    relations = _most_frequent(cells, relations, MOST_BARRED - int(is_barred(cells).sum()))
    kinds = _kinds_of(baseline, relations)
    number = cells[relations, KIND].astype(np.int64) - 1
    usual = np.unique(number[(number >= 0) & (number < baseline.kinds.counts[of_kinds.USUAL_KINDS])])
    usual = _of_attack(kind_cells, usual, baseline.clock, command)
    room = MOST_BARRED_KINDS - int(is_barred(kind_cells).sum())
    usual, kinds = usual[:room], _most_frequent(kind_cells, kinds, room - len(usual[:room]))
    code = new_code(baseline, int(baseline.clock[NUMBER]) + 1)
    _take_out(baseline, relations[cells[relations, USUAL] == 1], usual)
    cells[relations, MADE_BY] = code
    first = int(baseline.kinds.counts[of_kinds.USUAL_KINDS])
    taken_out = np.arange(first, first + len(usual))
    kind_cells[taken_out, RELATED] = relations[:1]
    kinds = np.concatenate((taken_out, kinds))
    kind_cells[kinds, MADE_BY] = BARRED
    by = {"verdict": command.verdict} if command.verdict else {}
    return _notice(baseline, command, CALLED_ATTACK, relations, affected(baseline, relations, kinds) | by)


def _of_attack(
    cells: npt.NDArray[np.int32], entries: Entries, clock: npt.NDArray[np.int64], command: BaselineCommand
) -> Entries:
    """Those of the entries that came while an attack lasted, and were not usual before it."""
    first_s, last_s = (seconds(clock, each) for each in (command.first_us, command.last_us))
    of_any = cells[entries]
    came = (of_any[:, FIRST_S] <= last_s) & (of_any[:, LAST_S] >= first_s) & (command.last_us >= clock[BEGAN_US])
    # Of two blocks, one before the attack and one after it, none is the attack's.
    is_around = (of_any[:, FIRST_S] + LONGEST_BLOCK_S < first_s) & (of_any[:, LAST_S] - LONGEST_BLOCK_S > last_s)
    came &= ~(is_around & (of_any[:, BLOCKS] <= 2))
    is_new = (of_any[:, USUAL] == 0) | (of_any[:, MADE_BY] >= PENDING) | (of_any[:, FIRST_S] >= first_s)
    of_attack: Entries = entries[came & is_new & ~is_barred(of_any)]
    return of_attack


def _undo(baseline: Baseline, command: BaselineCommand) -> Notice:
    """What a notice made usual is not usual any more, and has to come back to become so; what it barred can again."""
    code = code_of(baseline, command.number)
    relations = NOTHING if code is None else relations_made_by(baseline, code, UNDOABLE)
    kinds = NOTHING if code is None else kinds_made_by(baseline, code)
    barred = NOTHING if code is None else relations_barred_by(baseline, code)
    barred_kinds = kinds_barred_with(baseline, barred)
    baseline.relations.cells[barred, MADE_BY] = BY_ITSELF
    baseline.kinds.cells[barred_kinds, MADE_BY] = BY_ITSELF
    _take_out(baseline, relations, kinds)
    forget(baseline, command.number)
    relations, kinds = np.concatenate((relations, barred)), np.concatenate((kinds, barred_kinds))
    number = {"undone": command.number} | ({"barred_relations": len(barred)} if len(barred) else {})
    return _notice(baseline, command, UNDONE, relations, affected(baseline, relations, kinds) | number)


def _take_out(baseline: Baseline, relations: Entries, kinds: Entries) -> None:
    """Usual relations and kinds, ascending, are not usual any more; the kinds stand before the others that are not."""
    cells, now_s = baseline.relations.cells, seconds(baseline.clock, int(baseline.clock[LAST_US]))
    cells[_counted(baseline, relations), OWED] -= 1
    baseline.relations.counts[of_relations.USUAL_RELATIONS] -= len(relations)
    begin_again(cells, relations, now_s)
    for kind in kinds[::-1].tolist():  # descending: what changes places with it stands behind the next
        of_kinds.make_unusual(baseline.kinds, kind)
    first = int(baseline.kinds.counts[of_kinds.USUAL_KINDS])
    begin_again(baseline.kinds.cells, np.arange(first, first + len(kinds)), now_s)


def _notice(
    baseline: Baseline, command: BaselineCommand, kind: str, relations: Entries, more_figures: dict[str, int]
) -> Notice:
    name = command.site, command.sensor
    return notice_of(baseline, name, kind, relations, int(baseline.clock[LAST_US]), more_figures)


def _meant(baseline: Baseline, command: BaselineCommand) -> Entries:
    """Entries of the relations a command is about, usual or not."""
    relations, names = baseline.relations, baseline.names
    entries = np.arange(1, int(relations.table.cells[0, USED]) + 1)
    entries = entries[np.isin(kind_of(relations.ends[entries, WHAT]), UNDOABLE)]
    if command.address:
        ends = relations.ends[:, [SOURCE, TARGET]]
        named = [key for key in np.unique(ends).tolist() if key and name_of(names, key) == command.address]
        entries = entries[np.isin(ends[entries], np.array(named, np.uint64)).any(axis=1)]
    if command.service:
        services = [kind_and_service(number)[1:] for number in relations.ends[entries, WHAT].tolist()]
        entries = entries[np.array([service_words(*service) == command.service for service in services], np.bool_)]
    return entries


def _kinds(baseline: Baseline, related: Entries | None) -> Entries:
    """Numbers of kinds that are not usual, ascending: all but an attack's, or those whose last flow was of one of these
    relations; as many as there is room for, those that came in most blocks first.
    """
    cells, counts = baseline.kinds.cells, baseline.kinds.counts
    kinds = np.arange(int(counts[of_kinds.USUAL_KINDS]), int(counts[of_kinds.USED]))
    kinds = kinds[~is_barred(cells[kinds])] if related is None else _kinds_of(baseline, related)
    room = of_kinds.MOST_USUAL - LEFT_FREE - int(counts[of_kinds.USUAL_KINDS])
    return _most_frequent(cells, kinds, room)


def _kinds_of(baseline: Baseline, related: Entries) -> Entries:
    """Numbers of kinds that are not usual, ascending, whose last flow was of one of these relations."""
    cells, counts = baseline.kinds.cells, baseline.kinds.counts
    kinds = np.arange(int(counts[of_kinds.USUAL_KINDS]), int(counts[of_kinds.USED]))
    relation = cells[kinds, RELATED]
    # A relation that began after the kind's last flow has taken another's entry.
    is_theirs = baseline.relations.cells[relation, FIRST_S] <= cells[kinds, LAST_S]
    of_related: Entries = kinds[np.isin(relation, related) & is_theirs]
    return of_related


def _most_frequent(cells: npt.NDArray[np.int32], entries: Entries, room: int) -> Entries:
    """So many of the entries, ascending, those that came in most blocks."""
    chosen: Entries = np.sort(entries[np.argsort(-cells[entries, BLOCKS], kind="stable")[: max(room, 0)]])
    return chosen


def _counted(baseline: Baseline, relations: Entries) -> Entries:
    """Those of them that count at their target."""
    counted: Entries = relations[np.isin(kind_of(baseline.relations.ends[relations, WHAT]), COUNTED_AT_TARGET)]
    return counted


_CARRIED_OUT_BY = {ACCEPT: _accept, ATTACK: _bar, UNDO: _undo}
