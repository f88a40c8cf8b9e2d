"""Files and folders of flow records, opened: unpacked, recognised, cut into records."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.contracts.date_order import DateOrder
from pipeline.contracts.raw import CONTENT_TYPES, DELIMITED
from pipeline.errors import BadData
from pipeline.ingest.files.guess import HEAD_BYTES
from pipeline.ingest.files.interim import without_interim
from pipeline.ingest.files.json_file import KNOWN, read_json
from pipeline.ingest.files.near_miss import kind_of_file
from pipeline.ingest.files.other_tools import kind_of_text
from pipeline.ingest.files.read_bytes import MAX_FILE_BYTES, TooLarge, read_content
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.files.source_set import SourceSet
from pipeline.ingest.files.table_file import read_table, table_kind
from pipeline.ingest.files.text import as_text
from pipeline.runtime.terminal import printable

# A program writes text before its records; what a file is shows in one of the first lines.
_HEAD_LINES = 20
_NO_RECORD = "it has a header and no record below it"


def read_source(
    path: Path | str,
    content_type: str | None = None,
    max_bytes: int = MAX_FILE_BYTES,
    date_order: DateOrder | None = None,
    time_zone: str = "",
) -> SourceSet:
    """The records of a file; of a folder, those of all its files that are of a known format, by name.

    Times without an offset are local ones of `time_zone`.
    Interim records of a connection are left out. BadData where a file cannot be read, a folder holds none, or the
    records have more than `max_bytes`, unpacked.
    """
    if str(path) == "-" or not Path(path).is_dir():
        return without_interim(read_file(path, content_type, max_bytes, date_order)).in_zone(time_zone)
    sets: list[SourceSet] = []
    unread: list[str] = []
    left = max_bytes
    for entry in sorted(Path(path).iterdir()):
        if entry.name in (".DS_Store", "__MACOSX") or entry.name.startswith("._"):
            continue
        if entry.is_dir():
            unread.append(printable(f"{entry}: got a folder in the folder; name it to have it read"))
            continue
        if not entry.is_file():
            continue
        try:
            sets.append(read_file(entry, content_type, left, date_order))
            left -= sets[-1].size_bytes
        except TooLarge:
            raise
        except BadData as error:
            unread.append(printable(str(error).split(", expected")[0]))
    if not sets:
        raise BadData(_nothing_in(path, unread))
    return without_interim(SourceSet.joined(sets, unread)).in_zone(time_zone)


def _nothing_in(folder: Path | str, unread: Sequence[str]) -> str:
    """What to say of a folder in which nothing is read."""
    inner = sum(entry.is_dir() for entry in Path(folder).iterdir())
    got = f"got a folder of {len(unread) - inner} files, none of a known format"
    got += f", and {inner} folders, expected logs of one sensor; name one of the folders" if inner else ""
    remedy = "" if inner else ", expected logs of one sensor"
    first = next((said for said in unread if "a folder in the folder" not in said), "")
    return f"{folder}: {got}{remedy}" + (f"; the first: {first}" if first else "")


def read_file(
    path: Path | str,
    content_type: str | None = None,
    max_bytes: int = MAX_FILE_BYTES,
    date_order: DateOrder | None = None,
) -> SourceSet:
    """The records of a file, in the file's order, labels taken out.

    BadData where the format is not given and cannot be recognised, where the header is missing, or where the file has
    more than `max_bytes`, unpacked.
    """
    if content_type is not None and content_type not in CONTENT_TYPES:
        raise BadData(f"format: got {content_type}, expected one of {', '.join(CONTENT_TYPES)}")
    content = read_content(path, max_bytes)
    source = parse_source(path, content.data, content_type, date_order)
    return replace(source, notes=(content.lost, *source.notes)) if content.lost else source


def parse_source(
    path: Path | str, content: bytes, content_type: str | None = None, date_order: DateOrder | None = None
) -> SourceSet:
    """The records in a file's bytes, unpacked; BadData as of `read_file`."""
    if content_type is None and (sentence := kind_of_file(content)):
        raise BadData(f"{path}: got {sentence}")
    data, notes = as_text(path, content)
    if not data.strip(b" \t\r\n[]"):
        said = "it is empty" if not content else "it holds no record"
        return SourceSet.of([SourceFile(content_type or "", (), [], np.zeros(0, np.int64))], [said])
    kind = content_type or table_kind(path, data)
    source = read_table(path, kind, data, date_order) if kind in DELIMITED else _json(path, data, content_type)
    if not len(source) and not source.skipped:
        notes = (*notes, _NO_RECORD)
    return replace(source, notes=(*notes, *source.notes)) if notes else source


def _json(path: Path | str, data: bytes, content_type: str | None) -> SourceSet:
    """Records of JSON; BadData where there are none, which says what the text is where that is known."""
    unknown = f"got an unrecognised format, {KNOWN}"
    try:
        if content_type is None and b"{" not in data:
            raise BadData(f"{path}: {unknown}")
        return read_json(path, data, content_type)
    except BadData as error:
        sentence = kind_of_text(data[:HEAD_BYTES].split(b"\n")[:_HEAD_LINES]) if unknown in str(error) else ""
        if not sentence:
            raise
        raise BadData(f"{path}: got {sentence}") from error
