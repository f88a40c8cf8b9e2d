"""What featurize reports of a sensor's baseline beside its rows: a phase that began, what came back, what fell silent.

A notice is a pure function of the sensor's flows, so one written twice is the same. Notices travel with the message
whose rows brought them, and are records of the topic `baselines`.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson

from pipeline.contracts.baseline import Phase
from pipeline.contracts.verdict_scopes import MAX_US
from pipeline.errors import BadData

LEARNT, ANCHORED, CHANGED, ADMITTED, SILENT, STATUS = "learnt", "anchored", "changed", "admitted", "silent", "status"
ACCEPTED, UNDONE, RELEARNT, EXTENDED = "accepted", "undone", "relearn", "extended"
ATTACK = "attack"
KINDS = (LEARNT, ANCHORED, CHANGED, EXTENDED, ADMITTED, SILENT, STATUS, ACCEPTED, UNDONE, RELEARNT, ATTACK)
NOTICE = "notice"
"""Class of an alert that is a notice, where other alerts have an attack's: it is no incident."""
LONE = "lone"
"""Kind of a notice that is no baseline's: of a sensor's suspects in no incident, which it lists."""
UNDOABLE = (ADMITTED, ACCEPTED, ATTACK)
"""Notices that made something usual, or keep it from becoming so."""
FIGURES = ("began_us", "flows", "kinds", "usual_kinds", "relations", "usual_relations", "turned_away", "displaced")
"""What every notice counts: when the baseline began (0: no flow has come yet), flows learnt, kinds of flow and
relations, usual ones among them, what found no room, what was evicted for something else.
"""
WHATS = ("use", "talk", "write", "control", "function", "hardware")
"""What a relation that a notice names can be."""
MOST_RELATIONS = 20
"""Relations a notice names; it counts all."""


@dataclass(frozen=True, slots=True)
class NamedRelation:
    """A relation in words: what (use, write, control and so on), who, with whom, the service (502/tcp) and when."""

    what: str
    source: str
    target: str
    service: str
    blocks: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened to a sensor's baseline.

    Parameters
    ----------
    number
        Of the baseline record: it rises with every notice of the sensor but the hourly status.
    at_us
        Event time.
    figures
        FIGURES at least; of what a notice or a command made usual, or not usual any more: affected_relations,
        affected_addresses (of hosts and devices), affected_kinds; of `undone` the number of the notice, and
        barred_relations where it was an attack; of `attack` the number of the verdict; of `silent` pausing_relations,
        those that had paused before and came back.
    relations
        The first of those it is about; `more` counts the rest.
    """

    site: str
    sensor: str
    number: int
    kind: str
    phase: int
    at_us: int
    since_us: int
    figures: dict[str, int]
    relations: tuple[NamedRelation, ...] = ()
    more: int = 0

    @property
    def key(self) -> str:
        """Key of its record: a later status replaces the earlier one."""
        return "/".join((self.site, self.sensor, STATUS if self.kind == STATUS else str(self.number)))

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        document = asdict(self)
        document["relations"] = [asdict(relation) for relation in self.relations]
        return document

    def payload(self) -> bytes:
        """The value of its record in `baselines`."""
        return orjson.dumps(self.document())

    @classmethod
    def of(cls, document: object) -> "Notice":
        """The notice in a JSON document; BadData where it is none."""
        try:
            if not isinstance(document, dict) or document["kind"] not in KINDS:
                raise ValueError(f"expected a kind of {', '.join(KINDS)}")
            figures = document["figures"]
            if not all(type(figures[name]) is int for name in {*FIGURES, *figures}):
                raise ValueError(f"expected whole numbers of {', '.join(FIGURES)}")
            relations = tuple(NamedRelation(**relation) for relation in document["relations"])
            notice = cls(**{**document, "relations": relations})
            if not (_is_typed(notice) and all(map(_is_typed, relations))):
                raise ValueError("expected texts and whole numbers")
            if not all(relation.what in WHATS for relation in relations):
                raise ValueError(f"expected relations of {', '.join(WHATS)}")
            Phase(notice.phase)
            return notice
        except (TypeError, ValueError, KeyError) as error:
            raise BadData(f"notice of a baseline: got {str(document)[:120]} ({error}), expected its fields") from error


def _is_typed(of: Notice | NamedRelation) -> bool:
    """Whether its texts are texts and its numbers whole ones, as a database takes them."""
    said = [(getattr(of, each.name), each.type) for each in fields(of) if each.type in (str, int)]
    return all(type(value) is kind and not (isinstance(value, int) and abs(value) > MAX_US) for value, kind in said)
