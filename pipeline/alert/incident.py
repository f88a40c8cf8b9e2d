"""An incident: what is retained of its flows, all of it bounded, so that ten million flows cost what a thousand do."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.deeds import Deeds
from pipeline.alert.distinct import keys_of
from pipeline.alert.ends import Ends, most
from pipeline.alert.features import FeatureSample
from pipeline.alert.levels import LEVELS
from pipeline.alert.pages import NOT_JUDGED, OPENED_BEFORE, Disposition
from pipeline.alert.shown_evidence import ShownEvidence
from pipeline.alert.turned_flows import from_initiators
from pipeline.contracts.class_names import NORMAL, UNKNOWN, is_name
from pipeline.contracts.incident_joining import MAX_PAIRS, pair_of

# Key of the incident of all that could not be followed one by one; every other key starts with a separator.
CROWD = "crowd"

MAX_POSITIONS = 1024
MAX_ADDRESSES = 256
MAX_TALKS = 32
MAX_CLASSES = 32

TALK_KEYS = ["src_addr", "dst_addr", "dst_port", "ip_proto"]
TALK_FIELDS = [*TALK_KEYS, "src_mac", "dst_mac", "community_id"]


@dataclass(slots=True)
class Talk:
    """One conversation among an incident's flows: who with whom, on what service."""

    src_addr: str
    dst_addr: str
    dst_port: int | None
    ip_proto: int | None
    flows: int
    src_mac: str | None
    dst_mac: str | None
    community_id: str | None


@dataclass(slots=True)
class Incident:
    """One incident of one sensor. Times are microseconds since the epoch, event time unless said otherwise.

    positions: [raw_partition, raw_offset, raw_index, source_record or None] of the first 1,024 flows.
    sources, targets: flows per address, for the first 256 addresses; `more_` is true once another one came.
    named_sources, named_targets: the same of the flows that have a name.
    nearest_classes: what its unknown flows are nearest to.
    undirected: the sensor orders a flow's ends by address, so the initiator is known only where SYNs were counted.
    shown: what the sensor's baseline says is new about its flows.
    pairs: who spoke with whom, the first MAX_PAIRS, whatever the service and the direction.
    deeds: what they did, from who asked.
    level: how strong it is (levels.py), -1 before it was judged; level_flows: flows of each level.
    judged_flows: how many it had when it was judged last; judged_signs: what its strong flows were about, the first 16.
    judged: whether it pages, and why.
    emitted_: as its last revision had it; emitted_classes: those that any revision said.
    """

    uid: str
    site: str
    sensor: str
    key: str
    model: str
    opened_ts_us: int
    last_clock_us: int
    revision: int = 0
    emitted_clock_us: int = 0
    emitted_count: int = 0
    emitted_level: int = -1
    emitted_page: bool = False
    emitted_classes: list[str] = field(default_factory=list)
    count: int = 0
    late: int = 0
    start_ts_us: int = 0
    end_ts_us: int = 0
    first_ts_us: int = 0
    latest_ingest_ts_us: int = 0
    highest_score: float = 0.0
    total_score_ppm: int = 0
    lowest_p_value: float = 1.0
    highest_novelty: float = 0.0
    classes: dict[str, int] = field(default_factory=dict)
    nearest_classes: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    more_sources: bool = False
    targets: dict[str, int] = field(default_factory=dict)
    more_targets: bool = False
    named_sources: dict[str, int] = field(default_factory=dict)
    more_named_sources: bool = False
    named_targets: dict[str, int] = field(default_factory=dict)
    more_named_targets: bool = False
    target_ports: dict[int, int] = field(default_factory=dict)
    more_target_ports: bool = False
    undirected: bool = False
    talks: dict[str, Talk] = field(default_factory=dict)
    pairs: list[list[str]] = field(default_factory=list)
    positions: list[list[int | None]] = field(default_factory=list)
    features: FeatureSample = field(default_factory=FeatureSample.empty)
    shown: ShownEvidence = field(default_factory=ShownEvidence)
    deeds: Deeds = field(default_factory=Deeds)
    level: int = -1
    level_flows: list[int] = field(default_factory=lambda: [0] * LEVELS)
    judged_flows: int = 0
    judged_signs: list[str] = field(default_factory=list)
    judged: Disposition = NOT_JUDGED

    @property
    def main_class(self) -> str:
        """The class most of its flows have, of those that a quarter have at least; else that of most flows.

        A flow that is unknown or normal is a suspect for its novelty and speaks for no name; but what a quarter of the
        flows is known to be says more than that the others are unlike anything. How many they are is said with it.
        """
        named = {name: flows for name, flows in self.classes.items() if is_name(name) and flows * 4 >= self.count}
        return most(named or self.classes)

    @property
    def further_classes(self) -> list[str]:
        """Other classes that a tenth of its flows, and two at least, have; those with most flows first."""
        main = self.main_class
        others = {name: flows for name, flows in self.classes.items() if is_name(name) and name != main}
        enough = {name: flows for name, flows in others.items() if flows >= max(2, self.count / 10)}
        return sorted(enough, key=lambda name: (-enough[name], name))

    @property
    def said_classes(self) -> list[str]:
        """The classes that its sentence and its techniques are about."""
        return [self.main_class, *self.further_classes]

    @property
    def nearest(self) -> str:
        """The class that most of its unknown flows are nearest to; normal where there are none."""
        return most(self.nearest_classes) if self.nearest_classes else NORMAL

    @property
    def ends(self) -> Ends:
        """The ends of the flows that its class speaks of: of those with a name where it has one, else of all."""
        if is_name(self.main_class) and self.named_sources:
            named = self.named_sources, self.named_targets, self.more_named_sources, self.more_named_targets
            return Ends(*named, self.undirected)
        return self.all_ends

    @property
    def all_ends(self) -> Ends:
        """The ends of all its flows."""
        return Ends(self.sources, self.targets, self.more_sources, self.more_targets, self.undirected)

    @property
    def agreement(self) -> float:
        """Share of its flows that have its main class."""
        return self.classes[self.main_class] / self.count

    @property
    def mean_score(self) -> float:
        """Mean score of its flows, 0 to 1."""
        return self.total_score_ppm / 1e6 / self.count

    def absorb(self, rows: pa.RecordBatch) -> None:
        """Add flows (schema `scored`, in the order they count)."""
        first = self.count == 0
        ends, starts = _numbers(rows, "end_ts_us"), _numbers(rows, "start_ts_us")
        self.start_ts_us = int(starts.min()) if first else min(self.start_ts_us, int(starts.min()))
        self.first_ts_us = int(ends.min()) if first else min(self.first_ts_us, int(ends.min()))
        self.end_ts_us = int(ends.max()) if first else max(self.end_ts_us, int(ends.max()))
        self.latest_ingest_ts_us = max(self.latest_ingest_ts_us, int(_numbers(rows, "ingest_ts_us").max()))
        self.count += rows.num_rows
        self.late += int(np.count_nonzero(_numbers(rows, "late_by_us")))
        scores, p_values = _unit(rows, "score", 0.0), _unit(rows, "p_value", 1.0)
        self.highest_score = max(self.highest_score, float(scores.max()))
        # Whole millionths: their sum does not depend on the order of adding.
        self.total_score_ppm += int(np.rint(scores * 1e6).astype(np.int64).sum())
        self.lowest_p_value = min(self.lowest_p_value, float(p_values.min()))
        novelty = np.nan_to_num(rows.column("novelty").to_numpy().astype(np.float64), nan=0.0)
        self.highest_novelty = max(self.highest_novelty, float(np.clip(novelty, 0.0, 1e30).max()))
        _tally(self.classes, rows.column("class"), MAX_CLASSES)
        _tally(self.nearest_classes, rows.column("nearest_class").drop_null(), MAX_CLASSES)
        self.shown.add(rows)  # the ends as the baseline saw them
        asked = from_initiators(rows)
        self.undirected |= asked.unordered
        self.deeds.add(asked)
        rows = asked.rows
        self.more_sources |= _tally(self.sources, rows.column("src_addr"), MAX_ADDRESSES)
        self.more_targets |= _tally(self.targets, rows.column("dst_addr"), MAX_ADDRESSES)
        is_named = pc.invert(pc.is_in(rows.column("class"), value_set=pa.array([NORMAL, UNKNOWN])))
        named = rows.select(["src_addr", "dst_addr"]).filter(is_named)
        self.more_named_sources |= _tally(self.named_sources, named.column("src_addr"), MAX_ADDRESSES)
        self.more_named_targets |= _tally(self.named_targets, named.column("dst_addr"), MAX_ADDRESSES)
        self.more_target_ports |= _tally(self.target_ports, rows.column("dst_port").drop_null(), MAX_ADDRESSES)
        self._add_talks(rows)
        self._add_pairs(rows)
        free = MAX_POSITIONS - len(self.positions)
        if free > 0:
            names = ["raw_partition", "raw_offset", "raw_index", "source_record"]
            columns = [rows.column(name).slice(0, free).to_pylist() for name in names]
            self.positions += map(list, zip(*columns, strict=True))
        self.features = self.features.add(rows)

    def _add_talks(self, rows: pa.RecordBatch) -> None:
        names, number, rows_at = keys_of([rows.column(name) for name in TALK_KEYS], "\x1f", "-")
        flows = np.bincount(number, minlength=len(names))
        # A flood ends here: conversations already known, and as many new ones as still fit.
        known = pc.is_in(names, value_set=pa.array(list(self.talks), pa.string())).to_numpy(zero_copy_only=False)
        for at in np.flatnonzero(known).tolist():
            self.talks[names[at].as_py()].flows += int(flows[at])
        for at in np.flatnonzero(~known)[: MAX_TALKS - len(self.talks)].tolist():
            facts = rows.slice(int(rows_at[at]), 1).select(TALK_FIELDS).to_pylist()[0]
            self.talks[names[at].as_py()] = Talk(flows=int(flows[at]), **facts)

    def _add_pairs(self, rows: pa.RecordBatch) -> None:
        if len(self.pairs) >= MAX_PAIRS:
            return
        ends = [rows.column(name).dictionary_encode() for name in ("src_addr", "dst_addr")]
        codes = ends[0].indices.to_numpy().astype(np.int64) * len(ends[1].dictionary) + ends[1].indices.to_numpy()
        _, first_rows = np.unique(codes, return_index=True)
        known = {tuple(pair) for pair in self.pairs}
        # Each comes both ways round at most, and half of so many were known: more fill nothing.
        for at in np.sort(first_rows)[: 4 * MAX_PAIRS].tolist():
            pair = pair_of(*(end[at].as_py() for end in ends))
            if pair not in known and len(self.pairs) < MAX_PAIRS:
                known.add(pair)
                self.pairs.append(list(pair))


def _numbers(rows: pa.RecordBatch, name: str) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = rows.column(name).to_numpy()
    return values


def _unit(rows: pa.RecordBatch, name: str, missing: float) -> npt.NDArray[np.float64]:
    """A column of shares as float64 within 0..1; `missing` where it is no number."""
    values = np.nan_to_num(rows.column(name).to_numpy().astype(np.float64), nan=missing, posinf=1.0, neginf=0.0)
    shares: npt.NDArray[np.float64] = np.clip(values, 0.0, 1.0)
    return shares


def _tally(counts: dict[Any, int], values: pa.Array, most: int) -> bool:
    """Add the values' counts; true if a new value did not fit."""
    counted = pc.value_counts(values)
    names, numbers = counted.field("values"), counted.field("counts")
    turned_away = False
    if len(counts) + len(names) > most:
        # Look at the values already known and at as many new ones as still fit, not at all of a flood's.
        known = pc.is_in(names, value_set=pa.array(list(counts), names.type))
        new = pc.indices_nonzero(pc.invert(known))
        turned_away = len(new) > most - len(counts)
        chosen = pa.concat_arrays([pc.indices_nonzero(known), new.slice(0, most - len(counts))])
        names, numbers = names.take(chosen), numbers.take(chosen)
    for name, number in zip(names.to_pylist(), numbers.to_pylist(), strict=True):
        counts[name] = counts.get(name, 0) + number
    return turned_away


def as_document(incident: Incident) -> dict[str, Any]:
    """The incident as JSON values, for the saved state."""
    document = {name: getattr(incident, name) for name in Incident.__slots__}
    document["talks"] = {key: [getattr(talk, name) for name in Talk.__slots__] for key, talk in incident.talks.items()}
    document["target_ports"] = [[port, number] for port, number in incident.target_ports.items()]
    document["features"] = incident.features.as_document()
    document["shown"], document["judged"] = incident.shown.as_document(), list(incident.judged)
    document["deeds"] = incident.deeds.as_document()
    return document


def of_document(document: dict[str, Any]) -> Incident:
    """The incident that `as_document` wrote, or that of versions before: without baselines, pages, deeds and pairs."""
    fields = dict(document)
    fields["talks"] = {key: Talk(*values) for key, values in fields["talks"].items()}
    if "pairs" not in fields:
        of_talks = dict.fromkeys(pair_of(talk.src_addr, talk.dst_addr) for talk in fields["talks"].values())
        fields["pairs"] = [list(pair) for pair in of_talks][:MAX_PAIRS]
    fields["target_ports"] = {int(port): number for port, number in fields["target_ports"]}
    fields["features"] = FeatureSample.of_document(fields["features"])
    fields["judged"] = Disposition(*fields["judged"]) if "judged" in fields else OPENED_BEFORE
    if "shown" in fields:
        fields["shown"] = ShownEvidence.of_document(fields["shown"])
    if "deeds" in fields:
        fields["deeds"] = Deeds.of_document(fields["deeds"])
    return Incident(**fields)
