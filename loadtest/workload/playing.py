"""Encoded lines again, with other times and other uids: one compiled pass over bytes."""

import numpy as np
from numba import njit

from loadtest.conn_json import ALPHABET, Bytes, Ints, Words, write_seconds, write_uid

_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@njit(cache=True, nogil=True)
def _play(
    text: Bytes,
    bounds: Ints,
    times_us: Ints,
    times_at: Ints,
    uid: Words,
    uid_at: int,
    rows: Ints,
    shift_us: Ints,
    salt: Words,
    alphabet: Bytes,
    out: Bytes,
    out_bounds: Ints,
) -> None:
    at = 0
    for number in range(len(rows)):
        row = rows[number]
        first, last = bounds[row], bounds[row + 1]
        out_bounds[number] = at
        out[at : at + last - first] = text[first:last]
        for column in range(times_us.shape[1]):
            write_seconds(out, at + times_at[row, column], times_us[row, column] + shift_us[number])
        if uid_at >= 0:
            word = uid[row] ^ salt[number]
            word = (word ^ (word >> np.uint64(30))) * _MIX_1
            word = (word ^ (word >> np.uint64(27))) * _MIX_2
            write_uid(out, at + uid_at, word ^ (word >> np.uint64(31)), alphabet)
        at += last - first
    out_bounds[len(rows)] = at


def played(
    text: Bytes,
    bounds: Ints,
    times: tuple[Ints, Ints],
    uids: tuple[Words, int],
    wanted: tuple[Ints, Ints, Words],
) -> tuple[bytes, Ints]:
    """Lines one behind the other, and (m + 1,) where each starts.

    text, bounds: n lines. times: (n, t) times in them and where they stand. uids: (n,) numbers of uids, and where a uid
    stands in each line, below 0 for nowhere. wanted: (m,) which lines, by how much their times are moved, what makes
    their uids others.
    """
    rows, shift_us, salt = wanted
    sizes = bounds[rows + 1] - bounds[rows]
    out = np.empty(int(sizes.sum()), np.uint8)
    out_bounds = np.empty(len(rows) + 1, np.int64)
    _play(text, bounds, *times, *uids, rows, shift_us, salt, ALPHABET, out, out_bounds)
    return out.tobytes(), out_bounds
