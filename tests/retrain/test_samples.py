import errno
import os
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import BadData, Failed
from pipeline.retrain import samples
from pipeline.retrain.samples import SampleRange
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.storage.object_store import ObjectStore
from pipeline.runtime.storage.storage import Entry, Storage
from pipeline.runtime.wire.batches import matrix_column
from schemas.fields import arrow_schema
from tests.patience import PATIENCE_S
from tests.runtime.storage.bucket import bucket, endpoint

__all__ = ["bucket", "endpoint"]
SCHEMA = arrow_schema("scored", 3)


def scored(offsets: range) -> pa.RecordBatch:
    rows = len(offsets)
    columns = []
    for field in SCHEMA:
        if field.name == "features":
            columns.append(matrix_column(np.ones((rows, 3), np.float32)))
        elif field.name in ("raw_offset", "end_ts_us"):
            columns.append(pa.array(list(offsets), field.type))
        elif field.nullable:
            columns.append(pa.nulls(rows, field.type))
        else:
            columns.append(pa.array([{pa.string(): "x", pa.bool_(): True}.get(field.type, 1)] * rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def test_each_raw_position_is_read_once_and_in_order_of_event_time(tmp_path: Path) -> None:
    samples.write(tmp_path, [scored(range(5, 10)), scored(range(5))], SampleRange(0, 1, 2, "h"))
    samples.write(tmp_path, [scored(range(8, 12))], SampleRange(0, 2, 3, "h"))
    table = samples.read(tmp_path, "h")
    assert table.column("raw_offset").to_pylist() == list(range(12))
    assert table.column("features").type.list_size == 3


def test_a_full_disk_is_said_clearly_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.write(tmp_path, [scored(range(5))], SampleRange(0, 1, 2, "h"))

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failed, match=r"samples .*: disk full, cannot write .* free some space and start again"):
        samples.write(tmp_path, [scored(range(5, 9))], SampleRange(0, 3, 4, "h"))
    assert [path.name for path in tmp_path.iterdir()] == [SampleRange(0, 1, 2, "h").name]


def test_samples_of_another_feature_set_are_left_out(tmp_path: Path) -> None:
    samples.write(tmp_path, [scored(range(3))], SampleRange(0, 1, 2, "old"))
    assert samples.read(tmp_path, "new").num_rows == 0
    with pytest.raises(BadData, match="no samples of this feature set"):
        samples.require(samples.count(tmp_path, "new"), tmp_path)


def test_the_oldest_files_go_first_and_one_stays(tmp_path: Path) -> None:
    for number in range(3):
        rows = scored(range(number * 10, number * 10 + 10))
        os.utime(tmp_path / samples.write(tmp_path, [rows], SampleRange(0, number, number, "h")), (number, number))
    assert samples.trim(tmp_path, 25) == 10
    assert min(samples.read(tmp_path, "h").column("raw_offset").to_pylist()) == 10
    assert samples.trim(tmp_path, 1) == 10
    assert samples.read(tmp_path, "h").num_rows == 10


def test_a_half_written_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-1-ab-p0-000000000001-000000000002-h.parquet").write_bytes(b"PAR1")
    assert samples.read(tmp_path, "h").num_rows == 0
    assert samples.files(tmp_path / "nowhere") == []


def test_feature_sets_that_begin_anew_do_not_overwrite_each_other(tmp_path: Path) -> None:
    samples.write(tmp_path, [scored(range(3))], SampleRange(0, 0, 1, "old"))
    samples.write(tmp_path, [scored(range(5))], SampleRange(0, 0, 1, "new"))
    assert (samples.count(tmp_path, "old"), samples.count(tmp_path, "new")) == (3, 5)


def test_only_what_is_kept_is_read(tmp_path: Path) -> None:
    samples.write(tmp_path, [scored(range(5))], SampleRange(0, 0, 1, "h"))
    samples.write(tmp_path, [scored(range(5, 10))], SampleRange(0, 2, 3, "h"))
    table = samples.read(tmp_path, "h", lambda keys: keys.column(0).to_numpy() % 4 == 0, ["raw_offset"])
    assert table.column("raw_offset").to_pylist() == [0, 4, 8]
    assert samples.read(tmp_path, "h", lambda keys: np.zeros(keys.num_rows, np.bool_), ["raw_offset"]).num_rows == 0


@pytest.mark.slow
def test_many_small_files_become_one_with_every_row_once(tmp_path: Path) -> None:
    for number in range(samples.MERGE_AT_FILES - 1):
        samples.write(tmp_path, [scored(range(number * 2, number * 2 + 3))], SampleRange(1, number, number, "h"))
    samples.write(tmp_path, [scored(range(3))], SampleRange(2, 0, 0, "h"))
    assert samples.merge(tmp_path) == 0
    samples.write(tmp_path, [scored(range(60, 70))], SampleRange(1, 31, 35, "h"))
    before = samples.read(tmp_path, "h")
    newest = max(file.written_s for file in samples.files(tmp_path))
    assert samples.merge(tmp_path) == samples.MERGE_AT_FILES
    assert sorted(file.name[:30] for file in samples.files(tmp_path)) == [
        "p1-000000000000-000000000035-h",
        "p2-000000000000-000000000000-h",
    ]
    assert samples.read(tmp_path, "h").equals(before)
    assert max(file.written_s for file in samples.files(tmp_path)) <= newest


@pytest.mark.slow
def test_a_merge_that_was_cut_short_is_made_up_for(tmp_path: Path) -> None:
    for number in range(samples.MERGE_AT_FILES):
        samples.write(tmp_path, [scored(range(number, number + 2))], SampleRange(0, number, number, "h"))
    parts = {path: path.read_bytes() for path in tmp_path.iterdir()}
    before = samples.read(tmp_path, "h")
    samples.merge(tmp_path)
    for path, content in parts.items():
        path.write_bytes(content)
    assert samples.read(tmp_path, "h").equals(before)
    samples.merge(tmp_path)
    assert len(samples.files(tmp_path)) == 1
    assert samples.read(tmp_path, "h").equals(before)


def many_files(folder: Path | str, count: int = samples.MERGE_AT_FILES) -> None:
    for number in range(count):
        rows = scored(range(number * 4, number * 4 + 4))
        samples.write(folder, [rows], SampleRange(0, number, number, "h"))


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 3, samples.MERGE_AT_FILES])
def test_samples_are_read_whole_while_they_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    many_files(tmp_path)
    before = samples.read(tmp_path, "h")
    monkeypatch.setattr(samples, "MAX_FOOTERS", 1)
    footer, reads = samples.footer, [0]

    def merging(storage: Storage, entry: Entry) -> samples.SampleFile:
        reads[0] += 1
        if reads[0] == after:
            monkeypatch.setattr(samples, "footer", footer)
            samples.merge(tmp_path)
        return footer(storage, entry)

    monkeypatch.setattr(samples, "footer", merging)
    assert samples.read(tmp_path, "h").equals(before)
    assert len(samples.files(tmp_path)) == 1, "it was merged meanwhile"


def test_samples_are_counted_while_they_are_trimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many_files(tmp_path, 5)
    monkeypatch.setattr(samples, "MAX_FOOTERS", 1)
    footer, trimmed = samples.footer, list[int]()

    def trimming(storage: Storage, entry: Entry) -> samples.SampleFile:
        if not trimmed:
            monkeypatch.setattr(samples, "footer", footer)
            trimmed.append(samples.trim(tmp_path, 8))
        return footer(storage, entry)

    monkeypatch.setattr(samples, "footer", trimming)
    assert samples.count(tmp_path, "h") == 8 and trimmed == [12]


@pytest.mark.slow
def test_readers_beside_a_worker_never_miss_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's loop in a thread of its own: write, merge, trim. Readers see every row it does not trim."""
    monkeypatch.setattr(samples, "MERGE_AT_FILES", 8)
    stop, merged = threading.Event(), threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            samples.write(tmp_path, [scored(range(number, number + 1))], SampleRange(0, number, number, "h"))
            number += 1
            if samples.merge(tmp_path):
                merged.set()
            samples.trim(tmp_path, 10_000)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        last, deadline = 0, time.monotonic() + PATIENCE_S
        while not merged.is_set() and time.monotonic() < deadline:
            offsets = samples.read(tmp_path, "h").to_pydict().get("raw_offset", [])
            assert offsets == list(range(len(offsets))) and len(offsets) >= last
            last = len(offsets)
            samples.count(tmp_path, "h")
    finally:
        stop.set()
        worker.join()
    assert merged.is_set() and samples.read(tmp_path, "h").num_rows >= last > 0


@pytest.mark.slow
def test_two_workers_may_merge_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many_files(tmp_path)
    before = samples.read(tmp_path, "h")
    monkeypatch.setattr(samples, "MAX_FOOTERS", 1)
    footer = samples.footer
    other = [lambda: samples.merge(tmp_path)]

    def beside(storage: Storage, entry: Entry) -> samples.SampleFile:
        if other:
            assert other.pop()() == samples.MERGE_AT_FILES
        return footer(storage, entry)

    with monkeypatch.context() as patched:
        patched.setattr(samples, "footer", beside)
        assert samples.merge(tmp_path) == 0
    assert samples.read(tmp_path, "h").equals(before)


def test_a_store_that_never_holds_still_is_said_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many_files(tmp_path, 2)

    def gone(_storage: Storage, entry: Entry) -> samples.SampleFile:
        raise FileNotFoundError(entry.name)

    monkeypatch.setattr(samples, "footer", gone)
    for attempt in (lambda: samples.read(tmp_path, "h"), lambda: samples.count(tmp_path, "h")):
        with pytest.raises(Failed, match=r"merged or trimmed 10 times .* try again"):
            attempt()


class Died(Exception):
    """Stands in for SIGKILL."""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Fewer files are merged than in folders: each one costs several requests."""
    monkeypatch.setattr(samples, "MERGE_AT_FILES", 6)
    return samples.MERGE_AT_FILES


@pytest.mark.slow
def test_in_a_bucket_samples_are_written_merged_trimmed_and_read(bucket: str, few: int) -> None:
    for number in range(few):
        rows = scored(range(number * 2, number * 2 + 3))
        name = SampleRange(0, number, number, "h").name
        assert samples.write(bucket, [rows], SampleRange(0, number, number, "h")) == name
    before = samples.read(bucket, "h")
    assert before.column("raw_offset").to_pylist() == list(range(2 * few + 1))
    newest_s = samples.files(bucket)[-1].written_s
    assert samples.merge(bucket) == few
    [merged] = samples.files(bucket)
    assert (merged.written_s, merged.rows, merged.feature_hash) == (newest_s, before.num_rows, "h")
    assert samples.read(bucket, "h").equals(before)
    assert samples.count(bucket, "h") == before.num_rows and samples.count(bucket, "other") == 0
    samples.write(bucket, [scored(range(500, 510))], SampleRange(0, 100, 100, "h"))
    assert samples.trim(bucket, 20) == before.num_rows
    assert samples.read(bucket, "h").num_rows == 10
    assert samples.trim(bucket, 1) == 0, "the newest file stays"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["replace", "delete"])
def test_in_a_bucket_a_merge_that_is_killed_loses_nothing(
    bucket: str, few: int, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    many_files(bucket, few)
    before = samples.read(bucket, "h")

    def die(*_args: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(type(open_storage(bucket)), step, die)
        with pytest.raises(Died):
            samples.merge(bucket)
    assert samples.read(bucket, "h").equals(before)
    samples.merge(bucket)
    assert len(samples.files(bucket)) == 1
    assert samples.read(bucket, "h").equals(before)


@pytest.mark.slow
def test_in_a_bucket_samples_are_read_whole_while_they_are_merged(
    bucket: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_files(bucket, few)
    before = samples.read(bucket, "h")
    open_, opened = ObjectStore.open, [0]

    def merging(store: ObjectStore, name: str) -> pa.NativeFile:
        opened[0] += 1
        if opened[0] == 3:
            samples.merge(bucket)
        return open_(store, name)

    monkeypatch.setattr(ObjectStore, "open", merging)
    assert samples.read(bucket, "h").equals(before)
    assert len(samples.files(bucket)) == 1, "it was merged meanwhile"
