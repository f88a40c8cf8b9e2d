from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.sample_shares import NORMAL_ONE_IN, OTHER_ONE_IN
from pipeline.score.route import route, sampled
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
