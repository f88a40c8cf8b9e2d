"""Labelled feature rows: what training and evaluation read, and how they are split in time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the matrix: its name, unit and group, plain words for explanations, and its scale."""

    name: str
    label: str
    unit: str
    group: str
    log: bool  # heavy-tailed: log1p before it is standardised


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """The columns a model was trained on, by name and hash."""

    name: str
    hash: str
    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(feature.name for feature in self.features)


@dataclass(frozen=True, slots=True)
class Rows:
    """Feature rows with labels, one entry a row in every array.

    Attributes
    ----------
    matrix : (n, F) float32
    label : (n,) class name
    site, sensor : (n,) origin
    start_ts_us, end_ts_us : (n,) int64, first and last packet; the end is event time
    source_record : (n,) int64, position in the sensor's file: a flow replayed from several cold starts is several rows
    replay : (n,) int64, 0 for the run from the file's start, else which cold start
    """

    matrix: Floats
    label: Strings
    site: Strings
    sensor: Strings
    start_ts_us: Ints
    end_ts_us: Ints
    source_record: Ints
    replay: Ints

    def __len__(self) -> int:
        return len(self.end_ts_us)

    @property
    def origin(self) -> Strings:
        """(n,) `site/sensor`, the key of a calibration of its own."""
        return np.char.add(np.char.add(self.site, "/"), self.sensor)

    def take(self, chosen: Mask | Ints) -> "Rows":
        """The rows a mask or an index array chooses."""
        return Rows(
            self.matrix[chosen],
            self.label[chosen],
            self.site[chosen],
            self.sensor[chosen],
            self.start_ts_us[chosen],
            self.end_ts_us[chosen],
            self.source_record[chosen],
            self.replay[chosen],
        )


def concatenate(parts: list[Rows]) -> Rows:
    """Several sets of rows, one after the other."""
    return Rows(
        np.concatenate([part.matrix for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.site for part in parts]),
        np.concatenate([part.sensor for part in parts]),
        np.concatenate([part.start_ts_us for part in parts]),
        np.concatenate([part.end_ts_us for part in parts]),
        np.concatenate([part.source_record for part in parts]),
        np.concatenate([part.replay for part in parts]),
    )


def held_out_blocks(end_ts_us: Ints, block_us: int, every: int, embargo_us: int) -> tuple[Mask, Mask]:
    """Split time into blocks and hold out every `every`-th block: (fit, held_out) masks.

    Rows nearer than `embargo_us` to a border with the other side are in neither fit nor held_out, so that a window
    which reaches over the border is on one side only.
    """
    since = end_ts_us - end_ts_us.min()
    block = since // block_us
    inside = since % block_us
    held_out = block % every == every - 1
    near_start = (inside < embargo_us) & (held_out | ((block - 1) % every == every - 1)) & (block > 0)
    return ~held_out & ~near_start, held_out & ~near_start
