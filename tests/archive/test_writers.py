"""Two writers, a full disk, and files that were changed: what the archive's writer and its proof do."""

import hashlib
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from pipeline.archive import manifest, snapshot
from pipeline.archive.manifest import Progress
from pipeline.archive.pairing import Pairing, read_rejects, read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.archive.upkeep.diff import compare
from pipeline.archive.upkeep.verify import account, verify
from pipeline.errors import Failed, RefusedState, Usage
from tests.archive.chains import read_chain
from tests.archive.plant import Wire, feed, random_log, wire
from tests.contracts.facts import at

SENSORS = (("plant", "left"), ("plant", "right"))
LIMITS = Limits(rows=8)


def topics(messages: int = 30, seed: int = 1) -> Wire:
    return wire(random_log(Random(seed), messages, SENSORS), range(0, messages, 4))


def first(of: Wire, messages: int) -> Wire:
    return Wire(of.archive[:messages], of.rejects)


def owner(folder: Path) -> PartitionArchive:
    return PartitionArchive(folder, 0, LIMITS, "w")


@pytest.mark.slow
def test_a_writer_that_was_replaced_stops_and_harms_nothing(tmp_path: Path) -> None:
    whole = topics()
    feed(owner(tmp_path / "reference"), whole, Random(1))
    folder = tmp_path / "archive"
    zombie = owner(folder)
    feed(zombie, first(whole, 3), Random(1))
    replacement = owner(folder)
    with pytest.raises(RefusedState, match="another writer"):
        feed(zombie, whole, Random(2))
    feed(replacement, whole, Random(3))
    assert verify(folder, None)["problems"] == []
    assert compare(tmp_path / "reference", folder)["ok"]


def test_a_writer_whose_closed_files_a_successor_deleted_says_that_it_was_replaced(tmp_path: Path) -> None:
    whole = topics()
    zombie, pairing = PartitionArchive(tmp_path, 0, Limits(rows=3), "zombie"), Pairing(0, Progress())
    for number, payload in enumerate(whole.rejects):
        pairing.offer_rejects(number, read_rejects(payload, at("rejects", 0, number)))
    for number, payload in enumerate(whole.archive):
        pairing.offer_scored(read_scored(payload, at("archive", 0, number)))
    while (message := pairing.next()) is not None:
        zombie.take(message)
    written = list(tmp_path.rglob("*.parquet"))
    owner(tmp_path)
    assert written and not list(tmp_path.rglob("*.parquet"))
    with pytest.raises(RefusedState, match="another writer"):
        zombie.commit()


@pytest.mark.slow
def test_a_writer_replaced_between_two_steps_cannot_add_a_manifest(tmp_path: Path) -> None:
    whole = topics()
    takeovers: list[PartitionArchive] = []

    def step(name: str) -> None:
        if name == "file placed" and not takeovers:
            takeovers.append(owner(tmp_path))

    zombie = PartitionArchive(tmp_path, 0, LIMITS, "zombie", step)
    with pytest.raises(RefusedState, match="another writer"):
        feed(zombie, whole, Random(2))
    feed(takeovers[0], whole, Random(3))
    proof = verify(tmp_path, None)
    assert (proof["problems"], proof["strays"]) == ([], [])


@pytest.mark.slow
def test_a_file_that_two_writers_write_is_the_same_file(tmp_path: Path) -> None:
    """A zombie's file that lies there already, with the same content, is taken; with other content it is refused."""
    whole = topics()
    feed(owner(tmp_path / "a"), whole, Random(1))
    entry = next(snapshot.read(tmp_path / "a")[0].files)
    for content, allowed in (((tmp_path / "a" / entry.path).read_bytes(), True), (b"other", False)):
        folder = tmp_path / f"b{allowed}"
        writer = owner(folder)
        (folder / entry.path).parent.mkdir(parents=True)
        (folder / entry.path).write_bytes(content)
        if allowed:
            feed(writer, whole, Random(1))
            assert compare(tmp_path / "a", folder)["ok"]
        else:
            with pytest.raises(RefusedState, match="other content"):
                feed(writer, whole, Random(1))
            feed(owner(folder), whole, Random(1))
            assert compare(tmp_path / "a", folder)["ok"]


@pytest.mark.slow
def test_a_writer_that_is_replaced_while_it_cleans_up_deletes_nothing_of_its_successor(tmp_path: Path) -> None:
    whole = topics()
    feed(owner(tmp_path / "reference"), whole, Random(1))
    folder = tmp_path / "archive"

    def step(name: str) -> None:
        if name == "claimed":
            feed(owner(folder), whole, Random(3))

    with pytest.raises(RefusedState, match="another writer"):
        PartitionArchive(folder, 0, LIMITS, "slow", step)
    assert compare(tmp_path / "reference", folder)["ok"]
    assert verify(folder, None)["problems"] == []


def test_many_writers_starting_at_once_each_get_a_number(tmp_path: Path) -> None:
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for _ in range(5):
                    owner(tmp_path)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    assert [link.number for link in read_chain(tmp_path, 0).manifests] == list(range(20))


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux",
    reason="not proven: a full disk is said clearly and loses nothing (file size limits as Linux has them)",
)
@pytest.mark.parametrize("largest", [1_000, 12_000])
def test_a_full_disk_is_reported_clearly_and_loses_nothing(tmp_path: Path, largest: int) -> None:
    """A limit on file sizes fails like a full disk (EFBIG for ENOSPC), at the claim or at a data file."""
    whole = topics()
    feed(owner(tmp_path / "reference"), whole, Random(1))
    folder = tmp_path / "archive"
    feed(owner(folder), first(whole, 3), Random(1))
    before, chain = account(folder), read_chain(folder, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        with pytest.raises(Failed, match="free some space and start again"):
            feed(PartitionArchive(folder, 0, Limits(20), "w"), whole, Random(2), commit_chance=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert account(folder) == before
    assert read_chain(folder, 0).manifests[-1].progress == chain.manifests[-1].progress
    feed(owner(folder), whole, Random(3))
    assert compare(tmp_path / "reference", folder)["ok"]


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    feed(owner(tmp_path), topics(), Random(1))
    entry = next(snapshot.read(tmp_path)[0].files)
    path = tmp_path / entry.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    proof = verify(tmp_path, None)
    assert not proof["ok"]
    assert any(entry.path in problem and "SHA-256" in problem for problem in proof["problems"])
    path.unlink()
    assert any(entry.path in problem for problem in verify(tmp_path, None)["problems"])


def test_a_changed_or_lost_manifest_is_found_and_refused(tmp_path: Path) -> None:
    feed(owner(tmp_path), topics(), Random(1), commit_chance=1.0)
    third = tmp_path / "_manifests/p0/0000000003.json"
    good = third.read_bytes()
    third.write_bytes(good.replace(b'"writer": "w ', b'"writer": "x '))
    with pytest.raises(RefusedState, match=r"0000000004.json.*was changed"):
        owner(tmp_path)
    assert not verify(tmp_path, None)["ok"]
    third.unlink()
    with pytest.raises(RefusedState, match=r"0000000003.json: missing"):
        owner(tmp_path)
    third.write_bytes(good[:-10])
    with pytest.raises(RefusedState, match="expected a manifest"):
        owner(tmp_path)
    third.write_bytes(good)
    owner(tmp_path)


def test_changed_open_rows_are_refused(tmp_path: Path) -> None:
    log = random_log(Random(6), 30, SENSORS, marks=False)
    feed(PartitionArchive(tmp_path, 0, Limits(1000), "w"), wire(log, range(30)), Random(1))
    segment = next(tmp_path.glob("_open/p0/*.arrow"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(RefusedState, match="SHA-256"):
        owner(tmp_path)
    assert any("SHA-256" in problem for problem in verify(tmp_path, None)["problems"])


def test_a_lost_file_shows_as_missing_records(tmp_path: Path) -> None:
    """Even where a manifest is forged to omit a file, the record counts do not agree."""
    feed(owner(tmp_path), topics(), Random(1))
    manifests = read_chain(tmp_path, 0).manifests
    previous = manifest.NO_MANIFEST
    for path, link in zip(sorted(tmp_path.glob("_manifests/p0/*.json")), manifests, strict=True):
        forged = replace(link, previous=previous, files=link.files[1:])
        path.write_bytes(forged.encode())
        previous = hashlib.sha256(forged.encode()).hexdigest()
    proof = verify(tmp_path, None)
    assert any("ingest counted" in problem for problem in proof["problems"])
    assert proof["strays"]


@pytest.mark.slow
def test_a_difference_between_archives_is_named(tmp_path: Path) -> None:
    log = random_log(Random(1), 40, SENSORS)
    feed(owner(tmp_path / "a"), wire(log, []), Random(1))
    other = log.copy()
    at = next(n for n, message in enumerate(log) if message.records and message.records[0].end_ts_us is not None)
    changed = replace(log[at].records[0], text="z")
    other[at] = replace(log[at], records=(changed, *log[at].records[1:]))
    feed(owner(tmp_path / "b"), wire(other, []), Random(1))
    difference = compare(tmp_path / "a", tmp_path / "b")
    assert not difference["ok"]
    named = [row for table in difference["rows"].values() for row in table["differing"]]
    assert [(row["position"], row["columns"]) for row in named] == [([0, at, 0], ["app_proto"])]
    assert len(difference["files"]["different"]) == 1


def test_no_archive_there(tmp_path: Path) -> None:
    assert account(tmp_path / "none") == []
    with pytest.raises(Usage, match="no such folder"):
        verify(tmp_path / "none", None)
