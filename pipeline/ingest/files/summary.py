"""What nfdump writes below its table, also between tables that were written one after another."""

import re
from collections.abc import Sequence

# Of the long CSV: this word, a line of names, a line of numbers.
SUMMARY = b"Summary"
LINES_BELOW = 2
_FOR_PEOPLE = re.compile(rb"(Summary|Time window|Total (flows|records|bytes)[^:]*|Blocks skipped|Sys|Wall|Runtime): ")


def is_summary_for_people(line: bytes) -> bool:
    """Whether a line is one of the summary as text, which other versions write."""
    return _FOR_PEOPLE.match(line) is not None


def without_summary(lines: Sequence[bytes]) -> list[bytes]:
    """The lines that are rows."""
    rows: list[bytes] = []
    passing_over = 0
    for line in lines:
        if passing_over:
            passing_over -= 1
        elif line == SUMMARY:
            passing_over = LINES_BELOW
        elif not is_summary_for_people(line):
            rows.append(line)
    return rows
