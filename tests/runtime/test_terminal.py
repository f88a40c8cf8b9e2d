"""Hostile text on a terminal: it is shown, spelled out, and does nothing."""

import io
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.runtime.terminal import printable
from pipeline.tools.alerts.lines import shown
from pipeline.tools.cli.table import plain, table

HOSTILE = {
    "colours": ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
    "title of the window": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "C1": ("\x9b2J", "\\x9b2J"),
    "lines": ("a\r\nALERT: none", "a\\x0d\\x0aALERT: none"),
    "line separators": ("a\u2028b\u2029c\x85d", "a\\x2028b\\x2029c\\x85d"),
    "direction": ("\u202egpj.exe\u2066", "\\x202egpj.exe\\x2066"),
    "no width": ("plc\u200b-1\ufeff", "plc\\x200b-1\\xfeff"),
    "spaces": ("a\u00a0b\u3000c", "a\\xa0b\\x3000c"),
    "backspaces": ("safe\b\b\b\bevil\x7f", "safe\\x08\\x08\\x08\\x08evil\\x7f"),
    "surrogate and private use": ("\udcff\ue000\U000f0000", "\\xdcff\\xe000\\xf0000"),
    "letters of the world": ("Pumpe 3, Gävle 泵站 насос", "Pumpe 3, Gävle 泵站 насос"),
}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("way", [printable, plain, shown], ids=["printable", "table", "alert"])
def test_it_is_spelled_out_in_the_same_way_everywhere(way: Callable[[str], str], text: str) -> None:
    hostile, expected = HOSTILE[text]
    assert way(hostile) == expected


def test_nothing_of_it_reaches_the_terminal_and_nothing_is_markup() -> None:
    file = io.StringIO()
    hostile = "".join(text for text, _ in HOSTILE.values()) + "[bold red]trust me[/]"
    Console(file=file, width=2_000).print(table(["sensor"], [[hostile]]))
    written = file.getvalue()
    assert written.replace("\n", "").isprintable()
    assert written.count("\n") == 2 and "[bold red]trust me[/]" in written


@given(st.text(), st.integers(1, 50))
def test_so_many_characters_at_most_and_each_printable(text: str, most: int) -> None:
    cut = printable(text, most)
    assert cut.isprintable() and len(cut) <= most
    assert all(character == " " or unicodedata.category(character)[0] in "LMNPS" for character in cut)
    assert printable(cut, most) == cut
    assert printable(text) == text or not text.isprintable()
