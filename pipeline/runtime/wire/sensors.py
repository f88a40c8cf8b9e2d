"""Which sensor each row of a batch is from."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.envelope import SensorName

Ints: TypeAlias = npt.NDArray[np.int64]

FEW_ROWS = 256
"""Up to so many rows, looking for runs costs more than it saves."""


def sensors_of(rows: pa.RecordBatch) -> tuple[list[SensorName], Ints]:
    """The distinct (site, sensor) of a batch, and (n,) which of them each row is from.

    They are numbered in the order in which their sites appear, those of a site in the order in which their names do.
    A sensor's rows mostly lie together, which costs hardly more than a look at each; of few rows each is a run.
    """
    site, name = rows.column("site"), rows.column("sensor")
    if len(rows) <= FEW_ROWS:
        (sites, site_of), (names, name_of), lengths = _coded(site), _coded(name), None
    else:
        site, name = pc.run_end_encode(site), pc.run_end_encode(name)
        ends = np.union1d(site.run_ends.to_numpy(), name.run_ends.to_numpy())
        (sites, site_of), (names, name_of), lengths = _at(site, ends), _at(name, ends), np.diff(ends, prepend=0)
    if len(sites) == len(names) == 1:
        return [(sites[0], names[0])], np.zeros(len(rows), np.int64)
    codes, number = np.unique(site_of * len(names) + name_of, return_inverse=True)
    sensors = [(sites[code // len(names)], names[code % len(names)]) for code in codes.tolist()]
    number = number.astype(np.int64)
    return sensors, number if lengths is None else np.repeat(number, lengths)


def row_counts(rows: pa.RecordBatch) -> dict[SensorName, int]:
    """How many rows of a batch are from each sensor."""
    sensors, number = sensors_of(rows)
    return dict(zip(sensors, np.bincount(number, minlength=len(sensors)).tolist(), strict=True))


def _coded(column: pa.StringArray) -> tuple[list[str], Ints]:
    """Distinct strings in the order they appear, and which of them each row has."""
    coded = column.dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)


def _at(runs: pa.RunEndEncodedArray, ends: npt.NDArray[np.int32]) -> tuple[list[str], Ints]:
    """Distinct strings in the order they appear, and which of them the rows before each of `ends` have."""
    texts, of_run = _coded(runs.values)
    return texts, of_run[np.searchsorted(runs.run_ends.to_numpy(), ends)]
