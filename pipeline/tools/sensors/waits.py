"""Whose flows wait for others, how long and why: until then nothing comes of them. By the settings, before a record
came, and by what the log says holds.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.alert.wording import duration
from pipeline.contracts.lateness import FORMAT_LATENESS_US, largest, of_live_source
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from schemas.intake import AUTO, FileEntry, TopicSource

if TYPE_CHECKING:
    from pipeline.contracts.envelope import SensorName
    from pipeline.tools.sensors.late_flows import LateFlows

LEAST_US = 10_000_000
"""Of who waits no longer it is not said: nobody would miss the flows before."""
CONN = "Zeek's conn.log"
MAX_FILES = 16
"""Of the files of a source so many are looked at."""
MAX_TITLE = 120
"""Characters of what a source is called."""
OF_SOURCE = "lateness_us of its source"
AS_SENT = "as its records came with it"
NOT_LONGER = "event time is an hour past the last record that came with more"
"""Until when more holds than its sources have by now (contracts/lateness.py)."""
OF_SITE = "FOREBAY_SITE_LATENESS_US"
OF_ALL = "FOREBAY_LATENESS_US"
OTHERS = "all other sensors"

Source = FileEntry | TopicSource


class Wait(NamedTuple):
    """How long flows wait for others.

    whose: the sensor, or the source where its records name their sensors; why: what says so; is_sure: else they wait so
    long only if they are Zeek's conn.log; of_others: whose are all sensors, of a site or of any, that no other names;
    then: what follows, where its sources have less by now.
    """

    whose: str
    us: int
    why: str
    is_sure: bool = True
    of_others: bool = False
    then: "Wait | None" = None

    @property
    def words(self) -> str:
        """How long, and why."""
        then = f" until {NOT_LONGER}, then {self.then.words}" if self.then is not None else ""
        return f"{duration(self.us)} {f'({self.why})' if self.is_sure else f'if they are {self.why}'}{then}"

    def document(self) -> dict[str, Any]:
        """The same for machines."""
        facts = {"whose": self.whose, "lateness_us": self.us, "why": self.why, "is_sure": self.is_sure}
        return {**facts, "then": self.then.document()} if self.then is not None else facts


def waits(settings: Settings, seen: "Mapping[SensorName, LateFlows] | None" = None) -> list[Wait]:
    """Who waits for longer than LEAST_US; seen: sensors that have sent, by what holds there."""
    found: dict[SensorName | str, Wait] = expected(settings)
    for source in settings.topic_sources:
        if named_by(source, settings, seen or ()):
            found.pop(source.title, None)  # its sensors have sent
    found |= {name: as_it_holds(name, each, found.get(name), settings) for name, each in (seen or {}).items()}
    return [each for each in (*found.values(), *_of_others(settings)) if each.us > LEAST_US]


def named_by(source: Source, settings: Settings, names: "Iterable[SensorName]") -> "list[SensorName]":
    """Those of these sensors that a source's records may have named, and that no other source has as text."""
    others = {sensor_of(each) for each in settings.sources if each is not source}
    return [name for name in names if name not in others and source.may_name(*name)]


def _of_others(settings: Settings) -> list[Wait]:
    """Of sensors that nothing else is known of: of each site with a lateness of its own, then of all other sites."""
    whose = {site: f"{OTHERS} of {printable(site, MAX_TITLE)}" for site in settings.site_lateness_us}
    found = [_of_site(settings, site)._replace(whose=words, of_others=True) for site, words in whose.items()]
    words = f"{OTHERS} of other sites" if found else OTHERS
    return [*found, _of_site(settings, None)._replace(whose=words, of_others=True)]


def expected(settings: Settings) -> "dict[SensorName | str, Wait]":
    """Of each sensor that the settings name, and of each source whose records name theirs, by the settings."""
    found: dict[SensorName | str, Wait] = {}
    for source in settings.sources:
        wait, name = of_source(source, settings, kinds_of(source)), sensor_of(source)
        key = name or source.title
        found[key] = longest([wait, *filter(None, [found.get(key)])])
    return found


def longest(of_one: Iterable[Wait]) -> Wait:
    """What holds of several sources of one sensor."""
    return max(of_one, key=lambda each: (each.us, each.is_sure))


def sensor_of(source: Source) -> "SensorName | None":
    """The sensor of a source's records; None where they name it."""
    if isinstance(source.site, str) and isinstance(source.sensor, str):
        return source.site, source.sensor
    return None


def of_source(source: Source, settings: Settings, kinds: Collection[str] | None) -> Wait:
    """How long flows of a source wait; kinds: content-types of its records, None: nobody knows."""
    name = sensor_of(source)
    of_site = _of_site(settings, source.site if isinstance(source.site, str) else None)._replace(
        whose=printable("/".join(name) if name else source.title, MAX_TITLE)
    )
    if source.lateness_us is not None:
        return of_site._replace(us=source.lateness_us, why=OF_SOURCE)
    # of_site where no record states anything else: the largest holds (contracts/lateness.py).
    us = largest(_stated(source, kinds), of_site.us)
    return of_site if us == of_site.us else of_site._replace(us=us, why=CONN, is_sure=kinds is not None)


def stated_us(source: Source, kinds: Collection[str] | None) -> int:
    """The largest lateness that records of a source come with; 0: none, or that of their site holds."""
    return largest(_stated(source, kinds), 0)


def _stated(source: Source, kinds: Collection[str] | None) -> list[int | None]:
    """Which lateness records of a source come with, kind by kind; None: that of their site holds."""
    return [of_live_source(source.lateness_us, kind) for kind in (FORMAT_LATENESS_US if kinds is None else kinds)]


def kinds_of(source: Source) -> set[str] | None:
    """The content-types of a source's records, as its settings and its files say; None where they may be others too."""
    if source.format != AUTO:
        return {source.format}
    if isinstance(source, TopicSource):
        return None
    from pipeline.ingest.follow.names import file_sources, live_paths

    [followed] = file_sources([source])
    kinds = {_kind_of(path) for path in live_paths(followed)[:MAX_FILES]}
    known = {kind for kind in kinds if kind is not None}
    return known if kinds == known != set() or known & FORMAT_LATENESS_US.keys() else None


def _kind_of(path: str) -> str | None:
    """The content-type of a file; None where it is not there, or not known by now."""
    from pipeline.ingest.files.guess import HEAD_BYTES, guess
    from pipeline.ingest.follow.content import open_content

    try:
        content = open_content(path)
    except OSError:  # the follower says so, and waits for it
        return None
    try:
        return guess(content.read(0, HEAD_BYTES))
    finally:
        content.close()


def _of_site(settings: Settings, site: str | None) -> Wait:
    if site in settings.site_lateness_us:
        return Wait("", settings.site_lateness_us[site], OF_SITE)
    return Wait("", settings.lateness_us, OF_ALL)


def as_it_holds(name: "SensorName", found: "LateFlows", by_settings: Wait | None, settings: Settings) -> Wait:
    """What holds at a sensor that has sent, or with its next record, and why: more than its sources have by now holds
    on for a while, less does not.
    """
    whose = printable("/".join(name), MAX_TITLE)
    if by_settings is not None and by_settings.is_sure and by_settings.us > found.lateness_us:
        return by_settings
    if not found.of_source:
        return _of_site(settings, name[0])._replace(whose=whose, us=found.lateness_us)
    if by_settings is None:
        return Wait(whose, found.lateness_us, AS_SENT)
    if by_settings.us == found.lateness_us:
        return by_settings._replace(is_sure=True)
    return Wait(whose, found.lateness_us, AS_SENT, then=by_settings if by_settings.is_sure else None)
