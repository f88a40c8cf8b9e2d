"""The same rows give the same files, however the log was cut, read, committed, and whenever the writer died."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.archive import parquet, snapshot
from pipeline.archive.pairing import read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.pieces import Piece
from pipeline.archive.streams import Limits, OpenFile, StreamKey
from pipeline.archive.upkeep.diff import compare
from pipeline.archive.upkeep.verify import account, verify
from pipeline.contracts.envelope import ScoredFacts
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.wire import messages
from tests.archive.chains import read_chain
from tests.archive.plant import MEMORY, Wire, feed, positions, random_log, scored_batch, wire
from tests.contracts.facts import at, scored_facts
from tests.examples import examples

SENSORS = (("plant", "left"), ("plant", "right"), ("other", "left"))
LIMITS = Limits(rows=12)
STEPS = ("claimed", "file written", "file placed", "segment written", "manifest added", "segments deleted")


class Killed(Exception):
    """Stands for a process that ends in the middle of a step."""


def files(archive: Path) -> dict[str, str]:
    return {entry.path: entry.sha256 for state in snapshot.read(archive) for entry in state.files}


def write(folder: Path, topics: Wire, random: Random, limits: Limits = LIMITS) -> dict[str, str]:
    feed(PartitionArchive(folder, 0, limits, "w"), topics, random)
    return files(folder)


def dying(at: dict[str, int]) -> Callable[[str], None]:
    """A step hook that kills the writer the n-th time it passes a step."""
    seen = dict.fromkeys(STEPS, 0)

    def step(name: str) -> None:
        seen[name] += 1
        if seen[name] == at.get(name):
            raise Killed(name)

    return step


@pytest.mark.slow
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 40), max_size=12))
@settings(max_examples=examples(5), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_cuts_turns_and_commits_do_not_show(seed: int, cuts: list[int]) -> None:
    random = Random(seed)
    log = random_log(random, 40, SENSORS)
    with TemporaryDirectory(dir=MEMORY) as scratch:
        whole = write(Path(scratch, "a"), wire(log, []), Random(1))
        pieces = write(Path(scratch, "b"), wire(log, cuts, split_rejects=1), random)
        assert pieces == whole
        rows = [(o, i) for path in whole for o, i in read_positions(Path(scratch, "a", path))]
        assert len(rows) == len(set(rows))
        assert set(rows) == positions(log)


def read_positions(path: Path) -> list[tuple[int, int]]:
    rows = pq.ParquetFile(path).read(["raw_offset", "raw_index"])
    read = list(zip(rows["raw_offset"].to_pylist(), rows["raw_index"].to_pylist(), strict=True))
    assert read == sorted(read)
    return read


@pytest.mark.slow
@given(seed=st.integers(0, 2**32), deaths=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 6)), max_size=8))
@settings(max_examples=examples(5), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_writer_that_dies_anywhere_leaves_the_same_archive(seed: int, deaths: list[tuple[str, int]]) -> None:
    random = Random(seed)
    log = random_log(random, 35, SENSORS)
    with TemporaryDirectory(dir=MEMORY) as scratch:
        reference = write(Path(scratch, "a"), wire(log, []), Random(1))
        topics, folder = wire(log, random.sample(range(35), 8)), Path(scratch, "b")
        for name, count in deaths:
            try:
                feed(PartitionArchive(folder, 0, LIMITS, "w", dying({name: count})), topics, random)
            except Killed:
                continue
        feed(PartitionArchive(folder, 0, LIMITS, "w"), topics, random)
        assert files(folder) == reference
        assert not list(folder.glob("_tmp/*/*"))
        proof = verify(folder, None)
        assert proof["problems"] == []
        assert proof["strays"] == []
        assert compare(Path(scratch, "a"), folder)["ok"]


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_one_a_writer_can_die_at(tmp_path: Path, name: str) -> None:
    topics = wire(random_log(Random(3), 60, SENSORS), range(0, 60, 4))
    with pytest.raises(Killed):
        feed(PartitionArchive(tmp_path, 0, LIMITS, "w", dying({name: 1})), topics, Random(1))


@pytest.mark.slow
def test_the_accounting_adds_up(tmp_path: Path) -> None:
    log = random_log(Random(5), 120, SENSORS)
    write(tmp_path, wire(log, range(0, 120, 7)), Random(2))
    counted = account(tmp_path)
    for row in counted:
        sent = sum(len(m.records) for m in log if (m.site, m.sensor) == (row["site"], row["sensor"]))
        assert row["accepted"] + row["rejected"] + row["late"] == sent
        assert row["open"] == 0
    assert sum(row["late"] for row in counted) > 0
    assert sum(row["rejected"] for row in counted) > 0


def one_message(rows: list[dict[str, Any]], records: int, through: tuple[int, int], ended: bool) -> Wire:
    facts = scored_facts(through=through, records=records, ended=(("plant", "left"),) if ended else ())
    plain = {"site": "plant", "sensor": "left", "raw_partition": 0, "late_by_us": 0, "record_id": 1, "app_proto": "a"}
    return Wire([messages.write(scored_batch([{**plain, **row} for row in rows]), facts)], [])


def test_an_evicted_sensors_files_close_and_it_is_no_end_of_its_source(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"raw_offset": 0, "raw_index": 0, "end_ts_us": 10, "raw_also": None}]
    (with_end,) = one_message(rows, 1, (0, 0), True).archive
    batch, facts = messages.read(with_end, ScoredFacts, at("archive"))
    evicted = replace(facts, ended=(), evicted=facts.ended)
    written = []
    for name, stated in (("ended", facts), ("evicted", evicted)):
        archive = PartitionArchive(tmp_path / name, 0, LIMITS, "w")
        feed(archive, Wire([messages.write(batch, stated)], []), Random(1))
        archive.commit()
        manifests = read_chain(archive.archive, 0).manifests
        written.append([(file.path, file.sha256) for manifest in manifests for file in manifest.files])
        assert any(manifest.marks for manifest in manifests) is (name == "ended")
    assert written[0] == written[1] != []


@pytest.mark.parametrize("ended", [True, False])
def test_a_row_of_several_records_counts_as_all_of_them(tmp_path: Path, ended: bool) -> None:
    rows: list[dict[str, Any]] = [
        {"raw_offset": 0, "raw_index": 0, "end_ts_us": 10, "raw_also": [0, 2, 3, 0]},
        {"raw_offset": 0, "raw_index": 1, "end_ts_us": 11, "raw_also": None},
        {"raw_offset": 1, "raw_index": 0, "end_ts_us": 12, "raw_also": [2, 0]},
    ]
    write(tmp_path, one_message(rows, 6, (3, 0), ended), Random(1))
    (counted,) = account(tmp_path)
    assert counted["accepted"] == (6 if ended else 0)
    proof = verify(tmp_path, None)
    assert proof["ok"], proof["problems"]
    (sensor,) = proof["sensors"]
    assert sensor["sent"] == 6 and sensor["accepted"] + sensor["in_flight"] == 6
    assert sensor["holes"] == sensor["doubles"] == 0


def test_a_record_in_two_rows_is_found(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"raw_offset": 0, "raw_index": 0, "end_ts_us": 10, "raw_also": [1, 0]},
        {"raw_offset": 1, "raw_index": 0, "end_ts_us": 11, "raw_also": None},
    ]
    write(tmp_path, one_message(rows, 2, (1, 0), True), Random(1))
    proof = verify(tmp_path, None)
    assert not proof["ok"] and "0@1[0]" in " ".join(proof["problems"])


def test_open_rows_outlive_the_writer_and_count_as_in_flight(tmp_path: Path) -> None:
    log = random_log(Random(6), 100, SENSORS, marks=False)
    topics = wire(log, range(0, 100, 3))
    write(tmp_path, topics, Random(2), Limits(1000))
    before = account(tmp_path)
    assert sum(row["open"] for row in before) > 0
    feed(PartitionArchive(tmp_path, 0, Limits(1000), "w"), topics, Random(3))
    assert account(tmp_path) == before
    proof = verify(tmp_path, None)
    assert proof["ok"], proof["problems"]
    for row in proof["sensors"]:
        assert row["sent"] == row["accepted"] + row["rejected"] + row["late"] + row["in_flight"]


@pytest.mark.slow
def test_segments_stay_few(tmp_path: Path) -> None:
    log = random_log(Random(7), 60, SENSORS, marks=False)
    feed(PartitionArchive(tmp_path, 0, Limits(100_000), "w"), wire(log, range(60)), Random(2), commit_chance=1.0)
    assert len(list(tmp_path.glob("_open/p0/*.arrow"))) <= 2 * 8


def test_a_smaller_file_size_closes_what_was_open(tmp_path: Path) -> None:
    log = random_log(Random(8), 50, SENSORS)
    topics = wire(log, range(0, 50, 5))
    half = Wire(topics.archive[:6], topics.rejects)
    feed(PartitionArchive(tmp_path, 0, Limits(10_000), "w"), half, Random(1))
    feed(PartitionArchive(tmp_path, 0, Limits(4), "w"), topics, Random(1))
    assert verify(tmp_path, None)["problems"] == []
    archived = {position for path in files(tmp_path) for position in read_positions(tmp_path / path)}
    assert archived == positions(log)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in (1, 2))])
@pytest.mark.parametrize(
    "limits",
    [
        {"ROW_GROUP_ROWS": 7},
        {"ROWS_A_RUN": 0},  # rows are views, in runs of any length
        {"ROWS_A_RUN": 0, "ROW_GROUP_ROWS": 7},
        {"ROWS_A_PIECE": 0},  # a page takes a column, from pieces of any size
        {"ROWS_A_PIECE": 0, "ROWS_A_RUN": 0},
        {"ROWS_A_PIECE": 0, "DATA_PAGE_BYTES": 16, "CHUNK_ROWS": 5},  # no page takes a column
    ],
    ids=["groups", "runs", "groups of runs", "pages", "pages of runs", "chunks"],
)
def test_bytes_do_not_show_how_rows_lay_in_memory(
    seed: int, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Cut anywhere, views into larger batches, in order or shuffled: the same file, of the rows in order."""
    for name, value in limits.items():
        monkeypatch.setattr(parquet, name, value)
    random = Random(seed)
    topics = wire(random_log(Random(seed + 20), 60, SENSORS[:1], marks=False), [])
    batches = [read_scored(message, at("archive")).rows for message in topics.archive]
    rows = pa.Table.from_batches(batches)
    order = np.lexsort((rows.column("raw_index").to_numpy(), rows.column("raw_offset").to_numpy()))
    rows = rows.take(pa.array(order)).combine_chunks()
    padded = pa.concat_tables([rows.slice(3, 2), rows, rows.slice(0, 5)]).combine_chunks()
    made = set()
    for cut in (1, 3, 7, len(rows)):
        pieces = [piece for at in range(2, 2 + len(rows), cut) for piece in padded.slice(at, cut).to_batches()]
        pieces = pa.Table.from_batches(pieces).slice(0, len(rows)).to_batches()
        for shuffled in (False, True):
            if shuffled:
                random.shuffle(pieces)
            file = OpenFile(
                StreamKey("flows", "s", "a"), 0, rows.schema, pieces=[Piece.of(piece, None) for piece in pieces]
            )
            groups: list[None] = []
            [part] = parquet.parts_of(file)
            with (storage := open_storage(tmp_path)).staged("f") as sink:
                made.add(parquet.write(part, 0, sink, lambda: groups.append(None)).sha256)  # noqa: B023 - called at once
            assert len(groups) == -(-len(rows) // parquet.ROW_GROUP_ROWS)
    assert len(made) == 1
    assert pq.read_table(storage.open("f")).to_pylist() == rows.to_pylist()
