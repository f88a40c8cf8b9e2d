import errno
import os
import time
from pathlib import Path

import orjson
import pytest

from pipeline.errors import BadData, Failed, RefusedState
from pipeline.runtime.files import UNFINISHED
from pipeline.runtime.state.pointers import Pointer, by_position
from pipeline.runtime.state.store import Store


def test_what_was_put_is_got(tmp_path: Path) -> None:
    store = Store(tmp_path, "stage/3")
    digest = store.put(b"state")
    assert store.get(digest) == b"state"
    assert store.put(b"state") == digest
    assert [path.name for path in (tmp_path / "stage" / "3").iterdir()] == [digest]


def test_damaged_or_missing_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, "stage/3")
    digest = store.put(b"state")
    ((tmp_path / store.name) / digest).write_bytes(b"stale")
    with pytest.raises(RefusedState, match="damaged"):
        store.get(digest)
    with pytest.raises(RefusedState, match="FOREBAY_STATE_URI"):
        store.get("0" * 64)
    # A half-written file under the final name (a disk that lied) is written again, not trusted.
    ((tmp_path / store.name) / digest).write_bytes(b"st")
    store.put(b"state")
    assert store.get(digest) == b"state"


def test_collection_keeps_what_is_named_and_what_is_young(tmp_path: Path) -> None:
    store = Store(tmp_path, "stage/3")
    old, named, young = store.put(b"old"), store.put(b"named"), store.put(b"young")
    ((tmp_path / store.name) / f"{UNFINISHED}1-x").write_bytes(b"")
    hour_ago = time.time() - 3600
    for name in (old, named, f"{UNFINISHED}1-x"):
        os.utime((tmp_path / store.name) / name, (hour_ago, hour_ago))
    assert store.collect({named}, 60) == 2
    assert sorted(path.name for path in (tmp_path / store.name).iterdir()) == sorted([named, young])
    # Written again, an old one is young: its writer is about to point to it.
    os.utime((tmp_path / store.name) / young, (hour_ago, hour_ago))
    store.put(b"young")
    assert store.collect({named}, 60) == 0
    assert Store(tmp_path, "nobody").collect((), 0) == 0


def test_the_highest_position_counts_whoever_wrote_last() -> None:
    pointers = [
        Pointer(0, 5, 5, "e", ""),
        Pointer(0, 9, 9, "i", ""),
        Pointer(0, 7, 7, "g", ""),
        Pointer(0, 9, 9, "j", ""),
    ]
    assert [pointer.digest for pointer in by_position(pointers)] == ["j", "i", "g", "e"]


def test_pointers_travel_as_json() -> None:
    pointer = Pointer(3, 17, 12, "ab" * 32, "stage/3/ab")
    assert Pointer.decode(pointer.encode()) == pointer
    for payload in (b"", b"[]", b"{}", b"null"):
        with pytest.raises(BadData):
            Pointer.decode(payload)


@pytest.mark.parametrize(
    "change",
    [
        {"partition": "x"},
        {"partition": True},
        {"position": "5"},
        {"position": -1},
        {"seq": 2**63},
        {"seq": 1.0},
        {"digest": ""},
        {"digest": "ab"},
        {"digest": "AB" * 32},
        {"digest": "../" * 21 + "x"},
        {"digest": "ab" * 32 + "\n"},
        {"uri": None},
    ],
    ids=str,
)
def test_what_is_no_pointer_is_said(change: dict[str, object]) -> None:
    facts = {"partition": 3, "position": 17, "seq": 12, "digest": "ab" * 32, "uri": "stage/3/ab"}
    with pytest.raises(BadData, match="pointer"):
        Pointer.decode(orjson.dumps({**facts, **change}))


@pytest.mark.parametrize(
    "digest", ["", ".", "..", "../1/secret", "../../../../dev/zero", "/etc/passwd", "a" * 63, "A" * 64]
)
def test_a_digest_never_becomes_another_path(tmp_path: Path, digest: str) -> None:
    store = Store(tmp_path, "stage/3")
    (tmp_path / "stage" / "1").mkdir(parents=True)
    (tmp_path / "stage" / "1" / "secret").write_bytes(b"x")
    with pytest.raises(RefusedState, match="expected 64 hex digits"):
        store.get(digest)
    with pytest.raises(RefusedState, match="expected 64 hex digits"):
        store.size(digest)
    assert not store.touch(digest)


def test_a_full_disk_is_said_clearly_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, "featurize/0")
    before = store.put(b"before")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failed, match=r"state .*: disk full, .* free some space and start again"):
        store.put(b"after")
    monkeypatch.undo()
    assert store.get(before) == b"before"
    assert store.get(store.put(b"after")) == b"after"
