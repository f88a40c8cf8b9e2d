"""What the kernel reads and writes: networks and distances packed for it, and the memory for a block of rows."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.igan.arrays import Int8s
from models.rows import Floats, Ints

Indices = npt.NDArray[np.int32]


class Scaling(NamedTuple):
    """Preprocessing; log, mean, deviation (16 p,)."""

    log: Floats
    mean: Floats
    deviation: Floats
    clip: np.float32
    any_log: bool


class PackedNetwork(NamedTuple):
    """A network as the kernel reads it; p, c, h, m, t and k are widths in whole panels.

    Looked-up columns come in order of their number of knots, so that 16 side by side have about as many.

    Attributes
    ----------
    column : (C,) looked-up columns
    first, last_bin, scale : (16 c,) a column's first knot in the table, its last bin, and the unit of its rows
    step : (s, 16) knots of 16 columns side by side; a panel's are from step_first[panel] on
    knot, per_width : (E,) each knot, and 1 / the width of the bin above it
    table : (h, E, 32), float32 or int8
    plain, slot, off : bits of plain columns, 16 to a number; (16 p,) a column's row of `row`; what a raw 0 becomes
    row : (h, B, 32)
    """

    scaling: Scaling
    column: Ints
    first: Floats
    last_bin: Floats
    scale: Floats
    step_first: Ints
    step: Floats
    knot: Floats
    per_width: Floats
    table: Floats | Int8s
    plain: Ints
    slot: Indices
    off: Floats
    row: Floats
    bias: Floats
    middle: Floats
    middle_bias: Floats
    top: Floats
    top_bias: Floats
    last: Floats
    last_bias: Floats


class NetworkSpace(NamedTuple):
    """What the kernel writes in between, for a block of rows; numbers and counts for a tile."""

    rows: Floats
    number: Floats
    counted: Floats
    where: Indices
    low: Floats
    high: Floats
    active: Indices
    by: Floats
    actives: Ints
    wide: Floats
    middle: Floats
    top: Floats
    last: Floats


class PackedDistances(NamedTuple):
    """Of S origins, centre (S, 16 p); whitening (S, p, 16 p, 16); reach (S, p): how many inputs a panel reads."""

    centre: Floats
    whitening: Floats
    reach: Ints


class DistanceSpace(NamedTuple):
    """What the kernel writes in between."""

    rows: Floats
    square: Floats


class PackedPrototypes(NamedTuple):
    """Prototypes as the kernel reads them, with their signs turned; their number is filled up to whole chunks.

    Attributes
    ----------
    column, centre : (C,) columns that are multiplied, and what they are counted from
    plain, slot, off : columns that mostly have one value, as of a network; off is that value
    half : (128 q,) half the squared length of each
    matrix : (8 q, C, 16)
    row : (q, B, 128)
    whole : (P, 16 p) the prototypes themselves
    """

    column: Ints
    centre: Floats
    plain: Ints
    slot: Indices
    off: Floats
    half: Floats
    matrix: Floats
    row: Floats
    whole: Floats


class PrototypeSpace(NamedTuple):
    """What the kernel writes in between."""

    rows: Floats
    active: Indices
    by: Floats
    actives: Ints
    moved: Floats
    guess: Floats
    best: Floats
    best_number: Floats
