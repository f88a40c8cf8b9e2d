from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.class_names import NORMAL, UNKNOWN
from pipeline.contracts.preconditions import shipped
from pipeline.runtime.wire.batches import matrix, matrix_column
from pipeline.score.naming import Likeliest, names_of
from tests.contracts.test_preconditions import FEATURES, NOTHING, ROWS, VALUES, flows

NAMES = ("normal", "login", "mitm", "portscan", "ssh_bruteforce", "worm")
SSH = {"dst_port": 22}


def rows_with(rows: list[dict[str, Any]], features: list[dict[str, float]]) -> pa.RecordBatch:
    values = np.array([[each[feature] for feature in FEATURES] for each in features], np.float32)
    batch = flows(*rows)
    return batch.append_column("features", matrix_column(values.reshape(len(rows), len(FEATURES))))


def names_of_batch(batch: pa.RecordBatch, likeliest: Likeliest) -> tuple[pa.Array, pa.Array]:
    return names_of([batch], matrix(batch), likeliest, FEATURES, shipped()).columns(slice(None))


def named(row: dict[str, Any], name: str, known: bool, suspect: bool) -> tuple[str, str | None]:
    index = np.array([NAMES.index(name)], np.int32)
    likeliest = Likeliest(NAMES, index, index < 2, np.array([known]), np.array([suspect]))
    classes, nearest = names_of_batch(rows_with([row], [NOTHING]), likeliest)
    return classes[0].as_py(), nearest[0].as_py()


def test_a_known_class_is_named_whether_suspect_or_not() -> None:
    assert named(SSH, "ssh_bruteforce", known=True, suspect=True) == ("ssh_bruteforce", None)
    assert named(SSH, "ssh_bruteforce", known=True, suspect=False) == ("ssh_bruteforce", None)


def test_what_is_not_known_or_contradicted_is_unknown_of_a_suspect_and_else_normal() -> None:
    s7 = {"dst_port": 102}
    for row, known in ((SSH, False), (s7, True), (s7, False)):
        assert named(row, "ssh_bruteforce", known, suspect=True) == (UNKNOWN, "ssh_bruteforce")
        assert named(row, "ssh_bruteforce", known, suspect=False) == (NORMAL, None)


def test_a_suspect_nearest_to_harmless_traffic_is_unknown() -> None:
    for name in ("normal", "login"):
        assert named(SSH, name, known=True, suspect=True) == (UNKNOWN, NORMAL)
        assert named(SSH, name, known=True, suspect=False) == (NORMAL, None)


def test_a_class_without_conditions_is_named_where_it_is_known() -> None:
    assert named({}, "worm", known=True, suspect=True) == ("worm", None)


SAID = st.tuples(ROWS, VALUES, st.integers(0, len(NAMES) - 1), st.booleans(), st.booleans())


@given(st.lists(SAID, max_size=12))
def test_no_flow_has_a_name_that_its_fields_contradict(said: list[Any]) -> None:
    batch = rows_with([row for row, *_ in said], [features for _, features, *_ in said])
    index = np.array([number for _, _, number, _, _ in said], np.int32)
    known, suspect = (np.array([each[at] for each in said], np.bool_) for at in (3, 4))
    classes, nearest = names_of_batch(batch, Likeliest(NAMES, index, index < 2, known, suspect))
    assert len(classes) == len(nearest) == len(said)
    for at, (name, near) in enumerate(zip(classes.to_pylist(), nearest.to_pylist(), strict=True)):
        one = batch.slice(at, 1)
        assert (near is not None) == (name == UNKNOWN)
        assert suspect[at] or name != UNKNOWN
        assert not suspect[at] or name != NORMAL
        if name not in (NORMAL, UNKNOWN):
            assert name == NAMES[index[at]] and known[at]
            assert not shipped().contradicted(name, one, matrix(one), FEATURES)[0]


@given(st.lists(SAID, min_size=1, max_size=12), st.integers(0, 12))
def test_names_do_not_depend_on_what_stands_in_one_batch(said: list[Any], cut: int) -> None:
    batch = rows_with([row for row, *_ in said], [features for _, features, *_ in said])
    index = np.array([number for _, _, number, _, _ in said], np.int32)
    known, suspect = (np.array([each[at] for each in said], np.bool_) for at in (3, 4))

    def pairs(columns: tuple[pa.Array, pa.Array]) -> list[tuple[str, str | None]]:
        return list(zip(*(column.to_pylist() for column in columns), strict=True))

    def part(here: slice) -> list[tuple[str, str | None]]:
        likeliest = Likeliest(NAMES, index[here], index[here] < 2, known[here], suspect[here])
        return pairs(names_of_batch(batch.slice(*here.indices(len(said))[:1], len(index[here])), likeliest))

    whole = Likeliest(NAMES, index, index < 2, known, suspect)
    beside = [batch.slice(0, cut).replace_schema_metadata({"a": "b"}), batch.slice(cut)]
    called = names_of(beside, matrix(batch), whole, FEATURES, shipped())
    assert pairs(called.columns(slice(None))) == part(slice(0, None))
    assert part(slice(0, None)) == part(slice(0, cut)) + part(slice(cut, None))


def test_the_bytes_of_a_messages_names_do_not_depend_on_the_messages_beside_it() -> None:
    """Two workers must write the same bytes, however they group messages."""
    index = np.array([2, 0, 2, 0, 0], np.int32)
    suspect = np.array([True, False, True, False, False])
    batch = rows_with([{}] * 5, [dict.fromkeys(FEATURES, 0.0)] * 5)

    def written(rows: slice, here: slice) -> bytes:
        likeliest = Likeliest(NAMES, index[rows], index[rows] < 2, np.zeros(5, np.bool_)[rows], suspect[rows])
        some = batch.slice(rows.start, rows.stop - rows.start)
        columns = names_of([some], matrix(some), likeliest, FEATURES, shipped()).columns(here)
        made = pa.RecordBatch.from_arrays(list(columns), ["class", "nearest_class"])
        return bytes(made.serialize())

    for first, last in ((0, 2), (1, 3), (3, 5)):
        assert written(slice(0, 5), slice(first, last)) == written(slice(first, last), slice(0, last - first))
