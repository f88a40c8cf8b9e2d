"""State as files named by their own SHA-256: what is read back is what was written, or it is refused."""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from pipeline.errors import RefusedState
from pipeline.runtime.storage.location import StorageLike, open_storage

DIGEST = re.compile(r"[0-9a-f]{64}")


class Store:
    """The blobs of one stage and partition, in a folder or a bucket.

    Parameters
    ----------
    location : StorageLike
        Where all state lies (`state_uri`).
    name : str
        The folder below it, `<stage>/<partition>`.
    """

    def __init__(self, location: StorageLike, name: str) -> None:
        self.name = name
        self._storage = open_storage(location, "state")

    def _file(self, digest: str) -> str:
        """The name of a blob; RefusedState where a digest that came from elsewhere could name another file."""
        if not DIGEST.fullmatch(digest):
            raise RefusedState(
                f"state {self.name}: got digest {digest[:80]!r}, expected 64 hex digits; who wrote it? Allow only the "
                "stage to write to its state topic and folder"
            )
        return f"{self.name}/{digest}"

    def put(self, blob: bytes) -> str:
        """Store a blob and return its digest; it is durable under its final name when this returns."""
        digest = hashlib.sha256(blob).hexdigest()
        # A blob that is there already is made young again, so that no collection deletes it. In a bucket a new blob is
        # one request: that this process did not write it before is known without asking.
        if not self._storage.refresh(self._file(digest)) or self.size(digest) != len(blob):
            self._storage.replace(self._file(digest), blob)
        return digest

    def put_many(self, blobs: Iterable[bytes]) -> Iterator[str]:
        """The same for several: some at a time, each requested when the caller has space for it."""
        waiting = iter(blobs)
        with ThreadPoolExecutor(self._storage.at_once, "state-write") as pool:
            while batch := list(islice(waiting, self._storage.at_once)):
                yield from pool.map(self.put, batch)

    def touch(self, digest: str) -> bool:
        """Make a blob young again, so that no collection takes it; False where it has to be put again for that."""
        return bool(DIGEST.fullmatch(digest)) and self._storage.refresh(self._file(digest))

    def size(self, digest: str) -> int | None:
        """Size of a blob in bytes, None where it is not there."""
        try:
            return self._storage.size(self._file(digest))
        except OSError:
            return None

    def get(self, digest: str) -> bytes:
        """The blob of that digest; RefusedState where it is missing or its bytes are others."""
        return next(self.get_many([digest]))

    def get_many(self, digests: Collection[str]) -> Iterator[bytes]:
        """The blobs of these digests, in order; RefusedState where one is missing or its bytes are others."""
        blobs = self._storage.read_many(map(self._file, digests))
        for digest in digests:
            try:
                blob = next(blobs)
            except OSError as error:
                raise RefusedState(
                    f"state {self.name}/{digest[:12]}: got {error.strerror or 'no such object'}, expected it in "
                    f"{self._storage.uri}; check that FOREBAY_STATE_URI says where this state was written to"
                ) from error
            actual = hashlib.sha256(blob).hexdigest()
            if actual != digest:
                raise RefusedState(
                    f"state {self.name}/{digest[:12]}: got bytes of digest {actual[:12]}; it is damaged, restore it"
                )
            yield blob

    def collect(self, retained: Collection[str], older_than_s: float) -> int:
        """Delete blobs neither in `retained` nor younger than `older_than_s` seconds; returns how many.

        The age spares what another writer has written but not pointed to yet.
        """
        entries = list(self._storage.entries(self.name))
        before_s = self._storage.now_s(entries) - older_than_s
        old = [
            entry.name
            for entry in entries
            if entry.name.rpartition("/")[2] not in retained and entry.written_s < before_s
        ]
        for name in old:
            self._storage.delete(name)
        return len(old)
