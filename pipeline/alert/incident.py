"""An incident: what is retained of its flows, all of it bounded, so that ten million flows cost what a thousand do."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.alert.deeds import Deeds
from pipeline.alert.ends import Ends, most
from pipeline.alert.features import FeatureSample
from pipeline.alert.levels import LEVELS
from pipeline.alert.members import Members
from pipeline.alert.pages import NOT_JUDGED, OPENED_BEFORE, Disposition
from pipeline.alert.shown_evidence import ShownEvidence
from pipeline.contracts.class_names import NORMAL, is_name
from pipeline.contracts.incident_joining import MAX_PAIRS, pair_of

# Key of the incident of all that could not be followed one by one; every other key starts with a separator.
CROWD = "crowd"

MAX_POSITIONS = 1024
MAX_ADDRESSES = 256
MAX_TALKS = 32
MAX_CLASSES = 32


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

    def absorb(self, members: Members, part: int = 0) -> None:
        """Add a part of these flows."""
        totals = members.totals[part]
        first = self.count == 0
        self.start_ts_us = totals.start_ts_us if first else min(self.start_ts_us, totals.start_ts_us)
        self.first_ts_us = totals.first_ts_us if first else min(self.first_ts_us, totals.first_ts_us)
        self.end_ts_us = totals.end_ts_us if first else max(self.end_ts_us, totals.end_ts_us)
        self.latest_ingest_ts_us = max(self.latest_ingest_ts_us, totals.latest_ingest_ts_us)
        self.count += totals.flows
        self.late += totals.late
        self.highest_score = max(self.highest_score, totals.highest_score)
        self.total_score_ppm += totals.total_score_ppm
        self.lowest_p_value = min(self.lowest_p_value, totals.lowest_p_value)
        self.highest_novelty = max(self.highest_novelty, totals.highest_novelty)
        self.undirected |= totals.undirected
        members.classes.add_to(self.classes, part, MAX_CLASSES)
        members.nearest_classes.add_to(self.nearest_classes, part, MAX_CLASSES)
        self.more_sources |= members.sources.add_to(self.sources, part, MAX_ADDRESSES)
        self.more_targets |= members.targets.add_to(self.targets, part, MAX_ADDRESSES)
        self.more_named_sources |= members.named_sources.add_to(self.named_sources, part, MAX_ADDRESSES)
        self.more_named_targets |= members.named_targets.add_to(self.named_targets, part, MAX_ADDRESSES)
        self.more_target_ports |= members.target_ports.add_to(self.target_ports, part, MAX_ADDRESSES)
        self.shown.add(members.shown, members.of(part))
        self.deeds.add(members.done, part)
        self._add_talks(members, members.talks.of(part))
        self._add_pairs(members, members.pairs.of(part))
        self._add_positions(members, members.of(part))
        self.features = self.features.add(members.features.cut(members.of(part)))

    def _add_talks(self, members: Members, of: slice) -> None:
        rows_at = members.talks.first[of].tolist()
        for key, flows, at in zip(members.talk_keys[of], members.talks.flows[of], rows_at, strict=True):
            if key in self.talks:
                self.talks[key].flows += flows
            elif len(self.talks) < MAX_TALKS:
                self.talks[key] = _talk(members, at, flows)

    def _add_pairs(self, members: Members, of: slice) -> None:
        if len(self.pairs) >= MAX_PAIRS:
            return
        known = {tuple(pair) for pair in self.pairs}
        # Each comes both ways round at most, and half of so many were known: more fill nothing.
        for at in members.pairs.first[of][: 4 * MAX_PAIRS].tolist():
            pair = pair_of(members.asked.source.at(at), members.asked.target.at(at))
            if pair not in known and len(self.pairs) < MAX_PAIRS:
                known.add(pair)
                self.pairs.append(list(pair))

    def _add_positions(self, members: Members, of: slice) -> None:
        fit = slice(of.start, min(of.stop, of.start + MAX_POSITIONS - len(self.positions)))
        names = ["raw_partition", "raw_offset", "raw_index", "source_record"]
        columns = [members.rows.column(name)[fit].to_pylist() for name in names]
        self.positions += map(list, zip(*columns, strict=True))


def _talk(members: Members, at: int, flows: int) -> Talk:
    """The conversation that the row `at` is of."""
    asked, rows = members.asked, members.rows
    macs = [rows.column(name)[at].as_py() for name in ("src_mac", "dst_mac")]
    source_mac, target_mac = reversed(macs) if asked.turned[at] else macs
    port = int(asked.port[at])
    return Talk(
        src_addr=asked.source.at(at),
        dst_addr=asked.target.at(at),
        dst_port=port if port >= 0 else None,
        ip_proto=rows.column("ip_proto")[at].as_py(),
        flows=flows,
        src_mac=source_mac,
        dst_mac=target_mac,
        community_id=rows.column("community_id")[at].as_py(),
    )


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
