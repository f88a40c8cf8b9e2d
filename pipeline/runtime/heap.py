"""One heap for all that a process holds: Arrow's columns, Python's bytes, what the threads of Kafka's client unpack.

By default each has its own: Arrow's allocator, the C library's first arena, and an arena for every few threads. What
one has freed and keeps for later no other can use, and what is given back to the system comes again page by page.
"""

import ctypes
import sys

import pyarrow as pa

MIB = 1024 * 1024
# From <malloc.h> of glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8


def share() -> None:
    """Take all memory from one heap from here on, and keep up to 32 MiB of it when it is free.

    To be called before threads are started. Elsewhere than on Linux with glibc, for Arrow and Python alone.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, 32 * MIB), (M_TRIM_THRESHOLD, 32 * MIB)):
            mallopt(option, value)
