from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.sample_shares import NORMAL_ONE_IN, OTHER_ONE_IN, suspects_one_in
from pipeline.retrain.usual import even
from pipeline.runtime.hashing import splitmix64
from pipeline.score.route import route, sampled, sent_anyhow
from schemas.fields import arrow_schema
from tests.score.small_model import WIDTH, features


def scored(rows: int, suspects: float = 0.1, seed: int = 0, first_offset: int = 0) -> pa.RecordBatch:
    batch = features(rows, first_offset=first_offset, seed=seed)
    source = np.random.default_rng([seed, first_offset])
    added = {
        "score": pa.array(source.random(rows), pa.float32()),
        "class": pa.array(np.where(source.random(rows) < 0.1, "portscan", "normal"), pa.string()),
        "nearest_class": pa.nulls(rows, pa.string()),
        "novelty": pa.array(source.random(rows), pa.float32()),
        "p_value": pa.array(source.random(rows), pa.float32()),
        "suspect": pa.array(source.random(rows) < suspects),
        "model": pa.array(["m"] * rows, pa.string()),
    }
    schema = arrow_schema("scored", WIDTH)
    columns = [added[name] if name in added else batch.column(name) for name in schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def positions(batch: pa.RecordBatch) -> list[int]:
    offsets: list[int] = batch.column("raw_offset").to_pylist()
    return offsets


def test_every_row_is_archived_and_every_suspect_goes_to_alert_and_retrain() -> None:
    batch = scored(2000)
    routed = route(batch)
    assert routed.archive.equals(batch)
    suspects = [
        offset for offset, suspect in zip(positions(batch), batch.column("suspect").to_pylist(), strict=True) if suspect
    ]
    assert positions(routed.suspects) == suspects
    assert set(suspects) <= set(positions(routed.retrain))
    assert positions(routed.retrain) == sorted(positions(routed.retrain))


@pytest.mark.parametrize("rows", [0, 1])
def test_small_batches(rows: int) -> None:
    batch = scored(rows, suspects=1.0)
    assert [routed.num_rows for routed in route(batch)] == [rows] * 3
    assert all(routed.schema.equals(batch.schema) for routed in route(batch))


@pytest.mark.parametrize(("suspects", "one_in"), [(0, 1), (512, 1), (513, 2), (1024, 2), (4096, 8), (10**9, 32)])
def test_of_a_flood_a_share_of_suspects_is_sent(suspects: int, one_in: int) -> None:
    assert suspects_one_in(suspects) == one_in


def test_a_flood_reaches_alert_and_archive_whole_and_retraining_as_what_it_thins_to() -> None:
    flood = scored(6000, suspects=1.0)
    routed = route(flood)
    assert routed.suspects.equals(flood)
    assert routed.archive.equals(flood)
    assert 0.8 * 6000 / 16 < routed.retrain.num_rows < 1.2 * 6000 / 16
    assert positions(routed.retrain) == sorted(set(positions(routed.retrain)))
    whole, sent = (pa.Table.from_batches([batch]) for batch in (flood, routed.retrain))
    for thinned in (1, 3):
        drawn = [offsets(table.filter(pa.array(even(table, thinned)))) for table in (whole, sent)]
        assert drawn[0] == drawn[1]
        assert drawn[0]


@given(st.lists(st.integers(0, 4000), max_size=3), st.sampled_from([0.1, 0.5, 1.0]))
def test_what_is_sent_anyhow_does_not_depend_on_how_rows_come_in_messages(cuts: list[int], suspects: float) -> None:
    rows = scored(4000, suspects)
    whole = route(rows).retrain
    wanted = positions(whole.filter(pa.array(sent_anyhow(whole))))
    got = []
    for start, end in pairwise([0, *sorted(cuts), 4000]):
        part = route(rows.slice(start, end - start)).retrain
        got += positions(part.filter(pa.array(sent_anyhow(part))))
    assert got == wanted and wanted


def offsets(table: pa.Table) -> list[int]:
    values: list[int] = table.column("raw_offset").to_pylist()
    return values


def test_the_sample_is_that_of_each_rows_own_stratum_by_its_definition() -> None:
    batch = scored(3000, suspects=0.0)
    expected = []
    for row in batch.select(["raw_partition", "raw_offset", "raw_index", "site", "class"]).to_pylist():
        hashed = np.zeros(1, np.uint64)
        for number in (
            row["raw_offset"],
            row["raw_index"],
            row["raw_partition"],
            fnv1a(f"{row['site']}/{row['class']}"),
        ):
            hashed = splitmix64(hashed ^ np.array([number], np.uint64))
        one_in = NORMAL_ONE_IN if row["class"] == "normal" else OTHER_ONE_IN
        expected.append(int(hashed[0]) % one_in == 0)
    assert sampled(batch).tolist() == expected
    assert any(expected)


def fnv1a(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


@pytest.mark.slow
@given(st.lists(st.integers(0, 400), max_size=6))
def test_the_sample_does_not_depend_on_how_rows_come_in_batches(cuts: list[int]) -> None:
    batch = scored(400, suspects=0.05)
    edges = sorted({0, 400, *cuts})
    parts = [route(batch.slice(first, last - first)).retrain for first, last in pairwise(edges)]
    assert [offset for part in parts for offset in positions(part)] == positions(route(batch).retrain)


@pytest.mark.slow
def test_the_sample_takes_its_share_of_every_stratum() -> None:
    batch = scored(60_000, suspects=0.0)
    keep = sampled(batch)
    site = np.array(batch.column("site").to_pylist())
    normal = np.array(batch.column("class").to_pylist()) == "normal"
    for wanted in ("north", "south"):
        for chosen, one_in in ((normal, NORMAL_ONE_IN), (~normal, OTHER_ONE_IN)):
            stratum = chosen & (site == wanted)
            assert keep[stratum].mean() == pytest.approx(1 / one_in, rel=0.2)
