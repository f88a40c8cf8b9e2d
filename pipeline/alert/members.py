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

from pipeline.alert.distinct import Coded, Parts, coded, keys_within, within
from pipeline.alert.done import Done, done_of
from pipeline.alert.features import FlowFeatures
from pipeline.alert.shown_evidence import ShownFlows
from pipeline.alert.turned_flows import Initiators, from_initiators
from pipeline.contracts.class_names import is_name
from pipeline.contracts.whole_numbers import integers

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
ALL_AS_ONE = np.zeros(1, np.int64)
MAYBE = ("-", *range(65_536))
"""Protocols and ports; a dash where there is none."""


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
    """The distinct values of a column, (m), and in `parts` how many flows of each part have them."""

    values: list[Any]
    parts: Parts

    @classmethod
    def of(cls, part: Coded, column: Coded, chosen: Flags | None = None) -> "Tallied":
        """Those of a column, of the rows that are chosen; `part`: (n,) the part of each row, ascending."""
        if chosen is not None:
            part, column = part.where(chosen), column.where(chosen)
        found = within(part, [column])
        return cls(column.of(found.first), found)

    def add_to(self, counts: dict[Any, int], part: int, most: int) -> bool:
        """Add the values of a part to `counts`, which has `most` at most; true if a new one did not fit."""
        of, turned_away = self.parts.of(part), False
        for value, flows in zip(self.values[of], self.parts.flows[of], strict=True):
            if value in counts:
                counts[value] += flows
            elif len(counts) < most:
                counts[value] = flows
            else:
                turned_away = True
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
    talk_keys: list[str]
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
    bounds = [*starts.tolist(), rows.num_rows]
    part = Coded(np.repeat(np.arange(len(starts)), np.diff(bounds)), range(len(starts)))
    asked = from_initiators(rows)
    classes, nearest = coded(rows.column("class")), coded(rows.column("nearest_class"))
    is_named = np.asarray([is_name(name) for name in classes.values], np.bool_)[classes.codes]
    has_nearest = np.asarray([name is not None for name in nearest.values], np.bool_)[nearest.codes]
    port = Coded(asked.port + 1, MAYBE)
    ip_proto = Coded(integers(rows, "ip_proto", -1) + 1, MAYBE)
    talk_keys, talks = keys_within(part, [asked.source, asked.target, port, ip_proto], "\x1f")
    return Members(
        rows=rows,
        bounds=bounds,
        totals=_totals(rows, asked, starts, bounds),
        asked=asked,
        classes=Tallied.of(part, classes),
        nearest_classes=Tallied.of(part, nearest, has_nearest),
        sources=Tallied.of(part, asked.source),
        targets=Tallied.of(part, asked.target),
        named_sources=Tallied.of(part, asked.source, is_named),
        named_targets=Tallied.of(part, asked.target, is_named),
        target_ports=Tallied.of(part, port, asked.port >= 0),
        talk_keys=talk_keys,
        talks=talks,
        pairs=within(part, [asked.source, asked.target]),
        done=done_of(rows, asked, part),
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
