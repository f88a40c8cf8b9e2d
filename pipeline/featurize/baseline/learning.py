"""One sensor's flows against its baseline, in order: what is new about each, and what it adds.

Compiled: it runs once a flow. Within a call the phase and the bound do not change; phases.py closes blocks in between.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.contracts.baseline import SHOWN, Evidence, Phase
from pipeline.featurize.baseline import keys
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.coordinates import Points
from pipeline.featurize.baseline.keys import (
    DST_ADDRESS_KEY,
    DST_DEVICE_KEY,
    LEARNT,
    RELATIONS_A_FLOW,
    SRC_SEVERAL_KEY,
    TALK_KEY,
    USE_KEY,
    FlowRelations,
    what,
)
from pipeline.featurize.baseline.kinds import Kinds
from pipeline.featurize.baseline.recurrence import (
    BARRED,
    BLOCKS,
    KIND,
    LARGEST,
    LAST_BLOCK,
    LAST_S,
    LONGEST_S,
    MADE_BY,
    OWED,
    RELATED,
    USUAL,
    mark,
)
from pipeline.featurize.baseline.relations import Relations
from pipeline.featurize.compiled import compiled
from pipeline.featurize.rows import Keys
from pipeline.featurize.windows.tables import find

BEGAN_US, BLOCK, BLOCK_ENDS_US, PHASE, SINCE_US, BOUND, LEAST_BLOCKS, LEAST_SPAN_S = range(8)
ROWS, BLOCK_ROWS, BLOCK_STRANGE, HIGHEST, SECOND, NUMBER = range(8, 14)
LEARNS_SINCE_US, CHANGING_BLOCKS, STATUS_HOUR, NEWS, LAST_US, RESUMED_S, UNHEARD_US = range(14, 21)
PRESENT_S, EXTENDED_BLOCKS, LEARNT_US = range(21, 24)
CLOCK = 24
"""Columns of the clock: when the baseline began, the number of the block and when it ends, the phase and since when,
the bound of strangeness (sum of squares) and the rule of what is usual; flows learnt, of this block the flows, the
strange ones, the two greatest distances; the number of the last notice; since when everything is learnt, blocks in a
row that were another plant's, the hour of the last status, how many relations began of late; the end of the last flow,
and when the sensor was last heard again after it had been idle; for how long of the time in which everything is learnt
it was idle for a day or longer at a stretch: nothing is learnt in that; the last flow of the last block in which the
plant was there (change.py), and blocks in a row in which much was new beside it; when learning last ended."""

MOST_S = (1 << 31) - 1
"""Sixty-eight years: whatever times a sensor sends, seconds and their differences fit the tables; and one whose clock
began in 1970 and was set later learns until 2038."""
IDLE_US = 300_000_000
"""A sensor that sent no flow for longer was idle: nobody was away meanwhile (change.STEADY_S)."""

STRANGE_SQUARES = of_kinds.squared(1.6)
"""What counts as strange before a bound is known."""

COMMON_SOURCES = 3
"""Usual sources of a service from which on one more is no news: a name server's, a domain controller's."""
ROUTER_ADDRESSES = 3
"""Usual addresses of a hardware address from which on it is a router's: whoever poisons ARP speaks for two."""
MORE_BITS, LEAST_BITS = 4, 23
"""A source sends far more bytes from 16 times its most and 8 MB on."""
MOST_NEWS = 3
"""New relations, of the last quarter of the time learnt, from which on one more says little while a sensor settles."""
TALK_SQUARES = of_kinds.squared(2.6)
"""The bound of what is neither TCP nor UDP: an ICMP or ARP flow is far from the others when it is merely rare."""

(
    _STRANGE,
    _NEW_USE,
    _NEW_WRITER,
    _NEW_CONTROLLER,
    _NEW_FUNCTION,
    _NEW_HARDWARE,
    _SEVERAL,
    _NEW_HOST,
    _NEW_TALK,
    _NEW_DEVICE,
    _NEW_COMMON,
    _MORE_BYTES,
    _MUCH_IS_NEW,
    _AGAIN,
    _AT_SOURCE,
    _AT_TARGET,
    *_,  # of no use in here
) = (int(bit) for bit in Evidence)
_SHOWN, _SINCE_LEARNING = int(SHOWN), int(Evidence.SINCE_LEARNING)
_NO_EVIDENCE = (DST_ADDRESS_KEY, DST_DEVICE_KEY)
"""A new target is in who uses it."""
_SETTLING, _ANCHORED = int(Phase.SETTLING), int(Phase.ANCHORED)


BINS = 64
_MOST_SQUARES = of_kinds.squared(4.0)
"""The last bin takes what is farther than 4 deviations."""


def bins_of(squares: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(n,) bins of distances, (0..BINS-1): equal steps of the square."""
    return np.minimum(squares * BINS // _MOST_SQUARES, BINS - 1)


_bin: Callable[[int], int] = compiled(bins_of)  # type: ignore[assignment]
"""The same for one number."""


@compiled
def seconds(clock: npt.NDArray[np.int64], at_us: int) -> int:
    """Seconds from the baseline's beginning to a time, (0..MOST_S)."""
    return int(min(max((at_us - clock[BEGAN_US]) // 1_000_000, 0), MOST_S))


class Seen(NamedTuple):
    """What the baseline says of n flows: (n,) sum of squares to the nearest usual kind, evidence, usual sources."""

    squares: npt.NDArray[np.int64]
    evidence: npt.NDArray[np.uint32]
    others: npt.NDArray[np.uint16]


class Judged(NamedTuple):
    """What baselines say of n flows, (n,) each; p_value: share of a sensor's flows that were at least so strange."""

    seen: Seen
    phase: npt.NDArray[np.uint8]
    bound: npt.NDArray[np.int64]
    p_value: npt.NDArray[np.float32]
    number: npt.NDArray[np.uint32]


@compiled
def _shares(settled: npt.NDArray[np.int64], out: npt.NDArray[np.float32]) -> None:
    """Fill out (BINS,): share of the flows while the sensor settled, by bin in settled (BINS,), that were at least so
    strange; never 0.
    """
    total = 0
    for number in range(BINS):
        total += settled[number]
    farther = total
    for number in range(BINS):
        out[number] = np.float32((farther + 1) / (total + 1))
        farther -= settled[number]


@compiled
def _is_stable(relations: Relations, address: np.uint64, several: np.uint64) -> bool:
    """Whether an address is known here, and came from several hardware addresses in less than half of its blocks."""
    entry = find(relations.table, address)
    if entry == 0 or relations.cells[entry, USUAL] == 0:
        return False
    unstable = find(relations.table, several)
    return bool(unstable == 0 or 2 * relations.cells[unstable, BLOCKS] < relations.cells[entry, BLOCKS])


@compiled
def _of_hardware(
    relations: Relations,
    address: np.uint64,
    device: np.uint64,
    hardware: np.uint64,
    several: np.uint64,
    any_several: np.uint64,
) -> int:
    """What is new about the hardware an address came from; one that speaks for several addresses is a router."""
    if address == 0 or not _is_stable(relations, address, any_several):
        return 0
    if several != 0:
        return _SEVERAL
    if hardware == 0 or of_relations.is_usual(relations, hardware):
        return 0
    return 0 if of_relations.others(relations, device) >= ROUTER_ADDRESSES else _NEW_HARDWARE


@compiled
def _evidence(relations: Relations, flow: FlowRelations, row: int, phase: int, block: int) -> tuple[int, int]:
    """What is new about a flow's relations, and how many other sources do what it does."""
    evidence, others = 0, 0
    if flow.use[row] != 0:
        used = find(relations.table, flow.use[row])
        if relations.cells[used, USUAL] == 0:
            others = of_relations.others_beside(relations, flow.served[row], used)
            if phase == _ANCHORED and relations.cells[used, BLOCKS] and relations.cells[used, LAST_BLOCK] != block:
                evidence |= _AGAIN
            evidence |= _NEW_COMMON if others >= COMMON_SOURCES and flow.is_office[row] else _NEW_USE
        elif flow.sent_bits[row] > max(relations.cells[used, LARGEST] + MORE_BITS, LEAST_BITS):
            evidence |= _MORE_BYTES
    if flow.talk[row] != 0 and not of_relations.is_usual(relations, flow.talk[row]):
        evidence |= _NEW_TALK
    if flow.write[row] != 0 and not of_relations.is_usual(relations, flow.write[row]):
        evidence |= _NEW_WRITER
        others = of_relations.others_beside(relations, flow.written[row], find(relations.table, flow.write[row]))
    if flow.control[row] != 0 and not of_relations.is_usual(relations, flow.control[row]):
        evidence |= _NEW_CONTROLLER
        others = of_relations.others_beside(relations, flow.controlled[row], find(relations.table, flow.control[row]))
    for number in range(flow.function_start[row], flow.function_end[row]):
        if not of_relations.is_usual(relations, flow.function[number]):
            evidence |= _NEW_FUNCTION
    if flow.src_address[row] != 0 and not of_relations.is_usual(relations, flow.src_address[row]):
        evidence |= _NEW_HOST
    if flow.src_device[row] != 0 and not of_relations.is_usual(relations, flow.src_device[row]):
        evidence |= _NEW_DEVICE
    at_source = _of_hardware(
        relations,
        flow.src_address[row],
        flow.src_device[row],
        flow.src_hardware[row],
        flow.src_several[row],
        flow.src_unstable[row],
    )
    at_target = _of_hardware(
        relations,
        flow.dst_address[row],
        flow.dst_device[row],
        flow.dst_hardware[row],
        flow.dst_several[row],
        flow.dst_unstable[row],
    )
    evidence |= at_source | at_target
    if at_source:
        evidence |= _AT_SOURCE
    if at_target:
        evidence |= _AT_TARGET
    return evidence, others


@compiled
def _count_at_target(
    relations: Relations,
    ends: tuple[np.uint64, np.uint64, np.uint64],
    target: np.uint64,
    clock: npt.NDArray[np.int64],
    now_s: int,
) -> None:
    at_target = (np.uint64(0), ends[1], what(keys.SERVED, ends[2]))
    of_relations.add_other(relations, target, at_target, clock[BLOCK], now_s, clock[PHASE] == _ANCHORED)


@compiled
def _pay(
    relations: Relations,
    entry: int,
    ends: tuple[np.uint64, np.uint64, np.uint64],
    target: np.uint64,
    clock: npt.NDArray[np.int64],
    now_s: int,
) -> None:
    """Count at its target what a command made usual since the relation came last, or made so no more."""
    owed = relations.cells[entry, OWED]
    relations.cells[entry, OWED] = 0
    if owed > 0:
        _count_at_target(relations, ends, target, clock, now_s)
    else:
        of_relations.remove_other(relations, target)


@compiled
def _learn_relation(
    relations: Relations,
    key: np.uint64,
    kind: int,
    ends: tuple[np.uint64, np.uint64, np.uint64],
    target: np.uint64,
    learns: bool,
    clock: npt.NDArray[np.int64],
    now_s: int,
) -> None:
    """Count a relation where everything is learnt, else a usual one; where it becomes usual it counts at its target."""
    if key == 0:
        return
    entry = find(relations.table, key)
    if target != 0 and relations.cells[entry, OWED] != 0:
        _pay(relations, entry, ends, target, clock, now_s)
    if not learns and relations.cells[entry, USUAL] == 0:
        return
    if learns and entry != 0:
        away_s = now_s - max(relations.cells[entry, LAST_S], clock[RESUMED_S])
        if away_s > relations.cells[entry, LONGEST_S]:
            relations.cells[entry, LONGEST_S] = away_s
    of_kind = (ends[0], ends[1], what(kind, ends[2]))
    block, is_anchored = clock[BLOCK], clock[PHASE] == _ANCHORED
    became_usual = of_relations.learn(
        relations, key, of_kind, block, now_s, clock[LEAST_BLOCKS], clock[LEAST_SPAN_S], is_anchored
    )
    if became_usual == 1 and target != 0:
        _count_at_target(relations, ends, target, clock, now_s)


@compiled
def _learn_relations(
    relations: Relations, flow: FlowRelations, row: int, learns: bool, clock: npt.NDArray[np.int64], now_s: int
) -> None:
    no = np.uint64(0)
    used = (flow.source[row], flow.target[row], flow.service[row])
    asked = (flow.src[row], flow.dst[row], flow.service[row])
    _learn_relation(relations, flow.use[row], keys.USE, used, flow.served[row], learns, clock, now_s)
    _learn_relation(relations, flow.talk[row], keys.TALK, asked, no, learns, clock, now_s)
    _learn_relation(relations, flow.write[row], keys.WRITE, asked, flow.written[row], learns, clock, now_s)
    _learn_relation(relations, flow.control[row], keys.CONTROL, asked, flow.controlled[row], learns, clock, now_s)
    src, dst = (flow.src[row], no, no), (flow.dst[row], no, no)
    _learn_relation(relations, flow.src_address[row], keys.ADDRESS, src, no, learns, clock, now_s)
    _learn_relation(relations, flow.dst_address[row], keys.ADDRESS, dst, no, learns, clock, now_s)
    _learn_relation(relations, flow.src_device[row], keys.ADDRESS, src, no, learns, clock, now_s)
    _learn_relation(relations, flow.dst_device[row], keys.ADDRESS, dst, no, learns, clock, now_s)
    _learn_relation(relations, flow.src_hardware[row], keys.HARDWARE, src, flow.src_device[row], learns, clock, now_s)
    _learn_relation(relations, flow.dst_hardware[row], keys.HARDWARE, dst, flow.dst_device[row], learns, clock, now_s)
    _learn_relation(relations, flow.src_several[row], keys.SEVERAL, src, no, learns, clock, now_s)
    _learn_relation(relations, flow.dst_several[row], keys.SEVERAL, dst, no, learns, clock, now_s)
    for number in range(flow.function_start[row], flow.function_end[row]):
        _learn_relation(relations, flow.function[number], keys.FUNCTION, asked, no, learns, clock, now_s)


@compiled
def _count(clock: npt.NDArray[np.int64], squares: int, evidence: int) -> None:
    """Note a flow in the block's figures."""
    clock[BLOCK_ROWS] += 1
    if squares >= STRANGE_SQUARES or evidence & _SHOWN:
        clock[BLOCK_STRANGE] += 1
    if squares > clock[HIGHEST]:
        clock[SECOND], clock[HIGHEST] = clock[HIGHEST], squares
    elif squares > clock[SECOND]:
        clock[SECOND] = squares


@compiled
def _since(clock: npt.NDArray[np.int64], start_us: int) -> int:
    """What is said beside evidence of a flow that began while everything was learnt: a connection of hours is written
    when it ends. Who began before the sensor was there, as a clock at 1970 has it, is not among them.
    """
    return _SINCE_LEARNING if clock[LEARNS_SINCE_US] <= start_us < clock[LEARNT_US] else 0


@compiled
def _look_up(relations: Relations, keys: Keys, row: int, entries: npt.NDArray[np.int64]) -> bool:
    """Write where a flow's relations stand, 0 for those it has not or that are not known.

    Whether all are usual whose novelty would be evidence, functions and bytes aside: of most flows they are, and then
    there is nothing to find out about any of them.
    """
    table, cells, is_known = relations.table, relations.cells, True
    for number in range(LEARNT):
        key = keys[number, row]
        entries[number] = 0
        if key != 0:
            entry = find(table, key)
            entries[number] = entry
            if number >= SRC_SEVERAL_KEY or (cells[entry, USUAL] == 0 and number not in _NO_EVIDENCE):
                is_known = False
    return is_known


@compiled
def _mark_usual(cells: npt.NDArray[np.int32], entries: npt.NDArray[np.int64], block: int, now_s: int) -> bool:
    """Note that usual relations came, where nothing is learnt: as `_learn_relations` does, for which all that a command
    changed is left. Whether nothing was left.
    """
    for number in range(LEARNT):
        entry = entries[number]
        if entry != 0:
            if cells[entry, OWED] != 0:
                return False
            if cells[entry, USUAL] != 0:
                mark(cells, entry, block, now_s, 0, 0, True)
    return True


@compiled
def _learn_kind(
    kinds: Kinds,
    relations: Relations,
    clock: npt.NDArray[np.int64],
    histogram: npt.NDArray[np.int64],
    point: npt.NDArray[np.int8],
    between: int,
    kind: int,
    squares: int,
    sent_bits: int,
    learns: bool,
    now_s: int,
) -> None:
    """Count a flow for its kind where it learns, and note kind and size at its relation `between`, 0 for none.

    kind: the usual kind the flow is of, or -1. squares: its distance to the nearest.
    """
    is_anchored = clock[PHASE] == _ANCHORED
    # An attack's further kinds of flow do not become usual either.
    is_attack = relations.cells[between, USUAL] == 0 and relations.cells[between, MADE_BY] >= BARRED
    if learns and not is_attack:
        clock[ROWS] += 1
        kind = of_kinds.learn(
            kinds, point, kind, clock[BLOCK], now_s, clock[LEAST_BLOCKS], clock[LEAST_SPAN_S], is_anchored
        )
        if clock[PHASE] == _SETTLING:
            histogram[_bin(squares)] += 1
    if between and kind >= 0:
        relations.cells[between, KIND] = kind + 1
        if kind >= kinds.counts[of_kinds.USUAL_KINDS] and kinds.cells[kind, MADE_BY] < BARRED:
            kinds.cells[kind, RELATED] = between
    # What becomes usual has the sizes with which it was shown.
    if between and (not is_anchored or relations.cells[between, USUAL] == 0):
        relations.cells[between, LARGEST] = max(relations.cells[between, LARGEST], sent_bits)


@compiled
def take(
    order: npt.NDArray[np.int64],
    late: npt.NDArray[np.bool_],
    start_us: npt.NDArray[np.int64],
    end_us: npt.NDArray[np.int64],
    points: Points,
    flow: FlowRelations,
    kinds: Kinds,
    relations: Relations,
    clock: npt.NDArray[np.int64],
    histogram: npt.NDArray[np.int64],
    judged: Judged,
    entries: npt.NDArray[np.int64],
    shares: npt.NDArray[np.float32],
) -> tuple[int, int]:
    """Take flows `order` of a batch through the baseline: how many were taken, and how many of those, late ones aside,
    show something new. It ends before the first for which the table of relations is not ready.

    The phase does not change meanwhile. late: (len(order),) a late flow is only judged. kinds, relations, clock,
    histogram (2, BINS) are written to, and `judged` at the flows' rows. entries (LEARNT,), shares (BINS,): room to work
    in.
    """
    seen, settled, new = judged.seen, histogram[0], 0
    _shares(histogram[1], shares)
    phase, number, of_talk = clock[PHASE], clock[NUMBER], max(clock[BOUND], TALK_SQUARES)
    for at in range(len(order)):
        row = order[at]
        functions = flow.function_end[row] - flow.function_start[row]
        if not of_relations.is_ready(relations, RELATIONS_A_FLOW + functions, clock[BLOCK]):
            return at, new
        bound = clock[BOUND] if flow.has_transport[row] else of_talk
        is_known = _look_up(relations, flow.keys, row, entries) and functions == 0
        use = flow.use[row]
        between = entries[USE_KEY] if use != 0 else entries[TALK_KEY]
        squares, kind = of_kinds.nearest_usual(kinds, points[row], relations.cells[between, KIND] - 1)
        if is_known:
            sends_more = use != 0 and flow.sent_bits[row] > max(
                relations.cells[between, LARGEST] + MORE_BITS, LEAST_BITS
            )
            evidence, others = _MORE_BYTES if sends_more else 0, 0
        else:
            evidence, others = _evidence(relations, flow, row, phase, clock[BLOCK])
        if squares >= bound:
            evidence |= _STRANGE
        if phase == _SETTLING and clock[NEWS] > MOST_NEWS:
            evidence |= _MUCH_IS_NEW
        judged.phase[row], judged.number[row], judged.bound[row] = phase, number, bound
        judged.p_value[row] = shares[_bin(squares)]
        seen.squares[row], seen.others[row] = squares, others
        seen.evidence[row] = evidence | _since(clock, start_us[row]) if evidence else 0
        if late[at]:
            continue
        new += evidence != 0
        _count(clock, squares, evidence)
        learns = phase != _ANCHORED or (evidence & _SHOWN) != 0
        now_s = seconds(clock, end_us[row])
        if end_us[row] - clock[LAST_US] > IDLE_US:
            clock[RESUMED_S] = now_s
        clock[LAST_US] = end_us[row]
        if learns or not is_known or not _mark_usual(relations.cells, entries, clock[BLOCK], now_s):
            _learn_relations(relations, flow, row, learns, clock, now_s)
            between = find(relations.table, use if use != 0 else flow.talk[row])
        _learn_kind(
            kinds, relations, clock, settled, points[row], between, kind, squares, flow.sent_bits[row], learns, now_s
        )
    return len(order), new
