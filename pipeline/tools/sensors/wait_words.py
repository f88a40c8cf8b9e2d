"""What is said of flows that wait for others: whose, how long and why, and which setting makes it shorter."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.sensors.waits import (
    AS_SENT,
    CONN,
    MAX_TITLE,
    NOT_LONGER,
    OF_ALL,
    OF_SITE,
    OF_SOURCE,
    Wait,
    named_by,
    sensor_of,
    waits,
)

if TYPE_CHECKING:
    from pipeline.contracts.envelope import SensorName
    from pipeline.tools.sensors.late_flows import LateFlows

LISTED = (
    "a sensor is listed once a flow was scored that ended a minute or more after its first (shortest_block_s of "
    "FOREBAY_LEARNING)"
)
BESIDE = "of the sensors that its records may name none is listed yet but those of other sources"
BY_SETTINGS = f"where a source had more before, that holds until {NOT_LONGER}"
"""What is to be said beside waits by the settings alone."""
MAX_NAMED = 3
"""Of many that wait alike so many are named."""
_BY_SOURCE = "`lateness_us` of the source sets less; where the sensor has sent already, that holds an hour later"
_LESS = {
    OF_SOURCE: _BY_SOURCE,
    CONN: _BY_SOURCE,
    AS_SENT: (
        "where records came with it, `lateness_us` of the source, `--lateness-us` of `forebay flow follow` or header "
        "`lateness-us` of `raw` sets less; where that was done, it holds an hour later"
    ),
    OF_SITE: f"{OF_SITE} sets less from the next start on",
    OF_ALL: f"{OF_ALL} sets less from the next start on",
}
"""What makes a wait shorter, by why it is so long."""


def short_words(found: Sequence[Wait]) -> str:
    """Who waits how long, and why; those that wait alike together."""
    alike = {key: list(each) for key, each in groupby(sorted(found, key=_alike), _alike)}
    return ", ".join(f"those of {_names(of)} {of[0].words}" for of in alike.values())


def _alike(wait: Wait) -> tuple[Any, ...]:
    return -wait.us, not wait.is_sure, wait.words


def _names(alike: Sequence[Wait]) -> str:
    """The first of the sensors and sources, and how many more; then all that are not named, who are never one more."""
    several = [each.whose for each in alike if not each.of_others]
    more = f" and {len(several) - MAX_NAMED:,} more" if len(several) > MAX_NAMED else ""
    named = [", ".join(several[:MAX_NAMED]) + more] if several else []
    return ", ".join([*named, *(each.whose for each in alike if each.of_others)])


def wait_words(found: Sequence[Wait]) -> str:
    """Why nothing comes yet, and what makes that shorter; empty where nobody waits."""
    if not found:
        return ""
    return (
        f"flows wait for others that ended earlier and come later, {short_words(found)}: of a log that has just begun "
        f"hardly any is scored before. {shorter_words(found)}"
    )


def now_words(settings: Settings, seen: "Mapping[SensorName, LateFlows]") -> str:
    """`wait_words` of the sensors of which flows may wait by now; empty where none does."""
    names = {printable("/".join(name), MAX_TITLE) for name, each in seen.items() if each.may_wait}
    return wait_words([each for each in waits(settings, seen) if each.whose in names])


def by_settings_words(found: Iterable[Wait]) -> str:
    """What is to be said of these where nobody looked at what holds; empty where nothing is."""
    return BY_SETTINGS if any(each.why in (OF_SOURCE, CONN) for each in found) else ""


def shorter_words(found: Iterable[Wait]) -> str:
    """Which settings make these shorter, and what comes of it."""
    settings = "; ".join(dict.fromkeys(_LESS[(each.then or each).why] for each in found))
    return f"{settings}: alerts come sooner then, and more flows come late"


def unlisted(
    settings: Settings, listed: "Collection[SensorName]", seen: "Mapping[SensorName, LateFlows] | None" = None
) -> list[str]:
    """A line for each sensor that the settings name, or that has sent, and is not listed yet; then why."""
    sent = seen or {}
    by_whose = {each.whose: each for each in waits(settings, sent)}
    names: list[SensorName | str] = []
    beside: dict[str, str] = {}
    for source in settings.sources:
        name = sensor_of(source)
        if name is not None or not named_by(source, settings, (*sent, *listed)):
            names.append(name or source.title)
        if name is None and any(source.may_name(*each) for each in (*sent, *listed)):
            beside[source.title] = BESIDE
    lines: list[str] = []
    waiting: list[Wait] = []
    for missing in dict.fromkeys([*names, *sent]):
        if missing not in listed:
            whose = printable(missing if isinstance(missing, str) else "/".join(missing), MAX_TITLE)
            wait = by_whose.get(whose)
            waiting += [wait] if wait else []
            what = beside.get(whose, "not listed yet")
            lines.append(f"{whose}: {what}" + (f"; its flows wait for others, {wait.words}" if wait else ""))
    if not lines:
        return []
    why = f"{LISTED}; `forebay source list` says what has come"
    begun = "of a log that has just begun hardly any flow is scored before it has waited"
    return [*lines, f"{why}; {begun}. {shorter_words(waiting)}" if waiting else why]
