"""A labelled table of the user's, CSV or Parquet: its columns' kinds are read off the training table alone."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.errors import RefusedModel
from models.lab.tables import cells, hints
from models.lab.tables.table import NORMAL, Column, Table, one_by_one
from models.rows import Doubles, Strings

MAX_WORDS = 1_000  # of a category; more is an identifier, or text
FEW_WORDS = 20  # so few may differ in every second record of a small table
MAX_LABELS = 200


@dataclass(frozen=True, slots=True)
class Labelled:
    """A table and what a reader should know about how it was read."""

    table: Table
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """How every column is read, fixed by the training table.

    Attributes
    ----------
    columns : the retained columns, with the vocabulary of training
    dropped : columns with one value or none in training, or named by the user
    """

    label: str
    normal: str
    columns: tuple[Column, ...]
    dropped: tuple[str, ...]


def read(path: Path, label: str, normal: str, drop: Sequence[str] = ()) -> Labelled:
    """One table by itself; RefusedModel says what is wrong with it and what to do.

    Parameters
    ----------
    label : column that says what a record is; each of its values other than `normal` is an attack and a class
    normal : the label of normal records
    drop : columns to leave out, such as identifiers and times
    """
    data = cells.read(path)
    schema, notes = _schema(path, data, label, normal, drop)
    return Labelled(_table(path, data, schema, notes), tuple(notes))


def read_pair(train: Path, test: Path, label: str, normal: str, drop: Sequence[str] = ()) -> tuple[Labelled, Labelled]:
    """A training and a test table: kinds, dropped columns and words' positions are those of training.

    A word that only the test has gets a position after them; RefusedModel also where the test lacks a column.
    """
    first = cells.read(train)
    schema, notes = _schema(train, first, label, normal, drop)
    training_set = Labelled(_table(train, first, schema, notes), tuple(notes))
    second, remarks = cells.read(test), []
    extra = sorted(set(second.column_names) - set(first.column_names))
    if extra:
        remarks.append(f"{test.name}: columns that training lacks are left out: {_some(extra)}")
    return training_set, Labelled(_table(test, second, schema, remarks), tuple(remarks))


def _schema(path: Path, data: pa.Table, label: str, normal: str, drop: Sequence[str]) -> tuple[Schema, list[str]]:
    names, label = data.column_names, label.strip()
    # `--drop a,b` as well as `--drop a --drop b`; a column's own name may hold a comma.
    drop = [part for name in drop for part in ([name] if name in names else map(str.strip, name.split(",")))]
    for name in drop:
        if name not in names:
            raise RefusedModel(f"{path}: --drop: got no column {name}{_near(name, names)}; columns are {_some(names)}")
    if label in drop:
        raise RefusedModel(f"{path}: --drop: got the label's column {label}; leave it out of --drop")
    attack = _labels(path, data, label, normal) != NORMAL
    columns, notes, constant = [], [], []
    for name in names:
        if name == label or name in drop:
            continue
        column = _kind(path, name, data.column(name))
        if column is None:
            constant.append(name)
            continue
        columns.append(column)
        notes += hints.about(column, data.column(name), attack)
    if constant:
        notes.insert(0, f"{path.name}: left out, with one value or none in training: {_some(constant)}")
    if not columns:
        raise RefusedModel(f"{path}: got no column that varies beside {label}, expected at least one; check --drop")
    return Schema(label, normal, tuple(columns), (*drop, *constant)), notes


def _kind(path: Path, name: str, column: pa.ChunkedArray) -> Column | None:
    """What a training column is; None where it says nothing."""
    if cells.flag_like(column):
        values = cells.numbers(column)
        return None if _constant(values) else Column(name, "flag")
    if cells.number_like(column) or (cells.text_like(column) and cells.mostly_numbers(column)):
        values = cells.numbers(column)
        return None if _constant(values) else Column(name, "number")
    if not cells.text_like(column):
        raise RefusedModel(
            f"{path}: column {name}: got {column.type}, expected numbers or words; leave it out: --drop {name}"
        )
    words = np.unique(cells.words(column))
    if len(words) <= 1:
        return None
    if len(words) > MAX_WORDS or (len(words) > FEW_WORDS and len(words) > len(column) / 2):
        strange = cells.not_a_number(column)
        raise RefusedModel(
            f"{path}: column {name}: got {len(words)} different words in {len(column)} records (such as {strange!r}), "
            f"expected at most {MAX_WORDS} and half the records; an identifier, a time or text? leave it out: "
            f"--drop {name}"
        )
    return Column(name, "category", tuple(map(str, words)))


def _constant(values: Doubles) -> bool:
    finite = values[np.isfinite(values)]
    return not len(finite) or (len(finite) == len(values) and bool((finite == finite[0]).all()))


def _labels(path: Path, data: pa.Table, label: str, normal: str) -> Strings:
    """(n,) names of attacks, or `normal`; RefusedModel where they cannot be judged by."""
    if label not in data.column_names:
        near = _near(label, data.column_names)
        raise RefusedModel(
            f"{path}: got no column {label}{near}; columns are {_some(data.column_names)}; name it with --label"
        )
    if not data.num_rows:
        raise RefusedModel(f"{path}: got no records, expected a header and records below it")
    if not (cells.text_like(data.column(label)) or cells.number_like(data.column(label))):
        raise RefusedModel(f"{path}: column {label}: got {data.column(label).type}, expected names or numbers")
    text = cells.names(data.column(label))
    empty = np.flatnonzero(text == "")
    if len(empty):
        raise RefusedModel(
            f"{path}: column {label}: got no label in {len(empty)} records, first in record {empty[0] + 1}; label "
            "them or take them out"
        )
    labels = [str(name) for name in np.unique(text)]
    if len(labels) > MAX_LABELS:
        raise RefusedModel(
            f"{path}: column {label}: got {len(labels)} different labels, expected at most "
            f"{MAX_LABELS}; name the label's column with --label"
        )
    if normal.strip() not in labels:
        raise RefusedModel(
            f"{path}: column {label}: got no {normal!r}{_near(normal, labels)}; labels are "
            f"{_some(labels)}; name one with --normal"
        )
    if len(labels) == 1:
        raise RefusedModel(f"{path}: column {label}: got only {normal!r}, expected attacks as well")
    if NORMAL in labels and normal.strip() != NORMAL:
        raise RefusedModel(
            f"{path}: column {label}: got both {normal!r} and {NORMAL!r}, which is the word for "
            "no attack here; rename one"
        )
    result: Strings = np.where(text == normal.strip(), NORMAL, text)
    return result


def _table(path: Path, data: pa.Table, schema: Schema, notes: list[str]) -> Table:
    missing = [known.name for known in schema.columns if known.name not in data.column_names]
    if missing:
        raise RefusedModel(
            f"{path}: got no column {_some(missing)}, expected those of the training table; add them, or leave them "
            f"out of both: --drop {missing[0]}"
        )
    label = _labels(path, data, schema.label, schema.normal)
    columns: list[Column] = []
    values: list[Doubles] = []
    for column in schema.columns:
        cell = data.column(column.name)
        if column.kind == "category":
            if not (cells.text_like(cell) or cells.number_like(cell)):
                raise RefusedModel(f"{path}: column {column.name}: got {cell.type}, expected words as in training")
            column, codes = _coded(column, cells.words(cell))
            values.append(codes)
        else:
            values.append(_numbers(path, column.name, cell, notes))
        columns.append(column)
    return Table(path.name, tuple(columns), np.column_stack(values), label, label, one_by_one(len(label)))


def _coded(column: Column, words: Strings) -> tuple[Column, Doubles]:
    """Positions in training's vocabulary; words it lacks come after it."""
    distinct, inverse = np.unique(words, return_inverse=True)
    new = tuple(str(word) for word in distinct if str(word) not in set(column.vocabulary))
    vocabulary = column.vocabulary + new
    code_of = {word: code for code, word in enumerate(vocabulary)}
    codes = np.array([code_of[str(word)] for word in distinct], dtype=np.float64)[inverse]
    return Column(column.name, column.kind, vocabulary), codes


def _numbers(path: Path, name: str, column: Any, notes: list[str]) -> Doubles:
    values = cells.numbers(column)
    lost = int(np.isnan(values).sum()) - cells.missing(column)
    if lost * 2 > len(values):
        raise RefusedModel(
            f"{path}: column {name}: got words such as {cells.not_a_number(column)!r} in {lost} of {len(values)} "
            f"records, expected numbers as in training; leave it out: --drop {name}"
        )
    if lost:
        notes.append(f"{path.name}: {name}: {lost} cells that are no numbers count as missing")
    infinite = int(np.isinf(values).sum())
    if infinite:
        notes.append(f"{path.name}: {name}: {infinite} infinite cells count as missing")
        values = np.where(np.isinf(values), np.nan, values)
    return values


def _near(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, 1, 0.6)
    return f" (perhaps {close[0]}?)" if close else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
