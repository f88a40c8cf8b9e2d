"""The formats ingest understands: how each is cut into cells, turned into flows, and where it keeps its times."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.contracts.raw import (
    ARGUS_CSV,
    CICFLOWMETER_CSV,
    GOFLOW2_JSON,
    ICSFLOW_CSV,
    IPFIXCOL2_JSON,
    NFDUMP_CSV,
    NFDUMP_JSON,
    PMACCT_JSON,
    SURICATA_JSON,
    ZEEK_JSON,
    ZEEK_TSV,
)
from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import (
    argus,
    cicflowmeter,
    exporter,
    goflow2,
    icsflow,
    ipfixcol2,
    nfdump,
    nfdump_csv,
    pmacct,
    suricata,
    zeek,
    zeek_bacnet,
    zeek_dnp3,
    zeek_enip,
    zeek_modbus,
    zeek_opcua,
    zeek_s7comm,
)
from pipeline.ingest.formats.coalesce import Merge, with_merged
from pipeline.ingest.scan.cells import Cells, Ints, LocalClock
from pipeline.ingest.scan.delimited import COMMA, TAB, scan_delimited
from pipeline.ingest.scan.json import Columns, Keys, key_table, scan_json
from pipeline.ingest.scan.lines import Lines
from pipeline.ingest.scan.scalars import DAY_FIRST, MICROSECONDS, SECONDS


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
    # Of a header, what has one of several sets of columns; the first is what is asked for.
    one_of: tuple[tuple[tuple[str, ...], ...], ...] = ()
    moment_column: str = ""
    time_columns: tuple[str, ...] = ()  # every point in time, also those that are not read
    time_power: int = SECONDS  # of times that are numbers (scalars.read_time)
    duration_power: int = SECONDS  # of `duration_column`
    merges: tuple[Merge, ...] = ()  # columns made of others, the last ones of `columns`
    # Delimited only: names of columns as headers have them, in lower case, and which column that is.
    spellings: dict[str, str] = field(default_factory=dict)
    _key_table: tuple[Keys, Columns] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key_table", None if self.paths is None else key_table(self.paths))

    def heading(self, header: tuple[str, ...]) -> tuple[str, ...]:
        """A header with the columns' own names; of two fields that are one column the first counts."""
        if not self.spellings:
            return header
        names = [self.spellings.get(name.strip(' "').lower(), "") for name in header]
        first = {name: index for index, name in reversed(list(enumerate(names)))}
        return tuple(name if first[name] == index else "" for index, name in enumerate(names))

    def lacking(self, header: tuple[str, ...]) -> list[str]:
        """Required columns that a header does not name."""
        names = self.heading(header)
        lacking = [name.rpartition(": ")[2] for name in self.required if name not in names]
        for sets in self.one_of:
            if not any(set(names) >= set(columns) for columns in sets):
                lacking += [name for name in sets[0] if name not in names]
        return lacking

    def scan(self, lines: Lines, header: tuple[str, ...]) -> Cells:
        """Cut records into cells; `header` names the fields of delimited lines."""
        if self._key_table is not None:
            cells = scan_json(lines, self._key_table, len(self.columns) - len(self.merges))
            return with_merged(cells, self.merges)
        names = self.columns[: len(self.columns) - len(self.merges)]
        cells = scan_delimited(lines, self.separator, self.heading(header), names, self.separator == COMMA)
        return with_merged(cells, self.merges)


def _exporters(wanted: exporter.Layout, normalise: Callable[[Cells], Draft], *times: str) -> Format:
    """The format of a collector of NetFlow or IPFIX; `times` are its points in time."""
    return Format(
        wanted.columns,
        normalise,
        "end",
        paths=wanted.paths,
        time_columns=times,
        time_power=wanted.power,
        merges=wanted.merges,
    )


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
        time_columns=("timestamp", "flow.start", "flow.end", "netflow.start", "netflow.end"),
    ),
    ICSFLOW_CSV: Format(
        icsflow.COLUMNS,
        icsflow.normalise,
        "end",
        separator=COMMA,
        required=icsflow.REQUIRED,
        time_columns=("start", "end", "startDate", "endDate"),
    ),
    GOFLOW2_JSON: _exporters(
        goflow2.LAYOUT, goflow2.normalise, "time_received_ns", "time_flow_start_ns", "time_flow_end_ns"
    ),
    IPFIXCOL2_JSON: _exporters(ipfixcol2.LAYOUT, ipfixcol2.normalise, *ipfixcol2.TIMES),
    PMACCT_JSON: _exporters(pmacct.LAYOUT, pmacct.normalise, *pmacct.TIMES),
    NFDUMP_JSON: _exporters(
        nfdump.LAYOUT, nfdump.normalise, "first", "last", "t_first", "t_last", "received", "t_received", "t_event"
    ),
    NFDUMP_CSV: Format(
        nfdump_csv.LAYOUT.columns,
        nfdump_csv.normalise,
        "start",
        "duration",
        separator=COMMA,
        required=nfdump_csv.REQUIRED,
        time_columns=nfdump_csv.TIMES,
        time_power=nfdump_csv.LAYOUT.power,
        merges=nfdump_csv.LAYOUT.merges,
        spellings=nfdump_csv.SPELLINGS,
    ),
    ARGUS_CSV: Format(
        argus.COLUMNS,
        argus.normalise,
        "StartTime",
        "Dur",
        separator=COMMA,
        required=argus.REQUIRED,
        one_of=argus.COUNTS,
        time_columns=("StartTime", "LastTime"),
        spellings=argus.SPELLINGS,
    ),
    CICFLOWMETER_CSV: Format(
        cicflowmeter.COLUMNS,
        cicflowmeter.normalise,
        "Timestamp",
        "Flow Duration",
        separator=COMMA,
        required=cicflowmeter.REQUIRED,
        time_columns=("Timestamp",),
        time_power=DAY_FIRST,
        duration_power=MICROSECONDS,
        spellings=cicflowmeter.SPELLINGS,
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


def end_times(
    content_type: str, header: tuple[str, ...], lines: Lines, time_zone: str = ""
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """When each record's flow ended, in microseconds, and of which records that is known."""
    known = FORMATS[content_type]
    clock = LocalClock(time_zone, None) if time_zone else None
    draft = Draft(known.scan(lines, header)._replace(clock=clock), known.columns)
    end, valid = draft.time_us(known.end_column, "end_ts_us", missing=not known.moment_column, power=known.time_power)
    if known.duration_column:
        end = end + draft.time_us(known.duration_column, "duration_us", missing=False, power=known.duration_power)[0]
    if known.moment_column:
        moment, reported = draft.time_us(known.moment_column, "end_ts_us", missing=False)
        end, valid = np.where(valid, end, moment), valid | (reported & ~draft.has(known.end_column))
    return end, valid & (draft.problem == 0)
