"""A full disk, said clearly: what could not be written, and that nothing is lost by it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import Failed

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def room_on_disk(what: str, folder: Path) -> Iterator[None]:
    """Turn a full disk into an error with its remedy; `what` is being written: archive, state."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise Failed(
            f"{what} {folder}: no room to write ({os.strerror(error.errno or 0)}); make room and start again: "
            "nothing was lost, the position has not moved"
        ) from error
