"""Figures of baselines: each capture replayed once, one attack inside learning, and made-up flows that creep."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.alert.grouping import Grouping
from pipeline.contracts.baseline import Phase
from pipeline.contracts.notices import CHANGED, LEARNT
from pipeline.featurize.baseline.baseline_notices import figures as baseline_figures
from pipeline.settings import Settings
from pipeline.tools.offline.baselines.captures import FOR_EVER_US, HARMLESS, Capture, replaced
from pipeline.tools.offline.baselines.fitted_figures import FittedFigures, fitted_figures
from pipeline.tools.offline.baselines.replayed import (
    HOUR_US,
    Found,
    attack_kinds,
    attacks_of,
    clock_of,
    found,
    replay_capture,
)
from schemas.learning import Learning

if TYPE_CHECKING:
    from models.serving.model import Model

MITM, SSH = ("man in the middle",), ("SSH logins",)
SCANS = ("scan of one host", "scan of several")
INSIDE_S = 1_872
"""Of Westermo's hour and a half .52 h: attacks that ended before are inside learning, later ones are looked for."""
DAY_HOURS = 24
ANCHORED_S = 21_600
"""A sensor whose network is replaced is anchored after six hours: no capture lasts the two days of the default."""


@dataclass(frozen=True, slots=True)
class NetworkFigures:
    """What a sensor at a network nobody knew says by its own baseline.

    learnt_h, anchored_h: hours after its first flow, None where it did not get so far. suspects_percent: of the flows
    after learning that are no attack. false: incidents without a labelled flow; incidents_of: those of each kind.
    pages, pages_without_attack: incidents that page, and those of them that hold no flow of an attack.
    fitted: with a calibration fitted in the middle, None where too little comes after learning.
    """

    network: str
    clock: str
    hours: float
    flows: int
    learnt_h: float | None
    anchored_h: float | None
    kinds: int
    usual_kinds: int
    relations: int
    usual_relations: int
    suspects_percent: float | None
    incidents: int
    false: int
    incidents_of: dict[str, int]
    attacks: list[Found]
    pages: int
    pages_without_attack: int
    fitted: FittedFigures | None

    @property
    def false_a_day(self) -> float | None:
        """False incidents a day after learning."""
        return self._a_day(self.false)

    @property
    def pages_without_attack_a_day(self) -> float | None:
        """Pages a day after learning that hold no flow of an attack."""
        return self._a_day(self.pages_without_attack)

    def _a_day(self, count: int) -> float | None:
        if self.learnt_h is None or self.hours <= self.learnt_h:
            return None
        return count * DAY_HOURS / (self.hours - self.learnt_h)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["fitted"] = None if self.fitted is None else self.fitted.document()
        a_day = {"false_a_day": self.false_a_day, "pages_without_attack_a_day": self.pages_without_attack_a_day}
        return {**fields, **a_day, "attacks": [each.document() for each in self.attacks]}


def network_figures(capture: Capture, settings: Settings, model: "Model") -> NetworkFigures:
    """A capture replayed once, from its first flow."""
    clock = clock_of(capture.span_us)
    replayed = replay_capture(capture, clock.learning, settings, model)
    counts = baseline_figures(replayed.baseline)
    judged = replayed.after_learning & np.isin(replayed.kind, capture.harmless)
    return NetworkFigures(
        network=capture.name,
        clock=clock.name,
        hours=capture.span_us / HOUR_US,
        flows=replayed.rows.num_rows,
        learnt_h=_hours(replayed.begins(Phase.SETTLING), capture.first_us),
        anchored_h=_hours(replayed.begins(Phase.ANCHORED), capture.first_us),
        kinds=counts["kinds"],
        usual_kinds=counts["usual_kinds"],
        relations=counts["relations"],
        usual_relations=counts["usual_relations"],
        suspects_percent=100 * float(replayed.suspect[judged].mean()) if judged.any() else None,
        incidents=len(replayed.incidents),
        false=replayed.false_incidents(),
        incidents_of=replayed.incidents_of(),
        attacks=[found(replayed, (kind,), kind) for kind in attack_kinds(capture)],
        pages=len(replayed.pages),
        pages_without_attack=replayed.pages_without(capture.harmless),
        fitted=fitted_figures(capture, replayed, model),
    )


def _hours(at_us: int | None, first_us: int) -> float | None:
    return None if at_us is None else (at_us - first_us) / HOUR_US


class Replaced(NamedTuple):
    """What becomes of a sensor at which another network begins.

    noticed_h, learnt_h: hours after that when it is called changed, and when that is learnt; None where it is not.
    incidents: before it is noticed, until it is learnt again, and afterwards.
    """

    networks: str
    noticed_h: float | None
    learnt_h: float | None
    incidents: tuple[int, int, int]

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return self._asdict()


def replacement(before: Capture, after: Capture, settings: Settings, model: "Model") -> Replaced:
    """A network learnt and anchored within hours, then another one at the same sensor."""
    capture = replaced(before, after)
    learning = Learning(most_s=ANCHORED_S, anchor_s=ANCHORED_S)
    replayed = replay_capture(capture, learning, settings, model)
    begins_us = before.first_us + before.span_us
    noticed = [notice.at_us for notice in replayed.notices if notice.kind == CHANGED and notice.at_us > begins_us]
    since_us = noticed[0] if noticed else FOR_EVER_US
    learnt = [notice.at_us for notice in replayed.notices if notice.kind == LEARNT and notice.at_us > since_us]
    opened_us = np.array(
        [incident.opened_ts_us for incident in replayed.incidents if incident.opened_ts_us > begins_us]
    )
    edges_us = [times[0] if times else FOR_EVER_US for times in (noticed, learnt)]
    counts = np.bincount(np.searchsorted(edges_us, opened_us, side="right"), minlength=3)
    hours = [_hours(times[0] if times else None, begins_us) for times in (noticed, learnt)]
    return Replaced(capture.name, hours[0], hours[1], (int(counts[0]), int(counts[1]), int(counts[2])))


class Contaminated(NamedTuple):
    """What is found later of each kind, after learning with one attack inside it, or with none, or with all there were.

    inside: what was; attacks: how many there are to choose from. Of several the one after which least is found counts.
    """

    sensor: str
    inside: str
    attacks: int
    later: tuple[Found, Found, Found]
    false: int

    @property
    def found(self) -> int:
        """Later scans and SSH logins that are found."""
        return sum(each.found for each in self.later[1:])

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {**self._asdict(), "later": [each.document() for each in self.later]}


def contamination(capture: Capture, settings: Settings, model: "Model") -> Iterator[Contaminated]:
    """A sensor of Westermo's plant, once for every attack that may stand in its learning."""
    kinds = {kind: attacks_inside(capture, kind) for kind in (*MITM, *SSH, *SCANS)}
    yield with_attack(capture, None, "clean", settings, model)
    for kind, attacks in kinds.items():
        each = [with_attack(capture, rows, f"one {kind}", settings, model) for rows in attacks]
        if each:
            yield min(each, key=lambda one: (one.found, one.later[0].found))._replace(attacks=len(each))
    yield with_attack(capture, np.arange(capture.flows.num_rows), "as recorded", settings, model)


def attacks_inside(capture: Capture, kind: str) -> list[Any]:
    """Indices of the flows of every attack of a kind that ended inside learning."""
    start_us, end_us = (capture.flows.column(name).to_numpy() for name in ("start_ts_us", "end_ts_us"))
    until_us = capture.first_us + INSIDE_S * 1_000_000
    return [rows for rows in attacks_of(capture.kinds(), start_us, end_us, (kind,)) if end_us[rows].max() < until_us]


def with_attack(
    capture: Capture, inside: Any, name: str, settings: Settings, model: "Model", grouping: Grouping | None = None
) -> Contaminated:
    """The sensor without the attacks of its first INSIDE_S seconds but the flows `inside` (indices, None: no one)."""
    until_us = capture.first_us + INSIDE_S * 1_000_000
    dropped = ~np.isin(capture.kinds(), HARMLESS) & (capture.flows.column("end_ts_us").to_numpy() < until_us)
    if inside is not None:
        dropped[inside] = False
    learning = clock_of(capture.span_us).learning
    replayed = replay_capture(capture.without(dropped, name), learning, settings, model, grouping)
    later = tuple(
        found(replayed, kinds, kinds_name, until_us)
        for kinds, kinds_name in ((MITM, MITM[0]), (SCANS, "scans"), (SSH, SSH[0]))
    )
    return Contaminated(capture.name, name, 0 if inside is None else 1, later, replayed.false_incidents())  # type: ignore[arg-type]
