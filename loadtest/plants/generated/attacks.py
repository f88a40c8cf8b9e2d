"""Which attacks there are, and when each takes place."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from loadtest.plants.generated import network_attacks, process_attacks
from loadtest.plants.generated.calendar import HOUR_US, MINUTE_US, SECOND_US
from loadtest.plants.generated.chance import Chance
from loadtest.plants.generated.flows import Traffic, joined
from loadtest.plants.generated.scene import Scene
from loadtest.plants.generated.staging import Stage


class Attack(NamedTuple):
    """An attack and how long it takes; `make` adds flows, and where it is None the plant's own are changed."""

    length_us: int
    make: Callable[[Stage], Iterator[Traffic]] | None
    outlasts: bool = False
    """It goes on while others take place."""


MITM = "arp-mitm"
ATTACKS: dict[str, Attack] = {
    "port-scan": Attack(90 * SECOND_US, network_attacks.port_scan),
    "host-sweep": Attack(2 * MINUTE_US, network_attacks.host_sweep),
    "ssh-logins": Attack(8 * MINUTE_US, network_attacks.ssh_logins),
    "rdp-logins": Attack(6 * MINUTE_US, network_attacks.rdp_logins),
    MITM: Attack(20 * MINUTE_US, None),
    "new-host-write": Attack(SECOND_US, process_attacks.new_host_write),
    "unusual-write": Attack(SECOND_US, process_attacks.unusual_write),
    "program-download": Attack(10 * SECOND_US, process_attacks.program_download),
    "plc-stop": Attack(SECOND_US, process_attacks.plc_stop),
    "identification-sweep": Attack(3 * MINUTE_US, process_attacks.identification_sweep),
    "beacon": Attack(24 * HOUR_US, network_attacks.beacon, outlasts=True),
    "exfiltration": Attack(30 * MINUTE_US, network_attacks.exfiltration),
    "flood": Attack(MINUTE_US, network_attacks.flood),
    "slow-scan": Attack(12 * HOUR_US, network_attacks.slow_scan, outlasts=True),
    "replayed-command": Attack(SECOND_US, process_attacks.replayed_command),
}
MIN_SLOT_US = 3 * MINUTE_US
"""Attacks closer than this are hard to tell apart."""
_APART_US = 10 * MINUTE_US


def attacked(traffic: Traffic, stages: Sequence[Stage]) -> Traffic:
    """The plant's traffic with the attacks of the stages."""
    added = []
    for stage in stages:
        make = ATTACKS[stage.name].make
        if make is None:
            traffic = process_attacks.man_in_the_middle(stage, traffic)
        else:
            added += list(make(stage))
    return joined([traffic, *added])


def staged(
    scene: Scene, names: Sequence[str], window: tuple[int, int], busy: Sequence[tuple[int, int]], early: bool
) -> list[Stage]:
    """One attack after another within a window, in an order of chance, apart from the `busy` stretches.

    Those that go on while others take place come first.
    """
    chance = Chance(scene.seed, "stages", int(early))
    order = dict(zip(ATTACKS, chance.words(len(ATTACKS)).tolist(), strict=True))
    chosen = sorted(set(names), key=lambda name: (not ATTACKS[name].outlasts, order[name]))
    start_us, end_us = window
    slot_us = (end_us - start_us) // max(len(chosen), 1)
    stages = []
    for number, name in enumerate(chosen):
        attack = ATTACKS[name]
        at_us = start_us + number * slot_us + chance.number(0, slot_us // 4)
        length_us = attack.length_us if attack.outlasts else min(attack.length_us, slot_us // 2)
        if not attack.outlasts:
            at_us = _apart(at_us, length_us, busy)
        stages.append(Stage(scene, name, at_us, min(at_us + length_us, end_us), early))
    return stages


def _apart(at_us: int, length_us: int, busy: Sequence[tuple[int, int]]) -> int:
    """The first point in time from `at_us` on at which nothing else is the matter."""
    for start_us, end_us in sorted(busy):
        if at_us < end_us + _APART_US and at_us + length_us > start_us - _APART_US:
            at_us = end_us + _APART_US
    return at_us
