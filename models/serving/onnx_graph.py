"""The way from raw rows to scores as an ONNX graph: standard operators of opset 17 alone, all numbers float32.

Rows are the first axis of everything. Where numpy would search in a table, the graph compares with all of it: a share
between two knots is clip((z - low) / (high - low), 0, 1), whatever the bin.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

from models.igan.arrays import NetworkArrays
from models.igan.calibration import ConformalTable
from models.igan.distances import Closeness
from models.igan.known_classes import KnownClasses
from models.igan.odds import CEILING, LEAST_P, Odds
from models.igan.views import View
from models.rows import Doubles, Floats

LARGEST = float(np.finfo(np.float32).max)
LAYER = "layer_"  # names of the network's layers start with this
EXACT_TO = 2.0**20  # from here on 1 + a is as good as a
ROUNDING = 1e-5  # of the spread of how unusual quiet rows are: nearer to the most unusual of them is as unusual


class Graph:
    """Nodes and constants, each with a name of its own; a value is the name of a node's output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node's value."""
        output = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], output, **attributes))
        return output

    def constant(self, values: npt.ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        """A constant's value; equal ones are one."""
        array = np.asarray(values, dtype=dtype)
        known = self._names.setdefault((array.dtype.str, array.shape, array.tobytes()), f"constant_{len(self._names)}")
        if len(self._names) > len(self.constants):
            self.constants.append(numpy_helper.from_array(array, known))
        return known

    def number(self, value: float) -> str:
        """A constant of one number, (1,)."""
        return self.constant([value])

    def clipped(self, value: str, low: float, high: float) -> str:
        """Within low and high."""
        return self.add("Clip", value, self.constant(np.float32(low)), self.constant(np.float32(high)))

    def sum(self, value: str) -> str:
        """(n, m) → (n, 1)."""
        return self.add("ReduceSum", value, self.constant([1], np.int64), keepdims=1)

    def linear(self, value: str, weight: Floats, bias: Floats, name: str = "") -> str:
        """(n, k) → (n, m) by a weight (k, m)."""
        return self.add("Gemm", value, self.constant(weight), self.constant(bias), name=name)

    def log1p(self, value: str) -> str:
        """log(1 + a) from 0 on: with u = 1 + a rounded it is log(u) + (1 + a - u) / u."""
        one = self.number(1.0)
        capped = self.add("Min", value, self.number(EXACT_TO))  # of larger numbers, and infinity, nothing is lost
        rounded = self.add("Add", capped, one)
        lost = self.add("Sub", capped, self.add("Sub", rounded, one))
        return self.add("Add", self.add("Log", self.add("Add", value, one)), self.add("Div", lost, rounded))

    def softplus(self, value: str) -> str:
        """log(1 + exp(a)) = max(a, 0) + log(1 + exp(-|a|))."""
        small = self.add("Exp", self.add("Neg", self.add("Abs", value)))
        return self.add("Add", self.add("Relu", value), self.log1p(small))

    def log_sum_exp(self, value: str) -> str:
        """(n, m) → (n, 1)."""
        top = self.add("ReduceMax", value, axes=[1], keepdims=1)
        total = self.sum(self.add("Exp", self.add("Sub", value, top)))
        return self.add("Add", top, self.add("Log", total))

    def columns(self, value: str, chosen: npt.ArrayLike) -> str:
        """(n, m) → (n, c) the columns chosen."""
        return self.add("Gather", value, self.constant(chosen, np.int64), axis=1)

    def rows(self, value: str, start: int, stop: int) -> str:
        """(n, m) → (stop - start, m)."""
        return self.add("Slice", value, *(self.constant([at], np.int64) for at in (start, stop, 0)))


def preprocessed(graph: Graph, rows: str, arrays: NetworkArrays) -> str:
    """Raw rows (n, F) → z (n, F); what is no number becomes 0."""
    compressed = graph.add("Mul", graph.add("Sign", rows), graph.log1p(graph.add("Abs", rows)))
    scaled = graph.add("Where", graph.constant(arrays.log > 0, np.bool_), compressed, rows)
    offset = graph.add("Sub", scaled, graph.constant(arrays.mean))
    z = graph.add("Div", offset, graph.constant(arrays.deviation))
    numbers = graph.add("Where", graph.add("IsNaN", rows), graph.number(0.0), z)
    return graph.clipped(numbers, -arrays.clip, arrays.clip)


def looked_up(graph: Graph, z: str, arrays: NetworkArrays) -> str:
    """Rows z (n, F) → (n, H), the look-up layer.

    The share of every bin times the step from its lower knot's row to its upper one's; the rows of the columns' first
    knots are in the bias. The bins between two columns have a share of 0.
    """
    table = arrays.table.astype(np.float64) * np.repeat(arrays.scale, arrays.count)[:, None]
    bias = (arrays.bias + table[arrays.first].sum(axis=0)).astype(np.float32)
    plain = arrays.row if len(arrays.plain) else np.zeros((1, len(bias)), np.float32)
    wide = graph.linear(graph.columns(z, arrays.plain if len(arrays.plain) else [0]), plain, bias)
    if not len(arrays.column):
        return wide
    per_width = _inverse(np.diff(arrays.edge.astype(np.float64)))
    per_width[arrays.first[1:] - 1] = 0.0
    column = np.repeat(arrays.column, arrays.count)[:-1]
    above = graph.add("Sub", graph.columns(z, column), graph.constant(arrays.edge[:-1]))
    share = graph.clipped(graph.add("Mul", above, graph.constant(per_width)), 0.0, 1.0)
    if arrays.table.dtype == np.int8:
        whole = graph.add("Cast", graph.constant(arrays.table, np.int8), to=TensorProto.FLOAT)
        rows = graph.add("Mul", whole, graph.constant(np.repeat(arrays.scale, arrays.count)[:, None]))
        step = graph.add("Sub", graph.rows(rows, 1, len(table)), graph.rows(rows, 0, len(table) - 1))
    else:
        step = graph.constant(np.diff(table, axis=0))
    return graph.add("Add", graph.add("MatMul", share, step, name=f"{LAYER}look_up"), wide)


def logits(graph: Graph, z: str, arrays: NetworkArrays) -> str:
    """Rows z (n, F) → (n, K)."""
    value = looked_up(graph, z, arrays)
    for name in ("middle", "top", "last"):
        weight, bias = getattr(arrays, name), getattr(arrays, f"{name}_bias")
        value = graph.linear(graph.add("Relu", value), weight, bias, f"{LAYER}{name}")
    return value


def distance(graph: Graph, z: str, view: View) -> str:
    """Rows z (n, F) → (n, 1), how far from normal traffic."""
    if isinstance(view, Closeness):
        nearest = graph.add("ArgMin", _half_squares(graph, z, view.prototypes), axis=1, keepdims=0)
        offset = graph.add("Sub", z, graph.add("Gather", graph.constant(view.prototypes), nearest, axis=0))
        return graph.add("Sqrt", graph.sum(graph.add("Mul", offset, offset)))
    offset = graph.add("Sub", z, graph.constant(view.centre))
    white = graph.add("MatMul", offset, graph.constant(view.whitening.T))
    squares = graph.sum(graph.add("Mul", white, white))
    return graph.add("Sqrt", graph.add("Div", squares, graph.number(len(view.centre))))


def _half_squares(graph: Graph, z: str, centre: Floats) -> str:
    """Rows z (n, F), centres (P, F) → (n, P) half the squared distances, less half the squared length of z."""
    half = np.square(centre.astype(np.float64)).sum(axis=1) / 2
    return graph.add("Gemm", z, graph.constant(centre), graph.constant(half), alpha=-1.0, transB=1)


def margin(graph: Graph, value: str, classes: int, benign: int) -> str:
    """Logits (n, K) → (n, 1) log-odds of any attack against all that is benign."""
    attack = graph.columns(value, np.arange(benign, classes))
    return graph.add("Sub", graph.log_sum_exp(attack), graph.log_sum_exp(graph.columns(value, np.arange(benign))))


def p_unknown(graph: Graph, far: str, attack: str, odds: Odds) -> str:
    """Distances and margins (n, 1) → (n, 1), the share of the origin's normal rows at least so unusual.

    Counted from the most unusual of them on, so that the small shares, which matter, are the exact ones.
    """
    weighted = graph.add("Mul", _in_units(graph, attack, odds.margin_unit), graph.number(odds.constants.margin_weight))
    unusual = graph.add("Add", _in_units(graph, far, odds.distance_unit), weighted)
    spread = graph.number(1 / max(float(odds.value[-1] - odds.value[0]), 1e-12))
    one = graph.number(1.0)
    beyond = graph.add("Mul", graph.add("Relu", graph.add("Sub", unusual, graph.number(odds.value[-1]))), spread)
    count = graph.add("Div", one, graph.add("Add", beyond, one))
    if odds.position[-1] < odds.n - 1:  # several are the most unusual: half of them are above one of them
        alike = graph.add("LessOrEqual", beyond, graph.number(ROUNDING))
        ties = graph.number(odds.n - 1 - odds.position[-1])
        count = graph.add("Add", count, graph.add("Where", alike, ties, graph.number(0.0)))
    below = graph.add("Mul", graph.add("Relu", graph.add("Sub", graph.number(odds.value[0]), unusual)), spread)
    count = graph.add("Add", count, graph.add("Div", below, graph.add("Add", below, one)))
    if len(odds.value) > 1:
        left = graph.add("Sub", graph.constant(odds.value[1:]), unusual)  # (n, m - 1)
        share = graph.clipped(graph.add("Mul", left, graph.constant(_inverse(np.diff(odds.value)))), 0.0, 1.0)
        ranks = graph.add("MatMul", share, graph.constant(np.diff(odds.position)[:, None]))
        count = graph.add("Add", count, ranks)
    return graph.add("Max", graph.add("Div", count, graph.number(odds.n + 1)), graph.number(LEAST_P))


def _in_units(graph: Graph, view: str, unit: tuple[float, float]) -> str:
    centre, scale = unit
    value = graph.add("Div", graph.add("Sub", view, graph.number(centre)), graph.number(scale))
    return graph.clipped(value, 0.0, CEILING)


def log_odds(graph: Graph, p: str, attack: str, odds: Odds) -> str:
    """Shares p and margins (n, 1) → (n, 1), log(exp(margin - shift) + pi / p)."""
    known = graph.add("Sub", attack, graph.number(odds.shift))
    unknown = graph.add("Sub", graph.number(float(np.log(odds.constants.pi))), graph.add("Log", p))
    return graph.add("Add", unknown, graph.softplus(graph.add("Sub", known, unknown)))


def flows_above(graph: Graph, score: str, table: ConformalTable) -> str:
    """Scores (n, 1) → (n, 1), 1 and how many of the origin's quiet flows score at least as high by its table."""
    drop = -np.diff(np.concatenate([[table.n], table.above]))
    reached = graph.add("GreaterOrEqual", graph.constant(table.score), score)  # (n, m)
    flows = graph.add("MatMul", graph.add("Cast", reached, to=TensorProto.FLOAT), graph.constant(drop[:, None]))
    return graph.add("Add", flows, graph.number(1.0))


def is_known(graph: Graph, z: str, class_index: str, probability: str, known: KnownClasses, name: str) -> str:
    """Rows z (n, F), classes and their probabilities (n,) → (n,) whether each row lies where the class is known."""
    attack = graph.add("Greater", class_index, graph.constant([0], np.int64))
    least = graph.add("Gather", graph.constant(known.probability), class_index, axis=0)
    sure = graph.add("And", attack, graph.add("GreaterOrEqual", probability, least))
    if not len(known.centre):
        return graph.add("And", sure, graph.constant([False], np.bool_), name=name)
    owner = np.repeat(np.arange(len(known.radius)), np.diff(known.first))
    ours = graph.add(
        "Equal", graph.add("Unsqueeze", class_index, graph.constant([1], np.int64)), graph.constant(owner, np.int64)
    )
    half = graph.add("Where", ours, _half_squares(graph, z, known.centre), graph.number(LARGEST))
    nearest = graph.add("Gather", graph.constant(known.centre), graph.add("ArgMin", half, axis=1, keepdims=0), axis=0)
    offset = graph.add("Sub", z, nearest)
    square = graph.add("ReduceSum", graph.add("Mul", offset, offset), graph.constant([1], np.int64), keepdims=0)
    # A class without prototypes is known nowhere, whatever prototype of another was taken.
    reach = np.where(np.diff(known.first) > 0, np.square(known.radius), -1.0)
    near = graph.add("LessOrEqual", square, graph.add("Gather", graph.constant(reach), class_index, axis=0))
    return graph.add("And", sure, near, name=name)


def _inverse(width: Doubles) -> Floats:
    """1 / width, the largest number where that is too narrow for one."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        result: Floats = np.minimum(1 / np.abs(width), LARGEST).astype(np.float32)
    return result
