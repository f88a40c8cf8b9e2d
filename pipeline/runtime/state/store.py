"""State as files named by their own SHA-256: what is read back is what was written, or it is refused."""

import hashlib
import os
import time
from collections.abc import Collection
from pathlib import Path

from pipeline.errors import RefusedState
from pipeline.runtime.files import disk_full_as_failed, write_atomic


class Store:
    """One folder of blobs: a room's state of one partition.

    Parameters
    ----------
    root : Path
        Where all state lies (`state_uri`).
    name : str
        The folder below it, `<room>/<partition>`.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.folder = root / name

    def put(self, blob: bytes) -> str:
        """Keep a blob and return its digest; it is on the disk, under its final name, when this returns."""
        digest = hashlib.sha256(blob).hexdigest()
        path = self.folder / digest
        if path.is_file() and path.stat().st_size == len(blob):
            # A zombie's or an earlier run's; made young again, so that no collection takes it away under us.
            os.utime(path)
            return digest
        with disk_full_as_failed("state", self.folder):
            write_atomic(path, blob)
        return digest

    def touch(self, digest: str) -> bool:
        """Make a blob young again, so that no collection takes it; False where it is not there."""
        try:
            os.utime(self.folder / digest)
        except OSError:
            return False
        return bool(digest)

    def size(self, digest: str) -> int | None:
        """Bytes of a blob, None where it is not there."""
        try:
            return (self.folder / digest).stat().st_size
        except OSError:
            return None

    def get(self, digest: str) -> bytes:
        """The blob of that digest; RefusedState where it is missing or its bytes are others."""
        path = self.folder / digest
        try:
            blob = path.read_bytes()
        except OSError as error:
            raise RefusedState(
                f"state {self.name}/{digest[:12]}: got {error.strerror}, expected a file in {self.folder}; "
                "check that FOREBAY_STATE_URI names the folder this state was written to"
            ) from error
        found = hashlib.sha256(blob).hexdigest()
        if found != digest:
            raise RefusedState(
                f"state {self.name}/{digest[:12]}: got bytes of digest {found[:12]}; the file is damaged, restore it"
            )
        return blob

    def collect(self, keep: Collection[str], older_than_s: float) -> int:
        """Delete blobs neither in `keep` nor younger than `older_than_s` seconds; returns how many.

        The age spares what another writer has put down but not pointed to yet.
        """
        if not self.folder.is_dir():
            return 0
        before = time.time() - older_than_s
        removed = 0
        for path in self.folder.iterdir():
            try:
                if path.name in keep or path.stat().st_mtime >= before:
                    continue
            except FileNotFoundError:  # another worker's temporary file, in place or gone by now
                continue
            path.unlink(missing_ok=True)
            removed += 1
        return removed
