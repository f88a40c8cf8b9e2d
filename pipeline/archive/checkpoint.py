"""A checkpoint of a chain: what its first manifests say, in one object, so that nobody has to read each of them.

`<archive>/_checkpoints/p<partition>/<number>.checkpoint` sums up manifests 0 to `number` and names the SHA-256 of the
last of them. It is a copy: it is created exclusively by whoever finds many manifests behind the last one, and may be
deleted at any time. A reader takes the newest one that is whole and whose last manifest is in the chain with that
hash, and reads the manifests behind it; without one it reads the whole chain. `forebay archive verify` reads the whole
chain, and compares each checkpoint with it.

The first line is JSON (`Header`). Frames follow, each a run of manifests, one a line, compressed. A new checkpoint is
the frames of the one before and some more: nothing is compressed twice.

A manifest in a checkpoint has no open rows (those of the newest manifest alone count, and it is read itself).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from pipeline.archive import manifest as chain
from pipeline.archive import paths
from pipeline.archive.manifest import NO_MANIFEST, Link, Manifest
from pipeline.errors import RefusedState
from pipeline.runtime.storage.storage import Step, Storage, no_step

FORMAT = 1
EVERY = 256
"""A checkpoint is made once so many manifests have come since the last one: what a start has to read at most. A commit
a minute makes one every four hours. More often costs more: each copies the frames there are, some 100 bytes for a
manifest."""
RETAINED = 2
"""The one before the newest stays for who is about to read it, and for the case that the newest is damaged."""
MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Uncompressed. A forged frame that claims more is not decompressed; a run of manifests that has more is not summed
up, and is read one by one."""
CODEC = "zstd"


class Frame(NamedTuple):
    """A run of manifests: bytes in the object, bytes uncompressed, manifests, and SHA-256 of the former."""

    size: int
    plain_size: int
    manifests: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Header:
    """What a checkpoint sums up: the manifests 0 to `number`, whose last has the SHA-256 `head`."""

    partition: int
    number: int
    head: str
    frames: tuple[Frame, ...]
    format: int = FORMAT

    def encode(self) -> bytes:
        """The header as one line of JSON."""
        frames = [list(frame) for frame in self.frames]
        return (
            orjson.dumps(
                {
                    "format": self.format,
                    "partition": self.partition,
                    "number": self.number,
                    "head": self.head,
                    "frames": frames,
                },
                option=orjson.OPT_SORT_KEYS,
            )
            + b"\n"
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One that is whole: its header, its frames, and the manifest it ends at as it stands in the chain."""

    name: str
    header: Header
    body: memoryview
    last: Manifest


def links(archive: Storage, partition: int) -> Iterator[Link]:
    """Each manifest of a chain and its hash, from number 0: those of a checkpoint first, without their open rows.

    RefusedState where what comes after the checkpoint (everything, where there is none) is no unbroken chain.
    """
    known = newest(archive, partition)
    yield from known
    yield from chain.read_links(archive, partition, known[-1] if known else None)


def newest(archive: Storage, partition: int, unusable: list[str] | None = None) -> list[Link]:
    """The manifests that the newest usable checkpoint sums up, with their hashes; none where there is no checkpoint.

    Names of newer ones that cannot be used are added to `unusable`.
    """
    for checkpoint in usable(archive, partition, unusable):
        try:
            return summed_up(checkpoint)
        except RefusedState:
            if unusable is not None:
                unusable.append(checkpoint.name)
    return []


def names(archive: Storage, partition: int) -> list[str]:
    """A partition's checkpoints, newest first."""
    there = archive.names(paths.checkpoints(partition))
    return sorted((name for name in there if paths.is_checkpoint(name)), reverse=True)


def usable(archive: Storage, partition: int, unusable: list[str] | None = None) -> Iterator[Checkpoint]:
    """Checkpoints that are whole and of this chain, newest first; names of others are added to `unusable`."""
    for name in names(archive, partition):
        try:
            yield read(archive, partition, name)
        except FileNotFoundError:
            continue  # somebody has made a newer one and deleted this
        except RefusedState:
            if unusable is not None:
                unusable.append(name)


def read(archive: Storage, partition: int, name: str) -> Checkpoint:
    """A checkpoint; RefusedState where it is damaged, or not of this chain."""
    data = memoryview(archive.read(name))
    where = f"{archive.uri}: {name}"
    header, body = _decoded(data, where)
    first = 0
    for frame in header.frames:
        if hashlib.sha256(body[first : first + frame.size]).hexdigest() != frame.sha256:
            raise RefusedState(f"{where}: got bytes of another SHA-256 than it names; it is damaged: delete it")
        first += frame.size
    counted = sum(frame.manifests for frame in header.frames)
    named = paths.checkpoint(partition, header.number)
    if (header.partition, named, first, counted) != (partition, name, len(body), header.number + 1):
        raise RefusedState(f"{where}: got another one's content; it was changed: delete it")
    last = chain.read_one(archive, partition, header.number)
    if last is None or last[1] != header.head:
        raise RefusedState(
            f"{where}: names manifest {header.number} with SHA-256 {header.head[:12]}…, the chain has "
            f"{last[1][:12] + '…' if last else 'none'}; it is of another archive: delete it"
        )
    return Checkpoint(name, header, body, last[0])


def _decoded(data: memoryview, where: str) -> tuple[Header, memoryview]:
    head, newline, _ = bytes(data[:MAX_HEADER_BYTES]).partition(b"\n")
    try:
        document: dict[str, Any] = orjson.loads(head)
        frames = tuple(
            Frame(int(size), int(plain), int(count), str(digest)) for size, plain, count, digest in document["frames"]
        )
        if not newline or document["format"] != FORMAT or min((min(frame[:3]) for frame in frames), default=0) < 1:
            raise ValueError("format 1 and frames expected")
        if max(frame.plain_size for frame in frames) > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of more than {MAX_FRAME_BYTES} bytes")
        header = Header(int(document["partition"]), int(document["number"]), str(document["head"]), frames)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise RefusedState(f"{where}: got {error!r}, expected a checkpoint; delete it") from error
    return header, data[len(head) + 1 :]


def summed_up(checkpoint: Checkpoint) -> list[Link]:
    """The manifests of a checkpoint with their hashes, the last one with its open rows; RefusedState where they are no
    chain that ends at its last.
    """
    where, header = checkpoint.name, checkpoint.header
    manifests = [manifest for run in _runs(checkpoint) for manifest in run]
    previous = [manifest.previous for manifest in manifests]
    numbers = [(manifest.partition, manifest.number) for manifest in manifests]
    expected = [(header.partition, number) for number in range(len(manifests))]
    if numbers != expected or len(manifests) != header.number + 1 or previous[0] != NO_MANIFEST:
        raise RefusedState(f"{where}: got manifests that are no chain from 0 to {header.number}; delete it")
    if manifests[-1] != _without_open(checkpoint.last):
        raise RefusedState(f"{where}: its last manifest is not that of the chain; delete it")
    manifests[-1] = checkpoint.last
    return list(zip(manifests, [*previous[1:], header.head], strict=True))


def _runs(checkpoint: Checkpoint) -> Iterator[list[Manifest]]:
    first = 0
    for frame in checkpoint.header.frames:
        packed = checkpoint.body[first : first + frame.size]
        first += frame.size
        try:
            lines = pa.decompress(packed, frame.plain_size, CODEC, asbytes=True).splitlines()
        except (pa.ArrowException, OSError) as error:
            raise RefusedState(f"{checkpoint.name}: got {error}, expected compressed manifests; delete it") from error
        yield [chain.decode(line, checkpoint.name) for line in lines]


def _without_open(manifest: Manifest) -> Manifest:
    return replace(manifest, open=()) if manifest.open else manifest


def extend(archive: Storage, partition: int, step: Step = no_step, known: Sequence[Link] = ()) -> int:
    """Make a checkpoint of everything there is now, where `EVERY` manifests have come since the last one.

    Returns how many manifests are summed up now. Anybody may do so at any time: manifests never change, so what two
    make of the same ones says the same. `known`: the chain from number 0 on, where the caller has just read it.

    1. Delete what readers ignore. 2. Create the new one, exclusively. 3. Delete all but the newest `RETAINED`. Killed
    between any two, readers have the checkpoint before or the new one.
    """
    unusable: list[str] = []
    base = next(usable(archive, partition, unusable), None)
    after = (base.last, base.header.head) if base is not None else None
    before = base.header.number + 1 if base is not None else 0
    new = list(_closed_runs(known[before:] if known else chain.read_links(archive, partition, after)))
    count = sum(len(run) for run, _ in new)
    if count < EVERY:
        return before
    for name in unusable:  # 1
        archive.delete(name)
    step("checkpoints cleaned")
    old = base.header.frames if base is not None else ()
    body = bytes(base.body) if base is not None else b""
    frames = []
    for run, _ in new:
        frame, packed = _framed(run)
        if frame is None:
            return before
        frames.append(frame)
        body += packed
    number, head = new[-1][0][-1].number, new[-1][1]
    header = Header(partition, number, head, (*old, *frames))
    try:
        archive.create(paths.checkpoint(partition, number), header.encode() + body)  # 2
    except FileNotFoundError:  # a new owner has cleaned our half of it away
        return before
    step("checkpoint written")
    for name in names(archive, partition)[RETAINED:]:  # 3
        archive.delete(name)
    step("checkpoints deleted")
    return number + 1


def _closed_runs(links: Iterable[Link]) -> Iterator[tuple[list[Manifest], str]]:
    """Runs of `EVERY` manifests at most, each with the hash of its last."""
    run: list[Manifest] = []
    head = NO_MANIFEST
    for manifest, head in links:
        run.append(_without_open(manifest))
        if len(run) == EVERY:
            yield run, head
            run = []
    if run:
        yield run, head


def _framed(run: list[Manifest]) -> tuple[Frame | None, bytes]:
    plain = b"".join(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS) + b"\n" for manifest in run)
    if len(plain) > MAX_FRAME_BYTES:
        return None, b""
    packed = pa.compress(plain, CODEC, asbytes=True)
    return Frame(len(packed), len(plain), len(run), hashlib.sha256(packed).hexdigest()), packed


def problems(archive: Storage, partition: int, manifests: tuple[Manifest, ...]) -> list[str]:
    """What is wrong with a partition's checkpoints, compared with its whole chain."""
    wrong = []
    for name in names(archive, partition):
        try:
            checkpoint = read(archive, partition, name)
            known = [manifest for manifest, _ in summed_up(checkpoint)]
        except FileNotFoundError:
            continue
        except RefusedState as error:
            wrong.append(f"{error} (readers ignore it)")
            continue
        chained = manifests[: len(known)]
        if [_without_open(manifest) for manifest in known] != [_without_open(manifest) for manifest in chained]:
            wrong.append(f"{archive.uri}: {name}: says other than the manifests it sums up; it was forged: delete it")
    return wrong
