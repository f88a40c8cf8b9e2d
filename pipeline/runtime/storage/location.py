"""Where the archive, state, models and samples lie: a folder or a bucket of an S3-compatible store, behind one URI.

`var/archive`, `file:///srv/archive`, `s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=eu-1`.
"""

from pathlib import Path
from typing import TypeAlias

from pipeline.errors import Misconfigured
from pipeline.runtime.storage.storage import Storage

StorageLike: TypeAlias = Storage | Path | str


def local_folder(location: StorageLike) -> Path | None:
    """The folder of this machine that a URI names; None where it names a bucket."""
    root = getattr(open_storage(location), "root", None)
    return root if isinstance(root, Path) else None


def folder_or_storage(location: StorageLike, what: str = "archive") -> Path | Storage:
    """A folder of this machine as its path, anything else as its storage: what a registry of models takes."""
    folder = local_folder(location)
    return folder if folder is not None else open_storage(location, what)


def open_storage(location: StorageLike, what: str = "archive") -> Storage:
    """The storage a URI or a folder names, `what` lies there; Misconfigured for a scheme there is none for."""
    if isinstance(location, Path | str):
        scheme, slashes, rest = str(location).partition("://")
        # What is imported is the kind that is asked for: a worker's start is shorter, and S3 an extra.
        if not slashes:
            from pipeline.runtime.storage.local_folder import LocalFolder

            return LocalFolder(Path(location), what)
        if scheme == "file":
            from pipeline.runtime.storage.local_folder import LocalFolder

            return LocalFolder(Path(rest.removeprefix("localhost")), what)
        if scheme == "s3":
            try:
                from pipeline.runtime.storage.object_store import ObjectStore
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] not in ("obstore", "fsspec"):
                    raise
                raise Misconfigured(
                    f"{what} {location}: got no package {error.name}, expected it for a bucket; "
                    "in the checkout: pip install '.[s3]'"
                ) from error
            return ObjectStore(str(location), what)
        raise Misconfigured(
            f"{what} {location}: got scheme {scheme!r}, expected a folder, file:///folder or s3://bucket/prefix"
        )
    return location
