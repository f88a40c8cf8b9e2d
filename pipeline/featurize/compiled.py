"""How the functions that run once a flow are compiled, and when what was compiled before is stale."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numba import njit

from pipeline.contracts import baseline
from pipeline.runtime import hashing

# The folders and files whose functions are compiled.
_SOURCES = ("compiled.py", "addresses.py", "flow_features.py", "ordering/*.py", "windows/*.py", "baseline/*.py")

Function = TypeVar("Function", bound=Callable[..., Any])


def _stamp() -> str:
    """SHA-256 of the sources of everything compiled here, and of the numbers that are compiled into it."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    elsewhere = [Path(hashing.__file__), Path(baseline.__file__)]
    for path in [*sorted(path for pattern in _SOURCES for path in folder.glob(pattern)), *elsewhere]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


_STAMP = _stamp()


def compiled(function: Function) -> Function:
    """Compile a function on its first call, and cache the result beside the sources.

    Without reference counting, which took three quarters of the time: such functions may not allocate. Numba takes
    the cached result for fresh as long as the function's own file is unchanged; what it calls stands in other files, so
    all of them are the stamp here.
    """
    options = {"cache": True, "error_model": "numpy", "_nrt": False}
    quick: Any = njit(**options)(function)  # type: ignore[call-overload]  # _nrt is not among the listed options
    quick._cache._cache_file._source_stamp = _STAMP
    fast: Function = quick
    return fast


mix64: Callable[[np.uint64], np.uint64] = compiled(hashing.mix64)  # type: ignore[assignment]
"""pipeline/runtime/hashing.py's function for one number."""
