"""The network as it scores on the CPU: raw features in, preprocessed features and logits out."""

import numpy as np

from models.igan import kernel, packed
from models.igan.arrays import NetworkArrays
from models.igan.distances import expected_rows
from models.rows import Floats


class Forward:
    """x (n, F) → z (n, F), logits (n, K), float32; a row's bits do not depend on what it is scored with.

    One thread at a time: what is written in between is made once.
    """

    def __init__(self, arrays: NetworkArrays) -> None:
        self.arrays = arrays
        self._packed = packed.pack_network(arrays)
        self._space = packed.network_space(self._packed)

    def __call__(self, x: Floats) -> tuple[Floats, Floats]:
        """(n, F) → (n, F), (n, K)."""
        rows = expected_rows(x, self.arrays.features)
        z = np.empty((len(rows), self.arrays.features), np.float32)
        logits = np.empty((len(rows), self.arrays.classes), np.float32)
        kernel.forward(rows, self._packed, self._space, z, logits)
        return z, logits
