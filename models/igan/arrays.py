"""The network as plain arrays: what scoring on the CPU reads, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from models.errors import RefusedModel
from models.rows import Floats, Ints

Int8s = npt.NDArray[np.int8]
LEVELS = 127  # of an int8 table either way; -128 is left out, so that it is as fine on both sides
REMEDY = "the weights are damaged or of another version; train the model anew"


@dataclass(frozen=True, slots=True)
class NetworkArrays:
    """Preprocessing, knots and layers; matrices are input x output, everything is C-contiguous.

        raw (n, F) → z (n, F) → look-up layer (n, H) → middle (n, M) → top (n, D), the latent → last (n, K), the logits

    Attributes
    ----------
    log : (F,) above 0 where a column is heavy-tailed
    mean, deviation : (F,) of training rows
    clip : z lies within ±clip
    column : (C,) which columns are looked up between knots
    first, count : (C,) where a column's knots begin in `edge`, and how many it has, two at least
    edge : (E,) ascending within a column
    plain : (B,) which columns add a multiple of a row of their own
    table : (E, H) what each knot adds; int8 in a small model
    scale : (C,) the unit of a column's rows of the table, 1 where they are float32
    row : (B, H) of the plain columns
    bias, middle, middle_bias, top, top_bias, last, last_bias : the layers
    benign : classes below this are benign
    """

    log: Floats
    mean: Floats
    deviation: Floats
    clip: float
    column: Ints
    first: Ints
    count: Ints
    edge: Floats
    plain: Ints
    table: Floats | Int8s
    scale: Floats
    row: Floats
    bias: Floats
    middle: Floats
    middle_bias: Floats
    top: Floats
    top_bias: Floats
    last: Floats
    last_bias: Floats
    benign: int

    @property
    def features(self) -> int:
        """F, columns of a row."""
        return len(self.mean)

    @property
    def classes(self) -> int:
        """K, logits of a row."""
        return len(self.last_bias)

    @classmethod
    def from_tensors(cls, weights: Mapping[str, Floats | Int8s], benign: int, clip: float) -> "NetworkArrays":
        """From tensors by name (float32, layers output x input); RefusedModel where they are no such network.

        preprocess.{log,mean,deviation}, knots.{column,count,edge,plain}, lookup.{table,row,bias},
        middle, top and last with {weight,bias}, and lookup.scale where lookup.table is int8. Others are not read.
        """
        _expect_names(weights)
        count = _integers("knots.count", weights["knots.count"])
        arrays = cls(
            log=_floats(weights["preprocess.log"]),
            mean=_floats(weights["preprocess.mean"]),
            deviation=_floats(weights["preprocess.deviation"]),
            clip=clip,
            column=_integers("knots.column", weights["knots.column"]),
            first=np.cumsum(count) - count,
            count=count,
            edge=_floats(weights["knots.edge"]),
            plain=_integers("knots.plain", weights["knots.plain"]),
            table=_table(weights["lookup.table"]),
            scale=_floats(weights["lookup.scale"]) if "lookup.scale" in weights else np.ones(len(count), np.float32),
            row=_floats(weights["lookup.row"]),
            bias=_floats(weights["lookup.bias"]),
            middle=_floats(weights["middle.weight"].T),
            middle_bias=_floats(weights["middle.bias"]),
            top=_floats(weights["top.weight"].T),
            top_bias=_floats(weights["top.bias"]),
            last=_floats(weights["last.weight"].T),
            last_bias=_floats(weights["last.bias"]),
            benign=benign,
        )
        _expect_shapes(arrays)
        _expect_values(arrays)
        _expect_knots(arrays)
        return arrays


NAMES = (
    *("preprocess.log", "preprocess.mean", "preprocess.deviation"),
    *("knots.column", "knots.count", "knots.edge", "knots.plain"),
    *("lookup.table", "lookup.row", "lookup.bias"),
    *("middle.weight", "middle.bias", "top.weight", "top.bias", "last.weight", "last.bias"),
)


def _expect_names(weights: Mapping[str, Floats | Int8s]) -> None:
    missing = [name for name in NAMES if name not in weights]
    if missing:
        raise RefusedModel(f"network: got no tensor {missing[0]}, expected {len(NAMES)} of them; {REMEDY}")


def _floats(values: Floats | Int8s) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float32)


def _table(values: Floats | Int8s) -> Floats | Int8s:
    if values.dtype == np.int8:
        return np.ascontiguousarray(values, dtype=np.int8)
    return _floats(values)


def _integers(name: str, values: Floats | Int8s) -> Ints:
    """Small integers that were written as float32."""
    if values.ndim != 1 or not bool(((values >= 0) & (values < 2**24) & (values == np.floor(values))).all()):
        raise RefusedModel(f"network {name}: got {str(values)[:80]}, expected whole numbers from 0 on; {REMEDY}")
    return values.astype(np.int64)


def _expect_shapes(arrays: NetworkArrays) -> None:
    """RefusedModel unless each layer's width is that of the one before."""
    features, knots, columns, plain = len(arrays.mean), len(arrays.edge), len(arrays.column), len(arrays.plain)
    wide, middle, latent, classes = (
        len(bias) for bias in (arrays.bias, arrays.middle_bias, arrays.top_bias, arrays.last_bias)
    )
    expected: dict[str, tuple[int, ...]] = {
        "mean": (features,),
        "log": (features,),
        "deviation": (features,),
        "edge": (knots,),
        "count": (columns,),
        "table": (knots, wide),
        "scale": (columns,),
        "row": (plain, wide),
        "bias": (wide,),
        "middle": (wide, middle),
        "middle_bias": (middle,),
        "top": (middle, latent),
        "top_bias": (latent,),
        "last": (latent, classes),
        "last_bias": (classes,),
    }
    for name, shape in expected.items():
        got = getattr(arrays, name).shape
        if got != shape:
            raise RefusedModel(f"network {name}: got shape {got}, expected {shape}; {REMEDY}")
    if min(features, wide, middle, latent) < 1 or not 1 <= arrays.benign < classes:
        raise RefusedModel(
            f"network: got {features} columns, layers of {wide}, {middle} and {latent}, {arrays.benign} benign of "
            f"{classes} classes, expected one at least of each and an attack; {REMEDY}"
        )


def _expect_values(arrays: NetworkArrays) -> None:
    """RefusedModel where a number is not finite, or a divisor or bound is not above 0."""
    for entry in fields(arrays):
        value = getattr(arrays, entry.name)
        if isinstance(value, np.ndarray) and not bool(np.isfinite(value).all()):
            raise RefusedModel(f"network {entry.name}: got values that are not finite, expected numbers; {REMEDY}")
    if not bool((arrays.deviation > 0).all()):
        least = int(arrays.deviation.argmin())
        raise RefusedModel(
            f"network deviation of column {least}: got {arrays.deviation[least]}, expected one above 0; {REMEDY}"
        )
    # An entry of an int8 table is at most 127 of its column's scale: finite too.
    if not bool(((arrays.scale > 0) & (arrays.scale <= np.finfo(np.float32).max / LEVELS)).all()):
        raise RefusedModel(
            f"network scale: got {arrays.scale.min()} to {arrays.scale.max()}, expected numbers above 0, of which 127 "
            f"times is finite; {REMEDY}"
        )
    if arrays.table.dtype == np.int8 and bool((arrays.table < -LEVELS).any()):
        raise RefusedModel(f"network table: got -128 in an int8 table, expected -127 to 127; {REMEDY}")
    if not 0 < arrays.clip < np.inf:
        raise RefusedModel(f"network clip: got {arrays.clip}, expected a number above 0; {REMEDY}")


def _expect_knots(arrays: NetworkArrays) -> None:
    """RefusedModel unless columns are distinct ones of the row, each with two ascending knots at least."""
    used = np.concatenate([arrays.column, arrays.plain])
    if bool((used >= arrays.features).any()) or len(np.unique(used)) != len(used):
        raise RefusedModel(
            f"network knots: got columns {str(arrays.column)[:80]} and plain {str(arrays.plain)[:80]}, "
            f"expected each of {arrays.features} columns once at most; {REMEDY}"
        )
    if bool((arrays.count < 2).any()) or int(arrays.count.sum()) != len(arrays.edge):
        raise RefusedModel(
            f"network knots: got counts {str(arrays.count)[:80]} for {len(arrays.edge)} knots, expected two a column "
            f"at least and all of them together; {REMEDY}"
        )
    within = np.ones(max(len(arrays.edge) - 1, 0), dtype=np.bool_)
    within[arrays.first[1:] - 1] = False  # from one column's last knot to the next column's first
    if bool((np.diff(arrays.edge)[within] <= 0).any()):
        raise RefusedModel(f"network knots: got knots that do not ascend within a column; {REMEDY}")
