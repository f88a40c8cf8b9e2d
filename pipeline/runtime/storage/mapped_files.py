"""Files mapped into memory, whose pages can be taken out of the process's memory again."""

import mmap
import os
from weakref import WeakSet

import pyarrow as pa

_MAPS: "WeakSet[mmap.mmap]" = WeakSet()


def map_file(handle: int) -> pa.Buffer:
    """The content of an open file; it stays as long as it is referenced, though the file be closed or deleted."""
    if not os.fstat(handle).st_size:
        return pa.py_buffer(b"")  # nothing can be mapped of an empty file
    mapped = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
    _MAPS.add(mapped)
    return pa.py_buffer(mapped)


def release_pages() -> None:
    """What was read of mapped files no longer counts as this process's memory; it stays in the page cache."""
    for mapped in list(_MAPS):
        mapped.madvise(mmap.MADV_DONTNEED)
