"""64-bit hashing of numbers: SplitMix64 (Steele, Lea, Flood 2014). Its bits are in saved state and must not change.

Plain arithmetic on uint64, so that the same function serves NumPy arrays and, through numba's `njit`, single numbers in
compiled code. It spreads and draws; it does not resist an attacker. (loadtest, a customer of the topics, has its own.)
"""

import numpy as np
import numpy.typing as npt

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio, odd: SplitMix64's step from one number to the next."""
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)


def mix64(key: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser, uint64 to uint64, one to one: every bit of the key changes every bit of the result.

    Zero stays zero: `splitmix64` does not have that.
    """
    key = (key ^ (key >> _SHIFT_1)) * _FACTOR_1
    key = (key ^ (key >> _SHIFT_2)) * _FACTOR_2
    return key ^ (key >> _SHIFT_3)


def splitmix64(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The number that SplitMix64 draws in the state `value`, uint64 to uint64."""
    return mix64(value + GOLDEN)
