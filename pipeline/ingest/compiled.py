"""How functions that run once a record, or are called by such, are compiled here, and the sources of all of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.contracts import raw
from pipeline.runtime import hashing
from pipeline.runtime.compiled import Function, compile_uncounted, sources_of, stamp_of

# The folders and files whose functions are compiled, and those of the numbers that are compiled into them.
_SOURCES = (
    "compiled.py",
    "community_id.py",
    "reasons.py",
    "scan/*.py",
    "formats/cell_repair.py",
    "formats/coalesce.py",
    "formats/nfdump_csv.py",
    "formats/own_marks.py",
    "formats/protocols.py",
    "formats/zeek.py",
    "intake/pack.py",
    "intake/records.py",
)
_ELSEWHERE = (Path(hashing.__file__), Path(raw.__file__))
SOURCES = sources_of(Path(__file__).parent, _SOURCES, _ELSEWHERE)
_STAMP = stamp_of(SOURCES)


def compiled(function: Function) -> Function:
    """Compile a function that allocates nothing (pipeline/runtime/compiled.py)."""
    return compile_uncounted(function, _STAMP)


def inlined(function: Function) -> Function:
    """Compile a short function, or one that is called in one place, into its callers."""
    return compile_uncounted(function, _STAMP, inlined=True)


mix64: Callable[[np.uint64], np.uint64] = inlined(hashing.mix64)  # type: ignore[assignment]
"""pipeline/runtime/hashing.py's function for one number."""
