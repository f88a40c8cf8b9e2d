"""Arrays are laid out for the kernel: panels of 16 outputs, widths rounded up, memory from borders of 64 bytes on."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.igan import kernel
from models.igan.arrays import Int8s, NetworkArrays
from models.igan.layout import (
    DistanceSpace,
    Indices,
    NetworkSpace,
    PackedDistances,
    PackedNetwork,
    PackedPrototypes,
    PrototypeSpace,
    Scaling,
)
from models.rows import Floats, Ints

PANEL = 16
LEAST_SHARE = 0.5  # of prototypes with one value in a column: then skipping it costs less than multiplying it


def pack_network(arrays: NetworkArrays) -> PackedNetwork:
    """A network for the kernel."""
    wide = _up(len(arrays.bias), kernel.WIDE)
    middle, top = _up(len(arrays.middle_bias)), _up(len(arrays.top_bias))
    scaling = pack_scaling(arrays)
    plain, slot = _marked(arrays.plain, arrays.features)
    off = off_values(scaling)
    bias = arrays.bias.astype(np.float64) + off[arrays.plain].astype(np.float64) @ arrays.row.astype(np.float64)
    order = np.argsort(-arrays.count, kind="stable")
    step_first, step = _steps(arrays, order)
    columns = _up(len(order))
    return PackedNetwork(
        scaling=scaling,
        column=arrays.column[order],
        first=_padded(arrays.first[order], columns),
        last_bin=_padded(arrays.count[order] - 2, columns),
        scale=_padded(arrays.scale[order], columns),
        step_first=step_first,
        step=step,
        knot=arrays.edge,
        per_width=_per_width(arrays.edge),
        table=_table(arrays.table),
        plain=plain,
        slot=slot,
        off=off,
        row=_panels(arrays.row, len(arrays.row), kernel.WIDE),
        bias=_padded(bias, wide),
        middle=_panels(arrays.middle, wide),
        middle_bias=_padded(arrays.middle_bias, middle),
        top=_panels(arrays.top, middle),
        top_bias=_padded(arrays.top_bias, top),
        last=_panels(arrays.last, top),
        last_bias=_padded(arrays.last_bias, _up(len(arrays.last_bias))),
    )


def pack_scaling(arrays: NetworkArrays) -> Scaling:
    """Preprocessing for the kernel."""
    width = _up(arrays.features)
    return Scaling(
        log=_padded(arrays.log, width),
        mean=_padded(arrays.mean, width),
        deviation=_padded(arrays.deviation, width, fill=1.0),
        clip=np.float32(arrays.clip),
        any_log=bool((arrays.log > 0).any()),
    )


def off_values(scaling: Scaling) -> Floats:
    """(16 p,) what a raw 0 becomes in each column: most columns of a row that tell of kinds are off."""
    off = aligned(1, len(scaling.log))
    kernel.preprocess(off, scaling)
    result: Floats = off[0]
    return result


def network_space(network: PackedNetwork) -> NetworkSpace:
    """Memory for a network's blocks."""
    rows, columns, plain = kernel.BLOCK, len(network.first), network.row.shape[1]
    return NetworkSpace(
        rows=aligned(rows, len(network.off)),
        number=aligned(kernel.ROWS, columns),
        counted=aligned(kernel.ROWS, columns),
        where=np.zeros((rows, columns), np.int32),
        low=aligned(rows, columns),
        high=aligned(rows, columns),
        active=np.zeros((rows, plain + 1), np.int32),
        by=aligned(rows, plain + 1),
        actives=np.zeros(rows, np.int64),
        wide=aligned(rows, len(network.bias)),
        middle=aligned(rows, len(network.middle_bias)),
        top=aligned(rows, len(network.top_bias)),
        last=aligned(rows, len(network.last_bias)),
    )


def pack_distances(centres: Sequence[Floats], whitenings: Sequence[Floats]) -> PackedDistances:
    """Mahalanobis distances of S origins, one at least: centres (F,), whitenings (F, F), output x input."""
    width = _up(len(centres[0]))
    centre = aligned(len(centres), width)
    whitening = aligned(len(centres), width // PANEL, width, PANEL)
    for number, (one, matrix) in enumerate(zip(centres, whitenings, strict=True)):
        centre[number, : len(one)] = one
        whitening[number] = _in_panels(matrix.T, width, PANEL)
    inputs = np.arange(1, width + 1)
    reach = (inputs * (whitening != 0).any(axis=3)).max(axis=2)
    return PackedDistances(centre, whitening, reach)


def distance_space(distances: PackedDistances) -> DistanceSpace:
    """Memory for the blocks of distances."""
    return DistanceSpace(aligned(kernel.BLOCK, distances.centre.shape[1]), aligned(kernel.BLOCK))


def pack_prototypes(prototypes: Floats) -> PackedPrototypes:
    """Prototypes (P, F), at least one, for the kernel."""
    count, features = prototypes.shape
    rows = _up(count, kernel.CHUNK)
    off, share = _usual(prototypes)
    plain, column = np.flatnonzero(share >= LEAST_SHARE), np.flatnonzero(share < LEAST_SHARE)
    marked, slot = _marked(plain, features)
    double = prototypes.astype(np.float64)
    centre = double[:, column].mean(axis=0).astype(np.float32)
    dense, sparse = double[:, column] - centre, double[:, plain] - off[plain]
    half = (np.square(dense).sum(axis=1) + np.square(sparse).sum(axis=1)) / 2
    whole = aligned(count, _up(features))
    whole[:, :features] = prototypes
    return PackedPrototypes(
        column=column,
        centre=centre,
        plain=marked,
        slot=slot,
        off=_padded(off, _up(features)),
        half=_padded(half, rows, fill=np.inf),
        matrix=_panels(_filled_up(-dense.T, rows), len(column)),
        row=_panels(_filled_up(-sparse.T, rows), len(plain), kernel.CHUNK),
        whole=whole,
    )


def _usual(prototypes: Floats) -> tuple[Floats, Floats]:
    """(F,) the most frequent value of each column, the smallest of several, and its share."""
    value, share = np.zeros(prototypes.shape[1], np.float32), np.zeros(prototypes.shape[1], np.float32)
    for column in range(prototypes.shape[1]):
        values, counts = np.unique(prototypes[:, column], return_counts=True)
        value[column], share[column] = values[counts.argmax()], counts.max() / len(prototypes)
    return value, share


def prototype_space(prototypes: PackedPrototypes) -> PrototypeSpace:
    """Memory for blocks of rows that are compared with prototypes."""
    rows, plain = kernel.BLOCK, prototypes.row.shape[1]
    return PrototypeSpace(
        rows=aligned(rows, len(prototypes.off)),
        active=np.zeros((rows, plain + 1), np.int32),
        by=aligned(rows, plain + 1),
        actives=np.zeros(rows, np.int64),
        moved=aligned(rows, len(prototypes.column)),
        guess=aligned(kernel.ROWS, kernel.CHUNK),
        best=aligned(rows, PANEL),
        best_number=aligned(rows, PANEL),
    )


def aligned(*shape: int) -> Floats:
    """Zeros whose memory starts on a border of 64 bytes: a vector of 16 never lies in two cache lines."""
    size = int(np.prod(shape))
    memory = np.zeros(size + PANEL, dtype=np.float32)
    start = -(memory.ctypes.data // 4) % PANEL
    result: Floats = memory[start : start + size].reshape(shape)
    return result


def _up(size: int, step: int = PANEL) -> int:
    """The next multiple."""
    return -(-size // step) * step


def _padded(values: npt.NDArray[np.number], width: int, fill: float = 0.0) -> Floats:
    result = aligned(width)
    result[: len(values)], result[len(values) :] = values, fill
    return result


def _filled_up(matrix: npt.NDArray[np.float64], width: int) -> Floats:
    result = np.zeros((len(matrix), width), dtype=np.float32)
    result[:, : matrix.shape[1]] = matrix
    return result


def _panels(matrix: Floats, inputs: int, width: int = PANEL) -> Floats:
    """(k, m) input x output → (m / width, inputs, width), zeros where there is nothing."""
    result = aligned(_up(matrix.shape[1], width) // width, inputs, width)
    result[:] = _in_panels(matrix, inputs, width)
    return result


def _table(table: Floats | Int8s) -> Floats | Int8s:
    in_panels = _in_panels(table, len(table), kernel.WIDE)
    if table.dtype == np.int8:
        return np.ascontiguousarray(in_panels)  # half a cache line a row: no border matters
    result = aligned(*in_panels.shape)
    result[:] = in_panels
    return result


def _in_panels(matrix: npt.NDArray[np.number], inputs: int, width: int) -> npt.NDArray[np.number]:
    outputs = _up(matrix.shape[1], width)
    whole = np.zeros((inputs, outputs), dtype=matrix.dtype)
    whole[: len(matrix), : matrix.shape[1]] = matrix
    return whole.reshape(inputs, outputs // width, width).transpose(1, 0, 2)


def _marked(plain: Ints, features: int) -> tuple[Ints, Indices]:
    """Bits of the plain columns, 16 to a number, the first lowest; and a column's number among them."""
    bit, slot = np.zeros(_up(features), np.int64), np.zeros(_up(features), np.int32)
    bit[plain], slot[plain] = 1, np.arange(len(plain))
    return (bit.reshape(-1, PANEL) @ (1 << np.arange(PANEL))).astype(np.int64), slot


def _steps(arrays: NetworkArrays, order: Ints) -> tuple[Ints, Floats]:
    """Knots of 16 columns side by side, as many as the first of them has; what the others lack lies above all."""
    heads = order[::PANEL]
    first = np.concatenate([[0], np.cumsum(arrays.count[heads])])
    step = aligned(int(first[-1]), PANEL)
    step[:] = np.inf
    for number, column in enumerate(order):
        start, knots, count = first[number // PANEL], arrays.first[column], arrays.count[column]
        step[start : start + count, number % PANEL] = arrays.edge[knots : knots + count]
    return first, step


def _per_width(edge: Floats) -> Floats:
    """1 / the width of the bin above each knot; the largest number where that is too narrow for one."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = 1 / np.abs(np.diff(edge))
    return _padded(np.minimum(inverse, np.finfo(np.float32).max), len(edge))
