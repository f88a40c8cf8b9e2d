"""What the notices of a sensor add up to: where it is, what happened to it, and why it does not get on. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from pipeline.alert.wording import duration
from pipeline.contracts.baseline import Phase
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.notice_words import minute
from pipeline.contracts.notices import STATUS, Notice
from pipeline.featurize.baseline.kinds import MOST_USUAL
from pipeline.featurize.baseline.phases import LEAST_ROWS
from pipeline.featurize.baseline.relations import MOST_RELATIONS
from schemas.learning import Learning

QUIET_US = 3 * 3_600_000_000
"""A sensor that sends reports its status every hour of its own time; a clock of its own may be an hour off."""
GONE_US = 30 * 24 * 3_600_000_000
"""Who has sent nothing for so long was taken away: its last notices stay in the topic for ever."""
LEARNING_PHASES = (Phase.LEARNING, Phase.CHANGED)
PHASE_NAMES = tuple(phase.name.lower() for phase in Phase if phase != Phase.NONE)


class StoredNotice(NamedTuple):
    """A notice as its topic holds it: when it was written, by Kafka's clock, and into which partition."""

    notice: Notice
    stored_us: int
    partition: int


class Remark(NamedTuple):
    """Why a sensor does not get on, and what to do."""

    what: str
    remedy: str


@dataclass(slots=True)
class SensorHistory:
    """A sensor's notices, oldest first, each once, the hourly status apart; and its last notice of any kind.

    statuses: what the topic still holds of them, as later ones replace earlier ones in time.
    """

    last: StoredNotice
    notices: list[Notice] = field(default_factory=list)
    statuses: list[Notice] = field(default_factory=list)
    by_key: dict[str, Notice] = field(default_factory=dict)

    @property
    def name(self) -> SensorName:
        """Site and sensor."""
        return self.last.notice.site, self.last.notice.sensor

    @property
    def since_forgotten(self) -> list[Notice]:
        """Its notices since it was forgotten last, having sent nothing for too long: it numbers them from 1 again."""
        pairs = enumerate(pairwise([*self.notices, self.last.notice]), 1)
        return self.notices[max((at for at, (before, after) in pairs if _is_anew(before, after)), default=0) :]

    @property
    def phase(self) -> str:
        """The phase in words."""
        return Phase(self.last.notice.phase).name.lower()


def _is_anew(before: Notice, after: Notice) -> bool:
    """Whether a sensor was forgotten in between; featurize writes older notices again after a crash, the same ones."""
    return after.number < before.number and after.figures["began_us"] != before.figures["began_us"]


def histories(stored: Iterable[StoredNotice]) -> dict[SensorName, SensorHistory]:
    """The history of each sensor, by name, of notices in the order of their topic."""
    by_name: dict[SensorName, SensorHistory] = {}
    for each in stored:
        notice = each.notice
        history = by_name.setdefault((notice.site, notice.sensor), SensorHistory(each))
        if each.stored_us >= history.last.stored_us:
            history.last = each
        # Featurize writes notices again after a crash, the same ones.
        if history.by_key.get(notice.key) != notice:
            history.by_key[notice.key] = notice
            (history.statuses if notice.kind == STATUS else history.notices).append(notice)
    return dict(sorted(by_name.items()))


def remarks(history: SensorHistory, learning: Learning, now_us: int) -> list[Remark]:
    """Why a sensor does not get on; nothing where it does.

    learning: what is set for its site. now_us: the wall clock, compared with when its last notice was written.
    """
    notice, found = history.last.notice, list[Remark]()
    learns_us = notice.at_us - notice.since_us
    if notice.phase in LEARNING_PHASES and learns_us > 1_000_000 * learning.most_s:
        found.append(_learns_long(notice, learns_us))
    if notice.figures["usual_kinds"] >= MOST_USUAL or notice.figures["usual_relations"] >= MOST_RELATIONS:
        found.append(
            Remark(
                "its tables are full of what is usual: nothing else can become so",
                "split what it sees into several sensors, or let it begin anew: forebay sensor relearn",
            )
        )
    elif notice.figures["relations"] >= MOST_RELATIONS:
        found.append(
            Remark(
                f"more relations between hosts than the {MOST_RELATIONS:,} that are remembered of a sensor: what is "
                "new takes the place of what came least, or stays new",
                "split what it sees into several sensors, by VLAN or by site; or end what scans there",
            )
        )
    if QUIET_US < (quiet_us := now_us - history.last.stored_us) <= GONE_US:
        found.append(
            Remark(
                f"nothing for {duration(quiet_us)}",
                "see whether it still sends (forebay source list), and whether what it sends is read (forebay rejects "
                "list)",
            )
        )
    return found


def _learns_long(notice: Notice, learns_us: int) -> Remark:
    if notice.figures["flows"] < LEAST_ROWS:
        what = f"learning for {duration(learns_us)} with {notice.figures['flows']} flows, {LEAST_ROWS} are needed"
        return Remark(what, "see whether the sensor sends all it sees; some devices speak that rarely")
    return Remark(
        f"learning for {duration(learns_us)}: more than half of what comes is still new",
        "end what scans there, or split what it sees into several sensors; forebay sensor accept makes usual what came",
    )


def document(history: SensorHistory, found: Iterable[Remark]) -> dict[str, Any]:
    """A sensor for machines."""
    notice = history.last.notice
    return {
        "site": notice.site,
        "sensor": notice.sensor,
        "phase": history.phase,
        "since_us": notice.since_us,
        "at_us": notice.at_us,
        "stored_us": history.last.stored_us,
        **notice.figures,
        "remarks": [remark._asdict() for remark in found],
    }


COLUMNS = ["sensor", "phase", "since (UTC)", "flows", "usual kinds", "usual relations", "no room for", "as of (UTC)"]


def row(history: SensorHistory) -> list[Any]:
    """A sensor as a row under COLUMNS."""
    notice = history.last.notice
    figures: Mapping[str, int] = notice.figures
    return [
        "/".join(history.name),
        history.phase,
        minute(notice.since_us),
        figures["flows"],
        f"{figures['usual_kinds']:,} of {figures['kinds']:,}",
        f"{figures['usual_relations']:,} of {figures['relations']:,}",
        figures["turned_away"],
        minute(notice.at_us),
    ]
