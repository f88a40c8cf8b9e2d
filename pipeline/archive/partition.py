"""One raw partition's archive: rows in, closed files and manifests out, and the open rows in between."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from pipeline.archive import checkpoint, paths, segments
from pipeline.archive import manifest as chain
from pipeline.archive.manifest import ClosedFile, Manifest, OpenRows, Progress
from pipeline.archive.pairing import Paired
from pipeline.archive.parquet import parts_of, write
from pipeline.archive.pieces import parted
from pipeline.archive.streams import TABLES, Limits, OpenFile, Streams, join
from pipeline.errors import RefusedState
from pipeline.runtime.storage.local_folder import LocalFolder
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.runtime.storage.mapped_files import release_pages
from pipeline.runtime.storage.storage import NameTaken, Step, no_step

MAX_ROWS_IN_MEMORY = 262_144
MAX_BYTES_IN_MEMORY = 64 * 1024 * 1024
"""Of one partition; the worker has a limit for all of its partitions."""
CLAIM_ATTEMPTS = 100

HALF_MANIFEST = re.compile(r"/\.(\d+)\.json\.[^/]*$")
TEMPORARY = re.compile(r"p(\d+)-(\d+)")
SEGMENT = re.compile(r"/(\d+)-\d+\.arrow$")
DATA_FILE = re.compile(r"^[^/]+/site=[^/]*/sensor=[^/]*/date=[^/]*/hour=[^/]*/[^/]+\.parquet$")


@dataclass(frozen=True, slots=True)
class Committed:
    """The result of a commit, now durable: offsets may move to `progress`."""

    progress: Progress
    files: tuple[ClosedFile, ...]
    open_rows: int


class PartitionArchive:
    """The owner of one raw partition's part of the archive; creating it takes the partition over from earlier owners.

    `step` is called after each step of writing: tests make a writer die there.
    """

    def __init__(self, archive: StorageLike, partition: int, limits: Limits, writer: str, step: Step = no_step) -> None:
        self.archive = open_storage(archive)
        self.partition = partition
        # Two processes of one name must not write the same manifest: it would be both's.
        self._writer = f"{writer} {secrets.token_hex(4)}"
        self._step = step
        self._streams = Streams(limits)
        self._closed: list[ClosedFile] = []
        self._marks: list[tuple[str, str, int]] = []
        self._watermarks: dict[tuple[str, str], int] = {}
        self._rows_in_memory = self.bytes_in_memory = self._files_written = 0
        self._checkpointed = 0  # manifests that a checkpoint sums up
        links, self._last, self._head = self._claim()
        self._step("claimed")
        self._temp = paths.temporary(partition, self._last.number)
        self._clean({entry.path for manifest, _ in links for entry in manifest.files})
        self.progress = self._last.progress
        try:
            stored = [
                (entry.segment, *part) for entry in self._last.open for part in segments.read(self.archive, entry, True)
            ]
        except FileNotFoundError as error:
            self._check_owner()
            raise RefusedState(
                f"archive {self.archive.uri}: open rows are missing that a manifest lists ({error}); restore the file "
                "from a copy"
            ) from error
        self._streams.restore(stored)
        self._extend_checkpoint(links)

    def _claim(self) -> tuple[list[chain.Link], Manifest, str]:
        """Add a claim to the chain: the links before it, the claim, and its hash."""
        for _attempt in range(CLAIM_ATTEMPTS):
            self._unusable = list[str]()
            links = checkpoint.newest(self.archive, self.partition, self._unusable)
            self._checkpointed = len(links)
            chain.collect(chain.read_links(self.archive, self.partition, links[-1] if links else None), links)
            last, head = links[-1] if links else (None, chain.NO_MANIFEST)
            claim = Manifest(
                partition=self.partition,
                number=len(links),
                previous=head,
                writer=self._writer,
                progress=last.progress if last else Progress(),
                open=last.open if last else (),
            )
            added = chain.append(self.archive, claim)
            if added is not None:
                return links, claim, added
        raise RefusedState(
            f"archive {self.archive.uri}, partition {self.partition}: {CLAIM_ATTEMPTS} other writers were faster; "
            "stop the others"
        )

    def _clean(self, listed: set[str]) -> None:
        """Delete what earlier owners left unfinished: after the claim they can list none of it any more.

        A still later owner may be at work already; what is numbered after this claim belongs to it and stays.
        """
        claim, archive = self._last.number, self.archive
        for name in self._unusable:  # checkpoints that every reader would read and ignore
            archive.delete(name)
        if isinstance(archive, LocalFolder):  # a bucket holds no half objects
            for name in archive.names(paths.manifests(self.partition)):
                if (match := HALF_MANIFEST.search(name)) and int(match[1]) <= claim:
                    archive.delete(name)
            for name in archive.names(paths.checkpoints(self.partition)):
                if not paths.is_checkpoint(name):
                    archive.delete(name)
        for folder in archive.folders("_tmp"):
            if (match := TEMPORARY.fullmatch(folder)) and int(match[1]) == self.partition and int(match[2]) < claim:
                archive.delete_folder(f"_tmp/{folder}")
        listed_segments = {entry.path for entry in self._last.open}
        for name in archive.names(paths.segments(self.partition)):
            if (match := SEGMENT.search(name)) and int(match[1]) <= claim and name not in listed_segments:
                archive.delete(name)
        if isinstance(archive, LocalFolder):
            prefix = f"/p{self.partition}-"
            for name in (name for table in TABLES for name in archive.names(table)):
                if prefix in name and DATA_FILE.search(name) and name not in listed:
                    self._remove_stray(archive, name)

    def _remove_stray(self, archive: LocalFolder, name: str) -> None:
        """Delete a data file no manifest lists, unless a later owner has written it meanwhile: set aside, check, then
        delete.

        An object can't be set aside, so a successor might lose it: in a bucket strays stay. They are whole, and the
        same rows make the same name and bytes, so a successor takes them over.
        """
        self._check_owner()
        aside = f"{self._temp}/stray"
        archive.set_aside(name, aside)
        try:
            self._check_owner()
        except RefusedState:
            archive.put_back(aside, name)
            raise
        archive.delete(aside)

    def take(self, message: Paired) -> None:
        """Take one message of `archive` with its rejects; files it closes are written, and listed by the next
        commit.
        """
        scored = message.scored
        closed = self._streams.add(scored.rows)
        for rows in message.rejects:
            closed += self._streams.add(rows)
        for site, sensor, watermark_us in scored.facts.watermarks:
            self._watermarks[site, sensor] = watermark_us
            closed += self._streams.pass_watermark(site, sensor, watermark_us)
        for site, sensor in scored.facts.evicted:
            closed += self._streams.end(site, sensor)
        for site, sensor in scored.facts.ended:
            closed += self._streams.end(site, sensor)
            if scored.facts.through is not None:
                self._marks.append((site, sensor, scored.facts.through[0]))
        for files in parted(closed, attrgetter("rows")):
            join(files)
            for file in files:
                self._write(file)
        self._rows_in_memory += len(scored.rows) + sum(len(rows) for rows in message.rejects)
        self.bytes_in_memory += scored.size_bytes + sum(rows.nbytes for rows in message.rejects)
        self.progress = message.progress

    def _write(self, file: OpenFile) -> None:
        for part in parts_of(file, release_pages):
            staging = f"{self._temp}/{self._files_written}.parquet"
            self._files_written += 1
            with self.archive.staged(staging) as sink:
                entry = write(part, self.partition, sink, release_pages)
            self._check_owner()
            try:
                self.archive.place(staging, entry.path, entry.sha256, self._step)
            except NameTaken:
                self._check_owner()
                if isinstance(self.archive, LocalFolder):
                    raise
                # In a bucket strays stay, and one of an earlier version's may be other bytes of the same rows.
                entry = replace(entry, path=paths.beside(entry.path, entry.sha256))
                self.archive.place(staging, entry.path, entry.sha256, self._step)
            self._closed.append(entry)

    def _check_owner(self) -> None:
        """RefusedState where another writer has added a manifest; swaps, which anybody may add, are taken over."""
        while self.archive.has(paths.manifest(self.partition, self._last.number + 1)):
            link = chain.read_one(self.archive, self.partition, self._last.number + 1)
            if link is None or not link[0].packs or link[0].previous != self._head:
                raise self._taken_over()
            if not chain.changes_nothing(link[0], self._last):
                raise RefusedState(
                    f"archive {self.archive.uri}, partition {self.partition}: manifest {link[0].number} is a swap "
                    "that changes more than where files lie; somebody forged it: check the archive first"
                )
            self._last, self._head = link

    def _taken_over(self) -> RefusedState:
        return RefusedState(
            f"archive {self.archive.uri}, partition {self.partition}: another writer has added manifest "
            f"{self._last.number + 1}; it owns the partition now, this one stops (nothing is lost: it reads on from "
            "the last manifest)"
        )

    @property
    def moved(self) -> bool:
        """Whether any message was taken since the last commit."""
        return self.progress != self._last.progress

    @property
    def due(self) -> bool:
        """Whether a commit should not wait long: a file has closed, or much is held in memory."""
        return bool(self._closed) or self.full

    @property
    def full(self) -> bool:
        """Whether a commit must not wait: memory holds the allowed maximum."""
        return self._rows_in_memory >= MAX_ROWS_IN_MEMORY or self.bytes_in_memory >= MAX_BYTES_IN_MEMORY

    def commit(self) -> Committed:
        """Make everything taken durable. Kafka's offsets may move only after this.

        1. Closed files lie under their final names already (`_write`); bytes and names become durable.
        2. Open rows that are only in memory go into a segment.
        3. Manifest n is created, exclusively: from here on the files count. RefusedState where another writer was
        first.
        4. Segments that no manifest needs any more are deleted.
        5. Where the chain has grown long, a checkpoint sums it up (checkpoint.py).
        """
        try:
            self.archive.sync(entry.path for entry in self._closed)
        except FileNotFoundError:
            self._check_owner()  # a successor deletes what no manifest lists
            raise
        before = self._last.open
        retained, added = self._store_open_rows(self._last.number + 1)
        touched = {(entry.site, entry.sensor) for entry in self._closed}
        following = Manifest(
            partition=self.partition,
            number=self._last.number + 1,
            previous=self._head,
            writer=self._writer,
            progress=self.progress,
            files=tuple(self._closed),
            open=(*retained, *added),
            marks=tuple(self._marks),
            watermarks=tuple((*of, us) for of, us in sorted(self._watermarks.items()) if of in touched),
        )
        while (head := chain.append(self.archive, following)) is None:
            self._check_owner()  # only a swap may have taken the number
            if following.number > self._last.number:
                raise self._taken_over()
            following = replace(following, number=self._last.number + 1, previous=self._head)
        self._step("manifest added")
        listed = {entry.path for entry in following.open}
        for entry in before:
            if entry.path not in listed:
                self.archive.delete(entry.path)
        self._step("segments deleted")
        self._last, self._head = following, head
        self._closed, self._marks, self._watermarks = [], [], {}
        self._rows_in_memory = self.bytes_in_memory = 0
        self._extend_checkpoint()
        return Committed(self.progress, following.files, sum(file.rows for file in self._streams.open.values()))

    def _extend_checkpoint(self, known: Sequence[chain.Link] = ()) -> None:
        """Sum the chain up in a checkpoint where it has grown enough since the last one; `known`: all before the claim,
        just read.
        """
        if self._last.number + 1 - self._checkpointed >= checkpoint.EVERY:
            self._checkpointed = checkpoint.extend(self.archive, self.partition, self._step, known)

    def _store_open_rows(self, number: int) -> tuple[list[OpenRows], list[OpenRows]]:
        """The entries of segments that stay and of the one written now."""
        files = self._streams.open.values()
        moved: set[int | None] = {None, *segments.to_rewrite(files, self._last.open)}
        added = segments.write(self.archive, self.partition, number, files, moved, self._step)
        for entry in added:
            self._streams.move(moved, number, segments.read(self.archive, entry, False))
            moved = set()
        live = {(piece.segment, *file.key) for file in files for piece in file.pieces}
        retained = []
        for entry in self._last.open:
            rows = tuple(counted for counted in entry.rows if (entry.segment, *counted[:3]) in live)
            if rows:
                retained.append(replace(entry, rows=rows))
        return retained, added
