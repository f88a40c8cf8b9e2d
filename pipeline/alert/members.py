"""Flows of several incidents made ready for them: whatever no incident is needed for, once for all of them.

The suspects of a message belong to few incidents of few flows each, or to one of very many. What is the same work for
each flow is done in whole columns here, and what flows have in common is counted; an incident then takes up its part
(incident.py): extremes and sums, and of what is distinct as much as it retains.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.distinct import Parts, fitting, keys_within, within
from pipeline.alert.done import Done, done_of
from pipeline.alert.features import FlowFeatures
from pipeline.alert.shown_evidence import ShownFlows
from pipeline.alert.turned_flows import Initiators, from_initiators
from pipeline.contracts.class_names import NORMAL, UNKNOWN

Ints = npt.NDArray[np.int64]
ALL_AS_ONE = np.zeros(1, np.int64)
NO_NAMES = pa.array([NORMAL, UNKNOWN])


class Totals(NamedTuple):
    """Extremes and sums of a part's flows. Times are microseconds since the epoch.

    first_ts_us, end_ts_us: the first and the last end of a flow. late: how many were. total_score_ppm: the sum of
    their scores, each in whole millionths, so that it does not depend on the order of adding. undirected: whether some
    are of a sensor that orders a flow's ends by address.
    """

    flows: int
    start_ts_us: int
    first_ts_us: int
    end_ts_us: int
    latest_ingest_ts_us: int
    late: int
    highest_score: float
    total_score_ppm: int
    lowest_p_value: float
    highest_novelty: float
    undirected: bool


class Tallied(NamedTuple):
    """The distinct values of a column, (m,), and in `parts` how many flows of each part have them."""

    values: pa.Array
    parts: Parts

    @classmethod
    def of(cls, column: pa.Array, part: Ints, parts: int) -> "Tallied":
        """Those of a column, nulls left out; `part`: (n,) the part of each row, ascending."""
        if column.null_count:
            part, column = part[column.is_valid().to_numpy(zero_copy_only=False)], column.drop_null()
        found = within(part, parts, [column])
        values = column.take(pa.array(found.first))
        return cls(values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values, found)

    def add_to(self, counts: dict[Any, int], part: int, most: int) -> bool:
        """Add the values of a part to `counts`, which has `most` at most; true if a new one did not fit."""
        of = self.parts.of(part)
        values, flows = self.values[of], self.parts.flows[of]
        retained = fitting(values, counts, most)
        if turned_away := len(retained) < len(values):
            values, flows = values.take(pa.array(retained)), flows[retained]
        for value, number in zip(values.to_pylist(), flows.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + number
        return turned_away


@dataclass(frozen=True, slots=True)
class Members:
    """n rows (schema `scored`), by parts: those of an incident are one, in the order they count.

    bounds: (parts + 1) where the rows of each part begin. totals: of each. asked: who asked whom. The tallies are of
    classes, of what unknown flows are nearest to, of who asked and who was asked, of all flows and of those that have a
    name, and of ports. talks: who with whom on what service, and as a text each. pairs: who with whom.
    """

    rows: pa.RecordBatch
    bounds: list[int]
    totals: list[Totals]
    asked: Initiators
    classes: Tallied
    nearest_classes: Tallied
    sources: Tallied
    targets: Tallied
    named_sources: Tallied
    named_targets: Tallied
    target_ports: Tallied
    talk_keys: pa.Array
    talks: Parts
    pairs: Parts
    done: Done
    shown: ShownFlows
    features: FlowFeatures

    def of(self, part: int) -> slice:
        """Where the rows of a part lie."""
        return slice(self.bounds[part], self.bounds[part + 1])


def members_of(rows: pa.RecordBatch, starts: Ints = ALL_AS_ONE) -> Members:
    """The rows (schema `scored`), of which a part begins with each of `starts`; no part is empty."""
    bounds, parts = [*starts.tolist(), rows.num_rows], len(starts)
    part = np.repeat(np.arange(parts), np.diff(bounds))
    asked = from_initiators(rows)
    port = pa.array(asked.port, mask=asked.port < 0)
    is_named = pc.invert(pc.is_in(rows.column("class"), value_set=NO_NAMES))
    named_part = part[is_named.to_numpy(zero_copy_only=False)]
    conversation = [asked.source, asked.target, port, rows.column("ip_proto")]
    talk_keys, talks = keys_within(part, parts, conversation, "\x1f", "-")
    return Members(
        rows=rows,
        bounds=bounds,
        totals=_totals(rows, asked, starts, bounds),
        asked=asked,
        classes=Tallied.of(rows.column("class"), part, parts),
        nearest_classes=Tallied.of(rows.column("nearest_class"), part, parts),
        sources=Tallied.of(asked.source, part, parts),
        targets=Tallied.of(asked.target, part, parts),
        named_sources=Tallied.of(asked.source.filter(is_named), named_part, parts),
        named_targets=Tallied.of(asked.target.filter(is_named), named_part, parts),
        target_ports=Tallied.of(port, part, parts),
        talk_keys=talk_keys,
        talks=talks,
        pairs=within(part, parts, [asked.source, asked.target]),
        done=done_of(rows, asked, part, parts),
        shown=ShownFlows.of(rows, asked.answers),
        features=FlowFeatures.of(rows),
    )


def _totals(rows: pa.RecordBatch, asked: Initiators, starts: Ints, bounds: list[int]) -> list[Totals]:
    ends_us = _numbers(rows, "end_ts_us")
    scores = _shares(rows, "score", 0.0)
    novelty = np.nan_to_num(rows.column("novelty").to_numpy().astype(np.float64), nan=0.0)
    columns = (
        np.diff(bounds),
        np.minimum.reduceat(_numbers(rows, "start_ts_us"), starts),
        np.minimum.reduceat(ends_us, starts),
        np.maximum.reduceat(ends_us, starts),
        np.maximum.reduceat(_numbers(rows, "ingest_ts_us"), starts),
        np.add.reduceat((_numbers(rows, "late_by_us") != 0).astype(np.int64), starts),
        np.maximum.reduceat(scores, starts),
        np.add.reduceat(np.rint(scores * 1e6).astype(np.int64), starts),
        np.minimum.reduceat(_shares(rows, "p_value", 1.0), starts),
        np.maximum.reduceat(np.clip(novelty, 0.0, 1e30), starts),
        np.logical_or.reduceat(asked.unordered, starts),
    )
    return [Totals(*of_part) for of_part in zip(*(column.tolist() for column in columns), strict=True)]


def _numbers(rows: pa.RecordBatch, name: str) -> Ints:
    values: Ints = rows.column(name).to_numpy()
    return values


def _shares(rows: pa.RecordBatch, name: str, missing: float) -> npt.NDArray[np.float64]:
    """A column of shares as float64 within 0..1; `missing` where it is no number."""
    values = np.nan_to_num(rows.column(name).to_numpy().astype(np.float64), nan=missing, posinf=1.0, neginf=0.0)
    shares: npt.NDArray[np.float64] = np.clip(values, 0.0, 1.0)
    return shares
