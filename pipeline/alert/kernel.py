"""The one sequential step of grouping, compiled: each suspect in its turn joins a group or starts one.

A group is a run of suspects that share an address (or whatever else grouping takes for its token), none further than
the gap behind the one before. A group with enough evidence is an incident; the others wait.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NONE = -1
DROPPED = -2
ALONE = -3
ENOUGH = 1.0 - 1e-9  # three thirds are not quite one in floating point


class Linked(NamedTuple):
    """The result of `link`. Groups are numbered: the known ones as passed in, then the new ones in order of start.

    group_of: (rows,) group of each row. into: (groups,) itself; the crowd, where it was taken in there; DROPPED, where
    too many waited, or ALONE, where its time was over anyway. last_us, evidence, touched: (groups,).
    opened_row: (groups,) row with which it became an incident or the crowd's, or NONE.
    holder: (tokens,) group a token belongs to.
    """

    group_of: Ints
    into: Ints
    last_us: Ints
    evidence: Floats
    touched: Ints
    opened_row: Ints
    holder: Ints


@njit(cache=True)
def _append(group: int, before: Ints, after: Ints, ends: Ints) -> None:
    before[group], after[group] = ends[1], -1
    if ends[1] >= 0:
        after[ends[1]] = group
    else:
        ends[0] = group
    ends[1] = group


@njit(cache=True)
def _remove(group: int, before: Ints, after: Ints, ends: Ints) -> None:
    if before[group] >= 0:
        after[before[group]] = after[group]
    else:
        ends[0] = after[group]
    if after[group] >= 0:
        before[after[group]] = before[group]
    else:
        ends[1] = before[group]


@njit(cache=True)
def _link(
    clock_us: Ints,
    tokens: Ints,
    weight: Floats,
    holder: Ints,
    known_last_us: Ints,
    known_evidence: Floats,
    known_open: Flags,
    crowd: int,
    gap_us: int,
    max_open: int,
    max_waiting: int,
    max_tokens: int,
) -> tuple[Ints, Ints, Ints, Floats, Ints, Ints]:
    rows, known = len(clock_us), len(known_last_us)
    most = known + 2 * rows
    last_us, touched = np.zeros(most, np.int64), np.zeros(most, np.int64)
    evidence, is_open = np.zeros(most, np.float64), np.zeros(most, np.bool_)
    last_us[:known], evidence[:known], is_open[:known] = known_last_us, known_evidence, known_open
    into, opened_row = np.arange(most), np.full(most, -1, np.int64)
    token_count = np.zeros(most, np.int64)
    for number in range(len(holder)):
        if holder[number] >= 0:
            token_count[holder[number]] += 1
    # Two lists, each from the group touched longest ago to the one touched last: those waiting and the incidents.
    before, after = np.full(most, -1, np.int64), np.full(most, -1, np.int64)
    waiting, opened = np.full(2, -1, np.int64), np.full(2, -1, np.int64)
    n_waiting, n_open = 0, 0
    for group in range(known):
        touched[group] = group - known
        if group == crowd:
            continue
        if is_open[group]:
            _append(group, before, after, opened)
            n_open += 1
        else:
            _append(group, before, after, waiting)
            n_waiting += 1
    groups = known
    group_of = np.empty(rows, np.int64)

    for row in range(rows):
        now = clock_us[row]
        mine = -1
        for column in range(tokens.shape[1]):
            token = tokens[row, column]
            if token < 0:
                continue
            group = holder[token]
            if group < 0 or into[group] != group or now - last_us[group] > gap_us:
                continue
            if mine < 0 or touched[group] > touched[mine]:
                mine = group
        if mine < 0:
            mine = groups
            groups += 1
            _append(mine, before, after, waiting)
            n_waiting += 1
            if n_waiting > max_waiting:
                into[waiting[0]] = ALONE if now - last_us[waiting[0]] > gap_us else DROPPED
                _remove(waiting[0], before, after, waiting)
                n_waiting -= 1
        elif is_open[mine]:
            _remove(mine, before, after, opened)
            _append(mine, before, after, opened)
        else:
            _remove(mine, before, after, waiting)
            _append(mine, before, after, waiting)
        group_of[row] = mine
        last_us[mine] = now
        touched[mine] = row
        evidence[mine] += weight[row]
        for column in range(tokens.shape[1]):
            token = tokens[row, column]
            if token >= 0 and holder[token] != mine and token_count[mine] < max_tokens:
                if holder[token] >= 0:
                    token_count[holder[token]] -= 1
                holder[token] = mine
                token_count[mine] += 1
        if is_open[mine] or evidence[mine] < ENOUGH:
            continue

        _remove(mine, before, after, waiting)
        n_waiting -= 1
        while n_open >= max_open and now - last_us[opened[0]] > gap_us:
            _remove(opened[0], before, after, opened)
            n_open -= 1
        if n_open < max_open:
            is_open[mine] = True
            opened_row[mine] = row
            _append(mine, before, after, opened)
            n_open += 1
            continue
        if crowd < 0 or now - last_us[crowd] > gap_us:
            crowd = groups
            groups += 1
            is_open[crowd] = True
            opened_row[crowd] = row
        into[mine] = crowd
        opened_row[mine] = row
        last_us[crowd] = now
        touched[crowd] = row
    return group_of, into[:groups], last_us[:groups], evidence[:groups], touched[:groups], opened_row[:groups]


def link(
    clock_us: Ints,
    tokens: Ints,
    weight: Floats,
    holder: Ints,
    known_last_us: Ints,
    known_evidence: Floats,
    known_open: Flags,
    crowd: int,
    gap_us: int,
    max_open: int,
    max_waiting: int,
    max_tokens: int,
) -> Linked:
    """Assign each row to a group.

    clock_us, weight: (rows,); clocks never go back. tokens: (rows, T) numbers of what links a row to others, or NONE.
    holder: (tokens,) group each belongs to, or NONE; overwritten. known_*: (known,) groups from before, in the order
    they were last touched; crowd: which of them is the crowd, or NONE.

    A row joins the group that holds one of its tokens and was touched within the gap; of several, the one touched last;
    else it starts one. Its tokens then belong to that group, as long as that holds fewer than `max_tokens`. A group
    whose weights add up to one is an incident; where `max_open` are open already, the crowd takes it in. Beyond
    `max_waiting` groups waiting, the one touched longest ago is dropped.
    """
    arrays = _link(
        clock_us,
        tokens,
        weight,
        holder,
        known_last_us,
        known_evidence,
        known_open,
        crowd,
        gap_us,
        max_open,
        max_waiting,
        max_tokens,
    )
    return Linked(*arrays, holder)
