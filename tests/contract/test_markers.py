"""Tests that need Kafka, or kill processes, carry their marker: the unit run must not start them."""

import ast

from tests.contract.tree import modules, relative, show

FOLDERS = {"tests.integration": {"integration", "crash"}, "tests.crash": {"crash"}, "tests.bench": {"bench"}}


def _marks(tree: ast.AST) -> set[str]:
    """Names in `pytest.mark.<name>`, wherever they stand."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "mark"
    }


def test_slow_folders_are_marked() -> None:
    scanned, broken = [], []
    for module in modules("tests"):
        folder, _, file = module.name.rpartition(".")
        if folder in FOLDERS and file.startswith("test_"):
            scanned.append(module.name)
            if not _marks(module.tree) & FOLDERS[folder]:
                broken.append(f"{relative(module.path)}: none of {sorted(FOLDERS[folder])}")
    assert not broken, show(scanned, broken)
