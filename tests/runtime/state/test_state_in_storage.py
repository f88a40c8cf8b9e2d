"""State in a folder and in a bucket of a real S3 server: saved, restored, collected, retained; killed between."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest

from pipeline.errors import Failed, RefusedState
from pipeline.runtime.state import parts
from pipeline.runtime.state.replay_snapshots import RetainedSnapshot, SnapshotCatalog
from pipeline.runtime.state.store import Store
from pipeline.runtime.storage import object_store
from pipeline.runtime.storage.location import local_folder, open_storage
from pipeline.runtime.storage.object_store import ObjectStore
from pipeline.runtime.storage.storage import Storage
from tests.runtime.storage.bucket import bucket, endpoint

__all__ = ["bucket", "endpoint"]

ENTRY = RetainedSnapshot("featurize", "x.flows", "id", 2, 7, 5, 1_000, "d", ("a", "d"))


class Died(Exception):
    """Stands in for SIGKILL."""


@pytest.fixture(params=["folder", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "state") if request.param == "folder" else request.getfixturevalue("bucket")


def part_out(part: object) -> bytes:
    return str(part).encode()


def test_what_was_put_is_got_by_another_worker(location: str) -> None:
    digest = Store(location, "featurize/3").put(b"state")
    store = Store(location, "featurize/3")
    assert store.get(digest) == b"state"
    assert store.put(b"state") == digest
    assert (store.size(digest), store.size("0" * 64)) == (5, None)
    assert list(store.get_many([digest] * 3)) == [b"state"] * 3


def test_damaged_or_missing_is_refused(location: str) -> None:
    store, storage = Store(location, "featurize/3"), open_storage(location)
    digest = store.put(b"state")
    storage.replace(f"featurize/3/{digest}", b"stale")
    with pytest.raises(RefusedState, match="damaged"):
        store.get(digest)
    with pytest.raises(RefusedState, match="FOREBAY_STATE_URI"):
        store.get("0" * 64)
    storage.replace(f"featurize/3/{digest}", b"st")
    assert store.put(b"state") == digest
    assert store.get(digest) == b"state"


def test_a_state_in_many_parts_is_saved_and_restored(location: str) -> None:
    store = Store(location, "featurize/3")
    whole: dict[str, object] = {f"plant/{number}": number * 7 for number in range(40)}
    first = parts.put(store, b"rest", whole, part_out, None)
    rest, digests = parts.get(Store(location, "featurize/3"), first.digest)
    assert rest == b"rest" and digests.keys() == whole.keys()
    restored = dict(zip(digests, store.get_many(digests.values()), strict=True))
    assert restored == {name: part_out(part) for name, part in whole.items()}
    whole["plant/5"] = 10**9
    second = parts.put(store, b"rest", whole, part_out, first)
    assert len(second.digests - first.digests) == 2
    assert parts.get(store, second.digest)[1].keys() == whole.keys()


def test_a_new_blob_in_a_bucket_is_one_request(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[str] = []
    for name, real in (("head", obstore.head), ("put", obstore.put), ("get", obstore.get)):

        def counted(*arguments: Any, name: str = name, real: Callable[..., Any] = real, **more: Any) -> Any:
            requests.append(name)
            return real(*arguments, **more)

        monkeypatch.setattr(obstore, name, counted)
    store = Store(bucket, "featurize/3")
    digests = list(store.put_many(b"%d" % number for number in range(40)))
    assert requests == ["put"] * 40
    assert list(store.put_many([b"0", b"1"])) == digests[:2]  # of ours and young: only looked at
    assert requests[40:] == ["head"] * 2


@pytest.fixture
def clock(location: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, float], None]]:
    """Say how old a file is, in seconds: a folder's and a bucket's times cannot both be set."""
    ages: dict[str, float] = {}
    kind = type(open_storage(location))
    entries = kind.entries

    def aged(storage: Storage, below: str) -> Iterator[object]:
        for entry in entries(storage, below):
            yield entry._replace(written_s=entry.written_s - ages.get(entry.name, 0.0))

    monkeypatch.setattr(kind, "entries", aged)
    yield lambda name, age_s: ages.__setitem__(name, age_s)


def test_collection_spares_what_is_named_and_what_is_young(location: str, clock: Callable[[str, float], None]) -> None:
    store = Store(location, "alert/0")
    old, named, young = store.put(b"old"), store.put(b"named"), store.put(b"young")
    clock(f"alert/0/{old}", 3_600)
    clock(f"alert/0/{named}", 3_600)
    assert store.collect({named}, 60) == 1
    assert [store.size(blob) for blob in (old, named, young)] == [None, 5, 5]
    assert Store(location, "nobody").collect((), 0) == 0


def test_in_a_bucket_what_is_used_again_is_written_again_before_it_is_old(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    replace_ = ObjectStore.replace

    def counted(store: ObjectStore, name: str, data: bytes) -> None:
        written.append(name)
        replace_(store, name, data)

    monkeypatch.setattr(ObjectStore, "replace", counted)
    storage, part = open_storage(bucket), "the same"
    saved = parts.put(Store(storage, "featurize/0"), b"1", {"a": part}, part_out, None)
    digest = saved.parts["a"][1]
    for step, (refresh_s, times) in enumerate(((3_600.0, 1), (3_600.0, 1), (0.0, 2))):
        monkeypatch.setattr(object_store, "REFRESH_S", refresh_s)
        saved = parts.put(Store(storage, "featurize/0"), b"%d" % step, {"a": part}, part_out, saved)
        assert written.count(f"featurize/0/{digest}") == times, step
    # Another worker does not rely on what it has not written itself.
    parts.put(Store(bucket, "featurize/0"), b"2", {"a": part}, part_out, saved)
    assert written.count(f"featurize/0/{digest}") == 3


@pytest.mark.parametrize("dies_after", range(4))
def test_killed_while_it_saves_the_state_before_is_whole(
    location: str, monkeypatch: pytest.MonkeyPatch, dies_after: int
) -> None:
    store = Store(location, "featurize/0")
    before = parts.put(store, b"rest", {"a": 1, "b": 2}, part_out, None)
    kind, left = type(open_storage(location)), [dies_after]
    replace_ = kind.replace

    def dying(storage: Storage, name: str, data: bytes) -> None:
        if not left[0]:
            raise Died
        left[0] -= 1
        replace_(storage, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(kind, "replace", dying)
        if dies_after < 3:
            with pytest.raises(Died):
                parts.put(store, b"later", {"a": 3, "b": 4}, part_out, before)
        else:
            parts.put(store, b"later", {"a": 3, "b": 4}, part_out, before)
    assert parts.get(store, before.digest)[0] == b"rest"
    again = parts.put(store, b"later", {"a": 3, "b": 4}, part_out, before)
    rest, digests = parts.get(Store(location, "featurize/0"), again.digest)
    assert rest == b"later" and list(store.get_many(digests.values())) == [b"3", b"4"]


def positions(catalog: SnapshotCatalog) -> list[int]:
    return [entry.position for entry in catalog.all()]


def test_so_many_snapshots_are_retained_the_newest_first(location: str) -> None:
    catalog = SnapshotCatalog(location, "x.flows", 2)
    assert catalog.all() == [] and catalog.blobs == set()
    for position, removed in ((5, 0), (100, 0), (20, 0), (3, 1), (1_000, 1)):
        assert catalog.retain(replace(ENTRY, position=position, blobs=(f"b{position}",)), 3) == removed
    assert positions(catalog) == positions(SnapshotCatalog(location, "x.flows", 2)) == [1_000, 100, 20]
    assert catalog.blobs == {"b1000", "b100", "b20"}
    assert catalog.of("id") and catalog.of("another") == []
    assert abs(catalog.written_s(replace(ENTRY, position=100)) - time.time()) < 60
    assert catalog.written_s(ENTRY) != catalog.written_s(ENTRY)  # nan: it is gone


@pytest.mark.parametrize("step", ["replace", "delete"])
def test_killed_while_it_retains_one(location: str, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    catalog = SnapshotCatalog(location, "x.flows", 2)
    catalog.retain(ENTRY, 1)

    def die(*_args: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(type(open_storage(location)), step, die)
        with pytest.raises(Died):
            catalog.retain(replace(ENTRY, position=9), 1)
    assert positions(SnapshotCatalog(location, "x.flows", 2)) == ([9, 7] if step == "delete" else [7])
    SnapshotCatalog(location, "x.flows", 2).retain(replace(ENTRY, position=9), 1)
    assert positions(SnapshotCatalog(location, "x.flows", 2)) == [9]


def test_what_a_retained_snapshot_needs_is_not_collected(location: str, clock: Callable[[str, float], None]) -> None:
    store, catalog = Store(location, "featurize/2"), SnapshotCatalog(location, "x.flows", 2)
    blobs = [store.put(text) for text in (b"state", b"part", b"nobody's")]
    catalog.retain(replace(ENTRY, digest=blobs[0], blobs=tuple(blobs[:2])), 3)
    store.put(b"young")
    for blob in blobs:
        clock(f"featurize/2/{blob}", 3_600)
    assert store.collect(catalog.blobs, 60) == 1
    assert [store.size(blob) for blob in blobs] == [5, 4, None]


def test_a_bucket_that_does_not_answer_is_no_missing_state(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "RETRIES", {"max_retries": 0})
    location = f"s3://no-such-bucket/x?endpoint={endpoint}&region=us-east-1"
    with pytest.raises(Failed, match=r"state s3://no-such-bucket.*check the endpoint"):
        Store(location, "featurize/0").get("0" * 64)
    catalog = SnapshotCatalog(location, "x.flows", 2)
    assert catalog.all() == []
    with pytest.raises(Failed, match="check the endpoint"):
        _ = catalog.blobs


@pytest.mark.slow
def test_only_a_folder_is_local(bucket: str, tmp_path: Path) -> None:
    assert local_folder(tmp_path) == local_folder(f"file://{tmp_path}") == tmp_path
    assert local_folder(bucket) is None
