"""A baseline as arrays and back, for snapshots: the same baseline gives the same bytes, however it grew.

Where few relations are usual it takes up 127 kB at most: 512 kinds of 75 + 12 bytes, 2,048 relations of 8 + 16 + 8
bytes, 15 kB of names; at its bounds, with 32,768 relations of 4 bytes more and 240 kB of names, 1.5 MB.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.baseline import Phase
from pipeline.featurize.addresses import address_keys
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline.address_names import NOT_NOTED, AddressNames
from pipeline.featurize.baseline.coordinates import WIDTH
from pipeline.featurize.baseline.keys import KIND_SHIFT, OUTSIDE
from pipeline.featurize.baseline.kinds import FEATURES, MOST_KINDS, MOST_USUAL, Kinds
from pipeline.featurize.baseline.learning import (
    BINS,
    BLOCK,
    BOUND,
    CLOCK,
    HIGHEST,
    LAST_US,
    MOST_S,
    PHASE,
    PRESENT_S,
    RESUMED_S,
    SECOND,
)
from pipeline.featurize.baseline.phases import HISTORY, Blocks
from pipeline.featurize.baseline.recurrence import (
    BLOCKS,
    CELLS,
    FIRST_S,
    IS_SILENT,
    KIND,
    LARGEST,
    LAST_BLOCK,
    LAST_S,
    LONGEST_S,
    MADE_BY,
    OTHERS,
    OWED,
    PAUSES,
    RELATED,
    SLOTS,
    USUAL,
)
from pipeline.featurize.baseline.relations import (
    ADDED,
    ENDS,
    LEAST_ROOM,
    MOST_RELATIONS,
    ROOM,
    SOURCE,
    TARGET,
    TURNED_AWAY,
    USUAL_RELATIONS,
    WHAT,
    Relations,
    no_counts,
)
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.featurize.rows import Keys
from pipeline.featurize.windows.saved import Array, Arrays
from pipeline.featurize.windows.tables import EVICTED, KEY, USED, with_keys

Words = tuple[tuple[tuple[int, int], ...], ...]

_KIND_WORDS: Words = (((BLOCKS, 15), (LAST_BLOCK, 1), (KIND, 10), (MADE_BY, 6)),)
_OTHER_KIND_WORDS: Words = (((BLOCKS, 15), (LAST_BLOCK, 1), (RELATED, 12), (MADE_BY, 2)),)
_RELATION_WORDS: Words = (
    ((BLOCKS, 20), (OTHERS, 12)),
    ((USUAL, 1), (IS_SILENT, 1), (LAST_BLOCK, 1), (LONGEST_S, 9), (LARGEST, 7), (KIND, 10), (OWED, 2), (PAUSES, 1)),
)
"""Columns in words of 32 bits and how many bits each has; more than fit count as the most that do. Of a block's number
one bit is left, whether it is this block: nothing else is ever asked. A relation that was away for longer than nine
bits of seconds is not steady, however long it was. What is owed is -1, 0 or 1, and saved as one more. Kinds that are
not usual have words of their own."""
_MORE_BITS: Mapping[str, tuple[str, tuple[int | None, ...]]] = {
    "relations.room": ("<i8", (1,)),
    "relations.more_ends": ("<i4", (None,)),
    "kinds.more_related": ("<i4", (None,)),
}
"""What only baselines of many relations have: more room than the least; where there are more names than ends have bits
for, the further bits of sources, and from bit 16 on of targets; where a kind's relation has a number of more than 12
bits, the further bits of those of the kinds that are not usual."""
_NAMES = "book"
"""What the array of names has been called from the first version on."""
_SHAPES: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "clock": ("<i8", (CLOCK,)),
    "blocks": ("<i8", (3, HISTORY)),
    "histogram": ("<i8", (2, BINS)),
    "kinds.points": ("|u1", (None, FEATURES)),
    "kinds.cells": ("<i4", (None, 2 + len(_KIND_WORDS))),
    "kinds.counts": ("<i8", (4,)),
    "relations.keys": ("<i8", (None,)),
    "relations.cells": ("<i4", (None, 2 + len(_RELATION_WORDS))),
    "relations.ends": ("<u8", (None,)),
    "relations.counts": ("<i8", (4,)),
    _NAMES: ("|u1", (None,)),
    "undoable": ("<i4", (SLOTS,)),
}
MOST_US = 1 << 62
FIRST_CLOCK = 20
"""Columns of the clock of the first baselines; the later ones begin at 0."""
_NOBODY, _OUTSIDE, _NOT_NOTED, _NAMED = range(4)
"""Ends in ten bits: from 3 on they are numbers of names. An end without a name loses its key, as nothing is ever looked
up by it."""
_SERVICE_BITS, _END_BITS, _RELATED_BITS = 34, 10, 12
_MOST_SHORT = (1 << _END_BITS) - _NAMED
_MORE_TARGET_SHIFT = 16
_KIND_SHIFT, _SOURCE_SHIFT, _TARGET_SHIFT, _MADE_BY_SHIFT = (np.uint64(bits) for bits in (34, 38, 48, 58))


def baseline_out(baseline: Baseline) -> Arrays:
    """What there is to save, by name."""
    kinds, relations, block = baseline.kinds, baseline.relations, int(baseline.clock[BLOCK])
    known, usual = int(kinds.counts[of_kinds.USED]), int(kinds.counts[of_kinds.USUAL_KINDS])
    related = int(relations.table.cells[0, USED])
    names = sorted(baseline.names)
    sources, targets = (_numbered(relations.ends[1 : related + 1, end], names) for end in (SOURCE, TARGET))
    return {
        "clock": baseline.clock,
        "blocks": np.stack(baseline.blocks),
        "histogram": baseline.histogram,
        "kinds.points": kinds.points[:known, :FEATURES].view(np.uint8),
        "kinds.cells": np.concatenate(
            (
                _packed(kinds.cells[:usual], block, _KIND_WORDS),
                _packed(_with_short_numbers(kinds.cells[usual:known]), block, _OTHER_KIND_WORDS),
            )
        ),
        "kinds.counts": kinds.counts,
        "relations.keys": relations.table.cells[1 : related + 1, KEY],
        "relations.cells": _packed(relations.cells[1 : related + 1], block, _RELATION_WORDS),
        "relations.ends": _ends_out(relations.ends[1 : related + 1, WHAT], sources, targets)
        | relations.cells[1 : related + 1, MADE_BY].astype(np.uint64) << _MADE_BY_SHIFT,
        "relations.counts": np.append(
            relations.counts[[USUAL_RELATIONS, ADDED, TURNED_AWAY]], relations.table.cells[0, EVICTED]
        ),
        _NAMES: np.frombuffer("\n".join(baseline.names[key] for key in names).encode(), np.uint8),
        "undoable": baseline.undoable,
        **_more_bits_out(relations, sources, targets, len(names), kinds.cells[usual:known, RELATED]),
    }


def _with_short_numbers(cells: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Kinds with as many bits of their relation's number as fit."""
    short = cells.copy()
    short[:, RELATED] &= (1 << _RELATED_BITS) - 1
    return short


def _more_bits_out(
    relations: Relations, sources: Keys, targets: Keys, names: int, related: npt.NDArray[np.int32]
) -> Arrays:
    """Of `_MORE_BITS` what this baseline needs."""
    arrays: Arrays = {}
    if relations.counts[ROOM] != LEAST_ROOM:
        arrays["relations.room"] = relations.counts[[ROOM]]
    if names > _MOST_SHORT:
        more = sources >> _END_BITS | targets >> _END_BITS << _MORE_TARGET_SHIFT
        arrays["relations.more_ends"] = more.astype(np.int32)
    if len(related) and related.max() >> _RELATED_BITS:
        arrays["kinds.more_related"] = related >> _RELATED_BITS
    return arrays


def baseline_in(arrays: Mapping[str, Array]) -> Baseline:
    """The baseline that was saved; KeyError or ValueError where the arrays are none."""
    if arrays["clock"].shape == (FIRST_CLOCK,):
        arrays = {**arrays, "clock": np.append(arrays["clock"], np.zeros(CLOCK - FIRST_CLOCK, np.int64))}
    more = {name: expected for name, expected in _MORE_BITS.items() if name in arrays}
    for name, (of_type, shape) in {**_SHAPES, **more}.items():
        got, of_array = arrays[name].shape, arrays[name].dtype.str
        fits = len(got) == len(shape) and all(size in (None, given) for size, given in zip(shape, got, strict=True))
        if of_array != of_type or not fits:
            raise ValueError(f"{name} of type {of_array} and shape {got}, expected {of_type} and {shape}")
    keys, counts, block = arrays["relations.keys"], arrays["relations.counts"], int(arrays["clock"][BLOCK])
    _expect_counts(arrays)
    points = np.zeros((max(len(arrays["kinds.points"]), 1), WIDTH), np.int8)
    points[: len(arrays["kinds.points"]), :FEATURES] = arrays["kinds.points"].view(np.int8)
    kinds = np.zeros((len(points), CELLS), np.int32)
    usual, known = int(arrays["kinds.counts"][of_kinds.USUAL_KINDS]), len(arrays["kinds.cells"])
    kinds[:usual] = _unpacked(arrays["kinds.cells"][:usual], block, _KIND_WORDS)
    kinds[usual:known] = _unpacked(arrays["kinds.cells"][usual:], block, _OTHER_KIND_WORDS)
    kinds[:usual, USUAL] = 1
    kinds[usual:known, RELATED] = _related_in(kinds[usual:known, RELATED], arrays, len(keys))
    cells = np.zeros((max(len(keys), 1) + 1, CELLS), np.int32)
    cells[1 : len(keys) + 1] = _unpacked(arrays["relations.cells"], block, _RELATION_WORDS)
    cells[1 : len(keys) + 1, MADE_BY] = arrays["relations.ends"] >> _MADE_BY_SHIFT
    names = _names(arrays[_NAMES])
    if len(names) > _MOST_SHORT and "relations.more_ends" not in arrays:
        raise ValueError(f"{len(names)} names without relations.more_ends, expected {_MOST_SHORT} at most")
    ends = np.zeros((len(cells), ENDS), np.uint64)
    more_ends = arrays.get("relations.more_ends", np.zeros(len(keys), np.int32))
    ends[1 : len(keys) + 1] = _ends_in(arrays["relations.ends"], more_ends, list(names))
    of_relations = no_counts()
    of_relations[[USUAL_RELATIONS, ADDED, TURNED_AWAY]] = counts[:3]
    if "relations.room" in arrays:
        of_relations[ROOM] = arrays["relations.room"][0]
    return Baseline(
        arrays["clock"],
        Blocks(*arrays["blocks"]),
        arrays["histogram"],
        Kinds(points, kinds, arrays["kinds.counts"]),
        Relations(with_keys(keys, int(counts[3])), cells, ends, of_relations, np.zeros(0, np.int64)),
        names,
        arrays["undoable"],
    )


def _expect_counts(arrays: Mapping[str, Array]) -> None:
    """ValueError unless arrays that belong together are as long as the counts say: compiled code trusts them."""
    known, usual = arrays["kinds.counts"][[of_kinds.USED, of_kinds.USUAL_KINDS]].tolist()
    of_kind = {known, len(arrays["kinds.points"]), len(arrays["kinds.cells"])}
    if len(of_kind) > 1 or known > MOST_KINDS or not 0 <= usual <= min(known, MOST_USUAL):
        raise ValueError(f"{sorted(of_kind)} kinds, {usual} usual, expected {MOST_KINDS} and {MOST_USUAL} at most")
    if (added := int(arrays["kinds.counts"][of_kinds.ADDED])) < 0:
        raise ValueError(f"{added} new kinds, expected 0 or more: there is memory for those of one block")
    of_relation = {len(arrays[f"relations.{name}"]) for name in ("keys", "cells", "ends")}
    if len(of_relation) > 1 or max(of_relation) > MOST_RELATIONS:
        raise ValueError(f"{sorted(of_relation)} relations, expected {MOST_RELATIONS} at most")
    if (distinct := len(np.unique(arrays["relations.keys"]))) < max(of_relation):
        raise ValueError(f"{max(of_relation)} relations of {distinct} keys, expected one of each")
    beside = {
        "relations.more_ends": len(arrays["relations.keys"]),
        "kinds.more_related": known - usual,
    }
    for name, length in beside.items():
        if name in arrays and len(arrays[name]) != length:
            raise ValueError(f"{name} of {len(arrays[name])}, expected {length}")
    if "relations.room" in arrays and not LEAST_ROOM < arrays["relations.room"][0] <= MOST_RELATIONS:
        raise ValueError(f"room for {arrays['relations.room'][0]} relations, expected {MOST_RELATIONS} at most")
    _expect_clock(arrays["clock"], arrays["blocks"])


def _expect_clock(clock: Array, blocks: Array) -> None:
    """ValueError unless what is reckoned with is what can be: else a worker ended at a flow, not at the state."""
    Phase(int(clock[PHASE]))
    if not 0 <= clock[BLOCK] <= MOST_S:
        raise ValueError(f"block {clock[BLOCK]}, expected 0 to {MOST_S}: none is shorter than a second")
    seconds = clock[[RESUMED_S, PRESENT_S]]
    if seconds.min() < 0 or seconds.max() > MOST_S:
        raise ValueError(f"resumed and present at {seconds.tolist()} s, expected 0 to {MOST_S}")
    if abs(int(clock[LAST_US])) > MOST_US:
        raise ValueError(f"last flow at {clock[LAST_US]} us, expected {MOST_US} at most")
    squares = min(clock[[BOUND, HIGHEST, SECOND]].min(), blocks.min())
    if squares < 0:
        raise ValueError(f"strangeness or flows of {squares}, expected 0 or more")


def _related_in(short: npt.NDArray[np.int32], arrays: Mapping[str, Array], relations: int) -> npt.NDArray[np.int64]:
    """Whole numbers of the relations of kinds that are not usual; ValueError where there is no such relation."""
    related: npt.NDArray[np.int64] = short.astype(np.int64)
    if "kinds.more_related" in arrays:
        related |= arrays["kinds.more_related"].astype(np.int64) << _RELATED_BITS
    if len(related) and not 0 <= related.min() <= related.max() <= relations:
        raise ValueError(f"a kind's relation {related.min()} or {related.max()} of {relations}")
    return related


def _packed(cells: npt.NDArray[np.int32], block: int, words: Words) -> npt.NDArray[np.int32]:
    """(n, 2 + words): times as they are, and what fits the words."""
    values = cells.astype(np.int64)
    values[:, LAST_BLOCK] = values[:, LAST_BLOCK] == block
    values[:, OWED] += 1
    packed = [values[:, FIRST_S], values[:, LAST_S]]
    for word in words:
        number, shift = np.zeros(len(cells), np.int64), 0
        for column, bits in word:
            number |= np.minimum(values[:, column], (1 << bits) - 1) << shift
            shift += bits
        packed.append(number)
    return np.column_stack(packed).astype(np.uint32).view(np.int32)


def _unpacked(packed: npt.NDArray[np.int32], block: int, words: Words) -> npt.NDArray[np.int32]:
    cells = np.zeros((len(packed), CELLS), np.int32)
    cells[:, FIRST_S], cells[:, LAST_S] = packed[:, 0], packed[:, 1]
    for number, word in enumerate(words, start=2):
        left = packed[:, number].astype(np.int64) & 0xFFFF_FFFF
        for column, bits in word:
            cells[:, column] = left & ((1 << bits) - 1)
            left >>= bits
            if column == OWED:
                cells[:, column] -= 1
    cells[:, LAST_BLOCK] = np.where(cells[:, LAST_BLOCK] == 1, block, -1)
    return cells


def _ends_out(what: Keys, sources: Keys, targets: Keys) -> Keys:
    """(n,) the service, the kind of relation, and as many bits of both ends' numbers as fit, in one word each."""
    service, kind = what & np.uint64((1 << _SERVICE_BITS) - 1), what >> KIND_SHIFT
    short = np.uint64((1 << _END_BITS) - 1)
    words: Keys = (
        service | kind << _KIND_SHIFT | (sources & short) << _SOURCE_SHIFT | (targets & short) << _TARGET_SHIFT
    )
    return words


def _ends_in(words: Keys, more_ends: npt.NDArray[np.int32], names: list[int]) -> Keys:
    ends = np.zeros((len(words), ENDS), np.uint64)
    kind = words >> _KIND_SHIFT & np.uint64((1 << 4) - 1)
    ends[:, WHAT] = words & np.uint64((1 << _SERVICE_BITS) - 1) | kind << KIND_SHIFT
    more = more_ends.astype(np.int64)
    further = more & ((1 << _MORE_TARGET_SHIFT) - 1), more >> _MORE_TARGET_SHIFT
    for end, shift, bits in zip((SOURCE, TARGET), (_SOURCE_SHIFT, _TARGET_SHIFT), further, strict=True):
        short = (words >> shift).astype(np.int64) & ((1 << _END_BITS) - 1)
        ends[:, end] = _keys(short | bits << _END_BITS, names)
    return ends


def _numbered(ends: Keys, names: list[int]) -> Keys:
    """Keys of addresses as numbers of names, which ascend by key."""
    known = np.array([*names, 0], np.uint64)
    at = np.minimum(np.searchsorted(known[:-1], ends), max(len(names) - 1, 0))
    number = np.where(known[at] == ends, at + _NAMED, _NOT_NOTED) if names else np.full(len(ends), _NOT_NOTED)
    return np.where(ends == 0, _NOBODY, np.where(ends == OUTSIDE, _OUTSIDE, number)).astype(np.uint64)


def _keys(numbers: npt.NDArray[np.int64], names: list[int]) -> Keys:
    keys = np.array([0, OUTSIDE, NOT_NOTED, *names], np.uint64)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(keys):
        raise ValueError(f"ends {numbers.min() - _NAMED} to {numbers.max() - _NAMED} of {len(names)} names")
    return keys[numbers]


def _names(text: Array) -> AddressNames:
    """Names by key, ascending by key as they were saved."""
    names = text.tobytes().decode().split("\n") if len(text) else []
    keys, _ = address_keys(pa.array(names, pa.string()))
    return AddressNames(dict(sorted(zip(keys.tolist(), names, strict=True))))
