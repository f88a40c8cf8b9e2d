"""Records moved in time before they are sent: a recorded hour becomes one that starts now."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.contracts.raw import tabbed
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.scan.cells import Cells
from pipeline.ingest.scan.delimited import scan_delimited
from pipeline.ingest.scan.json import key_table, scan_json
from pipeline.ingest.scan.lines import cut_lines
from pipeline.ingest.scan.scalars import OK, SECONDS, read_time

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def shifted(source: SourceFile, by_us: int) -> SourceFile:
    """The same records with every point in time moved by `by_us`, each in the form it was written in.

    What cannot be read as a time stays as it is. ISO 8601 times come out in UTC.
    """
    if not source.records or not by_us or source.content_type not in FORMATS:
        return source
    names = FORMATS[source.content_type].time_columns
    cells = _time_cells(source, names)
    power = FORMATS[source.content_type].time_power
    times, valid = np.empty((len(names), cells.rows), np.int64), np.empty((len(names), cells.rows), np.uint8)
    for column in range(len(names)):
        where = cells.starts[column], cells.ends[column], cells.kinds[column]
        read_time(cells.text, *where, power, times[column], valid[column])
    moved = [
        _moved(
            cells,
            row,
            [column for column in range(len(names)) if valid[column, row] == OK],
            times[:, row] + by_us,
            power,
        )
        for row in range(cells.rows)
    ]
    return replace(source, records=moved)


def _time_cells(source: SourceFile, names: tuple[str, ...]) -> Cells:
    lines = cut_lines(source.records, not tabbed(source.content_type))
    known = FORMATS[source.content_type]
    if known.paths is None:
        return scan_delimited(lines, known.separator, known.heading(source.columns), names, bool(known.spellings))
    return scan_json(lines, key_table({tuple(name.split(".")): at for at, name in enumerate(names)}), len(names))


def _moved(
    cells: Cells, row: int, columns: list[int], times_us: np.ndarray[tuple[int], np.dtype[np.int64]], power: int
) -> bytes:
    """One record with the cells of `columns` replaced by `times_us`."""
    offset, end = int(cells.record_starts[row]), int(cells.record_ends[row])
    out = b""
    for column in sorted(columns, key=lambda column: int(cells.starts[column, row])):
        start, stop = int(cells.starts[column, row]), int(cells.ends[column, row])
        out += cells.text[offset:start].tobytes() + _written(cells.bytes_of(column, row), int(times_us[column]), power)
        offset = stop
    return out + cells.text[offset:end].tobytes()


def _written(before: bytes, time_us: int, power: int) -> bytes:
    """A time in the form of the one it replaces."""
    if b"/" in before[:3]:
        moment = _EPOCH + timedelta(microseconds=time_us)
        return moment.strftime("%d/%m/%Y %I:%M:%S.%f %p" if before[-1:] in b"mM" else "%d/%m/%Y %H:%M:%S.%f").encode()
    if before[4:5] not in (b"-", b"/"):
        if power < 0:
            return b"%d" % (time_us * 10**-power)
        if power < SECONDS:
            return b"%d" % (time_us // 10**power)
        whole, rest = divmod(time_us, 1_000_000)
        return b"%d.%06d" % (whole, rest)
    moment = _EPOCH + timedelta(microseconds=time_us)
    mark = chr(before[4])
    zone = "+0000" if before[-5:-4] in (b"+", b"-") else "Z" if before.endswith(b"Z") else ""
    return (moment.strftime(f"%Y{mark}%m{mark}%d{chr(before[10])}%H:%M:%S.%f") + zone).encode()
