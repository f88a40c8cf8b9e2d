"""What `forebay flow check` shows of a file: a summary, a row a field, and the first reject of each reason."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.markup import escape
from rich.table import Table

from pipeline.ingest.files.field_report import FieldReport, field_report, reason_report
from pipeline.ingest.files.offline_rows import Decoded
from pipeline.runtime.terminal import printable
from pipeline.tools.cli.output import say
from schemas.sources import source_of

_TALKERS = 5
_LONGEST_VALUE = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(time_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _most(values: pa.Array, count: int) -> str:
    """The most frequent values, most frequent first."""
    counted = pc.value_counts(values)
    order = pc.sort_indices(counted.field("counts"), sort_keys=[("", "descending")])[:count]
    rows = counted.take(order).to_pylist()
    return ", ".join(f"{'none' if row['values'] is None else row['values']} {row['counts']}" for row in rows)


def print_summary(decoded: Decoded) -> None:
    """Counts, time range, protocols and top talkers, on stderr."""
    flows = decoded.flows
    table = Table(title=escape(printable(f"{decoded.site}/{decoded.sensor}")), show_header=False, title_justify="left")
    for kind in decoded.content_type.split(", "):
        table.add_row("format", f"{kind}: {source_of(kind).title}" if kind else "none: no record to tell it by")
    if flows.num_rows:
        first, last = pc.min(flows["start_ts_us"]).as_py(), pc.max(flows["end_ts_us"]).as_py()
        table.add_row("time (UTC)", f"{_moment(first)} to {_moment(last)}, {(last - first) / 1e6:.1f} s")
    table.add_row("records", f"{decoded.records:,}: {flows.num_rows:,} flows, {decoded.rejects.num_rows:,} rejected")
    if decoded.skipped:
        table.add_row("other lines", f"{decoded.skipped} that hold no flows")
    for file in decoded.unread:
        table.add_row("not read", escape(printable(file)))
    for note in decoded.notes:
        table.add_row("note", escape(printable(note)))
    if flows.num_rows:
        table.add_row("IP protocols", _most(flows["ip_proto"], _TALKERS))
        table.add_row("states", _most(flows["conn_state"], _TALKERS))
        table.add_row("top sources", escape(_most(flows["src_addr"], _TALKERS)))
        table.add_row("top targets", escape(_most(flows["dst_addr"], _TALKERS)))
    say(table)


def print_fields(decoded: Decoded) -> None:
    """Where each field of the flows came from, how many have it, and its values, on stderr."""
    if not decoded.flows.num_rows:
        return
    table = Table("field", "from", "rows", "null", "values", title="fields", title_justify="left", show_edge=False)
    for values in field_report(decoded.flows, decoded.content_type):
        null = "" if not values.null_share else f"{values.null_share:.1%}"
        table.add_row(values.field, escape(values.origin) or "–", f"{values.rows}", null, escape(_values(values)))
    say(table)


def _values(report: FieldReport) -> str:
    """The values of one field in a few words."""
    if report.frequent:
        return ", ".join(f"{_short(value)} {count}" for value, count in report.frequent)
    if report.least is None or report.greatest is None:
        return ""
    ends = [
        _moment(int(end)) if report.field.endswith("_ts_us") else f"{end:g}" for end in (report.least, report.greatest)
    ]
    if not report.field.endswith("_ts_us") and isinstance(report.least, int):
        ends = [str(report.least), str(report.greatest)]
    unit = "" if report.field.endswith("_ts_us") else f" {report.unit}"
    return (ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}") + unit.rstrip()


def _short(value: Any) -> str:
    return printable(str(value) or "none", _LONGEST_VALUE)


def print_rejects(decoded: Decoded) -> None:
    """How many rejects of each reason, and the first of them with its position in the file, on stderr."""
    for reject in reason_report(decoded.rejects):
        more = f" (and {reject.count - 1} more)" if reject.count > 1 else ""
        say(escape(printable(f"record {reject.source_record}: {reject.reason}{more}: {reject.detail}")))


def report(decoded: Decoded) -> dict[str, Any]:
    """The same for machines: `fields` in the flow table's order, `rejects` most frequent reason first."""
    return {
        "content_type": decoded.content_type,
        "skipped": decoded.skipped,
        "unread": decoded.unread,
        "notes": decoded.notes,
        "fields": field_report(decoded.flows, decoded.content_type),
        "rejects": reason_report(decoded.rejects),
    }
