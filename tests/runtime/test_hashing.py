"""SplitMix64's bits: those of its authors, in NumPy, compiled, and in what each stage makes of them."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert.features import position_rank
from pipeline.featurize.addresses import address_keys
from pipeline.featurize.compiled import mix64 as compiled_mix64
from pipeline.ingest.scan.lines import cut_lines, record_ids
from pipeline.runtime.hashing import GOLDEN, mix64, splitmix64

WORD = (1 << 64) - 1
words = st.integers(0, WORD)


def oracle(key: int) -> int:
    """In Python's own numbers."""
    key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 & WORD
    key = (key ^ key >> 27) * 0x94D049BB133111EB & WORD
    return key ^ key >> 31


def test_the_numbers_are_those_of_the_authors_program() -> None:
    """The first draws of the reference implementation (splitmix64.c, Vigna 2015) from the seed 1234567."""
    states = [(1234567 + number * int(GOLDEN)) & WORD for number in range(5)]
    assert splitmix64(np.array(states, np.uint64)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.lists(words, min_size=1, max_size=20))
def test_arrays_and_compiled_numbers_agree_with_the_oracle(keys: list[int]) -> None:
    expected = [oracle(key) for key in keys]
    assert mix64(np.array(keys, np.uint64)).tolist() == expected
    assert [int(compiled_mix64(np.uint64(key))) for key in keys] == expected


def test_hashes_that_are_in_saved_state_are_what_they_were() -> None:
    keys, _ = address_keys(pa.array(["10.0.0.1", "fe80::1", ""]))
    assert keys.tolist() == [9201335628853528275, 11954710741014639766, 17665956581633026203]
    assert record_ids(cut_lines([b'{"a":1}\nsecond record\n'])).tolist() == [4588142288093345471, 2869287105658077200]
    rows = pa.record_batch(
        {
            "raw_offset": pa.array([0, 1, 2**40], pa.int64()),
            "raw_index": pa.array([0, 7, 7], pa.int32()),
            "raw_partition": pa.array([0, 1, 3], pa.int32()),
        }
    )
    assert position_rank(rows).tolist() == [0, 1694059684905164479, 10910993436482912023]
