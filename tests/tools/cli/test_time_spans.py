"""Spans of time as people type them."""

import pytest
import typer

from pipeline.tools.cli.time_spans import seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("24h", 86_400), ("30m", 1_800), ("90s", 90), ("0", 0), ("1.5d", 129_600)]
)
def test_a_span(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "h", "-1h", "nan", "infd", "1e400", "24 hours", "٣x"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected a number and s, m, h or d, as in 24h"):
        seconds(text)
