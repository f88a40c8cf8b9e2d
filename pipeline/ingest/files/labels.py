"""Labels taken out of records before they are sent: what a data set knows must not reach what it tests.

A label is any column or key whose name contains "label". A record that does not fit its header, or is no JSON, is left
as it is: it becomes a reject.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

import orjson

# IoT-23 writes three columns into the last field, with three spaces between them.
_JOINED = "   "


def is_label(name: str) -> bool:
    """Whether a column or key of that name is a label."""
    return "label" in name.lower()


def strip_columns(records: list[bytes], header: Sequence[str], separator: str) -> tuple[list[bytes], list[str]]:
    """Delimited records and their header without label columns."""
    if not any(map(is_label, header)):
        return records, list(header)
    retained = [_retained_parts(name) for name in header]
    names = [name.split(_JOINED)[part] for name, parts in zip(header, retained, strict=True) for part in parts]
    at = separator.encode()
    trailing = sum(not parts for parts in retained)
    if all(retained[: len(retained) - trailing]) and all(len(name.split(_JOINED)) == 1 for name in header):
        # Whole columns at the end, the usual case.
        return [
            record.rsplit(at, trailing)[0]
            if b'"' not in record and record.count(at) == len(header) - 1
            else _strip(record, retained, separator)
            for record in records
        ], names
    return [_strip(record, retained, separator) for record in records], names


def _retained_parts(name: str) -> list[int]:
    """Which parts of a column are retained; a column is one part unless several are joined."""
    parts = name.split(_JOINED)
    return [index for index, part in enumerate(parts) if not is_label(part)]


def _strip(record: bytes, retained: list[list[int]], separator: str) -> bytes:
    text = record.decode("utf-8", "surrogateescape")
    quoted = separator == "," and '"' in text
    fields = next(csv.reader([text]), []) if quoted else text.split(separator)
    if len(fields) != len(retained):
        return record
    out: list[str] = []
    for field, parts in zip(fields, retained, strict=True):
        pieces = field.split(_JOINED) if (parts and max(parts) > 0) or _JOINED in field else [field]
        out += [pieces[part] for part in parts if part < len(pieces)]
    if not quoted:
        return separator.join(out).encode("utf-8", "surrogateescape")
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(out)
    return line.getvalue().encode("utf-8", "surrogateescape")


def strip_keys(records: list[bytes]) -> list[bytes]:
    """JSON records without keys that are labels, at any depth; records without the word are not touched."""
    return [_strip_json(record) if b"label" in record.lower() else record for record in records]


def _strip_json(record: bytes) -> bytes:
    try:
        document = orjson.loads(record)
    except orjson.JSONDecodeError:
        return record
    return orjson.dumps(_without_labels(document))


def _without_labels(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_labels(inner) for key, inner in value.items() if not is_label(key)}
    if isinstance(value, list):
        return [_without_labels(inner) for inner in value]
    return value
