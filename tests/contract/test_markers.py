"""Tests that need Kafka, or kill processes, carry their marker, and a property looks harder where it is asked to."""

import ast

from tests.contract.tree import modules, relative, show

FOLDERS = {"tests.integration": {"integration", "crash"}, "tests.crash": {"crash"}, "tests.bench": {"bench"}}
KAFKA = {"integration", "crash"}


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


def test_markers_of_kafka_stand_in_the_files_of_their_tests() -> None:
    """`make test-integration` starts only the files in which such a marker stands."""
    scanned, broken = [], []
    for module in modules("tests"):
        if not module.path.name.startswith("test_"):
            scanned.append(module.name)
            broken += [f"{relative(module.path)}: {name}" for name in sorted(_marks(module.tree) & KAFKA)]
    assert not broken, show(scanned, broken)


def test_a_propertys_own_number_of_examples_grows_with_the_profile() -> None:
    """A plain number in its settings is what it gets under `--hypothesis-profile thorough` too."""
    scanned, broken = [], []
    for module in modules("tests"):
        scanned.append(module.name)
        broken += [
            f"{relative(module.path)}:{node.value.lineno}: write max_examples=examples({node.value.value!r})"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.keyword) and node.arg == "max_examples" and isinstance(node.value, ast.Constant)
        ]
    assert not broken, show(scanned, broken)
