"""What a notice made usual or barred, so that it can be undone: the last SLOTS that did have a code each (MADE_BY)."""

import numpy as np
import numpy.typing as npt

from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline.change import Entries
from pipeline.featurize.baseline.keys import is_of
from pipeline.featurize.baseline.recurrence import BARRED, BY_ITSELF, FIRST_SLOT, MADE_BY, RELATED, USUAL
from pipeline.featurize.baseline.relations import WHAT, entries_of
from pipeline.featurize.baseline.sensor_baseline import Baseline


def relations_made_by(baseline: Baseline, code: int, kinds: tuple[int, ...]) -> Entries:
    """Entries of usual relations of these kinds that this made usual."""
    entries = entries_of(baseline.relations)
    cells = baseline.relations.cells[entries]
    of_kind = is_of(baseline.relations.ends[entries, WHAT], kinds)
    made: Entries = entries[of_kind & (cells[:, USUAL] == 1) & (cells[:, MADE_BY] == code)]
    return made


def kinds_made_by(baseline: Baseline, code: int) -> Entries:
    """Numbers of usual kinds of flow that this made usual, ascending."""
    usual = int(baseline.kinds.counts[of_kinds.USUAL_KINDS])
    made: Entries = np.flatnonzero(baseline.kinds.cells[:usual, MADE_BY] == code)
    return made


def relations_barred_by(baseline: Baseline, code: int) -> Entries:
    """Entries of relations that this keeps from becoming usual."""
    entries = entries_of(baseline.relations)
    cells = baseline.relations.cells[entries]
    barred: Entries = entries[(cells[:, USUAL] == 0) & (cells[:, MADE_BY] == code)]
    return barred


def kinds_barred_with(baseline: Baseline, relations: Entries) -> Entries:
    """Numbers of kinds of flow that were barred with these relations, ascending."""
    usual, used = baseline.kinds.counts[[of_kinds.USUAL_KINDS, of_kinds.USED]].tolist()
    cells = baseline.kinds.cells[usual:used]
    barred: Entries = usual + np.flatnonzero((cells[:, MADE_BY] == BARRED) & np.isin(cells[:, RELATED], relations))
    return barred


def is_barred(cells: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """(n,) whether entries are kept from becoming usual."""
    barred: npt.NDArray[np.bool_] = (cells[:, USUAL] == 0) & (cells[:, MADE_BY] >= BARRED)
    return barred


def new_code(baseline: Baseline, number: int) -> int:
    """A code for the notice of this number: the oldest one's, which can be undone no more."""
    at = int(np.argmin(baseline.undoable))
    replace_code(baseline, FIRST_SLOT + at, BY_ITSELF)
    baseline.relations.cells[relations_barred_by(baseline, FIRST_SLOT + at), MADE_BY] = BARRED
    baseline.undoable[at] = number
    return FIRST_SLOT + at


def replace_code(baseline: Baseline, before: int, after: int) -> None:
    """What this made usual was made so by that."""
    for cells in (baseline.relations.cells, baseline.kinds.cells):
        cells[(cells[:, USUAL] == 1) & (cells[:, MADE_BY] == before), MADE_BY] = after


def code_of(baseline: Baseline, number: int) -> int | None:
    """The code of a notice; None where it made nothing usual, or has none any more."""
    at = np.flatnonzero(baseline.undoable == number)
    return FIRST_SLOT + int(at[0]) if number > 0 and len(at) else None


def forget(baseline: Baseline, number: int) -> None:
    """A notice that was undone makes way."""
    baseline.undoable[baseline.undoable == number] = 0
