"""The network and the distances in compiled code, without torch: what scoring on the CPU runs.

Rows come in groups of six; a group, and a row in it, goes through the same operations in the same order wherever it
stands, so a row's bits do not depend on what it is scored with. One thread; nothing here holds the interpreter's lock.

Matrices are packed in panels of 16 outputs: (outputs / 16, inputs, 16), so that an inner loop reads memory in order.
A tile is six rows by one panel: twelve 8-number registers, or six 16-number ones, that stay where they are.
"""

from typing import Any

import numpy as np
from numba import njit

from models.igan.layout import (
    DistanceSpace,
    NetworkSpace,
    PackedDistances,
    PackedNetwork,
    PackedPrototypes,
    PrototypeSpace,
    Scaling,
)
from models.igan.vectors import (
    add,
    differing,
    divide,
    exponent,
    fma,
    lane_sum,
    load,
    lowest_bit,
    mantissa,
    multiply,
    splat,
    store,
    store_whole,
    subtract,
    where_less,
)
from models.rows import Floats, Ints

ROWS = 6  # of a tile
BLOCK = 96  # rows that go through all layers before the next do: their activations stay in the processor's cache
WIDE = 32  # outputs of the look-up layer at once: a quarter of a usual table, which then stays in the cache
CHUNK = 128  # prototypes at once, for the same reason

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _log1p(a: Any) -> Any:
    """log(1 + a) of sixteen numbers from 0 on, within 2 units in the last place; infinity stays itself.

    With u = 1 + a rounded, log(1 + a) = log(u) + (1 + a - u) / u. Source of the polynomial: Cephes, logf.
    """
    one, zero = splat(np.float32(1)), splat(np.float32(0))
    u = add(a, one)
    lost = where_less(a, one, subtract(a, subtract(u, one)), subtract(one, subtract(u, a)))
    f, k = subtract(mantissa(u), one), exponent(u)
    p = splat(np.float32(7.0376836292e-2))
    p = fma(p, f, splat(np.float32(-1.1514610310e-1)))
    p = fma(p, f, splat(np.float32(1.1676998740e-1)))
    p = fma(p, f, splat(np.float32(-1.2420140846e-1)))
    p = fma(p, f, splat(np.float32(1.4249322787e-1)))
    p = fma(p, f, splat(np.float32(-1.6668057665e-1)))
    p = fma(p, f, splat(np.float32(2.0000714765e-1)))
    p = fma(p, f, splat(np.float32(-2.4999993993e-1)))
    p = fma(p, f, splat(np.float32(3.3333331174e-1)))
    square = multiply(f, f)
    low = fma(multiply(p, f), square, multiply(k, splat(np.float32(-2.12194440e-4))))
    low = add(fma(square, splat(np.float32(-0.5)), low), divide(lost, u))
    infinity = splat(np.float32(np.inf))
    return where_less(a, infinity, fma(k, splat(np.float32(0.693359375)), add(f, low)), add(a, zero))


@_compiled
def preprocess(rows: Floats, scaling: Scaling) -> None:
    """Raw rows (b, 16 p) in place → clip((log(x) − mean) / deviation); what is no number becomes 0."""
    zero, least = splat(np.float32(0)), splat(np.float32(-1))
    high, low = splat(scaling.clip), splat(-scaling.clip)
    width = rows.shape[1]
    for row in range(len(rows)):
        for column in range(0, width, 16):
            at = row * width + column
            x = load(rows, at)
            scaled = x
            if scaling.any_log:
                size = _log1p(where_less(x, zero, subtract(zero, x), x))
                compressed = where_less(x, zero, subtract(zero, size), size)
                scaled = where_less(zero, load(scaling.log, column), compressed, x)
            value = divide(subtract(scaled, load(scaling.mean, column)), load(scaling.deviation, column))
            value = where_less(value, low, low, where_less(high, value, high, value))
            # Only a NaN is neither below 0 nor above -1.
            store(rows, at, where_less(x, zero, value, where_less(least, x, value, zero)))


@_compiled
def _copy_in(rows: Floats, start: int, space: NetworkSpace | PrototypeSpace) -> int:
    """A block of rows (n, f), from `start` on, into `space.rows`; how many whole tiles of rows that are.

    What fills the last tile is left from before; what comes of it goes nowhere.
    """
    count = min(BLOCK, len(rows) - start)
    for row in range(count):
        for column in range(rows.shape[1]):
            space.rows[row, column] = rows[start + row, column]
    return -(-count // ROWS) * ROWS


@_compiled
def _copy_out(block: Floats, start: int, result: Floats) -> None:
    """A block's values into the result (n, f), from `start` on, as far as there are rows and columns."""
    for row in range(min(len(block), len(result) - start)):
        for column in range(result.shape[1]):
            result[start + row, column] = block[row, column]


@_compiled
def _count(network: PackedNetwork, space: NetworkSpace) -> None:
    """Numbers of six rows (6, 16 c) → how many knots of its column are not above each."""
    one, width = splat(np.float32(1)), space.number.shape[1]
    for panel in range(len(network.step_first) - 1):
        at = 16 * panel
        u, v, w = load(space.number, at), load(space.number, at + width), load(space.number, at + 2 * width)
        x, y, z = (
            load(space.number, at + 3 * width),
            load(space.number, at + 4 * width),
            load(space.number, at + 5 * width),
        )
        a = splat(np.float32(0))
        b, c, d, e, f = a, a, a, a, a
        for step in range(network.step_first[panel], network.step_first[panel + 1]):
            knot = load(network.step, 16 * step)
            a = where_less(u, knot, a, add(a, one))
            b = where_less(v, knot, b, add(b, one))
            c = where_less(w, knot, c, add(c, one))
            d = where_less(x, knot, d, add(d, one))
            e = where_less(y, knot, e, add(e, one))
            f = where_less(z, knot, f, add(f, one))
        store(space.counted, at, a)
        store(space.counted, at + width, b)
        store(space.counted, at + 2 * width, c)
        store(space.counted, at + 3 * width, d)
        store(space.counted, at + 4 * width, e)
        store(space.counted, at + 5 * width, f)


@_compiled
def _locate(z: Floats, network: PackedNetwork, space: NetworkSpace) -> None:
    """Rows z (6 b, 16 p) → for each number which knot is below it, and what its two knots' rows of the table count.

    Lanes are columns: a number's bin is how many of its column's knots are not above it, less one.
    """
    one, zero = splat(np.float32(1)), splat(np.float32(0))
    width = space.number.shape[1]
    for start in range(0, len(z), ROWS):
        for row in range(ROWS):
            for index in range(len(network.column)):
                space.number[row, index] = z[start + row, network.column[index]]
        _count(network, space)
        for row in range(ROWS):
            to = (start + row) * width
            for at in range(0, width, 16):
                last, first = load(network.last_bin, at), load(network.first, at)
                bin_of = subtract(load(space.counted, row * width + at), one)
                bin_of = where_less(bin_of, last, bin_of, last)
                store_whole(space.where, to + at, add(first, where_less(zero, bin_of, bin_of, zero)))
            for index in range(len(network.column)):
                knot = space.where[start + row, index]
                space.low[start + row, index] = network.knot[knot]
                space.high[start + row, index] = network.per_width[knot]
            for at in range(0, width, 16):
                offset = subtract(load(space.number, row * width + at), load(space.low, to + at))
                share = multiply(offset, load(space.high, to + at))
                share = where_less(share, one, where_less(zero, share, share, zero), one)
                scale = load(network.scale, at)
                store(space.low, to + at, multiply(subtract(one, share), scale))
                store(space.high, to + at, multiply(share, scale))


@_compiled
def _active(z: Floats, network: PackedNetwork | PackedPrototypes, space: NetworkSpace | PrototypeSpace) -> None:
    """Rows z (b, 16 p) → per row which plain columns differ from their usual value, and by how much."""
    width = z.shape[1]
    for row in range(len(z)):
        count = 0
        for start in range(0, width, 16):
            bits = differing(load(z, row * width + start), load(network.off, start)) & network.plain[start // 16]
            while bits != 0:
                column = start + lowest_bit(bits)
                space.active[row, count] = network.slot[column]
                space.by[row, count] = z[row, column] - network.off[column]
                bits &= bits - 1
                count += 1
        space.actives[row] = count


@_compiled
def _look_up(z: Floats, network: PackedNetwork, space: NetworkSpace, wide: Floats) -> None:
    """Rows z (b, 16 p) → wide (b, 32 h): what the knots around each number and the plain columns add; then ReLU."""
    _locate(z, network, space)
    _active(z, network, space)
    zero = splat(np.float32(0))
    columns, knots, plain = len(network.column), network.table.shape[1], network.row.shape[1]
    for part in range(network.table.shape[0]):
        table, rows = part * knots * WIDE, part * plain * WIDE
        for row in range(len(z)):
            left, right = load(network.bias, part * WIDE), load(network.bias, part * WIDE + 16)
            more_left, more_right = zero, zero
            for index in range(columns):
                at = table + np.int64(space.where[row, index]) * WIDE
                low, high = splat(space.low[row, index]), splat(space.high[row, index])
                left = fma(low, load(network.table, at), left)
                right = fma(low, load(network.table, at + 16), right)
                more_left = fma(high, load(network.table, at + 32), more_left)
                more_right = fma(high, load(network.table, at + 48), more_right)
            for index in range(space.actives[row]):
                at, by = rows + np.int64(space.active[row, index]) * WIDE, splat(space.by[row, index])
                left = fma(by, load(network.row, at), left)
                right = fma(by, load(network.row, at + 16), right)
            left, right = add(left, more_left), add(right, more_right)
            at = row * wide.shape[1] + part * WIDE
            store(wide, at, where_less(zero, left, left, zero))
            store(wide, at + 16, where_less(zero, right, right, zero))


@_compiled
def _layer(x: Floats, weight: Floats, bias: Floats, out: Floats, floor: np.float32) -> None:
    """max(x (6 b, k) @ weight + bias, floor) → out (6 b, 16 m); weight (m, k, 16)."""
    panels, inputs, _ = weight.shape
    width, least = out.shape[1], splat(np.float32(floor))
    for row in range(0, len(x), ROWS):
        for panel in range(panels):
            a = load(bias, 16 * panel)
            b, c, d, e, f = a, a, a, a, a
            at = panel * inputs * 16
            for k in range(inputs):
                w = load(weight, at + 16 * k)
                a = fma(splat(x[row, k]), w, a)
                b = fma(splat(x[row + 1, k]), w, b)
                c = fma(splat(x[row + 2, k]), w, c)
                d = fma(splat(x[row + 3, k]), w, d)
                e = fma(splat(x[row + 4, k]), w, e)
                f = fma(splat(x[row + 5, k]), w, f)
            to = row * width + 16 * panel
            store(out, to, where_less(least, a, a, least))
            store(out, to + width, where_less(least, b, b, least))
            store(out, to + 2 * width, where_less(least, c, c, least))
            store(out, to + 3 * width, where_less(least, d, d, least))
            store(out, to + 4 * width, where_less(least, e, e, least))
            store(out, to + 5 * width, where_less(least, f, f, least))


@_compiled
def forward(x: Floats, network: PackedNetwork, space: NetworkSpace, z: Floats, logits: Floats) -> None:
    """Raw rows x (n, f) → preprocessed z (n, f), logits (n, k)."""
    zero, nothing = np.float32(0), np.float32(-np.inf)
    for start in range(0, len(x), BLOCK):
        count = _copy_in(x, start, space)
        rows, wide, middle = space.rows[:count], space.wide[:count], space.middle[:count]
        top, last = space.top[:count], space.last[:count]
        preprocess(rows, network.scaling)
        _look_up(rows, network, space, wide)
        _layer(wide, network.middle, network.middle_bias, middle, zero)
        _layer(middle, network.top, network.top_bias, top, zero)
        _layer(top, network.last, network.last_bias, last, nothing)
        _copy_out(rows, start, z)
        _copy_out(last, start, logits)


@_compiled
def _copy_in_of_one(z: Floats, order: Ints, origin: Ints, start: int, space: DistanceSpace) -> int:
    """Of rows z (n, f) in an order those of one origin, from `start` on, into `space.rows`; how many, a block at most.

    What fills the last tile is left from before; what comes of it goes nowhere.
    """
    one, count = origin[order[start]], 0
    while count < min(BLOCK, len(order) - start) and origin[order[start + count]] == one:
        for column in range(z.shape[1]):
            space.rows[count, column] = z[order[start + count], column]
        count += 1
    return count


@_compiled
def mahalanobis(
    z: Floats, order: Ints, origin: Ints, distance: PackedDistances, space: DistanceSpace, out: Floats
) -> None:
    """Preprocessed rows (n, f) → out (n,): root of the mean square of whitened distances to their origin's centre.

    A panel of outputs reads the inputs up to its last one that is not 0: half of them where the whitening is a
    triangle. Rows of one origin (n,), which lie together in the order (n,), share a tile.
    """
    _, panels, inputs, _ = distance.whitening.shape
    zero, width = splat(np.float32(0)), space.rows.shape[1]
    start = 0
    while start < len(order):
        one = origin[order[start]]
        count = _copy_in_of_one(z, order, origin, start, space)
        for row in range(0, count, ROWS):
            for at in range(row * width, (row + ROWS) * width, 16):
                centre = load(distance.centre, one * width + at % width)
                store(space.rows, at, subtract(load(space.rows, at), centre))
            a_sum, b_sum, c_sum, d_sum, e_sum, f_sum = zero, zero, zero, zero, zero, zero
            for panel in range(panels):
                a, b, c, d, e, f = zero, zero, zero, zero, zero, zero
                at = (one * panels + panel) * inputs * 16
                for k in range(distance.reach[one, panel]):
                    w = load(distance.whitening, at + 16 * k)
                    a = fma(splat(space.rows[row, k]), w, a)
                    b = fma(splat(space.rows[row + 1, k]), w, b)
                    c = fma(splat(space.rows[row + 2, k]), w, c)
                    d = fma(splat(space.rows[row + 3, k]), w, d)
                    e = fma(splat(space.rows[row + 4, k]), w, e)
                    f = fma(splat(space.rows[row + 5, k]), w, f)
                a_sum, b_sum, c_sum = fma(a, a, a_sum), fma(b, b, b_sum), fma(c, c, c_sum)
                d_sum, e_sum, f_sum = fma(d, d, d_sum), fma(e, e, e_sum), fma(f, f, f_sum)
            space.square[row], space.square[row + 1], space.square[row + 2] = (
                lane_sum(a_sum),
                lane_sum(b_sum),
                lane_sum(c_sum),
            )
            space.square[row + 3], space.square[row + 4], space.square[row + 5] = (
                lane_sum(d_sum),
                lane_sum(e_sum),
                lane_sum(f_sum),
            )
        for row in range(count):
            out[order[start + row]] = np.sqrt(space.square[row] / np.float32(z.shape[1]))
        start += count


@_compiled
def _first_guess(row: int, chunk: int, prototypes: PackedPrototypes, space: PrototypeSpace, to: int) -> None:
    """Half the squared length of 128 prototypes, less their product with a row's active columns."""
    at = chunk * CHUNK
    a, b, c, d = (
        load(prototypes.half, at),
        load(prototypes.half, at + 16),
        load(prototypes.half, at + 32),
        load(prototypes.half, at + 48),
    )
    e, f, g, h = (
        load(prototypes.half, at + 64),
        load(prototypes.half, at + 80),
        load(prototypes.half, at + 96),
        load(prototypes.half, at + 112),
    )
    rows = chunk * prototypes.row.shape[1] * CHUNK
    for index in range(space.actives[row]):
        at, by = rows + np.int64(space.active[row, index]) * CHUNK, splat(space.by[row, index])
        a = fma(by, load(prototypes.row, at), a)
        b = fma(by, load(prototypes.row, at + 16), b)
        c = fma(by, load(prototypes.row, at + 32), c)
        d = fma(by, load(prototypes.row, at + 48), d)
        e = fma(by, load(prototypes.row, at + 64), e)
        f = fma(by, load(prototypes.row, at + 80), f)
        g = fma(by, load(prototypes.row, at + 96), g)
        h = fma(by, load(prototypes.row, at + 112), h)
    store(space.guess, to, a)
    store(space.guess, to + 16, b)
    store(space.guess, to + 32, c)
    store(space.guess, to + 48, d)
    store(space.guess, to + 64, e)
    store(space.guess, to + 80, f)
    store(space.guess, to + 96, g)
    store(space.guess, to + 112, h)


@_compiled
def _retain_nearer(space: PrototypeSpace, row: int, squares: Any, number: int) -> None:
    """A row's nearest prototype so far in every lane."""
    at = 16 * row
    best = load(space.best, at)
    store(space.best_number, at, where_less(squares, best, splat(np.float32(number)), load(space.best_number, at)))
    store(space.best, at, where_less(squares, best, squares, best))


@_compiled
def _search(start: int, chunk: int, prototypes: PackedPrototypes, space: PrototypeSpace) -> None:
    """Six rows from `start` of the block on against 128 prototypes."""
    inputs = prototypes.matrix.shape[1]
    for row in range(ROWS):
        _first_guess(start + row, chunk, prototypes, space, row * CHUNK)
    for panel in range(CHUNK // 16):
        to, number = 16 * panel, chunk * (CHUNK // 16) + panel
        a, b, c = load(space.guess, to), load(space.guess, to + CHUNK), load(space.guess, to + 2 * CHUNK)
        d, e, f = (
            load(space.guess, to + 3 * CHUNK),
            load(space.guess, to + 4 * CHUNK),
            load(space.guess, to + 5 * CHUNK),
        )
        at = number * inputs * 16
        for k in range(inputs):
            w = load(prototypes.matrix, at + 16 * k)
            a = fma(splat(space.moved[start, k]), w, a)
            b = fma(splat(space.moved[start + 1, k]), w, b)
            c = fma(splat(space.moved[start + 2, k]), w, c)
            d = fma(splat(space.moved[start + 3, k]), w, d)
            e = fma(splat(space.moved[start + 4, k]), w, e)
            f = fma(splat(space.moved[start + 5, k]), w, f)
        _retain_nearer(space, start, a, number)
        _retain_nearer(space, start + 1, b, number)
        _retain_nearer(space, start + 2, c, number)
        _retain_nearer(space, start + 3, d, number)
        _retain_nearer(space, start + 4, e, number)
        _retain_nearer(space, start + 5, f, number)


@_compiled
def _nearest_of(row: int, space: PrototypeSpace) -> int:
    """Which prototype is a row's nearest; of equally near ones the first."""
    nearest, least = -1, np.float32(np.inf)
    for lane in range(16):
        number = int(space.best_number[row, lane]) * 16 + lane
        square = space.best[row, lane]
        if square < least or (square == least and number < nearest):
            nearest, least = number, square
    return max(nearest, 0)


@_compiled
def closeness(z: Floats, prototypes: PackedPrototypes, space: PrototypeSpace, out: Floats, nearest: Ints) -> None:
    """Preprocessed rows (n, f) → out (n,): distance to the nearest prototype; nearest (n,): which that is.

    Which is nearest is found by |p|² / 2 − z·p. Columns that mostly have one value are counted from it, so that they
    drop out of most rows. The distance to the nearest is then measured directly.
    """
    infinity, width = splat(np.float32(np.inf)), space.rows.shape[1]
    for start in range(0, len(z), BLOCK):
        count = _copy_in(z, start, space)
        _active(space.rows[:count], prototypes, space)
        for row in range(count):
            for index in range(len(prototypes.column)):
                space.moved[row, index] = space.rows[row, prototypes.column[index]] - prototypes.centre[index]
            store(space.best, 16 * row, infinity)
        for chunk in range(len(prototypes.half) // CHUNK):
            for row in range(0, count, ROWS):
                _search(row, chunk, prototypes, space)
        for row in range(min(count, len(z) - start)):
            number = _nearest_of(row, space)
            total = splat(np.float32(0))
            for column in range(0, width, 16):
                offset = subtract(
                    load(space.rows, row * width + column), load(prototypes.whole, number * width + column)
                )
                total = fma(offset, offset, total)
            out[start + row], nearest[start + row] = np.sqrt(lane_sum(total)), number


@_compiled
def _log_sum_exp(values: Floats, first: int, stop: int, temperature: np.float32) -> tuple[np.float32, int]:
    """Logarithm of the sum of exponentials of values[first:stop] / temperature, and where the highest of them is."""
    top = first
    for index in range(first + 1, stop):
        top = index if values[index] > values[top] else top
    total = np.float32(0)
    for index in range(first, stop):
        total += np.exp((values[index] - values[top]) / temperature)
    return values[top] / temperature + np.log(total), top


@_compiled
def attack_odds(logits: Floats, benign: int, margin: Floats, likeliest: Ints) -> None:
    """Logits (n, k) → (n,) log-odds of any attack, (n,) the likeliest class."""
    one = np.float32(1)
    for row in range(len(logits)):
        of_row = logits[row]
        usual, top_usual = _log_sum_exp(of_row, 0, benign, one)
        attack, top_attack = _log_sum_exp(of_row, benign, len(of_row), one)
        margin[row] = attack - usual
        likeliest[row] = top_attack if of_row[top_attack] > of_row[top_usual] else top_usual


@_compiled
def class_probability(logits: Floats, index: Ints, temperature: np.float32, probability: Floats) -> None:
    """Logits (n, k), a class of each row (n,) → its probability (n,) among all classes at a temperature."""
    for row in range(len(logits)):
        of_row = logits[row]
        total, _ = _log_sum_exp(of_row, 0, len(of_row), temperature)
        probability[row] = np.exp(of_row[index[row]] / temperature - total)
