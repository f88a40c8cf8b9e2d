"""What a file shows that did not come back in it: a list for a person, and no verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.evidence_words import Kind, sentence, shipped_evidence_words
from pipeline.alert.shown_evidence import example_of
from pipeline.contracts.baseline import Evidence
from pipeline.contracts.initiators import answering
from pipeline.contracts.services import is_ephemeral, is_industrial
from pipeline.featurize.addresses import outside
from pipeline.featurize.baseline.quiet_stretch import judged_again
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.featurize.rows import ints, protocols

MAX_LINES = 20
SPREAD = 3
"""Targets and services of one source, of one kind of evidence, from which on they are one line: nobody reads a scan."""
TURNED = Evidence.NEW_SERVICE_USE | Evidence.NEW_COMMON_USE | Evidence.MORE_BYTES
"""Evidence about who uses a service: an answer counts the other way round."""
WITHOUT_PORT = Evidence.NEW_TALK | Evidence.NEW_DEVICE | Evidence.NEW_HARDWARE | Evidence.SEVERAL_HARDWARE
"""Evidence that is the same whatever the port."""
ANY_PORT = -2
UNLISTED = Evidence.STRANGE | Evidence.NEW_HOST
"""Nothing is strange before there is a bound, and of an unknown address more is said by what it does."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NotBack:
    """Flows of one kind of evidence, from one source to one target by one service, or to several.

    source: an address, or any public address. others: further targets and services of the source. start_us: when the
    flow that `says` is about began.
    """

    kind: str
    says: str
    source: str
    flows: int
    others: int
    start_us: int


class _Group(NamedTuple):
    rank: int
    source: str
    flows: int
    first: int
    is_industrial: bool


def what_did_not_come_back(rows: pa.RecordBatch, baseline: Baseline) -> tuple[list[NotBack], int]:
    """The lines about rows (schema `features`) that their baseline, now, does not know; and how many more there are.

    The strongest kinds of evidence first; of a kind industrial services, then what one source does in many places, then
    what is rarest.
    """
    kinds = [kind for kind in shipped_evidence_words().kinds if not kind.bit & UNLISTED]
    evidence = judged_again(baseline, rows).seen.evidence
    rank = np.full(rows.num_rows, len(kinds), np.int64)
    for number in reversed(range(len(kinds))):
        rank[evidence & np.uint32(kinds[number].bit) != 0] = number
    chosen = np.flatnonzero(rank < len(kinds))
    if not len(chosen):
        return [], 0
    at = rows.schema.get_field_index("evidence")
    rows = rows.set_column(at, rows.schema.field(at), pa.array(evidence)).take(pa.array(chosen))
    groups = _groups(rows, rank[chosen], kinds)
    joined = _joined(groups)
    lines = [_line(each, rows, kinds) for each in joined[:MAX_LINES]]
    return lines, max(0, len(joined) - MAX_LINES)


def _groups(rows: pa.RecordBatch, rank: Ints, kinds: Sequence[Kind]) -> list[_Group]:
    """Flows of the same kind, source, target and service."""
    src_port, dst_port = (ints(rows.column(name), -1) for name in ("src_port", "dst_port"))
    turned, portless = (np.array([bool(kind.bit & of) for kind in kinds]) for of in (TURNED, WITHOUT_PORT))
    turns = answering(rows) & turned[rank]
    ends = [_one_outside(rows.column(name)) for name in ("src_addr", "dst_addr")]
    source, target = pc.if_else(pa.array(turns), ends[1], ends[0]), pc.if_else(pa.array(turns), ends[0], ends[1])
    port = np.where(turns, src_port, dst_port)
    table = pa.table(
        {
            "rank": rank,
            "source": pc.fill_null(source, "an unnamed source"),
            "target": target,
            "protocol": protocols(rows),
            "port": np.where(portless[rank] | is_ephemeral(port), ANY_PORT, port),
            "row": np.arange(rows.num_rows),
        }
    )
    grouped = table.group_by(["rank", "source", "target", "protocol", "port"]).aggregate(
        [("row", "count"), ("row", "min")]
    )
    columns = [grouped.column(name).to_pylist() for name in ("rank", "source", "row_count", "row_min")]
    columns.append(is_industrial(grouped.column("port").to_numpy()).tolist())
    return [_Group(*values) for values in zip(*columns, strict=True)]


def _one_outside(addresses: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(outside(addresses)), "any public address", addresses)


def _joined(groups: Sequence[_Group]) -> list[list[_Group]]:
    """The groups of each line, in the order of the list."""
    by_source: dict[tuple[int, str], list[_Group]] = {}
    for group in sorted(groups, key=lambda group: group.first):
        by_source.setdefault((group.rank, group.source), []).append(group)
    joined: list[list[_Group]] = []
    for of_source in by_source.values():
        joined += [of_source] if len(of_source) > SPREAD else [[group] for group in of_source]
    return sorted(joined, key=_order)


def _order(groups: list[_Group]) -> tuple[int, bool, int, int, int]:
    """What sorts a line."""
    is_office = not any(group.is_industrial for group in groups)
    return groups[0].rank, is_office, -len(groups), sum(group.flows for group in groups), groups[0].first


def _line(groups: Sequence[_Group], rows: pa.RecordBatch, kinds: Sequence[Kind]) -> NotBack:
    kind, first = kinds[groups[0].rank], groups[0].first
    flows, start_us = sum(group.flows for group in groups), rows.column("start_ts_us")[first].as_py()
    return NotBack(
        kind.name, sentence(kind, example_of(rows, first)), groups[0].source, flows, len(groups) - 1, start_us
    )
