"""A capture replayed as a sensor never heard of, from its first flow: what was shown, and which incidents came."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.alert.grouping import Grouping, load_grouping
from pipeline.alert.incident import Incident
from pipeline.alert.incidents import closed_incidents
from pipeline.alert.pages import PAGE
from pipeline.contracts.baseline import Phase
from pipeline.contracts.notices import Notice
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.featurize.sensor import featurize_file
from pipeline.runtime.wire.batches import filled
from pipeline.settings import Settings
from pipeline.tools.offline.baselines.captures import GAP_US, SITE, UNTRUE, Capture, Mask, Strings
from pipeline.tools.offline.naming_figures import scored_by
from schemas.learning import Learning

if TYPE_CHECKING:
    from models.serving.model import Model

Ints = npt.NDArray[np.int64]
HOUR_US = 3_600_000_000
LONG_US = 4 * HOUR_US
"""A capture of at least so much is replayed by the default clock."""
DEFAULT, SCALED = "default", "scaled"


class Clock(NamedTuple):
    """For how long a sensor learns in a capture, and whether that is the default."""

    name: str
    learning: Learning


def clock_of(span_us: int) -> Clock:
    """The default clock; for a capture under four hours one of fixed shares of its span, in whole seconds.

    It learns for a quarter to a third of the span, is anchored and admits after two fifths; a block is at least a 96th,
    1 to 60 s.
    """
    if span_us >= LONG_US:
        return Clock(DEFAULT, Learning())
    seconds = span_us / 1e6
    return Clock(
        SCALED,
        Learning(
            least_s=max(int(seconds / 4), 1),
            most_s=max(int(seconds / 3), 1),
            anchor_s=max(int(seconds * 0.4), 1),
            admit_s=max(int(seconds * 0.4), 1),
            shortest_block_s=int(min(max(seconds / 96, 1), 60)),
        ),
    )


@dataclass(frozen=True, slots=True)
class Replayed:
    """A capture's flows as they were judged, n rows of schema `scored` in the order they counted.

    kind: (n,) of each; gap_us: between two attacks of a kind. incident: (n,) index of the incident it is in, -1 without
    one. baseline: what is usual after it. notices: what the baseline said.
    """

    rows: pa.RecordBatch
    kind: Strings
    incident: Ints
    incidents: list[Incident]
    baseline: Baseline
    notices: tuple[Notice, ...]
    gap_us: int

    @property
    def phase(self) -> npt.NDArray[np.uint8]:
        """(n,) how far learning had got at each flow."""
        phase: npt.NDArray[np.uint8] = filled(self.rows, "phase", 0)
        return phase

    @property
    def after_learning(self) -> Mask:
        """(n,) flows that could be shown."""
        return self.phase >= Phase.SETTLING

    @property
    def suspect(self) -> Mask:
        """(n,) which were shown."""
        suspect: Mask = self.rows.column("suspect").to_numpy(zero_copy_only=False)
        return suspect

    @property
    def end_us(self) -> Ints:
        """(n,) when they ended."""
        end_us: Ints = self.rows.column("end_ts_us").to_numpy()
        return end_us

    def false_incidents(self) -> int:
        """How many incidents hold no labelled flow."""
        true = np.unique(self.incident[~np.isin(self.kind, UNTRUE)])
        return len(self.incidents) - int((true >= 0).sum())

    def incidents_of(self) -> dict[str, int]:
        """How many incidents there are of each labelled kind; one with flows of several kinds counts at each."""
        within = (self.incident >= 0) & ~np.isin(self.kind, UNTRUE)
        pairs = {*zip(self.kind[within].tolist(), self.incident[within].tolist(), strict=True)}
        return dict(sorted(Counter(kind for kind, _ in pairs).items()))

    @property
    def pages(self) -> list[int]:
        """Indices of the incidents that page."""
        return [number for number, each in enumerate(self.incidents) if each.judged.disposition == PAGE]

    def pages_without(self, harmless: tuple[str, ...]) -> int:
        """How many pages hold no flow of an attack, all but these kinds."""
        return len(set(self.pages) - set(self.incident[~np.isin(self.kind, harmless)].tolist()))

    def begins(self, phase: Phase) -> int | None:
        """When the first flow of a phase ended, None where there was none."""
        reached = np.flatnonzero(self.phase >= phase)
        return int(self.end_us[reached[0]]) if len(reached) else None


def replay_capture(
    capture: Capture, learning: Learning, settings: Settings, model: "Model", grouping: Grouping | None = None
) -> Replayed:
    """A capture through featurize, score and alert, as they are live; its sensor is of a site no model knows."""
    advanced = featurize_file(
        capture.flows, settings.lateness_us, window_us=settings.stitch_us, site=SITE, learning=learning
    )
    rows = scored_by(model, advanced.rows)
    incidents = closed_incidents([rows], grouping or load_grouping(), settings.pages_of(SITE))
    in_incident, baseline = incident_of(rows, incidents), advanced.states[0].baseline
    return Replayed(rows, capture.kinds(rows), in_incident, incidents, baseline, advanced.notices, capture.gap_us)


def incident_of(rows: pa.RecordBatch, incidents: list[Incident]) -> Ints:
    """(n,) the incident each row is in: by the positions it names, and what came after those by ends and time."""
    of_offset: dict[int | None, int] = {}
    for number, incident in enumerate(incidents):
        of_offset |= {offset: number for _, offset, *_ in incident.positions}
    numbers = np.array([of_offset.get(offset, -1) for offset in rows.column("raw_offset").to_pylist()], np.int64)
    suspect = rows.column("suspect").to_numpy(zero_copy_only=False)
    source, target = (np.array(rows.column(name).to_pylist()) for name in ("src_addr", "dst_addr"))
    end_us = rows.column("end_ts_us").to_numpy()
    for number, incident in enumerate(incidents):
        if incident.count <= len(incident.positions):
            continue
        within = suspect & (numbers < 0) & (end_us >= incident.first_ts_us) & (end_us <= incident.end_ts_us)
        numbers[within & np.isin(source, list(incident.sources)) & np.isin(target, list(incident.targets))] = number
    return numbers


class Found(NamedTuple):
    """Attacks of one kind: how many there were after learning, how many are in an incident, and how soon each was.

    seconds: of each that was found, from the end of its first flow after learning to the incident. paged: how many are
    in an incident that pages.
    """

    kind: str
    attacks: int
    found: int
    seconds: list[float]
    paged: int = 0

    def document(self) -> dict[str, object]:
        """As JSON values."""
        return {**self._asdict(), "seconds": [round(seconds, 1) for seconds in self.seconds]}


def attacks_of(kind: Strings, start_us: Ints, end_us: Ints, kinds: tuple[str, ...], gap_us: int = GAP_US) -> list[Ints]:
    """Rows of each attack: those of the kinds, in order of their start, without longer gaps."""
    rows = np.flatnonzero(np.isin(kind, kinds))
    rows = rows[np.argsort(start_us[rows], kind="stable")]
    if not len(rows):
        return []
    reached_us = np.maximum.accumulate(end_us[rows])
    return np.split(rows, np.flatnonzero(start_us[rows][1:] - reached_us[:-1] > gap_us) + 1)


def found(replayed: Replayed, kinds: tuple[str, ...], name: str, from_us: int = 0) -> Found:
    """How many attacks of some kinds that began at or after a time, and lasted beyond learning, are in an incident."""
    start_us, end_us = replayed.rows.column("start_ts_us").to_numpy(), replayed.end_us
    attacks, paged, seconds, after = 0, 0, list[float](), replayed.after_learning
    for rows in attacks_of(replayed.kind, start_us, end_us, kinds, replayed.gap_us):
        judged = rows[after[rows]]
        if end_us[rows].min() < from_us or not len(judged):
            continue
        attacks += 1
        incidents = [
            replayed.incidents[number] for number in np.unique(replayed.incident[judged]).tolist() if number >= 0
        ]
        paged += any(incident.judged.disposition == PAGE for incident in incidents)
        if incidents:
            opened_us = min(incident.opened_ts_us for incident in incidents)
            seconds.append(max(opened_us - int(end_us[judged].min()), 0) / 1e6)
    return Found(name, attacks, len(seconds), seconds, paged)


def attack_kinds(capture: Capture) -> list[str]:
    """Kinds of attack in a capture."""
    return [kind for kind in np.unique(capture.kinds()).tolist() if kind not in capture.harmless]
