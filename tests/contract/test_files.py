"""What any file of ours must be: short, named after what it holds, free of this or any other machine."""

import ast
import re
import statistics
from pathlib import Path

from tests.contract.tree import PACKAGES, ROOT, modules, own_files, relative, show

CODE = {".py", ".sh", ".toml", ".yaml", ".yml", ".md"}
# Tables and text that grow by entries, not by thought.
TABLES = {"schemas/flow.toml", "docs/sources.md", "docs/features.md", "CHANGELOG.md"}
REPORT = re.compile(r"docs/evaluation/[^/]+/report\.md")  # written by `forebay model report`
MOST_LINES = 500
MEDIAN_LINES = 150
SAYS_NOTHING = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "base", "misc", "stuff"}
# kustomize calls the folder that overlays build on `base`; so do requirement files.
NAMED_BY_OTHERS = {"k8s/base", "requirements/base.in", "requirements/base.txt"}


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_no_file_is_long() -> None:
    files = [path for path in own_files() if path.suffix in CODE and relative(path) not in TABLES]
    files = [path for path in files if not REPORT.fullmatch(relative(path))]
    assert len(files) > 50 and ROOT / "Makefile" in own_files()
    broken = [f"{relative(path)}: {_lines(path)} lines" for path in files if _lines(path) > MOST_LINES]
    assert not broken, show([relative(path) for path in files], broken)


def test_most_modules_are_short() -> None:
    sizes = {module.name: _lines(module.path) for module in modules() if _lines(module.path)}
    assert len(sizes) > 20
    assert statistics.median(sizes.values()) <= MEDIAN_LINES, sorted(sizes.items(), key=lambda item: -item[1])[:10]


def test_names_say_what_is_inside() -> None:
    scanned, broken = [], []
    for path in own_files():
        name = relative(path)
        scanned.append(name)
        if name.startswith(UPSTREAM) or any(name == known or name.startswith(known + "/") for known in NAMED_BY_OTHERS):
            continue
        words = {word for part in Path(name).with_suffix("").parts for word in part.lower().split("_")}
        broken += [f"{name}: '{word}'" for word in words & SAYS_NOTHING]
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                words = {word.lower() for word in re.findall(r"[A-Z][a-z]+", node.name)}
                broken += [f"{relative(module.path)}:{node.lineno}: class {node.name}"] * bool(words & SAYS_NOTHING)
    assert len(scanned) > 80
    assert not broken, show(scanned, broken)


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|except[^\n]*:\s*pass\b|raise NotImplementedError")
    scanned, broken = [], []
    for module in modules(*PACKAGES):
        text = module.path.read_text(encoding="utf-8")
        scanned.append(module.name)
        broken += [f"{module.name}: {found[0].strip()!r}" for found in marks.finditer(text)]
    assert len(scanned) > 20
    assert not broken, show(scanned, broken)


# Places of one machine, and addresses of registries: neither may be committed, everything must work elsewhere.
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
    r"|github\.com|keepachangelog\.com|semver\.org|json-schema\.org|www\.w3\.org|purl\.org|matplotlib\.org|kubernetes\.io|arxiv\.org|doi\.org)$"
)
# Licence texts and data that stay as their authors wrote them.
UPSTREAM = ("LICENSE", "loadtest/plants/westermo/", "schemas/ocsf/")


def machine_marks(text: str) -> list[str]:
    """Everything in a text that ties it to one machine or to a registry's address."""
    hosts = [found[0] for found in WEB_ADDRESS.finditer(text) if not KNOWN_HOSTS.fullmatch(found[1].rstrip("."))]
    return [found[0] for found in FOLDER_OF_A_MACHINE.finditer(text)] + REGISTRIES.findall(text) + hosts


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
