"""Files and folders of flow records, opened: unpacked, recognised, cut into records."""

from pathlib import Path

import numpy as np

from pipeline.contracts.date_order import DateOrder
from pipeline.contracts.raw import CONTENT_TYPES, DELIMITED
from pipeline.errors import BadData
from pipeline.ingest.files.interim import without_interim
from pipeline.ingest.files.json_file import KNOWN, read_json
from pipeline.ingest.files.near_miss import kind_of_file
from pipeline.ingest.files.read_bytes import MAX_FILE_BYTES, TooLarge, read_content
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.files.source_set import SourceSet
from pipeline.ingest.files.table_file import read_table, table_kind
from pipeline.runtime.terminal import printable

_BYTE_ORDER_MARKS = ((b"\xff\xfe\x00\x00", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


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
    for entry in sorted(entry for entry in Path(path).iterdir() if entry.is_file()):
        if entry.name == ".DS_Store" or entry.name.startswith("._"):
            continue
        try:
            sets.append(read_file(entry, content_type, left, date_order))
            left -= sets[-1].size_bytes
        except TooLarge:
            raise
        except BadData as error:
            unread.append(printable(str(error).split(", expected")[0]))
    if not sets:
        raise BadData(
            f"{path}: got a folder of {len(unread)} files, none of a known format, expected logs of one sensor"
        )
    return without_interim(SourceSet.joined(sets, unread)).in_zone(time_zone)


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
    data = _utf8(path, content.data)
    if not data.strip():
        return SourceSet.of([SourceFile(content_type or "", (), [], np.zeros(0, np.int64))])
    if content_type is None and (sentence := kind_of_file(data)):
        raise BadData(f"{path}: got {sentence}")
    kind = content_type or table_kind(path, data)
    source = read_table(path, kind, data, date_order) if kind in DELIMITED else _json(path, data, content_type)
    return SourceSet.of(source.files, (content.lost, *source.notes), source.skipped) if content.lost else source


def read_records(path: Path | str, content_type: str | None = None, max_bytes: int = MAX_FILE_BYTES) -> SourceFile:
    """The records of a file of one format; BadData where it has several."""
    files = read_file(path, content_type, max_bytes).files
    if len(files) != 1:
        raise BadData(f"{path}: got records of {len(files)} formats or headers, expected one")
    return files[0]


def _json(path: Path | str, data: bytes, content_type: str | None) -> SourceSet:
    if content_type is None and b"{" not in data:
        raise BadData(f"{path}: got an unrecognised format, {KNOWN}")
    return read_json(path, data, content_type)


def _utf8(path: Path | str, data: bytes) -> bytes:
    """Text in UTF-8, without a byte order mark; what Windows writes as UTF-16 is converted."""
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "")
    if not encoding and data[1:2] == b"\0" == data[3:4] and data[:1] != b"\0":
        encoding = "utf-16-le"
    if not encoding and data[:1] == b"\0" == data[2:3] and data[1:2] not in (b"\0", b""):
        encoding = "utf-16-be"
    if not encoding:
        return data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode(encoding).encode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise BadData(
            f"{path}: got text in {encoding.upper()} that is broken, expected UTF-8: {error.reason}"
        ) from error
