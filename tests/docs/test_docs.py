"""The docs say what the code does: tables, metrics, links, commands and settings named in the text."""

import ast
import re
from pathlib import Path

import pytest

from models.lab.report.report import MAX_COLUMNS
from pipeline.settings import OTHER_VARIABLES, TEST_VARIABLES, Settings
from pipeline.tools.cli.main import NOUNS
from tests.contract.tree import ROOT, modules, own_files, relative
from tests.docs.tables import TABLE_IN_PAGE, TABLES, commands, pages, updated

PAGES = [
    path
    for path in own_files()
    # The card is part of the shipped model, written by `forebay model card`.
    if path.suffix == ".md" and "ocsf" not in path.parts and relative(path) != "models/shipped/CARD.md"
]
KINDS = {
    "count": "counter",
    "gauge": "gauge",
    "gauge_function": "gauge",
    "observe": "histogram",
    "histogram": "histogram",
}


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_tables_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == updated(text), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_lines_are_readable_in_a_diff(page: Path) -> None:
    """Prose and examples have at most 120 columns; a table's row, a picture or one long word cannot be cut."""
    lines = page.read_text(encoding="utf-8").split("\n")
    numbered = [(number, line) for number, line in enumerate(lines, 1) if len(line) > MAX_COLUMNS]
    broken = [
        f"{relative(page)}:{number}: {len(line)} columns"
        for number, line in numbered
        if not line.startswith(("|", "![")) and " " in line.strip()
    ]
    assert not broken


def test_every_table_is_on_a_page() -> None:
    placed = {match[2] for page in pages() for match in TABLE_IN_PAGE.finditer(page.read_text(encoding="utf-8"))}
    assert placed == set(TABLES)


def exported() -> dict[str, set[tuple[str, tuple[str, ...] | None]]]:
    """Metric -> (kind, labels) of every call that names it; labels None where the call computes them."""
    calls: dict[str, set[tuple[str, tuple[str, ...] | None]]] = {}
    for module in modules("pipeline"):
        for node in ast.walk(module.tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            name = node.args[0]
            value = name.value if node.func.attr in KINDS and isinstance(name, ast.Constant) else ""
            if isinstance(value, str) and re.fullmatch(r"(forebay|messaging)_[a-z_]+", value):
                names = [word.arg for word in node.keywords]
                labels = None if None in names else tuple(sorted(str(name) for name in names))
                calls.setdefault(value, set()).add((KINDS[node.func.attr], labels))
    return calls


def test_every_metric_is_documented() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `((?:forebay|messaging)_[a-z_]+)` \| (\w+) \|([^|]*)\|", text, re.MULTILINE)
    documented = {name: kind for name, kind, _ in rows}
    metrics = exported()
    assert len(metrics) > 20
    kinds = {name: {kind for kind, _ in calls} for name, calls in metrics.items()}
    assert all(len(each) == 1 for each in kinds.values()), "one name, one kind"
    assert documented == {f"{name}_total" if "counter" in each else name: min(each) for name, each in kinds.items()}
    said = {name.removesuffix("_total"): set(re.findall(r"[a-z_]+", labels.split("(")[0])) for name, _, labels in rows}
    for name, calls in metrics.items():
        used = {label for _, labels in calls for label in labels or ()}
        assert used <= said[name], f"{name}: labels {sorted(used - said[name])} are not in the table"
        assert any(labels is None for _, labels in calls) or said[name] <= used, f"{name} has no {said[name] - used}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


def test_commands_and_settings_in_the_text_exist() -> None:
    known = {" ".join(row.split()[:3]) for row in re.findall(r"`(forebay [^`]+)`", commands())}
    scanned, broken = [], []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for command in re.findall(r"`(forebay [a-z][^`\n]*)`", text):
            words = command.split()
            scanned.append(command)
            noun = words[1].split("|")[0]
            verb = words[2].split("|")[0] if len(words) > 2 else ""
            names_a_verb = verb.isalpha() and verb.islower() and f"forebay {noun}" not in known
            if noun not in NOUNS or (names_a_verb and f"forebay {noun} {verb}" not in known):
                broken.append(f"{relative(page)}: {command}")
        for variable in re.findall(r"\bFOREBAY_[A-Z_]+\b", text):
            scanned.append(variable)
            name = variable.removeprefix("FOREBAY_").lower()
            others = variable in OTHER_VARIABLES or variable.startswith(TEST_VARIABLES)
            if not others and name not in Settings.model_fields:
                broken.append(f"{relative(page)}: {variable}")
    assert len(scanned) > 20
    assert not broken


def test_the_walk_names_functions_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([A-Za-z_.]+)` \(`([a-z_/]+\.py)`\)", text)
    assert len(named) > 40
    missing = [f"{name} in {file}" for name, file in named if name not in _defined(ROOT / file)]
    files = [file for file in re.findall(r"`([a-z_]+/[a-z_/.]+\.(?:py|toml))`", text) if not (ROOT / file).exists()]
    assert not missing + files


def _defined(path: Path) -> set[str]:
    """Functions and classes of a module, methods as `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else []:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{method.name}" for method in methods}
    return names


PRESCRIBED = {"confluent-kafka", "faust-streaming", "torch", "pyarrow", "numpy", "opentelemetry-sdk", "setuptools"}


def test_every_library_has_its_reason() -> None:
    """ADR 6 names each package of requirements/*.in but the prescribed ones."""
    text = (ROOT / "docs/adr/0006-libraries.md").read_text(encoding="utf-8")
    lines = [line for path in ROOT.glob("requirements/*.in") for line in path.read_text(encoding="utf-8").splitlines()]
    packages = {match[0] for line in lines if (match := re.match(r"[a-z0-9][\w.-]*", line))}
    assert len(packages) > 30
    missing = {name for name in packages - PRESCRIBED if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)}
    assert not missing
