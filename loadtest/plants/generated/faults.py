"""What befalls a plant without anybody's intent: hosts that fall silent, a poller that stops, hardware replaced."""

from typing import NamedTuple

import numpy as np

from loadtest.plants.generated.calendar import HOUR_US, MINUTE_US, SECOND_US
from loadtest.plants.generated.chance import Chance, Ints
from loadtest.plants.generated.flows import (
    FINISHED,
    KINDS,
    LOST_SIGHT,
    NO_EVENT,
    SERVICES,
    TCP,
    UDP_UNANSWERED,
    UNANSWERED,
    Mask,
    Traffic,
    chosen,
    joined,
)
from loadtest.plants.generated.scene import BENIGN, FAULT, Event, Scene

# Hours from the plant's start, which is a Monday: outside of what else is planned.
_POLLER_AT_H, _SWITCH_AT_H, _HARDWARE_AT_H, _CLOCK_AT_H = 75, 107, 63, 44
_RECONNECTED_US = 20 * SECOND_US
# A client gives up after three attempts.
_ATTEMPTS, _ATTEMPTS_US = 3, 3 * SECOND_US
_DATAGRAM_BYTES = 1_400


class Replacement(NamedTuple):
    """From a point in time on, a host's address is that of another device."""

    address: int
    from_us: int
    mac: int


class Drift(NamedTuple):
    """A sensor's clock that gains up to `max_us`, and is stepped back at the end."""

    start_us: int
    end_us: int
    max_us: int

    def shown(self, true_us: Ints) -> Ints:
        """(n,) what the clock shows at points in true time."""
        within = (true_us >= self.start_us) & (true_us < self.end_us)
        gained = (true_us - self.start_us) // 1_000 * self.max_us // ((self.end_us - self.start_us) // 1_000)
        return true_us + np.where(within, gained, 0)


def with_faults(scene: Scene, traffic: Traffic) -> tuple[Traffic, list[Replacement]]:
    """The plant's traffic with its faults, and which hardware was replaced."""
    traffic = _idle_poller(scene, traffic)
    traffic = _switch_outage(scene, traffic)
    return _replaced_hardware(scene, traffic)


def clock_drift(scene: Scene) -> Drift | None:
    """The drift of a sensor's clock, where the plant's time holds it."""
    start_us = scene.calendar.start_us + _CLOCK_AT_H * HOUR_US
    end_us = start_us + 12 * HOUR_US
    if not scene.inside(start_us, end_us):
        return None
    what = "The last sensor's clock gains 4 s in 12 hours, and NTP sets it back at the end."
    scene.happens(Event("clock-drift", FAULT, start_us, end_us, what, ()))
    return Drift(start_us, end_us, 4 * SECOND_US)


def _idle_poller(scene: Scene, traffic: Traffic) -> Traffic:
    start_us = scene.calendar.start_us + _POLLER_AT_H * HOUR_US
    end_us = start_us + 2 * HOUR_US
    if not scene.inside(start_us, end_us):
        return traffic
    panel, plc = "cell-2-panel", scene.site.plcs(2)[1]
    what = f"{panel} stops polling {plc.name} for two hours."
    scene.happens(Event("idle-poller", FAULT, start_us, end_us, what, (panel, plc.name)))
    flows = traffic.flows
    pair = (flows.src == scene.address(panel)) & (flows.dst == plc.address)
    return chosen(traffic, ~(pair & (flows.start_us >= start_us) & (flows.start_us < end_us)))


def _switch_outage(scene: Scene, traffic: Traffic) -> Traffic:
    start_us = scene.calendar.start_us + _SWITCH_AT_H * HOUR_US
    end_us = start_us + 40 * MINUTE_US
    if not scene.inside(start_us, end_us):
        return traffic
    hosts = tuple(host.name for host in scene.site.hosts.values() if host.segment == 2)
    what = "The switch of cell 2 fails: the cell is silent for 40 minutes, and connects again."
    number = scene.happens(Event("switch-outage", FAULT, start_us, end_us, what, hosts))
    segment = scene.site.segments
    silent = silenced(
        traffic,
        segment(traffic.flows.src) == 2,
        segment(traffic.flows.dst) == 2,
        (start_us, end_us),
        number,
    )
    return joined([silent, _reconnected(scene, traffic, segment(traffic.flows.dst) == 2, end_us, number)])


def _replaced_hardware(scene: Scene, traffic: Traffic) -> tuple[Traffic, list[Replacement]]:
    start_us = scene.calendar.start_us + _HARDWARE_AT_H * HOUR_US
    end_us = start_us + 15 * MINUTE_US
    if not scene.inside(start_us, end_us):
        return traffic, []
    plc = scene.site.plcs(3)[1]
    what = f"{plc.name} is replaced: the same address, another hardware address, 15 minutes without an answer."
    number = scene.happens(Event("hardware-replaced", BENIGN, start_us, end_us, what, (plc.name,)))
    flows = traffic.flows
    silent = silenced(traffic, flows.src == plc.address, flows.dst == plc.address, (start_us, end_us), number)
    return silent, [Replacement(plc.address, end_us, plc.mac + 0x04_00_00)]


def silenced(traffic: Traffic, from_there: Mask, to_there: Mask, window: tuple[int, int], number: int) -> Traffic:
    """The traffic while hosts do not answer, and do not speak.

    Connections that last when the window starts are cut there. Of what starts in it, what they would have sent is
    gone, and what others send them stays without an answer: connections are attempts, which nothing is asked in.
    """
    start_us, end_us = window
    flows = traffic.flows
    there = from_there | to_there
    starts = (flows.start_us >= start_us) & (flows.start_us < end_us)
    cut = there & (flows.start_us < start_us) & (flows.end_us > start_us)
    attempts = to_there & ~from_there & starts
    is_tcp = flows.protocol == TCP
    share = np.where(cut, (start_us - flows.start_us) * 1_000 // np.maximum(flows.duration_us, 1), 1_000)

    def scaled(column: Ints, tried: int | Ints) -> Ints:
        return np.where(attempts, tried, np.where(cut, column * share // 1_000, column))

    changed = flows._replace(
        duration_us=np.select(
            [attempts, cut], [np.where(is_tcp, _ATTEMPTS_US, 0), start_us - flows.start_us], flows.duration_us
        ),
        state=np.select(
            [attempts & is_tcp, attempts, cut & is_tcp], [UNANSWERED, UDP_UNANSWERED, LOST_SIGHT], flows.state
        ),
        orig_bytes=scaled(flows.orig_bytes, np.where(is_tcp, 0, np.minimum(flows.orig_bytes, _DATAGRAM_BYTES))),
        resp_bytes=scaled(flows.resp_bytes, 0),
        orig_pkts=scaled(flows.orig_pkts, np.where(is_tcp, _ATTEMPTS, 1)),
        resp_pkts=scaled(flows.resp_pkts, 0),
        service=np.where(attempts & is_tcp, SERVICES.index("-"), flows.service),
        event=np.where(attempts | cut, number, flows.event),
    )
    operations = traffic.operations
    asked = there[operations.flow] & (operations.at_us >= start_us) & (operations.at_us < end_us)
    asked |= attempts[operations.flow] | (cut[operations.flow] & (operations.at_us >= start_us))
    left = Traffic(changed, type(operations)(*(column[~asked] for column in operations)))
    return chosen(left, ~(from_there & starts))


def _reconnected(scene: Scene, traffic: Traffic, to_there: Mask, end_us: int, number: int) -> Traffic:
    """Every pair's next connection after an outage comes at once as well: all connect within seconds."""
    flows = traffic.flows
    polls = np.isin(flows.kind, [KINDS.index("poll"), KINDS.index("supervision")])
    later = to_there & polls & (flows.start_us >= end_us) & (flows.state == FINISHED) & (flows.event == NO_EVENT)
    index = np.flatnonzero(later)
    index = index[np.argsort(flows.start_us[index], kind="stable")]
    ends = np.column_stack([flows.src[index], flows.dst[index], flows.dst_port[index]])
    _, first = np.unique(ends, axis=0, return_index=True)
    rows = np.zeros(len(flows.uid), np.bool_)
    rows[index[first]] = True
    part = chosen(traffic, rows)
    chance = Chance(scene.seed, "reconnected")
    count = len(part.flows.uid)
    start = end_us + chance.below(_RECONNECTED_US, count)
    moved = start - part.flows.start_us
    again = part.flows._replace(
        start_us=start,
        src_port=chance.between(49_152, 65_535, count),
        event=np.full(count, number, np.int64),
        uid=chance.words(count),
    )
    operations = part.operations
    return Traffic(again, operations._replace(at_us=operations.at_us + moved[operations.flow]))


def busy_windows(scene: Scene) -> list[tuple[int, int]]:
    """When no attack starts: faults, maintenance, a new device and a replacement are told apart from it."""
    names = ("idle-poller", "switch-outage", "hardware-replaced", "maintenance", "new-device", "vendor")
    return [(event.start_us, event.end_us) for event in scene.events if event.name in names]
