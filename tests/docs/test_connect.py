"""The pages of docs/connect show their tools' files as the tests run them, and the table has a row a page."""

import re
from pathlib import Path

import pytest
import yaml

from schemas.intake import FileEntry, TopicSource
from tests.contract.tree import ROOT, relative

FOLDER = ROOT / "docs/connect"
# README.md has the table, files.md is about the follower.
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem not in ("README", "files"))
FILE_BLOCK = re.compile(r"<!-- file: (\S+) -->\n\n```\w*\n(.*?)```\n", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_page_shows_every_file_of_its_tool_as_it_is(page: Path) -> None:
    shown = dict(FILE_BLOCK.findall(page.read_text(encoding="utf-8")))
    files = {str(path.relative_to(FOLDER)): path.read_text(encoding="utf-8") for path in (FOLDER / page.stem).glob("*")}
    assert shown == files and files


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_page_is_in_the_table_and_says_what_was_tested(page: Path) -> None:
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("|") and f"({page.name})" in line]
    assert len(rows) == 1
    text = page.read_text(encoding="utf-8")
    assert ("**not tested here**" in rows[0]) == ("Not tested here" in text)
    assert re.search(r"^(Tested|Not tested here): ", text, re.MULTILINE)


def test_every_source_is_one() -> None:
    sources = [each for path in FOLDER.glob("*/sources.yaml") for each in yaml.safe_load(path.read_text())["sources"]]
    for source in sources:
        (FileEntry if {"file", "files"} & set(source) else TopicSource).model_validate(source)
    assert len(sources) > 3
