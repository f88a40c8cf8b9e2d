"""Storage in a bucket of an S3-compatible store: an object is whole or not there, and created only once.

There is no rename and no link; instead a PUT carries `If-None-Match: *` (conditional writes: Amazon S3 since August
2024, and most that are compatible), so that of two writers of one name the second gets an error. Credentials come
from the environment (AWS_ACCESS_KEY_ID and its kin), a web identity, or the machine's role.
"""

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import obstore
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.fsspec import FsspecStore
from obstore.store import S3Store
from pyarrow.fs import FSSpecHandler, PyFileSystem

from pipeline.errors import Failed, Misconfigured
from pipeline.runtime.files import disk_full_as_failed
from pipeline.runtime.storage.mapped_files import map_file
from pipeline.runtime.storage.storage import Entry, NameTaken, Sink, Step

if TYPE_CHECKING:
    import duckdb  # the writer does without it

OPTIONS = ("endpoint", "region", "virtual_hosted_style_request", "allow_http")
AT_ONCE = 16
NO_BUCKET = "NoSuchBucket"
# Some 20 s (12 to 31) where connections are refused: a store whose process or pod is replaced is back in less. A stop
# is heard after that, within the minute that Kubernetes grants.
RETRIES: Any = {
    "max_retries": 12,
    "retry_timeout": timedelta(minutes=5),
    "backoff": {"init_backoff": timedelta(seconds=0.3), "max_backoff": timedelta(seconds=3), "base": 4},
}
# At a start or in a check a wrong address is likelier than an outage: it is said within two seconds.
RETRIES_AT_START: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
# A request's time counts its whole body, and a pack is some hundred MiB; one that stands still is abandoned earlier.
PATIENCE: Any = {
    "timeout": timedelta(minutes=15),
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),
}
READ_AHEAD = 256
ATTEMPTS = 3
REFRESH_S = 40.0
"""An object is written again where it has to be young after so long: a third of the two minutes for which collections
spare what is young (pipeline/runtime/faust/partitions.py), so that a slow clock or a slow save does not matter."""


class ObjectStore:
    """Storage (pipeline/runtime/storage/storage.py) in `s3://bucket/prefix?endpoint=...&region=...`."""

    errors: ClassVar[tuple[type[Exception], ...]] = (OSError, BaseError)

    at_once: ClassVar[int] = AT_ONCE

    def __init__(self, uri: str, what: str = "archive", retries: Any = None) -> None:
        self.what = what
        parts = urlsplit(uri)
        settings = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = sorted(set(settings) - set(OPTIONS))
        if unknown or not parts.netloc:
            wrong = f"option {unknown[0]!r}" if unknown else "no bucket"
            raise Misconfigured(
                f"{what} {uri}: got {wrong}, expected s3://bucket/prefix, with options among {', '.join(OPTIONS)}"
            )
        self.uri = uri
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        plain = settings.get("endpoint", "").startswith("http://") or settings.get("allow_http") == "true"
        config: Any = {name: value for name, value in settings.items() if name != "allow_http"}
        options: Any = {"client_options": {"allow_http": plain, **PATIENCE}, "retry_config": retries or RETRIES}
        with self._asking(""):
            self._store = S3Store(self._bucket, prefix=self._prefix or None, config=config, **options)
        self._files = FsspecStore("s3", config=config, **options)
        self._spooled: dict[str, pa.Buffer] = {}
        self._replaced_s: dict[str, float] = {}
        self._lock = threading.Lock()  # of `_replaced_s`: states are written by several threads

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Turn what the store answers into our errors."""
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise Misconfigured(
                f"{self.what} {self.uri}: no access to {name or 'the bucket'} ({_first_line(error)}); check the "
                "credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or a role) and what they may do"
            ) from error
        except AlreadyExistsError:
            raise
        except (BaseError, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and NO_BUCKET not in str(error):
                raise
            raise Failed(
                f"{self.what} {self.uri}: {name or 'the bucket'} ({_first_line(error)}); check the endpoint and the "
                "bucket, and start again: nothing was lost, the position has not moved"
            ) from error

    def exists(self) -> bool:
        """Whether anything of an archive is there."""
        return bool(self.folders("_manifests"))

    def begin(self) -> None:
        """Ask the bucket, so that a wrong address is said at once."""
        ObjectStore(self.uri, self.what, RETRIES_AT_START).exists()

    def folders(self, below: str) -> list[str]:
        """Names directly below a prefix that have more below them."""
        with self._asking(below):
            listing: Any = obstore.list_with_delimiter(self._store, f"{below}/" if below else None)
        return [str(prefix).rstrip("/").rpartition("/")[2] for prefix in listing["common_prefixes"]]

    def names(self, below: str, after: str = "") -> Iterator[str]:
        """All objects below a prefix, whose names are greater than `after`: the store leaves out the others."""
        with self._asking(below):
            for page in obstore.list(self._store, f"{below}/" if below else None, offset=after or None):
                yield from (str(entry["path"]) for entry in page)

    def entries(self, below: str) -> Iterator[Entry]:
        """The same objects with their sizes and ages."""
        with self._asking(below):
            for page in obstore.list(self._store, f"{below}/" if below else None):
                yield from (
                    Entry(str(item["path"]), int(item["size"]), item["last_modified"].timestamp()) for item in page
                )

    def now_s(self, entries: Iterable[Entry]) -> float:
        """When the newest was written: the store has a clock of its own, which cannot be read."""
        return max((entry.written_s for entry in entries), default=0.0)

    def has(self, name: str) -> bool:
        """Whether an object is there."""
        try:
            with self._asking(name):
                obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        """Size of an object in bytes."""
        with self._asking(name):
            return int(obstore.head(self._store, name)["size"])

    def written_s(self, name: str) -> float:
        """When an object was written, by the store's clock."""
        with self._asking(name):
            return obstore.head(self._store, name)["last_modified"].timestamp()

    def read(self, name: str) -> bytes:
        """A whole object."""
        with self._asking(name):
            return bytes(obstore.get(self._store, name).bytes())

    def read_many(self, names: Iterable[str]) -> Iterator[bytes]:
        """Whole objects, several asked for at a time."""
        wanted = iter(names)
        with ThreadPoolExecutor(AT_ONCE, "archive-read") as pool:
            while batch := list(islice(wanted, READ_AHEAD)):
                yield from pool.map(self.read, batch)

    def open(self, name: str) -> pa.NativeFile:
        """An object to read ranges of."""
        path = f"{self._bucket}/{self._prefix}/{name}" if self._prefix else f"{self._bucket}/{name}"
        with self._asking(name):
            return PyFileSystem(FSSpecHandler(self._files)).open_input_file(path)

    def mapped(self, name: str) -> pa.Buffer:
        """A whole object, in a file without a name that the page cache holds."""
        if name not in self._spooled:
            with _temporary() as file:
                with self._asking(name):
                    for part in obstore.get(self._store, name):
                        file.write(part)
                self._spooled[name] = _mapped(file)
        return self._spooled[name]

    def sha256(self, name: str) -> str:
        """A whole object's digest, without holding it."""
        digest = hashlib.sha256()
        with self._asking(name):
            for part in obstore.get(self._store, name):
                digest.update(part)
        return digest.hexdigest()

    def create(self, name: str, data: bytes) -> bool:
        """Create an object, or not at all."""
        # Our own, where the answer to the first try was lost: nobody else writes the same bytes.
        return self._put(name, data) or self.read(name) == data

    def _put(self, name: str, data: bytes) -> bool:
        """Create an object; False where it is there. A store that is busy with the name may say so and be wrong."""
        for _attempt in range(ATTEMPTS):
            try:
                with self._asking(name):
                    obstore.put(self._store, name, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                if self.has(name):
                    return False
                continue
            return True
        raise Failed(
            f"{self.what} {self.uri}: {name} is reported to be there and is not, {ATTEMPTS} times; try again later"
        )

    def replace(self, name: str, data: bytes | memoryview) -> None:
        """Put an object, whatever has the name."""
        with self._asking(name):
            obstore.put(self._store, name, bytes(data), use_multipart=False)
        now_s = time.monotonic()
        with self._lock:
            self._replaced_s.pop(name, None)  # so that they stand in the order of their times
            self._replaced_s[name] = now_s
            while self._replaced_s and self._replaced_s[oldest := next(iter(self._replaced_s))] <= now_s - REFRESH_S:
                del self._replaced_s[oldest]

    def refresh(self, name: str) -> bool:
        """Whether this process wrote it not long ago: an object's time cannot be set."""
        with self._lock:
            written_s = self._replaced_s.get(name)
        return written_s is not None and written_s > time.monotonic() - REFRESH_S

    @contextmanager
    def staged(self, staging: str) -> Iterator[Sink]:
        """A file without a name, stored for `place`."""
        with _temporary() as file:
            with Sink(os.dup(file.fileno())) as sink:
                yield sink
            self._spooled[staging] = _mapped(file)

    def place(self, staging: str, name: str, sha256: str, step: Step) -> None:
        """Create an object of what was staged."""
        step("file written")
        if not self._put(name, self._spooled[staging].to_pybytes()) and self.sha256(name) != sha256:
            raise NameTaken(f"{self.uri}: {name} exists with other content; somebody else wrote it")
        del self._spooled[staging]
        step("file placed")

    def sync(self, names: Iterable[str]) -> None:
        """An object that was acknowledged is durable."""

    @contextmanager
    def sink(self, name: str) -> Iterator[Sink]:
        """A file without a name, uploaded when the context ends, and stored for `mapped`."""
        with _temporary() as file:
            with Sink(os.dup(file.fileno())) as sink:
                yield sink
            file.seek(0)
            with self._asking(name):
                obstore.put(self._store, name, file)
            self._spooled[name] = _mapped(file)

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._spooled.pop(name, None)
        with self._lock:
            self._replaced_s.pop(name, None)
        try:
            with self._asking(name):
                obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    def delete_folder(self, name: str) -> None:
        """Delete everything below a prefix."""
        for object_name in list(self.names(name)):
            self.delete(object_name)

    def url(self, name: str) -> str:
        """The object's address."""
        return "/".join(part for part in (f"s3://{self._bucket}", self._prefix, name) if part)

    def register_duckdb(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Register our client with DuckDB."""
        connection.register_filesystem(self._files)


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    with disk_full_as_failed("open rows in", Path(tempfile.gettempdir())), tempfile.TemporaryFile() as file:
        yield file


def _mapped(file: IO[bytes]) -> pa.Buffer:
    """A file's content; it stays as long as it is referenced, though the file has no name and is closed."""
    file.flush()
    return map_file(file.fileno())


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]
