"""How functions that run once a record are compiled, and when what was compiled before is stale."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def sources_of(folder: Path, patterns: Iterable[str], elsewhere: Iterable[Path]) -> list[Path]:
    """The source files of a folder and elsewhere, in the order of their paths, and this one."""
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    return [*sorted([*found, *elsewhere]), Path(__file__)]


def stamp_of(sources: Iterable[Path]) -> str:
    """SHA-256 of source files, one behind the other."""
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def compile_uncounted(function: Function, stamp: str, inlined: bool = False) -> Function:
    """Compile a function on its first call, and cache the result beside its source.

    Without reference counting, which took three quarters of the time: such functions may not allocate. Numba takes
    the cached result for fresh as long as the function's own file is unchanged; what it calls, and numbers that are
    compiled into it, stand in other files, so `stamp` is that of them all (tests/contract/test_compiled_sources.py).
    `inlined` puts it into each of its callers: an array is up to nine arguments, which cost more than a short function.
    """
    options = {"cache": True, "error_model": "numpy", "_nrt": False, "forceinline": inlined}
    quick: Any = njit(**options)(function)  # type: ignore[call-overload]  # _nrt is not among the listed options
    quick._cache._cache_file._source_stamp = stamp
    fast: Function = quick
    return fast
