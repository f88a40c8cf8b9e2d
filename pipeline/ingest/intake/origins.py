"""Whose records they are: the site and sensor of each, from the record, its wrappers, its message, or the settings."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.raw import name_of
from pipeline.ingest.intake.records import Level, Records
from pipeline.ingest.recognise import MarkTable
from pipeline.ingest.scan.cells import Ints
from pipeline.ingest.scan.text import text_column
from schemas.intake import Origin


class Envelope(NamedTuple):
    """What a message of another tool says beside its records."""

    topic: str
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Names(NamedTuple):
    """(n,) `code` of each record's name in `names`; "" where it has none that can be one."""

    code: Ints
    names: list[str]


def fields_of(origins: Sequence[str | Origin]) -> dict[str, tuple[str, ...]]:
    """The paths of the fields that the origins look up."""
    fields = [origin.field for origin in origins if isinstance(origin, Origin) and origin.field is not None]
    return {field: tuple(field.split(".")) for field in fields}


def names_of(
    origin: str | Origin, levels: Sequence[Level], records: Records, envelopes: Sequence[Envelope], table: MarkTable
) -> Names:
    """The name of each record.

    A name that comes with a record is checked as headers are: 1..128 bytes of text without control characters. One
    that is missing or none is the `else` of the settings; without it, the record has no name, and ingest rejects it.
    """
    count = len(records)
    if isinstance(origin, str):
        return Names(np.zeros(count, np.int64), [origin])
    column = _of_field(origin.field, levels, table) if origin.field else _of_messages(origin, levels, envelopes)
    ordered = pa.concat_arrays(column).take(pa.array(_offsets(levels)[records.level] + records.row))
    encoded = pc.dictionary_encode(ordered)
    fallback = origin.otherwise or ""
    names = [name_of(text.encode()) or fallback for text in encoded.dictionary.to_pylist()]
    return Names(encoded.indices.fill_null(len(names)).to_numpy().astype(np.int64), [*names, fallback])


def _offsets(levels: Sequence[Level]) -> Ints:
    """Where each level's rows begin when the levels stand one after another."""
    starts: Ints = np.cumsum([0, *(len(level.outer) for level in levels)])[:-1]
    return starts


def _of_field(field: str, levels: Sequence[Level], table: MarkTable) -> list[pa.Array]:
    """Of each level, the field of each record, or where it has none, that of its wrapper."""
    column = table.fields[tuple(field.split("."))]
    texts: list[pa.Array] = []
    for level in levels:
        text = text_column(level.recognised.cells, column)[0]
        texts.append(pc.coalesce(text, texts[-1].take(pa.array(level.outer))) if texts else text)
    return texts


def _of_messages(origin: Origin, levels: Sequence[Level], envelopes: Sequence[Envelope]) -> list[pa.Array]:
    """Of each level, what the message of each record says."""
    texts: list[pa.Array] = []
    outer = pa.array([_in_envelope(origin, envelope) for envelope in envelopes], pa.string())
    for level in levels:
        outer = outer.take(pa.array(level.outer))
        texts.append(outer)
    return texts


def _in_envelope(origin: Origin, envelope: Envelope) -> str | None:
    """The name that a message states; None where it states none."""
    if origin.topic is not None:
        match = re.search(origin.topic, envelope.topic)
        return match[1] if match else None
    value = envelope.key
    if origin.header is not None:
        value = next((value for name, value in reversed(envelope.headers) if name == origin.header), None)
    return name_of(value) or None
