"""Records of a Zeek connection that repeats its counts while it lasts (conn_long.log): only the last one counts.

    uid  ts   duration  orig_bytes
    CL   1.0     346.4       1,000   left out
    CL   1.0     700.0       2,000   left out
    CL   1.0     900.0       3,000   counts

Equal records stay separate records: they are not interim, and who sent them twice is not known.
"""

import numpy as np
import pyarrow as pa

from pipeline.contracts.raw import ZEEK_JSON, ZEEK_TSV, tabbed
from pipeline.ingest.draft import Draft, Mask
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.files.source_set import SourceSet
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.scan.cells import Ints
from pipeline.ingest.scan.lines import cut_lines


def without_interim(source: SourceSet) -> SourceSet:
    """The records of a sensor's files without those that a later record of the same uid and start repeats."""
    chosen = [number for number, file in enumerate(source.files) if file.content_type in (ZEEK_JSON, ZEEK_TSV)]
    if not chosen:
        return source
    read = [_connections(source.files[number]) for number in chosen]
    uid = pa.chunked_array([uids for uids, *_ in read]).combine_chunks().dictionary_encode().indices
    code: Ints = uid.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    start, duration, counted = (np.concatenate([part[column] for part in read]) for column in (1, 2, 3))
    known = np.concatenate([part[4] for part in read]) & (code >= 0)
    repeated = _repeated(code, start, duration, counted, known)
    if not repeated.any():
        return source
    rows = np.zeros(len(source), np.bool_)
    at = 0
    for number, (uids, *_) in zip(chosen, read, strict=True):
        here = source.which == number
        rows[here] = repeated[at : at + len(uids)][source.index[here]]
        at += len(uids)
    if not rows.any():
        return source
    connections = len(np.unique(np.stack([code[repeated], start[repeated]]), axis=1).T)
    of = "1 connection" if connections == 1 else f"{connections:,} connections"
    return source.without(
        rows,
        f"{int(rows.sum()):,} interim records of {of} are left out: a later record of the same uid and start has all "
        "their counts",
    )


def _connections(file: SourceFile) -> tuple[pa.StringArray, Ints, Ints, Ints, Mask]:
    """Of each record its connection's uid, start, duration and counts, and which records have the first two."""
    known = FORMATS[file.content_type]
    lines = cut_lines(file.records, not tabbed(file.content_type))
    draft = Draft(known.scan(lines, file.columns), known.columns)
    uids = draft.text("uid", "sensor_uid")
    start, timed = draft.time_us("ts", "start_ts_us")
    duration, _ = draft.time_us("duration", "duration_us", missing=False)
    counted = np.zeros(draft.count, np.int64)
    for name in ("orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts"):
        values, valid = draft.optional_whole(name, "fwd_bytes")
        counted += np.where(valid, values, 0).astype(np.int64)
    return uids, start, duration, counted, timed & (draft.problem == 0)


def _repeated(code: Ints, start: Ints, duration: Ints, counted: Ints, known: Mask) -> Mask:
    """Which records have another one of the same connection that lasts longer, or as long and counts more."""
    rows = np.flatnonzero(known)
    repeated = np.zeros(len(code), np.bool_)
    if len(rows) < 2:
        return repeated
    order = rows[np.lexsort((counted[rows], duration[rows], start[rows], code[rows]))]
    same = (np.diff(code[order]) == 0) & (np.diff(start[order]) == 0)
    last = np.append(np.flatnonzero(~same), len(order) - 1)
    final = order[last][np.searchsorted(last, np.arange(len(order)))]
    shorter = duration[order] < duration[final]
    repeated[order] = shorter | ((duration[order] == duration[final]) & (counted[order] < counted[final]))
    return repeated
