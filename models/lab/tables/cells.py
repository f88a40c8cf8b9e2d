"""A CSV or Parquet file's cells, as numbers or words: what is missing, what is a number, what is a flag."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import RefusedModel
from models.rows import Doubles, Ints, Strings

MISSING = ("", "-", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none")
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
SEPARATORS = (",", ";", "\t", "|")
PARQUET = b"PAR1"


def read(path: Path) -> pa.Table:
    """All columns; a CSV's are text. RefusedModel where the file is neither or broken, with the location if known."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if not head:
            raise RefusedModel(f"{path}: got an empty file, expected CSV with a header, or Parquet")
        data = _parquet(path) if head == PARQUET else _csv(path)
    except OSError as error:
        raise RefusedModel(f"{path}: got {error.strerror or error}, expected a CSV or Parquet file") from error
    data = data.rename_columns([name.strip() for name in data.column_names])  # some write `a, b`
    twice = sorted({name for name in data.column_names if data.column_names.count(name) > 1})
    if twice:
        raise RefusedModel(f"{path}: got more than one column named {', '.join(twice[:5])}; rename or remove them")
    return data


def _parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        data = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise RefusedModel(f"{path}: got a broken Parquet file ({error}); write it again") from error
    return pa.table(
        {
            name: pc.cast(column, column.type.value_type) if pa.types.is_dictionary(column.type) else column
            for name, column in zip(data.column_names, data.columns, strict=True)
        }
        if len(set(data.column_names)) == len(data.column_names)
        else data
    )


def _csv(path: Path) -> pa.Table:
    from pyarrow import csv as arrow

    separator, names = _header(path)
    try:
        return arrow.read_csv(
            path,
            # One thread, so that a broken record is named by its number.
            read_options=arrow.ReadOptions(use_threads=False),
            parse_options=arrow.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=arrow.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
    except pa.ArrowException as error:
        if "UTF8" in str(error) or "UTF-8" in str(error):
            raise RefusedModel(f"{path}: {error}; convert it: iconv -f latin1 -t utf-8") from error
        raise RefusedModel(f"{path}: {error}; every record needs one field a column") from error


def _header(path: Path) -> tuple[str, list[str]]:
    """Separator and column names, from the first line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline(1_000_000)
    except UnicodeDecodeError as error:
        raise RefusedModel(
            f"{path}: got bytes that are no UTF-8 at byte {error.start}; convert it: iconv -f latin1 -t utf-8"
        ) from error
    if "\0" in line:
        raise RefusedModel(f"{path}: got zero bytes in its first line, expected CSV or Parquet; is it compressed?")
    separator = max(SEPARATORS, key=line.count)
    try:
        names = next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise RefusedModel(f"{path}: got no header ({error}), expected names of columns in its first line") from error
    if not names or not any(name.strip() for name in names):
        raise RefusedModel(f"{path}: got an empty first line, expected names of columns")
    return separator, names


def text_like(column: pa.ChunkedArray) -> bool:
    """Whether the cells are words (or true and false)."""
    kind = column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind))


def number_like(column: pa.ChunkedArray) -> bool:
    """Whether all cells that are not missing are numbers, times among them; True where all are missing."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _first_strange(column) is None
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
        or pa.types.is_time(kind)
        or pa.types.is_duration(kind)
        or pa.types.is_null(kind)
    )


def flag_like(column: pa.ChunkedArray) -> bool:
    """Whether the column holds only 0 and 1, or only true and false, and both."""
    if pa.types.is_boolean(column.type):
        return True
    if text_like(column):
        texts = {word.strip() for word in pc.unique(column).to_pylist()[:64] if word is not None} - set(MISSING)
        if texts and texts <= set(TRUE + FALSE):
            return len(pc.unique(column)) <= 64
        if not texts <= {"0", "1", "0.0", "1.0"}:
            return False
    if not number_like(column):
        return False
    values = numbers(column)
    distinct = set(np.unique(values[~np.isnan(values)]).tolist())
    return distinct == {0.0, 1.0}


def numbers(column: pa.ChunkedArray) -> Doubles:
    """(n,) float64, NaN where a cell is missing or is no number."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        if pa.types.is_temporal(kind):
            whole = pa.int32() if pa.types.is_date32(kind) or pa.types.is_time32(kind) else pa.int64()
            column = pc.cast(column, whole)
        values: Doubles = pc.cast(column, pa.float64(), safe=False).to_numpy().astype(np.float64)
        return values
    cells, index = _distinct(column)
    return np.array([_number(cell) for cell in cells], dtype=np.float64)[index]


def words(column: pa.ChunkedArray) -> Strings:
    """(n,) cells as text without spaces around them; a missing cell is empty."""
    texts = names(column)
    result: Strings = np.where(np.isin(texts, MISSING), "", texts)
    return result


def names(column: pa.ChunkedArray) -> Strings:
    """(n,) cells as text without spaces around them: 1.0 is 1, null is empty."""
    cells, index = _distinct(column)
    result: Strings = np.asarray([_name(cell) for cell in cells], dtype=np.str_)[index]
    return result


def _name(cell: Any) -> str:
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _distinct(column: pa.ChunkedArray) -> tuple[list[Any], Ints]:
    """The distinct cells, null last, and each cell's index among them: there are fewer of them than records."""
    coded = pc.dictionary_encode(column.combine_chunks())
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    distinct = [*coded.dictionary.to_pylist(), None]
    index: Ints = coded.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False).astype(np.int64)
    return distinct, index


def mostly_numbers(column: pa.ChunkedArray) -> bool:
    """Whether fewer than one cell in a hundred is no number, and the numbers differ."""
    lost = int(np.isnan(numbers(column)).sum()) - missing(column)
    return 100 * lost < len(column) - missing(column) and len(np.unique(numbers(column))) > 2


def missing(column: pa.ChunkedArray) -> int:
    """How many cells are empty or a word for missing."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        counts = pc.value_counts(column).to_pylist()
        return sum(entry["counts"] for entry in counts if entry["values"] is None or entry["values"].strip() in MISSING)
    return int(np.isnan(numbers(column)).sum())


def not_a_number(column: pa.ChunkedArray) -> str:
    """The first cell that is no number, or the first cell."""
    strange = _first_strange(column) if text_like(column) else None
    return strange if strange is not None else str(column[0].as_py())


def _first_strange(column: pa.ChunkedArray) -> str | None:
    for cell in pc.unique(column).to_pylist():
        if cell is not None and str(cell).strip() not in MISSING and _number(str(cell)) != _number(str(cell)):
            return str(cell)
    return None


def _number(cell: str | None) -> float:
    """A cell as a number; NaN where it is missing or none. Python's underscores in digits are none."""
    if cell is None or "_" in cell or cell.strip() in MISSING:
        return float("nan")
    text = cell.strip()
    if text in TRUE or text in FALSE:
        return float(text in TRUE)
    try:
        return float(text)
    except ValueError:
        return float("nan")
