"""A block of flows in the making: columns read from cells, and the first thing wrong with each row.

Ranges come from the field table (`schemas/flow.toml`); a check marks rows and never raises:
one bad value costs one row.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.ingest.reasons import INDEX, REASONS
from pipeline.ingest.scan.addresses import address_column, mac_column
from pipeline.ingest.scan.cells import Bytes, Cells, Ints
from pipeline.ingest.scan.ics_cells import read_code
from pipeline.ingest.scan.local_times import AHEAD_US, in_utc, lacks_offset, of_one_flow
from pipeline.ingest.scan.scalars import (
    MALFORMED,
    MISSING,
    OK,
    OUT_OF_RANGE,
    SECONDS,
    Floats,
    Statuses,
    read_hex_byte,
    read_number,
    read_time,
    read_whole,
)
from pipeline.ingest.scan.tcp_flags import read_tcp_flags
from pipeline.ingest.scan.text import text_column
from schemas.fields import arrow_schema, load

Mask = npt.NDArray[np.bool_]
Wholes = npt.NDArray[np.uint64]

_WIDEST = {"uint8": 2**8 - 1, "uint16": 2**16 - 1, "uint32": 2**32 - 1, "uint64": 2**63 - 1}
_SHOWN_BYTES = 100
# Days since 1900 of 1990 and of 2100: as seconds they are hours of 1 January 1970, when no such table was written.
_SERIAL_DAYS = (32_874, 73_051)
_SHORTEST_DATE = len("1970-01-01 00:00:00")
# As spreadsheets write an exponent (E+09), and how many bytes a number with one has that is exact to seconds.
_EXPONENT, _EXACT_BYTES = len("E+09"), len("1.234567890E+09")
_NO_SERIAL_DATE = (
    "a time; a spreadsheet's serial date or rounded number is none: write the file again, and do not save it from a "
    "spreadsheet"
)


@cache
def limits(target: str) -> tuple[int, int]:
    """Least and greatest valid value of a numeric field of the flow table."""
    field = load("flow").field(target)
    return field.min or 0, field.max if field.max is not None else _WIDEST.get(field.type, 2**63 - 1)


class Draft:
    """n rows of one format.

    `columns` holds what is read so far, by the flow table's field names; `problem` is the index of each row's first
    reason, 0 where nothing is wrong.
    """

    def __init__(self, cells: Cells, sources: Sequence[str]) -> None:
        self.cells = cells
        self.column = {name: index for index, name in enumerate(sources)}
        self.columns: dict[str, pa.Array] = {}
        self.problem = cells.problem.copy()
        self._notes: list[tuple[str, int, str]] = []  # field, column of the cell (-1: none), what was expected
        self._note = np.full(cells.rows, -1, np.int64)
        self._earlier_us: dict[str, Ints] = {}  # by field, of local times that come twice (local_times.py)

    @classmethod
    def joined(cls, cells: Cells, sources: Sequence[str], parts: Sequence[tuple[Mask, "Draft"]]) -> "Draft":
        """One draft of rows that were normalised apart; `parts` say which rows of `cells` each draft has.

        Every row is in one part; a column that a part lacks is null there.
        """
        whole = cls(cells, sources)
        rows = np.concatenate([np.flatnonzero(mask) for mask, _ in parts])
        order = pa.array(np.argsort(rows, kind="stable"))
        for name in dict.fromkeys(name for _, part in parts for name in part.columns):
            kind = arrow_schema("flow").field(name).type
            pieces = [part.columns.get(name, pa.nulls(part.count, kind)) for _, part in parts]
            whole.columns[name] = pa.concat_arrays(pieces).take(order)
        for mask, part in parts:
            whole.problem[mask] = part.problem
            whole._note[mask] = np.where(part._note < 0, -1, part._note + len(whole._notes))
            whole._notes += part._notes
        return whole

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.cells.rows

    def reject(self, rows: Mask, reason: str, target: str = "", source: str = "", expected: str = "") -> None:
        """Mark `rows` that nothing was wrong with so far."""
        fresh = rows & (self.problem == 0)
        if fresh.any():
            self.problem[fresh] = INDEX[reason]
            self._note[fresh] = len(self._notes)
            self._notes.append((target or source, self.column.get(source, -1), expected or REASONS[reason]))

    def detail(self, row: int) -> str:
        """What is wrong with one row, for people: field, what was got, what was expected."""
        if self._note[row] < 0:
            start, end = self.cells.record_starts[row], self.cells.record_ends[row]
            head = self.cells.text[start : min(end, start + _SHOWN_BYTES)].tobytes()
            return f"got {end - start} bytes {_shown(head)}, expected {tuple(REASONS.values())[self.problem[row]]}"
        field, column, expected = self._notes[self._note[row]]
        if self.problem[row] == INDEX["too_many_sensors"]:  # nothing is wrong with the record: no field to show
            return f"{field}, expected {expected}"
        got = _shown(self.cells.bytes_of(column, row)) if column >= 0 and self.cells.kinds[column, row] else "nothing"
        return f"{field} {got}, expected {expected}"

    def put(self, target: str, values: npt.NDArray[np.generic], valid: Mask | None = None) -> None:
        """Set a numeric column; rows that are not `valid` are null."""
        kind = arrow_schema("flow").field(target).type
        null = None if valid is None or valid.all() else ~valid
        with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is not `valid`
            fitting = values.astype(kind.to_pandas_dtype(), copy=False)
        self.columns[target] = pa.array(fitting, kind, mask=null)

    def _status(self, statuses: Statuses, target: str, source: str, malformed: str, out_of_range: str = "") -> Mask:
        if (statuses == MALFORMED).any():
            self.reject(statuses == MALFORMED, malformed, target, source)
        if out_of_range and (statuses == OUT_OF_RANGE).any():
            low, high = limits(target)
            self.reject(statuses == OUT_OF_RANGE, out_of_range, target, source, f"{low}..{high}")
        valid: Mask = statuses == OK
        return valid

    def where(self, source: str) -> tuple[Bytes, Ints, Ints, npt.NDArray[np.uint8]]:
        """The cells of one column, for compiled code: the text, starts, ends and kinds."""
        return self._where(source)

    def _where(self, source: str) -> tuple[Bytes, Ints, Ints, npt.NDArray[np.uint8]]:
        column = self.column[source]
        return self.cells.text, self.cells.starts[column], self.cells.ends[column], self.cells.kinds[column]

    def whole(self, source: str, target: str, out_of_range: str = "count_range") -> tuple[Wholes, Mask]:
        """Whole numbers of a column and which rows have one; `target` names the field whose range holds."""
        values, statuses = np.empty(self.count, np.uint64), np.empty(self.count, np.uint8)
        read_whole(*self._where(source), limits(target)[1], values, statuses)
        return values, self._status(statuses, target, source, "count", out_of_range)

    def optional_whole(self, source: str, target: str) -> tuple[Wholes, Mask]:
        """Whole numbers of a column that a row may do without: what is none, or out of range, is nothing."""
        values, statuses = np.empty(self.count, np.uint64), np.empty(self.count, np.uint8)
        read_whole(*self._where(source), limits(target)[1], values, statuses)
        return values, statuses == OK

    def code(self, source: str, target: str, most: int, reason: str = "function") -> tuple[Ints, Mask]:
        """Whole numbers 0..`most` of a column, decimal or 0x and hexadecimal, -1 for none; which rows have one."""
        values, statuses = np.empty(self.count, np.int64), np.empty(self.count, np.uint8)
        read_code(*self._where(source), most, values, statuses)
        bad = (statuses == MALFORMED) | (statuses == OUT_OF_RANGE)
        self.reject(bad, reason, target, source, f"a whole number 0..{most}")
        return values, statuses == OK

    def flag_byte(self, source: str, target: str) -> tuple[Wholes, Mask]:
        """TCP flags in hexadecimal."""
        values, statuses = np.empty(self.count, np.uint64), np.empty(self.count, np.uint8)
        read_hex_byte(*self._where(source), values, statuses)
        return values, self._status(statuses, target, source, "flags_range")

    def tcp_flags(self, source: str, target: str) -> tuple[Wholes, Mask]:
        """TCP flags in whatever form flow exporters have them."""
        values, statuses = np.empty(self.count, np.uint64), np.empty(self.count, np.uint8)
        read_tcp_flags(*self._where(source), values, statuses)
        return values, self._status(statuses, target, source, "flags_range")

    def measure(self, source: str, target: str, scale: float = 1.0) -> tuple[Floats, Mask]:
        """Numbers of a column times `scale`, within the range of `target`, and which rows have one."""
        values, statuses = np.empty(self.count, np.float64), np.empty(self.count, np.uint8)
        read_number(*self._where(source), values, statuses)
        values *= scale
        field = load("flow").field(target)
        high = np.finfo(np.float32).max if field.max is None else field.max
        statuses[(statuses == OK) & ~((values >= (field.min or 0)) & (values <= high))] = OUT_OF_RANGE
        return values, self._status(statuses, target, source, "measure", "measure_range")

    def rate(self, source: str, target: str) -> tuple[Floats, Mask]:
        """Shares from 0 to 1 of a column (of packets that carry a flag), and which rows have one."""
        values, statuses = np.empty(self.count, np.float64), np.empty(self.count, np.uint8)
        read_number(*self._where(source), values, statuses)
        valid = self._status(statuses, target, source, "measure")
        self.reject(valid & ~((values >= 0) & (values <= 1)), "measure_range", target, source, "a share of 0..1")
        return values, valid

    def time_us(self, source: str, target: str, missing: bool = True, power: int = SECONDS) -> tuple[Ints, Mask]:
        """Times or durations of a column in microseconds; rows without one are rejected unless `missing` is False.

        `power` is the unit that numbers are in (scalars.read_time).
        """
        values, statuses = self.times_of(source, power, target)
        if missing:
            self.reject(statuses == MISSING, "time_missing", target, source)
        valid = self._status(statuses, target, source, "time")
        self.reject(statuses == OUT_OF_RANGE, "time_range", target, source)
        return values, valid

    def times_of(self, source: str, power: int = SECONDS, target: str = "") -> tuple[Ints, Statuses]:
        """Times of a column in microseconds, UTC, and how each could be read."""
        values, statuses = np.empty(self.count, np.int64), np.empty(self.count, np.uint8)
        text, starts, ends, kinds = self._where(source)
        read_time(text, starts, ends, kinds, power, values, statuses)
        if self.cells.clock is not None:
            read = in_utc(values, lacks_offset(text, starts, ends, statuses), self.cells.clock)
            values, self._earlier_us[target] = read
        return values, statuses

    def times(self, start_us: Ints, end_us: Ints, start_source: str, end_source: str) -> None:
        """Check and set the three time columns."""
        clock, earlier_us = self.cells.clock, self._earlier_us
        if clock is not None and "end_ts_us" in earlier_us:
            earlier = earlier_us["start_ts_us"], earlier_us["end_ts_us"]
            start_us, end_us = of_one_flow(start_us, end_us, *earlier, clock.sent_us)
        elif clock is not None and clock.sent_us is not None:
            # The end is the start and a duration: it was not after the message.
            by_us = np.where(end_us > clock.sent_us + AHEAD_US, earlier_us["start_ts_us"], 0)
            start_us, end_us = start_us - by_us, end_us - by_us
        duration = end_us - start_us
        self.reject(start_us < 0, "time_range", "start_ts_us", start_source)
        self.reject(duration < 0, "negative_duration", "end_ts_us", end_source)
        self.reject(duration > limits("duration_us")[1], "duration_range", "duration_us", end_source)
        self.put("start_ts_us", start_us)
        self.put("end_ts_us", end_us)
        self.put("duration_us", duration)

    def no_serial_dates(self, source: str, target: str, times_us: Ints) -> None:
        """Reject what a spreadsheet makes of times where a table should have seconds.

        Days since 1900: read as seconds they are of 1970. And 1.70E+09, which is rounded to months.
        """
        first, last = _SERIAL_DAYS
        column = self.column[source]
        starts, ends = self.cells.starts[column], self.cells.ends[column]
        number = ends - starts < _SHORTEST_DATE
        last_bytes = self.cells.text[np.where(ends - starts > _EXPONENT, ends - _EXPONENT, 0)] if self.count else starts
        rounded = (
            number & (ends - starts > _EXPONENT) & (ends - starts < _EXACT_BYTES) & ((last_bytes | 32) == ord("e"))
        )
        self.reject(rounded, "time", target, source, _NO_SERIAL_DATE)
        rows = number & (times_us >= first * 1_000_000) & (times_us < last * 1_000_000)
        self.reject(rows, "time", target, source, _NO_SERIAL_DATE)

    def text(self, source: str, target: str) -> pa.StringArray:
        """A column as text, null where there is none."""
        values, statuses = text_column(self.cells, self.column[source])
        self._status(statuses, target, source, "text")
        return values

    def address(self, source: str, target: str) -> Bytes:
        """Set a column of addresses, required; the family of each is returned."""
        values, families, statuses = address_column(self.cells, self.column[source])
        self.reject(statuses != OK, "address", target, source)
        self.columns[target] = values
        return families

    def mac(self, source: str, target: str) -> tuple[Bytes, Mask]:
        """Set a column to the first MAC of each cell; how many there are, and which rows have any, are returned."""
        values, counts, statuses = mac_column(self.cells, self.column[source])
        valid = self._status(statuses, target, source, "mac")
        self.columns[target] = values
        return counts, valid

    def has(self, source: str) -> Mask:
        """Which rows have a value in that column."""
        present: Mask = self.cells.ends[self.column[source]] > self.cells.starts[self.column[source]]
        return present


def _shown(value: bytes) -> str:
    text = value[:_SHOWN_BYTES].decode("utf-8", "replace")
    return text + "…" if len(value) > _SHOWN_BYTES else text
