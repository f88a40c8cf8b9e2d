"""Of which sources the last flows wait for others although all of their records are sent. Pure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipeline.contracts.envelope import SensorName
from pipeline.settings import Settings
from pipeline.tools.sensors.waits import LEAST_US, Wait, as_it_holds, longest, of_source, sensor_of, stated_us
from pipeline.tools.source_states import SourceState
from schemas.intake import AUTO, TopicSource

if TYPE_CHECKING:
    from pipeline.tools.sensors.late_flows import LateFlows


class LastFlows(NamedTuple):
    """Whose last flows wait and how long, and until when at least where no more come; None: until more come."""

    wait: Wait
    until_us: int | None


class _Sent(NamedTuple):
    """Of a source all of whose records are sent: its wait, the lateness that they came with, and when the last did."""

    wait: Wait
    stated_us: int
    sent_us: int


def last_flows(
    found: Sequence[SourceState],
    settings: Settings,
    now_us: int,
    seen: "Mapping[SensorName, LateFlows] | None" = None,
) -> list[LastFlows]:
    """Those that wait by now, of a sensor or, where its records name theirs, of a source; none of those of which more
    may be to come from any of its sources; seen: sensors that have sent, by what holds there.

    Ingest ends the wait of a sensor that has been silent for FOREBAY_IDLE_US and for the longest lateness that its
    records came with; that of its site ingest does not wait for.
    """
    of_one: dict[SensorName | str, list[_Sent]] = {}
    for state in found:
        kinds, sent_us = _kinds(state), _sent_us(state)
        if sent_us is not None:
            sent = _Sent(of_source(state.source, settings, kinds), stated_us(state.source, kinds), sent_us)
            of_one.setdefault(sensor_of(state.source) or state.source.title, []).append(sent)
    unread = [state.source for state in found if _may_hold_more(state)]
    last = []
    for key, several in of_one.items():
        if any(source.title == key or (isinstance(key, tuple) and source.may_name(*key)) for source in unread):
            continue
        wait = longest(each.wait for each in several)
        stated = [each.stated_us for each in several]
        if isinstance(key, tuple) and (holds := (seen or {}).get(key)) is not None:
            wait = as_it_holds(key, holds, wait, settings)
            stated += [holds.lateness_us] if holds.of_source else []
        silent_us = max(settings.idle_us, *stated)
        until_us = max(each.sent_us for each in several) + silent_us
        if wait.us > LEAST_US and (until_us > now_us or not settings.idle_us):
            last.append(LastFlows(wait, until_us if settings.idle_us else None))
    return last


def _kinds(state: SourceState) -> set[str] | None:
    """The content-types of what was sent of a source; None where nobody knows."""
    if isinstance(state.source, TopicSource):
        return None if state.source.format == AUTO else {state.source.format}
    return {file.content_type for file in state.files if file.records}


def _may_hold_more(state: SourceState) -> bool:
    """Whether records of it are still to come into `raw`, as far as can be seen from here: of a file that cannot be
    seen they may, until its follower has done with it.
    """
    if isinstance(state.source, TopicSource):
        return bool(state.behind)
    return any(file.state == "open" if file.behind_bytes is None else file.behind_bytes > 0 for file in state.files)


def _sent_us(state: SourceState) -> int | None:
    """When its last record came into `raw`, at least; None where none did."""
    if isinstance(state.source, TopicSource):
        return state.last_us
    return max((file.sent_us for file in state.files if file.records), default=None)
