"""The changelog's newest release is the version that is built."""

import re
import tomllib

from tests.contract.tree import ROOT


def test_changelog_names_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", text, re.MULTILINE)
    assert releases, "CHANGELOG.md has no '## [x.y.z] - YYYY-MM-DD'"
    assert releases[0][0] == version, f"CHANGELOG.md: newest is {releases[0][0]}, pyproject.toml says {version}"


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "9. Accepting Warranty or Additional Liability" in text
