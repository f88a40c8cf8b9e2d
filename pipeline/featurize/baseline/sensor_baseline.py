"""The state of one sensor's baseline."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.contracts.baseline import Phase
from pipeline.featurize.baseline.address_names import AddressNames
from pipeline.featurize.baseline.kinds import Kinds, no_kinds
from pipeline.featurize.baseline.learning import BINS, BLOCK_ENDS_US, CLOCK, NUMBER, PHASE
from pipeline.featurize.baseline.phases import Blocks, no_blocks
from pipeline.featurize.baseline.recurrence import SLOTS
from pipeline.featurize.baseline.relations import Relations, no_relations


class Baseline(NamedTuple):
    """What is usual at one sensor; `advance` writes to the arrays.

    clock (CLOCK,), see learning.py; histogram (2, BINS): strangeness of the flows while it settled, up to now and up to
    the end of the last block; undoable (SLOTS,): numbers of the notices that can be undone, see undoable.py.
    """

    clock: npt.NDArray[np.int64]
    blocks: Blocks
    histogram: npt.NDArray[np.int64]
    kinds: Kinds
    relations: Relations
    names: AddressNames
    undoable: npt.NDArray[np.int32]

    @property
    def has_begun(self) -> bool:
        """Whether a flow was learnt."""
        return bool(self.clock[BLOCK_ENDS_US])

    @property
    def is_remembered(self) -> bool:
        """Whether a flow was learnt, or notices were numbered before it began anew."""
        return self.has_begun or bool(self.clock[NUMBER])

    @property
    def phase(self) -> Phase:
        """How far learning has got."""
        return Phase(int(self.clock[PHASE]))


def no_baseline() -> Baseline:
    """The baseline of a sensor that has sent nothing."""
    histogram = np.zeros((2, BINS), np.int64)
    undoable = np.zeros(SLOTS, np.int32)
    return Baseline(
        np.zeros(CLOCK, np.int64), no_blocks(), histogram, no_kinds(), no_relations(), AddressNames(), undoable
    )
