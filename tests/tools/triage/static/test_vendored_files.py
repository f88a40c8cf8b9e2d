"""What others wrote is as they published it, with its licence; what is ours has nothing inline and asks nobody else."""

import hashlib
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[4] / "pipeline/tools/triage/static"
SHA_256 = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
OURS = [path for path in sorted(STATIC.rglob("*.*")) if "vendor" not in path.parts]


def test_vendored_files_are_those_of_the_package() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (STATIC / "vendor/uplot").iterdir()}
    assert found == SHA_256
    assert "uPlot" in (STATIC / "vendor/THIRD-PARTY.md").read_text()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_no_file_makes_markup_of_text_or_asks_anybody_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
    assert not re.findall(forbidden, text)
    assert not re.findall(r"https?://(?!www\.w3\.org/)", text)
    if path.suffix == ".html":
        assert not re.findall(r"\son\w+=|\sstyle=|<style|<script>|javascript:", text)
    assert text.count("\n") <= 500


def test_every_file_of_the_page_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in OURS)
    unused = [path.name for path in OURS if path.name not in text and path.name != "index.html"]
    assert not unused
