"""How the functions that run once a flow are compiled here, and the sources of all of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.contracts import baseline, lateness
from pipeline.runtime import hashing
from pipeline.runtime.compiled import Function, compile_uncounted, sources_of, stamp_of

# The folders and files whose functions are compiled, and those of the numbers that are compiled into them.
_SOURCES = (
    "compiled.py",
    "addresses.py",
    "flow_features.py",
    "rows.py",
    "ordering/*.py",
    "windows/*.py",
    "baseline/*.py",
)
_ELSEWHERE = (Path(hashing.__file__), Path(baseline.__file__), Path(lateness.__file__))
SOURCES = sources_of(Path(__file__).parent, _SOURCES, _ELSEWHERE)
_STAMP = stamp_of(SOURCES)


def compiled(function: Function) -> Function:
    """Compile a function that allocates nothing (pipeline/runtime/compiled.py)."""
    return compile_uncounted(function, _STAMP)


mix64: Callable[[np.uint64], np.uint64] = compiled(hashing.mix64)  # type: ignore[assignment]
"""pipeline/runtime/hashing.py's function for one number."""
