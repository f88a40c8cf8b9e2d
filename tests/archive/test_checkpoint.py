"""A checkpoint of the chain: a start reads a bounded number of manifests, and nothing depends on it."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive import checkpoint, manifest, paths, snapshot
from pipeline.archive.manifest import Manifest
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import TABLES, Limits
from pipeline.archive.upkeep.compact import compact
from pipeline.archive.upkeep.query import run as query
from pipeline.archive.upkeep.retain import retain
from pipeline.archive.upkeep.verify import verify
from pipeline.errors import RefusedState
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.storage.object_store import ObjectStore
from pipeline.runtime.storage.storage import Storage
from tests.archive.chains import read_chain
from tests.archive.plant import Wire, feed, random_log, wire
from tests.runtime.storage.bucket import bucket, endpoint

__all__ = ["bucket", "endpoint"]

EVERY = 8
SENSORS = (("plant", "left"), ("plant", "right"))
LIMITS = Limits(rows=12)
TOPICS = wire(random_log(Random(8), 60, SENSORS), range(60))
STEPS = ("checkpoints cleaned", "checkpoint written", "checkpoints deleted")
AT_ONCE = 2.0**40


class Died(Exception):
    """Stands in for SIGKILL."""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", EVERY)


def owner(folder: Path | str, step: Callable[[str], None] = lambda _name: None) -> PartitionArchive:
    return PartitionArchive(folder, 0, LIMITS, "w", step)


@pytest.fixture(scope="module")
def _grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "EVERY", EVERY)
        folder = tmp_path_factory.mktemp("grown") / "archive"
        feed(owner(folder), TOPICS, Random(1), commit_chance=1.0)
    return folder


@pytest.fixture
def grown(_grown: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_grown, tmp_path / "archive"))


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "_checkpoints" / "p0").glob("*.checkpoint"))


def without_open(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    return [replace(manifest, open=()) for manifest in manifests]


def visible(folder: Path) -> object:
    """All that readers see of an archive."""
    [state] = snapshot.read(folder)
    return without_open(state.manifests), state.last, state.problem


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files of the chain that are read, by name."""
    names: list[str] = []
    for kind in (type(open_storage(".")), ObjectStore):
        read = kind.read

        def counted(storage: Storage, name: str, read: Callable[..., bytes] = read) -> bytes:
            names.append(name)
            return read(storage, name)

        monkeypatch.setattr(kind, "read", counted)
    monkeypatch.setattr(type(open_storage(".")), "read_many", lambda storage, some: map(storage.read, some))
    yield names


@pytest.mark.slow
def test_a_start_reads_a_bounded_number_of_manifests(grown: Path, reads: list[str]) -> None:
    length = len(read_chain(grown, 0).manifests)
    assert length > 5 * EVERY
    for ask in (
        lambda: owner(grown),
        lambda: snapshot.read(grown),
        lambda: query(grown, "SELECT count(*) FROM flows", 1),
        lambda: retain(grown, "2100-01-01", TABLES, AT_ONCE, dry_run=True),
        lambda: compact(grown, 2**30, AT_ONCE, dry_run=True),
    ):
        reads.clear()
        ask()
        of_chain = [name for name in reads if name.startswith(("_manifests", "_checkpoints"))]
        assert len(of_chain) <= EVERY + 5, ask


@pytest.mark.slow
def test_in_a_bucket_a_start_reads_and_lists_a_bounded_number(
    bucket: str, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(owner(bucket), Wire(TOPICS.archive[:30], TOPICS.rejects), Random(1), commit_chance=1.0)
    listed: list[str] = []
    names = ObjectStore.names

    def counted(store: ObjectStore, below: str, after: str = "") -> Iterator[str]:
        for name in names(store, below, after):
            listed.append(name)
            yield name

    assert len(read_chain(bucket, 0).manifests) > 3 * EVERY
    monkeypatch.setattr(ObjectStore, "names", counted)
    reads.clear()
    owner(bucket)
    assert sum(name.startswith(("_manifests", "_checkpoints")) for name in reads) <= EVERY + 5
    assert sum(name.startswith("_manifests") for name in listed) <= EVERY + 3


def test_readers_learn_the_same_with_and_without(grown: Path) -> None:
    whole = read_chain(grown, 0).manifests
    with_it = visible(grown)
    assert without_open(snapshot.read(grown)[0].manifests) == without_open(whole)
    hashes = [digest for _, digest in checkpoint.links(open_storage(grown), 0)]
    assert hashes == [digest for _, digest in manifest.read_links(open_storage(grown), 0)]
    shutil.rmtree(grown / "_checkpoints")
    assert visible(grown) == with_it
    assert verify(grown, None)["problems"] == []


def test_the_last_two_are_retained(grown: Path) -> None:
    assert len(checkpoints(grown)) == checkpoint.RETAINED
    feed(owner(grown), TOPICS, Random(2))
    assert len(checkpoints(grown)) == checkpoint.RETAINED


def test_an_archive_of_a_version_before_gets_one_at_the_first_start(grown: Path) -> None:
    shutil.rmtree(grown / "_checkpoints")
    owner(grown)
    [made] = checkpoints(grown)
    claim = len(read_chain(grown, 0).manifests) - 1
    assert made.name == paths.checkpoint(0, claim - 1).rpartition("/")[2]


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _bomb(path: Path) -> None:
    """A frame that claims to be huge."""
    head, _, body = path.read_bytes().partition(b"\n")
    document = orjson.loads(head)
    document["frames"][0][1] = 2**50
    path.write_bytes(orjson.dumps(document) + b"\n" + body)


def _of_another_chain(path: Path) -> None:
    head, _, body = path.read_bytes().partition(b"\n")
    path.write_bytes(orjson.dumps({**orjson.loads(head), "head": "0" * 64}) + b"\n" + body)


def _beyond_the_chain(path: Path) -> None:
    path.rename(path.with_name(f"{10**10 - 1:010d}.checkpoint"))


def _shorter(path: Path) -> None:
    """Whole frames, but not all the manifests that its name promises."""
    head, _, body = path.read_bytes().partition(b"\n")
    document = orjson.loads(head)
    document["frames"], first = document["frames"][1:], document["frames"][0][0]
    path.write_bytes(orjson.dumps(document) + b"\n" + body[first:])


DAMAGES = (_flipped, _cut, _emptied, _longer, _bomb, _of_another_chain, _beyond_the_chain, _shorter)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_damaged_one_is_ignored_named_by_verify_and_replaced(
    grown: Path, damage: Callable[[Path], None], all_of_them: bool
) -> None:
    expected = visible(grown)
    for path in checkpoints(grown) if all_of_them else checkpoints(grown)[-1:]:
        if path.exists():
            damage(path)
    assert visible(grown) == expected
    assert any("checkpoint" in problem for problem in verify(grown, None)["problems"])
    for _ in range(EVERY):
        owner(grown)
    feed(owner(grown), TOPICS, Random(3))
    [state] = snapshot.read(grown)
    assert state.problem is None
    links = checkpoint.newest(open_storage(grown), 0)
    assert len(state.manifests) - len(links) <= EVERY
    left = [name for name in checkpoints(grown) if damage is _beyond_the_chain and name.stem == "9" * 10]
    assert left == []


def _forged(folder: Path, change: Callable[[Manifest], Manifest], every: bool = True) -> None:
    """A checkpoint that fits the chain's end and says otherwise of what is before."""
    storage = open_storage(folder)
    path = checkpoints(folder)[-1]
    base = checkpoint.read(storage, 0, paths.checkpoint(0, int(path.stem)))
    manifests = [change(replace(manifest, open=())) for manifest, _ in checkpoint.summed_up(base)[:-1]]
    manifests.append(replace(base.last, open=()))
    plain = b"".join(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS) + b"\n" for manifest in manifests)
    packed = pa.compress(plain, "zstd", asbytes=True)
    frame = checkpoint.Frame(len(packed), len(plain), len(manifests), hashlib.sha256(packed).hexdigest())
    header = checkpoint.Header(0, base.header.number, base.header.head, (frame,))
    path.write_bytes(header.encode() + packed)


def test_a_forged_one_is_found_by_verify(grown: Path) -> None:
    _forged(grown, lambda manifest: replace(manifest, files=()))
    assert any("it was forged" in problem for problem in verify(grown, None)["problems"])


def test_a_forged_one_that_is_no_chain_is_ignored(grown: Path) -> None:
    expected = visible(grown)
    _forged(grown, lambda manifest: replace(manifest, number=manifest.number + 1))
    assert visible(grown) == expected


def test_a_forged_one_cannot_lead_out_of_the_archive(grown: Path) -> None:
    expected = visible(grown)
    _forged(grown, lambda manifest: replace(manifest, files=tuple(replace(f, path="../../x") for f in manifest.files)))
    assert visible(grown) == expected


@given(st.binary(max_size=200))
def test_bytes_that_are_no_checkpoint(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    folder = tmp_path_factory.mktemp("archive")
    owner(folder)
    path = folder / paths.checkpoint(0, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(garbage)
    assert len(snapshot.read(folder)[0].manifests) == 1
    with pytest.raises(RefusedState, match="delete it"):
        checkpoint.read(open_storage(folder), 0, paths.checkpoint(0, 0))


def test_a_break_behind_the_checkpoint_is_refused_one_before_it_by_verify(grown: Path) -> None:
    summed = int(checkpoints(grown)[-1].stem)
    early = grown / paths.manifest(0, summed - 2)
    content = early.read_bytes()
    early.unlink()
    assert snapshot.read(grown)[0].problem is None
    assert any("a manifest was lost" in problem for problem in verify(grown, None)["problems"])
    early.write_bytes(content)
    while len(read_chain(grown, 0).manifests) < int(checkpoints(grown)[-1].stem) + 4:
        owner(grown)
    late = grown / paths.manifest(0, int(checkpoints(grown)[-1].stem) + 1)
    late.write_bytes(late.read_bytes().replace(b'"writer": "w ', b'"writer": "x '))
    with pytest.raises(RefusedState, match="was changed"):
        owner(grown)


@pytest.mark.parametrize("point", STEPS)
@pytest.mark.parametrize("damaged", [False, True])
def test_killed_between_two_steps_readers_have_the_old_or_the_new(grown: Path, point: str, damaged: bool) -> None:
    if damaged:
        _cut(checkpoints(grown)[-1])
    expected = visible(grown)

    def step(name: str) -> None:
        if name == point:
            raise Died

    died = 0
    for _ in range(3 * EVERY):
        try:
            owner(grown, step)
        except Died:
            died += 1
            break
    assert died
    assert verify(grown, None)["problems"] == [] or damaged
    newest = visible(grown)
    assert newest[0][: len(expected[0])] == expected[0]  # type: ignore[index]
    feed(owner(grown), TOPICS, Random(3))
    for _ in range(EVERY):
        owner(grown)
    assert verify(grown, None)["problems"] == []
    assert len(checkpoints(grown)) <= checkpoint.RETAINED


def test_half_of_one_is_ignored_and_deleted_by_the_next_owner(grown: Path) -> None:
    half = grown / "_checkpoints/p0/.0000000040.checkpoint.abcdef"
    half.write_bytes(b"{")
    expected = visible(grown)
    assert visible(grown) == expected
    owner(grown)
    assert not half.exists()


def test_two_that_sum_up_the_same_say_the_same(grown: Path) -> None:
    shutil.rmtree(grown / "_checkpoints")
    zombie = owner(grown)
    shutil.rmtree(grown / "_checkpoints")
    storage = open_storage(grown)
    assert checkpoint.extend(storage, 0) == checkpoint.extend(storage, 0)
    [path] = checkpoints(grown)
    content = path.read_bytes()
    shutil.rmtree(grown / "_checkpoints")
    checkpoint.extend(storage, 0)
    assert path.read_bytes() == content
    replacement = owner(grown)
    with pytest.raises(RefusedState, match="another writer"):
        feed(zombie, TOPICS, Random(2))
        zombie.commit()
    feed(replacement, TOPICS, Random(3))
    assert verify(grown, None)["problems"] == []


@pytest.mark.slow
def test_two_at_once_in_a_bucket(bucket: str) -> None:
    feed(owner(bucket), Wire(TOPICS.archive[:20], TOPICS.rejects), Random(1), commit_chance=1.0)
    first, second = open_storage(bucket), open_storage(bucket)
    for name in checkpoint.names(first, 0):
        first.delete(name)
    passed: list[int] = []

    def meanwhile(name: str) -> None:
        if name == "checkpoints cleaned":
            passed.append(checkpoint.extend(second, 0))

    passed.append(checkpoint.extend(first, 0, meanwhile))
    assert passed[0] == passed[1] == len(read_chain(bucket, 0).manifests)
    assert len(checkpoint.names(first, 0)) == 1
    assert verify(bucket, None)["problems"] == []


@pytest.mark.slow
def test_compaction_and_retention_make_one_too(grown: Path) -> None:
    before = checkpoints(grown)[-1].name
    compact(grown, 1, AT_ONCE, newest=True)
    retain(grown, "2100-01-01", TABLES, AT_ONCE)
    length = len(read_chain(grown, 0).manifests)
    assert length - int(checkpoints(grown)[-1].stem) <= 2 * EVERY
    assert checkpoints(grown)[-1].name >= before
    assert verify(grown, None)["problems"] == []
