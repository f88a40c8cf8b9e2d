"""Requirement files: every package pinned and hashed, in step with its *.in, and no index's address in them."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.contract.tree import ROOT

FOLDER = ROOT / "requirements"
NAMES = sorted(path.stem for path in FOLDER.glob("*.in"))
APART = {"uv", "peers", "flink"}  # in environments of their own
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; (.+?))?(?: \\)?$")


def wanted(path: Path) -> list[Requirement]:
    """The requirements of an .in file, those of the files it includes with them."""
    requirements: list[Requirement] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.split(" #")[0].strip()
        if text.startswith("-r "):
            requirements += wanted(path.parent / text[3:].strip())
        elif text and not text.startswith("#"):
            requirements.append(Requirement(text))
    return requirements


@cache
def pins(name: str) -> dict[str, list[tuple[Version, str]]]:
    """Package -> its pinned versions, each with the marker it is for."""
    versions: dict[str, list[tuple[Version, str]]] = {}
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        match = PIN.match(line)
        if match:
            versions.setdefault(canonicalize_name(match[1]), []).append((Version(match[2]), match[3] or ""))
    return versions


def needed_here(name: str) -> set[str]:
    """Every package an .in file leads to on this machine, by what the installed packages say they need."""
    environment = {key: str(value) for key, value in default_environment().items()}
    seen: set[tuple[str, str]] = set()
    queue = wanted(FOLDER / f"{name}.in")
    while queue:
        requirement = queue.pop()
        package = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (package, extra) in seen:
                continue
            seen.add((package, extra))
            try:
                following = requires(package) or []
            except PackageNotFoundError:
                pytest.fail(f"{package} is needed by {name}.in but not installed; run `make lock`, then `make setup`")
            for text in following:
                further = Requirement(text)
                if further.marker is None or further.marker.evaluate({**environment, "extra": extra}):
                    queue.append(further)
    return {package for package, _ in seen}


def test_there_are_requirement_files() -> None:
    assert {"base", "model", "broker", "dev", "uv"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_pinned_and_hashed(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert len(entries) == sum(len(versions) for versions in pins(name).values()) > 0
    loose = [entry.split()[0] for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)]
    assert not loose
    assert "://" not in text and "index-url" not in text and "find-links" not in text


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_is_not_stale(name: str) -> None:
    stale = [
        str(requirement)
        for requirement in wanted(FOLDER / f"{name}.in")
        if not any(
            requirement.specifier.contains(version, prereleases=True)
            for version, _ in pins(name).get(canonicalize_name(requirement.name), [])
        )
    ]
    assert not stale, f"{name}.txt has no fitting pin for {stale}; run `make lock`"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in APART])
def test_the_lock_holds_what_is_needed_and_nothing_else(name: str) -> None:
    here = {
        package
        for package, versions in pins(name).items()
        if any(not marker or Requirement(f"x; {marker}").marker.evaluate() for _, marker in versions)  # type: ignore[union-attr]
    }
    needed = needed_here(name)
    # uv's markers are rounded up to whole platforms: a pin may be for this platform and unneeded on it.
    unconditional = {package for package, versions in pins(name).items() if not versions[0][1]}
    assert not needed - here, f"{name}.txt lacks {sorted(needed - here)}; run `make lock`"
    assert not unconditional - needed, f"{name}.txt keeps {sorted(unconditional - needed)}; run `make lock`"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in APART | {"dev"}])
def test_the_files_agree_with_dev(name: str) -> None:
    differing = {
        package: (versions, pins("dev").get(package))
        for package, versions in pins(name).items()
        if {version for version, _ in versions} != {version for version, _ in pins("dev").get(package, [])}
    }
    assert not differing, f"{name}.txt and dev.txt pin different versions; run `make lock`"


def test_the_data_plane_goes_without_torch() -> None:
    assert "torch" not in pins("base") and "torch" in pins("model")
