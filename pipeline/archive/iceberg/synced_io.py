"""Files of a warehouse in a folder, written so that they stay written: durable before the catalog knows of them.

pyiceberg's own are not: after a power cut its catalog (which is durable) could name files that are empty.
"""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow.fs import FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO, PyArrowLocalFileSystem

from pipeline.runtime.files import make_folder, sync_folder
from pipeline.runtime.storage.storage import Sink

NAME = f"{__name__}.SyncedFileIO"
"""What a catalog's property py-io-impl says."""


class _Synced(Sink):
    """A file that is durable, with its name, once it is closed."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        super().__init__(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640))
        self._folder = path.parent

    def close(self) -> None:
        """Make it durable, and close it."""
        if not self.closed:
            self.sync()
            sync_folder(self._folder)
        super().close()


class _SyncedFileSystem(PyArrowLocalFileSystem):
    def open_output_stream(self, path: str, *_args: Any, **_kwargs: Any) -> pa.NativeFile:
        return pa.PythonFile(_Synced(Path(path)), mode="w")


class SyncedFileIO(PyArrowFileIO):
    """pyiceberg's files, but for those it writes into a folder."""

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        return _SyncedFileSystem() if scheme == "file" else super()._initialize_fs(scheme, netloc)
