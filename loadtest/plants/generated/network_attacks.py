"""Attacks that any network knows: scans, logins in series, a beacon, theft of data, a flood."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from loadtest.plants.generated.calendar import MINUTE_US, SECOND_US
from loadtest.plants.generated.chance import Ints
from loadtest.plants.generated.flows import OPENED, REFUSED, UNANSWERED, Traffic, plain
from loadtest.plants.generated.site import PORTS, address_of
from loadtest.plants.generated.staging import Stage

# Public, and nobody's hosts (6to4 relays, RFC 7526, and AS112, RFC 7535): no stranger's address is named here.
COMMAND_SERVER = (192 << 24) + (88 << 16) + (99 << 8) + 77
DROP_SERVER = (192 << 24) + (175 << 16) + (48 << 8) + 9
BEACON_PORT, BEACON_PERIOD_US = 4_443, 5 * MINUTE_US
SLOW_PERIOD_US = 10 * MINUTE_US
SCANNED_PORTS, LOGINS, FLOOD, FLOOD_SENDERS = 1_000, 120, 8_000, 3_000
_OPEN_PORTS = (21, 80, 502)
_SLOW_PORTS = (22, 80, 102, 443, 502, 3_389, 5_900, 44_818)


def port_scan(stage: Stage) -> Iterator[Traffic]:
    """One host's ports, one after another."""
    scanner, target = stage.intruder(1), stage.scene.site.plcs(1)[1]
    source = stage.begins(f"{SCANNED_PORTS} ports of {target.name} are tried.", scanner, target.name)
    ports = np.argsort(source.chance.words(SCANNED_PORTS)).astype(np.int64) + 1
    state = np.where(np.isin(ports, _OPEN_PORTS), OPENED, REFUSED)
    yield plain(source.probes(stage.spread(SCANNED_PORTS), stage.address(scanner), target.address, ports, state))


def host_sweep(stage: Stage) -> Iterator[Traffic]:
    """Who answers on Modbus, of all addresses of all cells."""
    site = stage.scene.site
    source = stage.begins("Every address of every cell is tried on port 502.", "op-2")
    targets = np.array([address_of(cell, last) for cell in site.cells for last in range(2, 255)], np.int64)
    speaking = [host.address for host in site.hosts.values() if host.kind == "modbus"]
    alive = site.device_macs(targets) > 0
    state = np.select([np.isin(targets, speaking), alive], [OPENED, REFUSED], UNANSWERED)
    yield plain(source.probes(stage.spread(len(targets)), stage.address("op-2"), targets, PORTS["modbus"], state))


def ssh_logins(stage: Stage) -> Iterator[Traffic]:
    """Passwords are guessed at a switch."""
    ssh = _Logins("ssh", 22, (1_900_000, 3_400_000), (1_800, 2_200), (2_300, 2_600), 12)
    yield _failed_logins(stage, ssh, stage.intruder(2), "cell-2-switch", "at cell-2-switch")


def rdp_logins(stage: Stage) -> Iterator[Traffic]:
    """Passwords are guessed at the engineering station, from an operator station."""
    rdp = _Logins("rdp", 3_389, (800_000, 1_500_000), (1_300, 1_700), (1_500, 1_900), 8)
    yield _failed_logins(stage, rdp, "op-4", "eng-1", "from op-4 at eng-1")


class _Logins(NamedTuple):
    """What a failed login of a protocol looks like; durations and bytes lie between two bounds."""

    service: str
    port: int
    duration_us: tuple[int, int]
    orig_bytes: tuple[int, int]
    resp_bytes: tuple[int, int]
    exchanges: int


def _failed_logins(stage: Stage, logins: _Logins, guesser: str, target: str, where: str) -> Traffic:
    """A series of logins that all fail."""
    source = stage.begins(f"{LOGINS} {logins.service.upper()} logins {where} fail.", guesser, target)
    flows = source.tcp(
        stage.spread(LOGINS),
        stage.address(guesser),
        stage.address(target),
        logins.port,
        service=logins.service,
        duration_us=source.chance.between(*logins.duration_us, LOGINS),
        orig_bytes=source.chance.between(*logins.orig_bytes, LOGINS),
        resp_bytes=source.chance.between(*logins.resp_bytes, LOGINS),
        exchanges=logins.exchanges,
    )
    return plain(flows)


def slow_scan(stage: Stage) -> Iterator[Traffic]:
    """A probe every ten minutes, from the printer."""
    source = stage.begins("The printer tries one port of one host every 10 minutes.", "printer")
    start = np.arange(stage.start_us, stage.end_us, SLOW_PERIOD_US, dtype=np.int64)
    start = np.minimum(start + source.chance.below(MINUTE_US, len(start)), stage.end_us - SECOND_US)
    hosts = [host.address for host in stage.scene.site.hosts.values() if host.kind in ("server", "panel", "gateway")]
    probe = np.arange(len(start))
    targets, ports = np.array(hosts)[probe % len(hosts)], np.array(_SLOW_PORTS)[probe // 3 % len(_SLOW_PORTS)]
    state = np.where(source.chance.below(4, len(start)) == 0, OPENED, REFUSED)
    yield plain(source.probes(start, stage.address("printer"), targets, ports, state))


def beacon(stage: Stage) -> Iterator[Traffic]:
    """An engineering station asks a server in the Internet for orders."""
    what = f"eng-1 calls one public address on port {BEACON_PORT} every 5 minutes."
    source = stage.begins(what, "eng-1", COMMAND_SERVER)
    start = np.arange(stage.start_us, stage.end_us - 10 * SECOND_US, BEACON_PERIOD_US, dtype=np.int64)
    count = len(start)
    flows = source.tcp(
        start + source.chance.below(8 * SECOND_US, count),
        stage.address("eng-1"),
        COMMAND_SERVER,
        BEACON_PORT,
        service="ssl",
        duration_us=source.chance.between(180_000, 900_000, count),
        orig_bytes=source.chance.between(640, 720, count),
        resp_bytes=source.chance.between(1_150, 1_260, count),
        exchanges=4,
    )
    yield plain(flows)


def exfiltration(stage: Stage) -> Iterator[Traffic]:
    """The historian's data leave the plant."""
    source = stage.begins("The historian sends 1.8 GB to a public address.", "historian", DROP_SERVER)
    count = 6
    octets = source.chance.near(300_000_000, 20, count)
    flows = source.tcp(
        stage.start_us + np.arange(count) * (stage.length_us // count),
        stage.address("historian"),
        DROP_SERVER,
        443,
        service="ssl",
        duration_us=np.minimum(octets // 4, stage.length_us // count - SECOND_US // 2),
        orig_bytes=octets,
        resp_bytes=octets // 500,
        exchanges=octets // 16_000,
    )
    yield plain(flows)


def flood(stage: Stage) -> Iterator[Traffic]:
    """Connections are opened from made-up addresses, and left open."""
    what = f"scada-1 gets {FLOOD} connection attempts from {FLOOD_SENDERS} made-up addresses."
    source = stage.begins(what, "scada-1")
    # An odd factor permutes the 30 bits: so many numbers, so many different addresses.
    senders: Ints = (1 << 30) + (np.arange(FLOOD) % FLOOD_SENDERS * 0x2545F491) % (1 << 30)
    yield plain(source.probes(stage.spread(FLOOD), senders, stage.address("scada-1"), 443, UNANSWERED))
