"""What is compiled is compiled anew when any file changes whose functions or numbers are in it."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from numba.core.dispatcher import Dispatcher

from pipeline.runtime.compiled import stamp_of
from tests.contract.tree import ROOT, relative

STAGES = ("featurize", "ingest")


def imported_names(path: Path) -> dict[str, str]:
    """What a file imports by `from`, and the module that has it."""
    return {
        name.asname or name.name: node.module
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module
        for name in node.names
    }


def files_compiled_in(module: ModuleType) -> Iterator[tuple[str, Path]]:
    """The names of other files' functions, numbers and modules in this module's compiled functions, and those files."""
    path = Path(str(module.__file__))
    origins = imported_names(path)
    for function in vars(module).values():
        if not _is_own(function, module):
            continue
        for name in function.py_func.__code__.co_names:
            value = vars(module).get(name)
            origin = value.__name__ if isinstance(value, ModuleType) else origins.get(name, "")
            if origin.startswith("pipeline."):
                yield f"{function.py_func.__name__}: {name}", ROOT / f"{origin.replace('.', '/')}.py"


@pytest.mark.parametrize("stage", STAGES)
def test_all_that_is_compiled_has_the_stamp(stage: str) -> None:
    compiled = importlib.import_module(f"pipeline.{stage}.compiled")
    stamped = set()
    for path in (ROOT / "pipeline" / stage).rglob("*.py"):
        assert "njit" not in path.read_text(encoding="utf-8"), (
            f"{relative(path)}: expected pipeline/{stage}/compiled.py"
        )
        if not any(name in ("compiled", "inlined") for name in imported_names(path)):
            continue
        module = importlib.import_module(relative(path).removesuffix(".py").replace("/", "."))
        assert path in compiled.SOURCES, f"not in SOURCES of pipeline/{stage}/compiled.py: {relative(path)}"
        stamped |= {each._cache._cache_file._source_stamp for each in vars(module).values() if _is_own(each, module)}
    assert stamped == {stamp_of(compiled.SOURCES)}


def _is_own(value: object, module: ModuleType) -> bool:
    return isinstance(value, Dispatcher) and value.py_func.__module__ == module.__name__


@pytest.mark.parametrize("stage", STAGES)
def test_the_stamp_is_that_of_all_files_whose_numbers_are_compiled_in(stage: str) -> None:
    sources = importlib.import_module(f"pipeline.{stage}.compiled").SOURCES
    modules = [
        importlib.import_module(relative(path).removesuffix(".py").replace("/", "."))
        for path in sources
        if path.is_relative_to(ROOT / "pipeline" / stage)
    ]
    needed = [(name, path) for module in modules for name, path in files_compiled_in(module)]
    assert len(needed) > 50
    missing = sorted({f"{relative(path)} ({name})" for name, path in needed if path not in sources})
    assert not missing, f"not in SOURCES of pipeline/{stage}/compiled.py:\n  " + "\n  ".join(missing)
