"""What verdicts ask of sensors' baselines: that an attack's doing never becomes usual, and that it can again. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.contracts.baseline_commands import ATTACK, MAX_TEXT, UNDO, BaselineCommand
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.notices import ATTACK as CALLED_ATTACK
from pipeline.contracts.public_addresses import is_public
from pipeline.contracts.verdicts import LABELLING, TRUE_POSITIVE, Record, number_of
from pipeline.featurize.baseline.address_names import OUTSIDE_WORDS
from pipeline.tools.sensors.commands import undoable
from pipeline.tools.sensors.histories import SensorHistory

MAX_COMMANDS = 64
"""Of one verdict; a campaign of more sources and sensors is barred by its first ones, and that is said."""


def attack_commands(alerts: Iterable[Mapping[str, Any]], verdict: int = 0) -> list[BaselineCommand]:
    """A command for each sensor and source in alerts' evidence, with the event time in which the attack came."""
    times: dict[tuple[str, str, str], tuple[int, int]] = {}
    for alert in alerts:
        about = alert["unmapped"]
        for each in alert["evidences"]:
            end = each["src_endpoint"]
            source = _as_noted(end.get("ip") or end.get("name", ""))
            if 0 < len(source) <= MAX_TEXT:
                key = about["site"], about["sensor"], source
                first_us, last_us = times.get(key, (about["first_ts_us"], about["last_ts_us"]))
                times[key] = min(first_us, about["first_ts_us"]), max(last_us, about["last_ts_us"])
    return [
        BaselineCommand(
            site=site,
            sensor=sensor,
            action=ATTACK,
            address=source,
            first_us=first_us,
            last_us=last_us,
            verdict=verdict,
        )
        for (site, sensor, source), (first_us, last_us) in list(times.items())[:MAX_COMMANDS]
    ]


def lifting_commands(verdict: Record, history: SensorHistory) -> list[BaselineCommand]:
    """What lifts, at a sensor, the bars that a verdict of attack has put there and that are there still."""
    site, sensor = history.name
    return [
        BaselineCommand(site=site, sensor=sensor, action=UNDO, number=notice.number)
        for notice in undoable(history)
        if notice.kind == CALLED_ATTACK and notice.figures.get("verdict") == number_of(verdict)
    ]


def sensors_of(verdict: Record) -> list[SensorName]:
    """The sensors whose alerts a verdict is on."""
    named = ((verdict["site"], alert["sensor"]) for alert in verdict["alerts"])
    return list(dict.fromkeys((site, sensor) for site, sensor in named if site and sensor))


def says_for_baseline(verdict: Record) -> str:
    """What follows for what is usual from a verdict that its flows are no attack; else nothing."""
    sensors = sensors_of(verdict)
    if verdict["verdict_id"] not in LABELLING - {TRUE_POSITIVE} or not sensors:
        return ""
    return (
        "nothing follows for what is usual at the sensor: it becomes usual by coming back, or at once by "
        f"`forebay sensor accept {'/'.join(sensors[0])} --address ADDRESS`"
    )


def _as_noted(address: str) -> str:
    """An address as a baseline notes it: all public ones count as one."""
    return OUTSIDE_WORDS if is_public(address) else address
