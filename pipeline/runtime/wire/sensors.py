"""Which sensor each row of a batch is from."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.envelope import SensorName

Ints: TypeAlias = npt.NDArray[np.int64]


def sensors_of(rows: pa.RecordBatch) -> tuple[list[SensorName], Ints]:
    """The distinct (site, sensor) of a batch, and (n,) which of them each row is from.

    They are numbered in the order in which their sites appear, those of a site in the order in which their names do.
    A sensor's rows mostly lie together, which costs hardly more than a look at each.
    """
    site, name = (pc.run_end_encode(rows.column(column)) for column in ("site", "sensor"))
    if len(site.values) == len(name.values) == 1:
        return [(site.values[0].as_py(), name.values[0].as_py())], np.zeros(len(rows), np.int64)
    ends = np.union1d(site.run_ends.to_numpy(), name.run_ends.to_numpy())
    sites, site_of = _coded(site, ends)
    names, name_of = _coded(name, ends)
    codes, number = np.unique(site_of * len(names) + name_of, return_inverse=True)
    sensors = [(sites[code // len(names)], names[code % len(names)]) for code in codes.tolist()]
    return sensors, np.repeat(number.astype(np.int64), np.diff(ends, prepend=0))


def row_counts(rows: pa.RecordBatch) -> dict[SensorName, int]:
    """How many rows of a batch are from each sensor."""
    sensors, number = sensors_of(rows)
    return dict(zip(sensors, np.bincount(number, minlength=len(sensors)).tolist(), strict=True))


def _coded(runs: pa.RunEndEncodedArray, ends: npt.NDArray[np.int32]) -> tuple[list[str], Ints]:
    """Distinct strings in the order they appear, and which of them the rows before each of `ends` have."""
    coded = runs.values.dictionary_encode()
    indices: Ints = coded.indices.to_numpy().astype(np.int64)
    return coded.dictionary.to_pylist(), indices[np.searchsorted(runs.run_ends.to_numpy(), ends)]
