"""Replay snapshots: an entry is whole or not there, old ones go, and what one needs is never collected."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadData
from pipeline.runtime.files import UNFINISHED
from pipeline.runtime.state.replay_snapshots import RetainedSnapshot, SnapshotCatalog
from pipeline.runtime.state.store import Store

FOLDER = "kept/x.flows/2"
ENTRY = RetainedSnapshot("featurize", "x.flows", "id", 2, 7, 5, 1_000, "d", ("a", "d"))


def positions(catalog: SnapshotCatalog) -> list[int]:
    return [entry.position for entry in catalog.all()]


def test_an_entry_is_read_as_it_was_written() -> None:
    assert RetainedSnapshot.decode(ENTRY.encode()) == ENTRY
    for damaged in (b"", b"[]", b"{}", ENTRY.encode()[:-9], ENTRY.encode().replace(b"1000", b'"x"')):
        with pytest.raises(BadData, match="retained snapshot"):
            RetainedSnapshot.decode(damaged)


def test_the_newest_entries_are_retained(tmp_path: Path) -> None:
    catalog = SnapshotCatalog(tmp_path, "x.flows", 2)
    assert catalog.all() == [] and catalog.blobs == set()
    removed = [catalog.retain(replace(ENTRY, position=at, blobs=(f"b{at}",)), 3) for at in (5, 100, 20, 3, 1_000)]
    assert removed == [0, 0, 0, 1, 1]
    assert positions(catalog) == positions(SnapshotCatalog(tmp_path, "x.flows", 2)) == [1_000, 100, 20]
    assert catalog.blobs == {"b1000", "b100", "b20"}


def test_whoever_writes_an_entry_again_writes_the_same(tmp_path: Path) -> None:
    catalog, zombies = (SnapshotCatalog(tmp_path, "x.flows", 2) for _ in range(2))
    catalog.retain(ENTRY, 3)
    catalog.retain(replace(ENTRY, position=9), 3)
    before = {path.name: path.read_bytes() for path in (tmp_path / FOLDER).iterdir()}
    zombies.retain(ENTRY, 3)
    assert {path.name: path.read_bytes() for path in (tmp_path / FOLDER).iterdir()} == before
    # An older one, of a position the worker that took over did not keep, counts for both from then on.
    zombies.retain(replace(ENTRY, position=8, blobs=("z",)), 3)
    assert "z" in catalog.blobs and positions(catalog) == [9, 8, 7]


def test_those_of_a_topic_made_anew_are_not_of_this_log(tmp_path: Path) -> None:
    catalog = SnapshotCatalog(tmp_path, "x.flows", 2)
    catalog.retain(replace(ENTRY, position=10**6, topic_id="former"), 3)
    assert catalog.of("id") == [] and len(catalog.of("former")) == 1
    catalog.retain(ENTRY, 3)
    assert catalog.of("id") == [ENTRY] and catalog.of("former") == []


@pytest.mark.parametrize("dies_at", ["fsync", "replace", "unlink"])
def test_killed_between_two_steps_nothing_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    catalog = SnapshotCatalog(tmp_path, "x.flows", 2)
    catalog.retain(ENTRY, 1)

    def die(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os if dies_at == "fsync" else Path, dies_at, die)
    later = replace(ENTRY, position=9)
    with pytest.raises(KeyboardInterrupt):
        catalog.retain(later, 1)
    monkeypatch.undo()
    fresh = SnapshotCatalog(tmp_path, "x.flows", 2)
    assert fresh.of("id") == ([later, ENTRY] if dies_at == "unlink" else [ENTRY])
    for path in (tmp_path / FOLDER).glob(f"{UNFINISHED}*"):
        os.utime(path, (time.time() - 3600,) * 2)
    fresh.retain(later, 1)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [f"{9:020d}.json"]


def test_an_entry_that_cannot_be_read_now_lets_nothing_be_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SnapshotCatalog(tmp_path, "x.flows", 2).retain(ENTRY, 3)
    catalog = SnapshotCatalog(tmp_path, "x.flows", 2)

    def fails(_path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fails)
        assert catalog.of("id") == []
        with pytest.raises(OSError, match="Input/output"):
            _ = catalog.blobs
    assert catalog.blobs == {"a", "d"}


def test_one_that_another_worker_takes_away_meanwhile_is_no_error(tmp_path: Path) -> None:
    catalog = SnapshotCatalog(tmp_path, "x.flows", 2)
    catalog.retain(ENTRY, 3)
    ((tmp_path / FOLDER) / f"{UNFINISHED}1-x").symlink_to(tmp_path / "gone")
    assert catalog.retain(replace(ENTRY, position=9), 3) == 0


@pytest.mark.slow
@given(st.binary(max_size=60))
def test_a_file_that_is_none_is_as_if_it_were_not_there(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes
) -> None:
    tmp_path = tmp_path_factory.mktemp("state")
    catalog = SnapshotCatalog(tmp_path, "x.flows", 2)
    catalog.retain(ENTRY, 3)
    ((tmp_path / FOLDER) / f"{8:020d}.json").write_bytes(garbage)
    assert catalog.of("id") == [ENTRY]


def test_what_a_retained_snapshot_needs_is_not_collected(tmp_path: Path) -> None:
    store, catalog = Store(tmp_path, "featurize/2"), SnapshotCatalog(tmp_path, "x.flows", 2)
    blobs = [store.put(text) for text in (b"state", b"part", b"nobody's")]
    catalog.retain(replace(ENTRY, digest=blobs[0], blobs=tuple(blobs[:2])), 3)
    for blob in blobs:
        os.utime(tmp_path / store.name / blob, (time.time() - 3600,) * 2)
    assert store.collect(catalog.blobs, 60) == 1
    assert [store.size(blob) for blob in blobs] == [5, 4, None]
