"""What any file of ours must be: of a size that one reads in one go, and free of this or any other machine."""

import ast
import re
from pathlib import Path

from tests.contract.tree import PACKAGES, ROOT, modules, own_files, relative, show

CODE = {".py", ".sh", ".toml", ".yaml", ".yml", ".md"}
# Tables and text that grow by entries, not by thought.
TABLES = {"schemas/flow.toml", "docs/sources.md", "docs/features.md", "CHANGELOG.md"}
REPORT = re.compile(r"docs/evaluation/[^/]+/report\.md")  # written by `forebay model report`
MAX_LINES = 500
MAX_BODY_LINES = 60
MAX_COMPILED_LINES = 110
"""Lines of a function that numba compiles: one loop over local scalars, which helpers would have to pass around."""


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_no_file_is_long() -> None:
    files = [path for path in own_files() if path.suffix in CODE and relative(path) not in TABLES]
    files = [path for path in files if not REPORT.fullmatch(relative(path))]
    assert len(files) > 50 and ROOT / "Makefile" in own_files()
    broken = [f"{relative(path)}: {_lines(path)} lines" for path in files if _lines(path) > MAX_LINES]
    assert not broken, show([relative(path) for path in files], broken)


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many lines what it does takes: signature and docstring grow with what there is to say."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def long_functions(tree: ast.AST) -> list[str]:
    """Functions that do not fit a screen."""
    broken = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            decorators = " ".join(map(ast.unparse, node.decorator_list))
            compiled = any(name in decorators for name in ("njit", "compiled", "inlined"))
            lines = _body_lines(node)
            if lines > (MAX_COMPILED_LINES if compiled else MAX_BODY_LINES):
                broken.append(f"{node.lineno}: {node.name} has {lines} lines")
    return broken


def test_no_function_is_long() -> None:
    scanned, broken = [], []
    for module in modules(*PACKAGES, "tests"):
        scanned.append(module.name)
        broken += [f"{relative(module.path)}:{each}" for each in long_functions(module.tree)]
    assert len(scanned) > 20
    assert not broken, show(scanned, broken)


def test_long_functions_are_found() -> None:
    docstring = '    """Says\n' + "much\n" * 70 + '    """\n'
    for lines, decorator, expected in (
        (60, "", 0),
        (61, "", 1),
        (61, "@njit(cache=True)\n", 0),
        (61, "@inlined\n", 0),
        (111, "@njit\n", 1),
    ):
        text = decorator + "def work():\n" + docstring + "    x = 1\n" * lines
        assert len(long_functions(ast.parse(text))) == expected, (lines, decorator)


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|except[^\n]*:\s*pass\b|raise NotImplementedError")
    scanned, broken = [], []
    for module in modules(*PACKAGES):
        text = module.path.read_text(encoding="utf-8")
        scanned.append(module.name)
        broken += [f"{module.name}: {match[0].strip()!r}" for match in marks.finditer(text)]
    assert len(scanned) > 20
    assert not broken, show(scanned, broken)


# Paths of one machine, and addresses of registries: neither may be committed, everything must work elsewhere.
# (Written in pieces, so that this file does not break its own rule.)
FOLDER_OF_A_MACHINE = re.compile(
    r"(?<![\w./$}~-])/(?:" + "|".join(["work", "root", "home", "Users", "tmp", "opt/wheels", "mnt"]) + r")/[\w.-]+"
)
REGISTRIES = re.compile(
    r"\b(?:" + "|".join(
        name.replace(" ", r"\.") for name in (
            "pypi org", "pythonhosted org", "npmjs (?:org|com)", "maven org", "maven apache org", "crates io",
            "golang org", "debian org", "ubuntu com", "docker io", "ghcr io", "quay io", "nvcr io", "gcr io",
            "k8s io/[a-z]+:", "conda anaconda org", "huggingface co",
        )
    ) + ")", re.IGNORECASE,
)  # fmt: skip
WEB_ADDRESS = re.compile(r"\bhttps?://([A-Za-z0-9.-]+)")
# Names in texts and identifiers that nothing is ever fetched from.
KNOWN_HOSTS = re.compile(
    r"^(?:localhost|127\.0\.0\.1|0\.0\.0\.0|(?:[a-z0-9-]+\.)*example(?:\.(?:org|com|net))?|[a-z0-9-]+|(?:[a-z0-9-]+\.)*invalid"
    r"|(?:www\.)?apache\.org|creativecommons\.org|wiki\.creativecommons\.org|schema\.ocsf\.io|attack\.mitre\.org"
    r"|github\.com|keepachangelog\.com|semver\.org|json-schema\.org|www\.w3\.org|purl\.org|matplotlib\.org|kubernetes\.io|arxiv\.org|doi\.org)$",
    re.IGNORECASE,
)
# Licence texts and data that stay as their authors wrote them.
UPSTREAM = ("LICENSE", "loadtest/plants/westermo/", "schemas/ocsf/")


def machine_marks(text: str) -> list[str]:
    """Everything in a text that ties it to one machine or to a registry's address."""
    hosts = [match[0] for match in WEB_ADDRESS.finditer(text) if not KNOWN_HOSTS.fullmatch(match[1].rstrip("."))]
    return [match[0] for match in FOLDER_OF_A_MACHINE.finditer(text)] + REGISTRIES.findall(text) + hosts


def test_nothing_ties_the_files_to_a_machine() -> None:
    scanned, broken = [], []
    for path in own_files():
        name = relative(path)
        if name.startswith(UPSTREAM) and not name.endswith((".py", ".md")):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        scanned.append(name)
        broken += [f"{name}: {mark}" for mark in machine_marks(text)]
    assert {"Makefile", "pyproject.toml", "requirements/dev.txt", ".ci/run"} <= set(scanned)
    assert not broken, show(scanned, broken)


def test_the_scan_finds_what_it_is_for() -> None:
    slash, dot = "/", "."
    for text in (
        f"cd {slash}work{slash}main",
        f"--index-url https://{dot.join(['pypi', 'org'])}/simple",
        f"image: {dot.join(['quay', 'io'])}/strimzi/kafka",
        f"see https://{dot.join(['mirror', 'inside', 'corp'])}/x",
        f"open('{slash}tmp{slash}forebay.log')",
    ):
        assert machine_marks(text), text
    for text in (
        "http://127.0.0.1:9464/metrics",
        "$HOME/.cache",
        "var/tmp/x",
        "mountPath: /tmp",
        "https://example.org",
    ):
        assert not machine_marks(text), text
