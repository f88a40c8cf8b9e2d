"""Hints to the reader of a table: columns that look like an identifier, a time or the label."""

import re

import numpy as np
import pyarrow as pa

from models.lab.tables import cells
from models.lab.tables.table import Column
from models.rows import Doubles, Mask

# What a name is of stands last: src_addr is an address, src_bytes are bytes.
IDENTIFYING = re.compile(
    r"^id\.|^unnamed|(?:^|[^a-z])(?:id|uid|uuid|index|seq|ts|[sl]?time|timestamp|datetime|date|host|ip|mac|addr|address|"
    r"port|sport|dport|[sd]addr|srcip|dstip)$"
)
LEAST_RECORDS = 100  # fewer are all different, or fit the labels, by chance
MAX_VALUES = 50  # a column with more that fits the labels is no copy of them


def about(column: Column, data: pa.ChunkedArray, attack: Mask) -> list[str]:
    """Remarks on a training column; nothing is left out for them."""
    values = cells.numbers(data) if column.kind != "category" else _codes(column, data)
    distinct, inverse = np.unique(values, return_inverse=True)
    notes = []
    if IDENTIFYING.search(_spelt(column.name)) or pa.types.is_temporal(data.type):
        notes.append(f"{column.name}: by its name or type an identifier or a time; if it is: --drop {column.name}")
    elif len(distinct) == len(values) >= LEAST_RECORDS and bool((values == np.round(values)).all()):
        notes.append(
            f"{column.name}: a different whole number in every record; if it is an identifier: --drop {column.name}"
        )
    if len(distinct) <= MAX_VALUES and len(values) >= LEAST_RECORDS:
        share = np.bincount(inverse, attack, len(distinct)) / np.bincount(inverse, minlength=len(distinct))
        if bool(np.isin(share, (0.0, 1.0)).all()):
            notes.append(
                f"{column.name}: separates attacks from normal without an error; if it is a label: --drop {column.name}"
            )
    return notes


def _spelt(name: str) -> str:
    """Camel case and underscores as words: SrcAddr, src_addr → src addr."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()


def _codes(column: Column, data: pa.ChunkedArray) -> Doubles:
    result: Doubles = np.searchsorted(np.asarray(column.vocabulary), cells.words(data)).astype(np.float64)
    return result
