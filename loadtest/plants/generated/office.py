"""What every network of Windows hosts and devices has: names, time, logons, printing, updates, broadcasts."""

from collections.abc import Iterator

import numpy as np

from loadtest.plants.generated.calendar import (
    EVERY_DAY,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    WORKDAYS,
    WORKING_HOURS,
    regular,
    scattered,
)
from loadtest.plants.generated.chance import Ints
from loadtest.plants.generated.flows import IGMP, Flows, Traffic, plain
from loadtest.plants.generated.scene import Scene
from loadtest.plants.generated.site import CORE, WINDOWS_HOSTS, address_of

ALL_HOSTS = 0xE0000001
_MDNS, _SSDP = 0xE00000FB, 0xEFFFFFFA
# Networks in which Microsoft's update servers are; which server answers changes from day to day.
UPDATE_NETWORKS = ((13 << 24) + (107 << 16), (20 << 24) + (72 << 16), (40 << 24) + (76 << 16), (52 << 24) + (184 << 16))
_UPDATE_SERVERS = 120
# Windows asks its domain controller for the time about every 17 minutes, devices their router every half hour.
_TIME_US, _DEVICE_TIME_US = 1_024 * SECOND_US, 30 * MINUTE_US


def office(scene: Scene) -> Iterator[Traffic]:
    """The noise of names, time, domain, printer, updates and broadcasts."""
    for name in WINDOWS_HOSTS:
        yield _names(scene, name)
        yield _domain(scene, name)
        yield _announcements(scene, name)
        yield _updates(scene, name)
    yield _time(scene)
    yield _printing(scene)
    yield _leases(scene)
    yield _groups(scene)


def presence(scene: Scene, name: str) -> tuple[tuple[Ints, float], ...]:
    """When a host is how busy: servers always, stations mostly while people work."""
    calendar = scene.calendar
    if scene.host(name).kind == "server":
        return ((calendar.whole, 1.0),)
    if name.startswith("eng"):
        return ((calendar.daily(WORKING_HOURS, WORKDAYS), 2.0), (calendar.daily((17, 32), EVERY_DAY), 0.3))
    return ((calendar.whole, 1.0),)


def _names(scene: Scene, name: str) -> Traffic:
    """Questions to the domain controller's DNS."""
    source = scene.source("names", name)
    times = np.concatenate([scattered(source.chance, windows, 9 * busy) for windows, busy in presence(scene, name)])
    count = len(times)
    questions = source.udp(
        np.sort(times),
        scene.address(name),
        scene.address("dc"),
        53,
        service="dns",
        duration_us=source.chance.between(400, 30_000, count),
        orig_bytes=source.chance.between(28, 62, count),
        resp_bytes=source.chance.between(44, 310, count),
    )
    return plain(questions)


def _domain(scene: Scene, name: str) -> Traffic:
    """Kerberos, LDAP and SMB with the domain controller."""
    source, dc = scene.source("domain", name), scene.address("dc")
    services = (
        (88, "krb_tcp", 1.5, 1_600, 1_700, 2, 9_000),
        (389, "ldap_tcp", 1.0, 2_900, 5_200, 6, 60_000),
        (445, "gssapi,smb", 0.7, 4_100, 9_800, 14, 8_000_000),
        (135, "dce_rpc", 0.2, 560, 420, 3, 40_000),
    )
    parts = []
    for port, service, per_hour, sent, received, exchanges, duration in services:
        times = [scattered(source.chance, windows, per_hour * busy) for windows, busy in presence(scene, name)]
        starts = np.sort(np.concatenate(times))
        count = len(starts)
        parts.append(
            source.tcp(
                starts,
                scene.address(name),
                dc,
                port,
                service=service,
                duration_us=source.chance.near(duration, 60, count),
                orig_bytes=source.chance.near(sent, 25, count),
                resp_bytes=source.chance.near(received, 35, count),
                exchanges=exchanges,
            )
        )
    return plain(*parts)


def _announcements(scene: Scene, name: str) -> Traffic:
    """Broadcasts by which Windows hosts are known to each other, and searches for devices."""
    source, src = scene.source("broadcast", name), scene.address(name)
    everyone = address_of(CORE, 255)
    times = regular(source.chance, scene.calendar.whole, 12 * MINUTE_US, 5 * SECOND_US)
    browser = source.udp(times, src, everyone, 138, src_port=138, orig_bytes=201)
    times = scattered(source.chance, scene.calendar.whole, 1.2)
    names = source.udp(
        times,
        src,
        everyone,
        137,
        src_port=137,
        duration_us=1_500_000,
        orig_bytes=source.chance.between(2, 3, len(times)) * 50,
        exchanges=3,
    )
    times = scattered(source.chance, scene.calendar.whole, 0.8)
    searches = source.udp(times, src, _SSDP, 1_900, duration_us=3_000_000, orig_bytes=700, exchanges=4)
    times = scattered(source.chance, scene.calendar.whole, 0.5)
    devices = source.udp(times, src, _MDNS, 5_353, src_port=5_353, orig_bytes=source.chance.between(40, 90, len(times)))
    return plain(browser, names, searches, devices)


def _updates(scene: Scene, name: str) -> Traffic:
    """Updates of Windows: from the maker's servers, whichever answers that day."""
    source = scene.source("updates", name)
    checks = scattered(source.chance, scene.calendar.daily((1, 23)), 0.12)
    times = np.repeat(checks, 3) + source.chance.between(0, 90 * SECOND_US, 3 * len(checks))
    count = len(times)
    network = np.array(UPDATE_NETWORKS, np.int64)[source.chance.below(len(UPDATE_NETWORKS), count)]
    server = network + 256 * source.chance.below(12, count) + source.chance.between(1, _UPDATE_SERVERS, count)
    large = source.chance.below(100, count) < 12
    received = np.where(
        large, source.chance.between(2_000_000, 90_000_000, count), source.chance.near(46_000, 80, count)
    )
    flows = source.tcp(
        times,
        scene.address(name),
        server,
        443,
        service="ssl",
        duration_us=received // 8 + source.chance.between(200_000, 60_000_000, count),
        orig_bytes=source.chance.near(5_200, 60, count) + received // 900,
        resp_bytes=received,
        exchanges=source.chance.between(4, 20, count),
    )
    return plain(flows)


def _time(scene: Scene) -> Traffic:
    """NTP: Windows hosts ask the domain controller, devices their segment's router, both ask the plant's router."""
    asking = [(name, scene.address("dc"), _TIME_US) for name in WINDOWS_HOSTS]
    asking.append(("dc", scene.address("router"), _TIME_US))
    for cell in scene.site.cells:
        router = scene.address(f"cell-{cell}-router")
        devices = [plc.name for plc in scene.site.plcs(cell)]
        devices += [f"cell-{cell}-{kind}" for kind in ("panel", "gateway", "switch")]
        asking += [(name, router, _DEVICE_TIME_US) for name in devices]
        asking.append((f"cell-{cell}-router", scene.address("router"), _TIME_US))
    return plain(*(_questions_of_time(scene, name, server, period) for name, server, period in asking))


def _questions_of_time(scene: Scene, name: str, server: int, period_us: int) -> Flows:
    source = scene.source("time", name)
    times = regular(source.chance, scene.calendar.whole, period_us, 4 * SECOND_US)
    duration = source.chance.between(300, 2_500, len(times))
    return source.udp(
        times, scene.address(name), server, 123, service="ntp", src_port=123, duration_us=duration, resp_bytes=48
    )


def _printing(scene: Scene) -> Traffic:
    """Shift reports and labels, and the status that stations ask the printer for."""
    parts, printer = [], scene.address("printer")
    for name in ("op-1", "op-3", "op-5", "eng-1"):
        source = scene.source("printing", name)
        hours = WORKING_HOURS if name == "eng-1" else {"op-1": (6, 14), "op-3": (14, 22), "op-5": (22, 30)}[name]
        windows = scene.calendar.daily(hours, WORKDAYS if name == "eng-1" else EVERY_DAY)
        times = scattered(source.chance, windows, 0.8)
        jobs = source.tcp(
            times,
            scene.address(name),
            printer,
            9_100,
            duration_us=source.chance.between(900_000, 12_000_000, len(times)),
            orig_bytes=source.chance.near(310_000, 80, len(times)),
            resp_bytes=0,
            exchanges=40,
        )
        times = regular(source.chance, windows, 20 * MINUTE_US, 10 * SECOND_US)
        status = source.udp(
            times,
            scene.address(name),
            printer,
            161,
            service="snmp",
            duration_us=source.chance.between(2_000, 9_000, len(times)),
            orig_bytes=86,
            resp_bytes=112,
            exchanges=2,
        )
        parts += [jobs, status]
    return plain(*parts)


def _leases(scene: Scene) -> Traffic:
    """DHCP: stations and the printer renew their leases with the domain controller."""
    parts = []
    for name in ("printer", "eng-1", "eng-2", "op-1", "op-2", "op-3", "op-4", "op-5"):
        source = scene.source("broadcast", f"{name} lease")
        times = regular(source.chance, scene.calendar.whole, 4 * HOUR_US, MINUTE_US)
        parts.append(
            source.udp(
                times,
                scene.address(name),
                scene.address("dc"),
                67,
                service="dhcp",
                src_port=68,
                duration_us=source.chance.between(900, 6_000, len(times)),
                orig_bytes=300,
                resp_bytes=308,
            )
        )
    return plain(*parts)


def _groups(scene: Scene) -> Traffic:
    """IGMP: routers ask their segment who listens to multicast."""
    parts = []
    for name in ("router", f"cell-{scene.site.cell_of('enip')}-router"):
        source = scene.source("broadcast", f"{name} groups")
        times = regular(source.chance, scene.calendar.whole, 125 * SECOND_US, SECOND_US)
        parts.append(source.bare(times, scene.address(name), ALL_HOSTS, IGMP, 8, 0))
    return plain(*parts)
