"""Imports run one way: no module imports another that needs it, by whatever way around.

An import counts wherever in a file it stands, also within a function; those for types alone do not. That a module's
package is imported with it does not count either.
"""

import ast
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import pytest

from tests.contract.tree import ROOT, Module, modules, relative


def circle(scanned: Iterable[Module]) -> list[str]:
    """A circle of imports, as a line for each: who imports whom, and where; empty where there is none."""
    by_name = {module.name: module for module in scanned}
    lines: dict[str, dict[str, int]] = {}
    for module in by_name.values():
        found = lines[module.name] = {}
        for imported in module.imports:
            target = imported.name
            while target and target not in by_name:  # of a module's class or function: the module
                target = target.rpartition(".")[0]
            if target and target != module.name:
                found.setdefault(target, imported.line)
    try:
        TopologicalSorter(lines).prepare()
    except CycleError as error:
        ring = error.args[1][::-1]  # as it finds them, each is imported by the next
        pairs = pairwise(ring)
        return [f"{relative(by_name[name].path)}:{lines[name][target]} imports {target}" for name, target in pairs]
    return []


def _modules(**sources: str) -> list[Module]:
    return [Module(f"models.{name}", ROOT / f"models/{name}.py", ast.parse(text)) for name, text in sources.items()]


def test_no_module_imports_what_needs_it() -> None:
    scanned = modules()
    assert len(scanned) > 100
    found = circle(scanned)
    assert not found, (
        "these import one another in a circle; what they share belongs in a file below them:\n  " + "\n  ".join(found)
    )


@pytest.mark.parametrize(
    "back",
    [
        "import models.engine",
        "from models.engine import Engine",
        "from models import engine",
        "from .engine import Engine",
        "def f():\n    from models.engine import Engine",
        "class A:\n    def f(self):\n        if self:\n            import models.engine",
    ],
)
def test_a_circle_is_named(back: str) -> None:
    made = _modules(
        above="from models import engine",
        engine="\nfrom models.parity import apart",
        parity="import models.kind",
        kind=back,
    )
    found = circle(made)
    line = back.count("\n") + 1
    assert sorted(found) == [
        "models/engine.py:2 imports models.parity",
        f"models/kind.py:{line} imports models.engine",
        "models/parity.py:1 imports models.kind",
    ]
    assert all(here.split()[-1].replace(".", "/") in after for here, after in pairwise(found))


def test_types_alone_make_no_circle() -> None:
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from models.engine import Engine"
    assert not circle(_modules(engine="from models.kind import Kind", kind=types))
    assert not circle(_modules(engine="import models.kind\nimport models.engine", kind="import numpy"))
