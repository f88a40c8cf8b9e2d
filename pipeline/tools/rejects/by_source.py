"""Rejects by the source of the settings that they came from, as far as their site and sensor say it. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.tools.rejects.summary import Group
from schemas.intake import FileEntry, Origin, TopicSource

Names = frozenset[str] | None
"""What a source may call its site or sensor; None for anything: the name comes with the record."""


@dataclass(slots=True)
class SourceRejects:
    """Rejects of one source by reason. `shared`: some may be another source's, which has the same names."""

    reasons: Counter[str] = field(default_factory=Counter)
    shared: bool = False

    @property
    def count(self) -> int:
        """How many."""
        return self.reasons.total()


def rejects_by_source(
    sources: Sequence[TopicSource | FileEntry], topics: Sequence[Sequence[str]], groups: Iterable[Group]
) -> tuple[list[SourceRejects], int]:
    """The rejects of each source, and how many are of none; `topics` are the names of each source's topics.

    A reject is of the source that names its site and sensor by text; else of those that take a name from the record,
    for which any name may be theirs. Where several are as likely, it counts for each of them.
    """
    names = [
        (_names(source.site, of_topics), _names(source.sensor, of_topics))
        for source, of_topics in zip(sources, topics, strict=True)
    ]
    counted, others = [SourceRejects() for _ in sources], 0
    for group in groups:
        fit = [_fit(group, site, sensor) for site, sensor in names]
        best = max(fit, default=-1)
        likely = [each for each, how_well in zip(counted, fit, strict=True) if how_well == best >= 0]
        others += 0 if likely else group.count
        for each in likely:
            each.reasons[group.reason] += group.count
            each.shared |= len(likely) > 1
    return counted, others


def _names(origin: str | Origin, topics: Sequence[str]) -> Names:
    if isinstance(origin, str):
        return frozenset({origin})
    if origin.topic is None:
        return None
    found = [re.search(origin.topic, topic) for topic in topics]
    return frozenset({origin.otherwise or "", *(match[1] or "" for match in found if match)})


def _fit(group: Group, site: Names, sensor: Names) -> int:
    """How many of a reject's names are the source's own; -1 where one cannot be."""
    names = ((site, group.site), (sensor, group.sensor))
    if any(known is not None and name not in known for known, name in names):
        return -1
    return sum(known is not None for known, _ in names)
