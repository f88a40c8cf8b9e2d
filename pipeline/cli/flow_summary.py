"""What `forebay flow check` shows of a file: a table, and the first rejects of each reason."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from rich.markup import escape
from rich.table import Table

from pipeline.cli.output import say
from pipeline.ingest.offline_rows import Decoded

_TALKERS = 5
_REJECTS_SHOWN = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(time_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat(sep=" ", timespec="milliseconds")


def _most(values: pa.Array, count: int) -> str:
    """The most frequent values, most frequent first."""
    counted = pc.value_counts(values)
    order = pc.sort_indices(counted.field("counts"), sort_keys=[("", "descending")])[:count]
    rows = counted.take(order).to_pylist()
    return ", ".join(f"{'none' if row['values'] is None else row['values']} {row['counts']}" for row in rows)


def print_summary(decoded: Decoded) -> None:
    """Counts, time range, protocols and top talkers, on stderr."""
    flows = decoded.flows
    table = Table(title=f"{decoded.site}/{decoded.sensor}", show_header=False, title_justify="left")
    table.add_row("format", decoded.content_type or "none: the file is empty")
    table.add_row("records", f"{decoded.records}: {flows.num_rows} flows, {decoded.rejects.num_rows} rejected")
    if decoded.skipped:
        table.add_row("other lines", f"{decoded.skipped} of other event types, no flows")
    if flows.num_rows:
        first, last = pc.min(flows["start_ts_us"]).as_py(), pc.max(flows["end_ts_us"]).as_py()
        table.add_row("time (UTC)", f"{_moment(first)} to {_moment(last)}, {(last - first) / 1e6:.1f} s")
        table.add_row("IP protocols", _most(flows["ip_proto"], _TALKERS))
        table.add_row("states", _most(flows["conn_state"], _TALKERS))
        table.add_row("top sources", escape(_most(flows["src_addr"], _TALKERS)))
        table.add_row("top targets", escape(_most(flows["dst_addr"], _TALKERS)))
    for reason in pc.value_counts(decoded.rejects["reason"]).to_pylist():
        table.add_row(f"rejected: {reason['values']}", str(reason["counts"]))
    say(table)


def print_rejects(decoded: Decoded) -> None:
    """The first rejects with their position in the file, on stderr."""
    for row in decoded.rejects.slice(0, _REJECTS_SHOWN).select(["source_record", "reason", "detail"]).to_pylist():
        say(escape(f"record {row['source_record']}: {row['reason']}: {row['detail']}"))
    left = decoded.rejects.num_rows - _REJECTS_SHOWN
    if left > 0:
        say(f"... and {left} more")
