"""Every word of `quality` is said where people look it up, in the table of the sources."""

import re

from pipeline.ingest.formats.protocols import QUALITY
from tests.contract.tree import ROOT


def test_every_word_is_documented() -> None:
    page = (ROOT / "docs/sources.md").read_text(encoding="utf-8")
    table = page.split("| word | the source could not know |", 1)[1].split("\n\n", 1)[0]
    assert tuple(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == QUALITY
