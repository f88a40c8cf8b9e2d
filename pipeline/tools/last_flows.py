"""Of which sources the last flows wait for others although all of their records are sent. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.settings import Settings
from pipeline.tools.sensors.waits import LEAST_US, Wait, longest, of_source, sensor_of
from pipeline.tools.source_states import SourceState
from schemas.intake import AUTO, TopicSource


class LastFlows(NamedTuple):
    """Whose last flows wait and how long, and until when where no more come; None: until more come."""

    wait: Wait
    until_us: int | None


def last_flows(found: Sequence[SourceState], settings: Settings, now_us: int) -> list[LastFlows]:
    """Those that wait by now, of a sensor or, where its records name theirs, of a source.

    Ingest ends the wait of a sensor that has been silent for FOREBAY_IDLE_US, and for the longest wait of its sources.
    """
    of_one: dict[object, list[tuple[Wait, int]]] = {}
    for state in found:
        wait, sent_us = of_source(state.source, settings, _kinds(state)), _sent_us(state)
        if sent_us is not None:
            of_one.setdefault(sensor_of(state.source) or state.source.title, []).append((wait, sent_us))
    last = []
    for several in of_one.values():
        wait = longest(wait for wait, _ in several)
        until_us = max(sent_us for _, sent_us in several) + max(settings.idle_us, wait.us)
        if wait.us > LEAST_US and (until_us > now_us or not settings.idle_us):
            last.append(LastFlows(wait, until_us if settings.idle_us else None))
    return last


def _kinds(state: SourceState) -> set[str] | None:
    """The content-types of what was sent of a source; None where nobody knows."""
    if isinstance(state.source, TopicSource):
        return None if state.source.format == AUTO else {state.source.format}
    return {file.content_type for file in state.files if file.records}


def _sent_us(state: SourceState) -> int | None:
    """When its last record came into `raw`, at least; None where none did, or more are to come."""
    if state.behind:
        return None
    if isinstance(state.source, TopicSource):
        return state.last_us
    return max((file.sent_us for file in state.files if file.records), default=None)
