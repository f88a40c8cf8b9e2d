"""The formats ingest understands: how each is cut into cells, turned into flows, and where it keeps its times."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.ingest import (
    icsflow,
    suricata,
    zeek,
    zeek_bacnet,
    zeek_dnp3,
    zeek_enip,
    zeek_modbus,
    zeek_opcua,
    zeek_s7comm,
)
from pipeline.ingest.cells import Cells, Ints
from pipeline.ingest.delimited_scan import COMMA, TAB, scan_delimited
from pipeline.ingest.draft import Draft
from pipeline.ingest.json_scan import key_table, scan_json
from pipeline.ingest.lines import Lines
from pipeline.ingest.messages import ICSFLOW_CSV, SURICATA_JSON, ZEEK_JSON, ZEEK_TSV


@dataclass(frozen=True, slots=True)
class Format:
    """One content-type.

    `end_column` holds the end of a flow, or its start where `duration_column` is to be added; `moment_column` the time
    of records that have no end, because they are moments. `time_columns` are names or, in JSON, paths with dots between
    their keys.
    """

    columns: tuple[str, ...]
    normalise: Callable[[Cells], Draft]
    end_column: str
    duration_column: str = ""
    paths: dict[tuple[str, ...], int] | None = None  # JSON only
    separator: int = 0  # delimited only
    required: tuple[str, ...] = ()  # of a header
    moment_column: str = ""
    time_columns: tuple[str, ...] = ()  # every point in time, also those that are not read

    def lacking(self, header: tuple[str, ...]) -> list[str]:
        """Required columns that a header does not name."""
        return [name for name in self.required if name not in header]

    def scan(self, lines: Lines, header: tuple[str, ...]) -> Cells:
        """Cut records into cells; `header` names the fields of delimited lines."""
        if self.paths is not None:
            return scan_json(lines, key_table(self.paths), len(self.columns))
        return scan_delimited(lines, self.separator, header, self.columns)


FORMATS: dict[str, Format] = {
    ZEEK_JSON: Format(
        zeek.COLUMNS, zeek.normalise, "ts", "duration", zeek.json_paths(), time_columns=("ts", "conn.ts")
    ),
    ZEEK_TSV: Format(
        zeek.COLUMNS,
        zeek.normalise,
        "ts",
        "duration",
        separator=TAB,
        required=zeek.REQUIRED,
        time_columns=("ts",),
    ),
    SURICATA_JSON: Format(
        suricata.COLUMNS,
        suricata.normalise,
        "flow.end",
        paths=suricata.json_paths(),
        moment_column="timestamp",
        time_columns=("timestamp", "flow.start", "flow.end"),
    ),
    ICSFLOW_CSV: Format(
        icsflow.COLUMNS,
        icsflow.normalise,
        "end",
        separator=COMMA,
        required=icsflow.REQUIRED,
        time_columns=("start", "end", "startDate", "endDate"),
    ),
}

ZEEK_LOGS = {
    log.name: log
    for logs in (zeek_modbus, zeek_dnp3, zeek_s7comm, zeek_enip, zeek_opcua, zeek_bacnet)
    for log in logs.LOGS
}
for _log in ZEEK_LOGS.values():
    FORMATS[f"zeek-{_log.name}+json"] = Format(
        _log.columns, _log.normalise, "ts", paths=_log.paths, time_columns=("ts", f"{_log.name}.ts")
    )
    FORMATS[f"zeek-{_log.name}+tsv"] = Format(
        _log.columns, _log.normalise, "ts", separator=TAB, required=_log.needs, time_columns=("ts",)
    )


def end_times(content_type: str, header: tuple[str, ...], lines: Lines) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """When each record's flow ended, in microseconds, and of which records that can be told."""
    known = FORMATS[content_type]
    draft = Draft(known.scan(lines, header), known.columns)
    end, valid = draft.time_us(known.end_column, "end_ts_us", missing=not known.moment_column)
    if known.duration_column:
        end = end + draft.time_us(known.duration_column, "duration_us", missing=False)[0]
    if known.moment_column:
        moment, told = draft.time_us(known.moment_column, "end_ts_us", missing=False)
        end, valid = np.where(valid, end, moment), valid | (told & ~draft.has(known.end_column))
    return end, valid & (draft.problem == 0)
