r"""The records inside messages of other tools: wrappers of shippers looked through, each record recognised.

A message may be an object, lines, or an array of objects. A shipper may have put the line that it read into a field of
its own document (Filebeat, Vector, Fluent Bit, Docker: `message`, `log`), or text before it (rsyslog, containers):

    {"@timestamp":"..","message":"{\"ts\":1,..}"}           the record in `message`
    {"log":"{\"ts\":1,..}\n","stream":"stdout"}           the record in `log`
    2023-11-14T22:13:20Z stdout F {"ts":1,..}               the record from the first brace on
    [{"event_type":"flow",..},{"event_type":"dns",..}]      two records
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from pipeline.contracts.raw import MAX_RECORD_BYTES
from pipeline.ingest.compiled import compiled
from pipeline.ingest.formats.marks import INSIDE, KINDS, PATHS, WRAPPED, WRAPPER_PATHS
from pipeline.ingest.formats.own_marks import MAX_PREFIX_BYTES, MAX_WRAPPERS
from pipeline.ingest.recognise import MarkTable, Recognised, recognise, wrapped_text
from pipeline.ingest.scan.cells import ABSENT, ESCAPED, OBJECT, STRING, Bytes, Cells, Ints
from pipeline.ingest.scan.json_array import one_a_line
from pipeline.ingest.scan.lines import Lines, cut_lines

_UNKNOWN, _WRAPPED = KINDS.index(""), KINDS.index(WRAPPED)


class Level(NamedTuple):
    """Records as deep in wrappers as each other: n of them.

    `outer` (n,) is the row of the wrapper in the level before, for the first level the index of the message.
    """

    lines: Lines
    recognised: Recognised
    outer: Ints


class Records(NamedTuple):
    """n records of m messages, wrappers taken off, in the messages' order and in the order inside each."""

    text: Bytes
    starts: Ints  # (n,)
    ends: Ints  # (n,)
    kind: npt.NDArray[np.int16]  # (n,) index into KINDS
    level: Ints  # (n,) how many wrappers it was in
    row: Ints  # (n,) in that level

    def __len__(self) -> int:
        return len(self.starts)


def levels_of(payloads: Sequence[bytes], table: MarkTable) -> list[Level]:
    """The records of the payloads, level by level; a wrapper stands in its level, what it holds in the next."""
    levels = [_level([one_a_line(payload) for payload in payloads], None, table)]
    while True:
        kind = levels[-1].recognised.kind
        wrappers = np.flatnonzero(kind == _WRAPPED)
        if len(levels) > MAX_WRAPPERS:
            kind[wrappers] = _UNKNOWN
            return levels
        contents = _contents(levels[-1].recognised.cells.of(kind == _WRAPPED))
        broken = np.array([content is None for content in contents], np.bool_)
        kind[wrappers[broken]] = _UNKNOWN
        wrappers = wrappers[~broken]
        if not len(wrappers):
            return levels
        levels.append(_level([content for content in contents if content is not None], wrappers, table))


def innermost(levels: Sequence[Level]) -> Records:
    """The records themselves, without the wrappers; of one that is too long so much that ingest rejects it as such."""
    shifts = np.cumsum([0, *(len(level.lines.text) for level in levels)])
    paths = _paths(levels)
    rows = [np.flatnonzero(level.recognised.kind != _WRAPPED) for level in levels]
    path = np.concatenate([paths[depth][chosen] for depth, chosen in enumerate(rows)])
    order = np.lexsort(path.T[::-1])

    def gathered(parts: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        column: npt.NDArray[Any] = np.concatenate(list(parts))[order]
        return column

    pairs = list(zip(levels, rows, shifts.tolist(), strict=False))
    starts = gathered(level.lines.starts[chosen] + shift for level, chosen, shift in pairs)
    ends = gathered(level.lines.ends[chosen] + shift for level, chosen, shift in pairs)
    return Records(
        np.concatenate([level.lines.text for level in levels]),
        starts,
        np.minimum(ends, starts + MAX_RECORD_BYTES + 1),
        gathered(level.recognised.kind[chosen] for level, chosen, _ in pairs),
        gathered(np.full(len(chosen), depth) for depth, chosen in enumerate(rows)),
        gathered(rows),
    )


def _paths(levels: Sequence[Level]) -> list[Ints]:
    """Of each level, (n, levels) the row of each record's wrapper in every level, its own row last, then -1."""
    paths: list[Ints] = []
    for depth, level in enumerate(levels):
        count = len(level.outer)
        path = np.full((count, len(levels)), -1, np.int64)
        if depth:
            path[:, :depth] = paths[-1][level.outer][:, :depth]
        path[:, depth] = np.arange(count)
        paths.append(path)
    return paths


def _level(payloads: list[bytes], wrappers: Ints | None, table: MarkTable) -> Level:
    lines = cut_lines(payloads)
    starts = lines.starts.copy()
    _skip_prefixes(lines.text, starts, lines.ends)
    moved = starts != lines.starts
    recognised = recognise(lines._replace(starts=starts), table)
    # A prefix is one only where a known record follows: other text keeps all its bytes, for the reject.
    wrong = moved & (recognised.kind == _UNKNOWN)
    starts[wrong] = lines.starts[wrong]
    outer = lines.message if wrappers is None else wrappers[lines.message]
    return Level(lines._replace(starts=starts), recognised, outer)


@compiled
def _skip_prefixes(text: Bytes, starts: Ints, ends: Ints) -> None:
    """Move the start of a line that ends with a brace, and does not start with one, to its first brace."""
    for row in range(len(starts)):
        if ends[row] - starts[row] < 2 or text[starts[row]] == 123 or text[ends[row] - 1] != 125:
            continue
        for at in range(starts[row], min(ends[row], starts[row] + MAX_PREFIX_BYTES)):
            # A brace without a key behind it is the prefix's own (syslog's structured data).
            key = at + 1
            while key < ends[row] and text[key] == 32:
                key += 1
            if text[at] == 123 and (text[key] == 34 or text[key] == 125):
                starts[row] = at
                break


def _contents(cells: Cells) -> list[bytes | None]:
    """What is in each wrapper, the first of its fields that holds an object as text, else as one; None where none."""
    contents: list[bytes | None] = [None] * cells.rows
    for wanted in ((OBJECT,), (STRING, ESCAPED)):
        for path in reversed(WRAPPER_PATHS):
            column = PATHS[path]
            starts, ends, kinds = cells.starts[column], cells.ends[column], cells.kinds[column]
            inside = cells.kinds[INSIDE[path]] != ABSENT if path in INSIDE else np.zeros(cells.rows, np.bool_)
            chosen = np.isin(kinds, wanted) & (ends > starts) & (inside | (kinds != OBJECT))
            for row in np.flatnonzero(chosen).tolist():
                if wanted == (OBJECT,):
                    contents[row] = cells.text[starts[row] : ends[row]].tobytes()
                elif cells.text[starts[row]] == ord("{"):
                    contents[row] = _unquoted(cells.text[starts[row] - 1 : ends[row] + 1].tobytes())
    return contents


def _unquoted(quoted: bytes) -> bytes | None:
    try:
        text: str = orjson.loads(quoted)
        return text.encode()
    except (orjson.JSONDecodeError, UnicodeEncodeError):  # half a surrogate pair
        return None


def delimited(payloads: Sequence[bytes], tabs: bool, table: MarkTable) -> Level:
    """Lines of CSV or TSV, wrappers of shippers taken off; lines of a header, which begin with #, are no records."""
    bare = [_text_in(payload) for payload in payloads]
    lines = cut_lines(bare, strip_tabs=not tabs)
    records = lines.text[np.minimum(lines.starts, max(len(lines.text) - 1, 0))] != ord("#")
    kept = lines._replace(
        starts=lines.starts[records],
        ends=lines.ends[records],
        message=lines.message[records],
        raw_index=lines.raw_index[records],
    )
    return Level(kept, recognise(kept, table), kept.message)


def _text_in(payload: bytes) -> bytes:
    """The line that a shipper's document holds; the payload where it is no such document."""
    for _ in range(MAX_WRAPPERS):
        if payload.lstrip()[:1] != b"{":
            break
        try:
            document = orjson.loads(payload)
        except orjson.JSONDecodeError:
            break
        text = wrapped_text(document) if isinstance(document, dict) else ""
        if not text:
            break
        payload = text.encode("utf-8", "replace")
    return payload
