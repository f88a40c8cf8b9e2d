"""Made-up plants and what befalls them: a scenario is data, its records follow from it, the seed and their number.

A sensor sees a plant in cycles of CYCLE_US. Each cycle holds the same slots: polls, which controllers answer with the
regularity of a clock, and in its last third the attack, if there is one. What a slot's record is follows from seed,
sensor, cycle and slot alone, so the same record comes out whatever is asked for with it, and the plant's records are
the same with and without the attack.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from loadtest.conn_json import PROTOCOLS, SERVICES, STATES, Flows, Ints, mixed

CYCLE_US = 60_000_000
ATTACK_FROM_US, ATTACK_TO_US = 40_000_000, 59_000_000
LATEST_US = 30_000_000
"""No delay is longer; a record that would be sent in the next cycle is sent on time."""
SPOOFED = 1 << 30  # spoofed senders come from 64.0.0.0/2
_TCP, _UDP = (PROTOCOLS.index(name) for name in ("tcp", "udp"))
_SF, _S0, _REJ, _RSTO = (STATES.index(name) for name in ("SF", "S0", "REJ", "RSTO"))
_SCANNED = (21, 22, 23, 80, 102, 443, 502, 2404, 4840, 20_000, 44_818, 47_808)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is generated; `attack_records` come in each cycle of each sensor, from `addresses` senders (flood).

    `out_of_order` and `late` are shares of the plant's records: the first are sent up to 1.5 s after their turn, the
    second 5 to 30 s.
    """

    name: str
    title: str
    sites: int = 1
    sensors: int = 1  # a site
    stations: int = 2  # operator stations, which poll
    controllers: int = 20
    attack: str = "none"
    attack_records: int = 0
    addresses: int = 0
    out_of_order: float = 0.0
    late: float = 0.0

    @property
    def sensor_names(self) -> list[tuple[str, str]]:
        """(site, sensor) of every sensor, in order."""
        return [
            (f"site-{site}" if self.sites > 1 else "plant", f"tap-{sensor}")
            for site in range(self.sites)
            for sensor in range(self.sensors)
        ]


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("steady", "a plant at work: stations poll controllers, nothing else happens"),
        Scenario(
            "scan", "the same, and a host that tries ports of all controllers", attack="scan", attack_records=2_400
        ),
        Scenario(
            "flood",
            "the same, and connection attempts to one controller from a million spoofed addresses",
            attack="flood",
            attack_records=20_000,
            addresses=1_000_000,
        ),
        Scenario("sites", "fifty plants of four sensors each, small ones", sites=50, sensors=4, controllers=6),
        Scenario(
            "untidy", "a plant whose sensor mixes up the order, and is late at times", out_of_order=0.2, late=0.01
        ),
    )
}


@dataclass(frozen=True)
class _Slots:
    """The slots of a cycle, the plant's before the attack's."""

    at_us: Ints
    pair: Ints  # who polls whom; -1 the attack
    pairs: Flows  # a row a pair


# Service, port, protocol, seconds between polls, bytes asked and answered: what talks in a plant (Modbus, EtherNet/IP,
# DNP3; a historian that reads over HTTP, names and time).
_TALK = (
    ("modbus", 502, _TCP, (0.2, 0.5, 1.0, 2.0), 12, 29),
    ("enip", 44_818, _TCP, (0.5, 1.0, 5.0), 110, 94),
    ("dnp3", 20_000, _TCP, (1.0, 5.0, 10.0), 27, 180),
    ("http", 80, _TCP, (10.0, 60.0), 420, 5_200),
    ("dns", 53, _UDP, (30.0, 60.0), 44, 120),
    ("ntp", 123, _UDP, (60.0,), 48, 48),
)


@cache
def _slots(scenario: Scenario, seed: int) -> _Slots:
    """The slots every cycle has; they differ by seed, not by sensor."""
    random = np.random.default_rng([seed, 7])
    rows: list[tuple[int, int, int, int, int, int, int]] = []
    times: list[Ints] = []
    for station in range(scenario.stations):
        for controller in range(scenario.controllers):
            # Most controllers speak one protocol to a station; the rest happens less often.
            kinds = [int(random.choice(3, p=(0.7, 0.2, 0.1))), *(3 + np.flatnonzero(random.random(3) < 0.3)).tolist()]
            for kind in kinds:
                service, port, protocol, every_s, asked, answered = _TALK[kind]
                period = int(1e6 * float(random.choice(every_s)))
                rows.append((station, controller, port, protocol, SERVICES.index(service), asked, answered))
                times.append(np.arange(int(random.integers(period)), CYCLE_US, period))
    column = [np.array([row[number] for row in rows], np.int64) for number in range(7)]
    nothing = np.zeros(len(rows), np.int64)
    pairs = Flows(
        *(nothing, nothing, 10 + column[0], nothing, 100 + column[1], column[2], column[3], column[4], nothing),
        *(column[5], column[6], nothing, nothing, nothing.astype(np.uint64)),
    )
    pair = np.repeat(np.arange(len(rows)), [len(each) for each in times])
    attack = np.linspace(ATTACK_FROM_US, ATTACK_TO_US, scenario.attack_records, endpoint=False).astype(np.int64)
    return _Slots(np.concatenate((*times, attack)), np.concatenate((pair, np.full(len(attack), -1, np.int64))), pairs)


def cycle_records(scenario: Scenario, seed: int = 0) -> int:
    """How many records a sensor has in one cycle."""
    return len(_slots(scenario, seed).at_us)


def records(scenario: Scenario, seed: int, sensor: int, first: int, count: int, start_us: int) -> Flows:
    """Records first to first + count of one sensor, in the order it sends them.

    `start_us` is the event time of the first cycle's begin. Every record is the same for equal seed, sensor and number.
    """
    slots = _slots(scenario, seed)
    each = len(slots.at_us)
    cycles = np.arange(first // each, (first + count - 1) // each + 1)
    cycle, slot = np.repeat(cycles, each), np.tile(np.arange(each), len(cycles))
    attack = slots.pair[slot] < 0
    chance = mixed(seed, sensor, cycle, np.where(attack, slot + (1 << 40), slot))
    # A poll is late by up to 2 ms; what the sensor makes of the order is another matter.
    end_us = slots.at_us[slot] + (chance >> np.uint64(40)).astype(np.int64) % 2_000
    sent_us = end_us + np.where(attack, 0, _delay_us(scenario, chance))
    sent_us = np.where(sent_us < CYCLE_US, sent_us, end_us)
    order = np.lexsort((slot, sent_us, cycle))[first % each : first % each + count]
    cycle, slot, chance, attack = cycle[order], slot[order], chance[order], attack[order]
    end_us = start_us + cycle * CYCLE_US + end_us[order]
    polls = _polls(slots, slot, chance, end_us, sensor)
    if not attack.any():
        return polls
    number = cycle * scenario.attack_records + slot - (each - scenario.attack_records)
    return _attacked(polls, scenario, attack, number, sensor)


def _delay_us(scenario: Scenario, chance: np.ndarray) -> Ints:
    """How long after its end each record is sent."""
    drawn = mixed(chance, 1)
    share = drawn.astype(np.float64) / 2.0**64
    spread = (mixed(chance, 2) >> np.uint64(11)).astype(np.float64) / 2.0**53
    late = np.where(share < scenario.late, 5_000_000 + spread * (LATEST_US - 5_000_000), 0.0)
    mixed_up = (share >= scenario.late) & (share < scenario.late + scenario.out_of_order)
    return np.where(mixed_up, spread * 1_500_000, late).astype(np.int64)


def _polls(slots: _Slots, slot: Ints, chance: np.ndarray, end_us: Ints, sensor: int) -> Flows:
    """The plant's records: a station asks, a controller answers."""
    pair = np.maximum(slots.pair[slot], 0)
    p = slots.pairs
    network = (10 << 24) + (sensor << 8)
    duration = 3_000 + (chance & np.uint64(0xFFF)).astype(np.int64)
    packets = np.where(p.protocol[pair] == _UDP, 1, 5 + p.resp_bytes[pair] // 1_460)
    return Flows(
        end_us=end_us,
        duration_us=duration,
        src=network + p.src[pair],
        src_port=49_152 + (chance >> np.uint64(20)).astype(np.int64) % 16_384,
        dst=network + p.dst[pair],
        dst_port=p.dst_port[pair],
        protocol=p.protocol[pair],
        service=p.service[pair],
        state=np.full(len(slot), _SF, np.int64),
        orig_bytes=p.orig_bytes[pair],
        resp_bytes=p.resp_bytes[pair],
        orig_pkts=packets,
        resp_pkts=packets,
        uid=chance,
    )


def _attacked(plant: Flows, scenario: Scenario, attack: np.ndarray, number: Ints, sensor: int) -> Flows:
    """The plant's records, the attack's where `attack` is True; `number` counts them from the first cycle on."""
    network = (10 << 24) + (sensor << 8)
    if scenario.attack == "flood":
        # An odd factor permutes the 30 bits: so many numbers, so many different addresses.
        sender = (1 << 30) + (number % max(1, scenario.addresses) * 0x2545F491) % SPOOFED
        target, port, state = np.full(len(number), network + 100), np.full(len(number), 502), np.full(len(number), _S0)
        answered = np.zeros(len(number), np.int64)
    else:
        sender = np.full(len(number), network + 66)
        target = network + 100 + number % scenario.controllers
        port = np.array(_SCANNED)[number // scenario.controllers % len(_SCANNED)]
        state, answered = np.where(port == 502, _RSTO, _REJ), np.ones(len(number), np.int64)
    ours = {
        "duration_us": answered * 400,
        "src": sender,
        "dst": target,
        "dst_port": port,
        "protocol": np.full(len(number), _TCP),
        "service": np.zeros(len(number), np.int64),
        "state": state,
        "orig_bytes": np.zeros(len(number), np.int64),
        "resp_bytes": np.zeros(len(number), np.int64),
        "orig_pkts": np.ones(len(number), np.int64),
        "resp_pkts": answered,
    }
    return plant._replace(**{name: np.where(attack, values, getattr(plant, name)) for name, values in ours.items()})
