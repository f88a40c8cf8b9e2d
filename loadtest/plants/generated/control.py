"""The steady traffic of control: panels and servers that poll controllers, setpoints, the historian, monitoring."""

from collections.abc import Iterator

import numpy as np

from loadtest.plants.generated.calendar import (
    EVERY_DAY,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    SHIFTS,
    WEEKEND,
    WORKDAYS,
    regular,
    scattered,
)
from loadtest.plants.generated.chance import Chance, Ints
from loadtest.plants.generated.flows import ICMP, Traffic, joined, plain
from loadtest.plants.generated.operations import connections, conversation, polling, sessions, writing
from loadtest.plants.generated.scene import Scene

# Seconds between the polls of a panel, by controller: many enough that a silence of minutes shows, and few enough that
# a week has some 150,000 of them.
POLL_PERIODS_S = (30, 40, 60, 60)
# A driver that holds its connection renews it after so long; each renewal is a record of conn.log.
SESSION_US = 5 * MINUTE_US
# The one pair of held connections whose operations are logged: a record of ten seconds each.
SESSION_POLL_US = 10 * SECOND_US
OPC_PORT, SNMP_PORT, SQL_PORT, IO_PORT = 4_840, 161, 1_433, 2_222


def control(scene: Scene) -> Iterator[Traffic]:
    """Everything that controls and watches the process."""
    yield from _panels(scene)
    yield from _servers(scene)
    yield from _setpoints(scene)
    yield _historian(scene)
    yield _monitoring(scene)


def first_point(cell: int, plc: int) -> int:
    """Where the points begin that are read and written of a controller."""
    return 100 * cell + 10 * plc


def poll_period_us(scene: Scene, number: int) -> int:
    """How long a panel waits between two polls of a controller."""
    return POLL_PERIODS_S[number % len(POLL_PERIODS_S)] * scene.site.size.slowness * SECOND_US


def _panels(scene: Scene) -> Iterator[Traffic]:
    """Each cell's panel polls its controllers, a connection a poll, and polls its input and output module."""
    for cell in scene.site.cells:
        protocol, panel = scene.site.protocol(cell), scene.address(f"cell-{cell}-panel")
        for number, plc in enumerate(scene.site.plcs(cell)):
            source = scene.source("poll", plc.name)
            period = poll_period_us(scene, number)
            times = regular(source.chance, scene.calendar.whole, period, period // 20)
            said = polling(protocol, first_point(cell, number + 1))
            yield connections(source, times, panel, plc.address, protocol, said)
        if protocol == "enip":
            yield _cyclic(scene, cell)


def _cyclic(scene: Scene, cell: int) -> Traffic:
    """Cyclic data between two controllers of an EtherNet/IP cell: no operations, renewed every half hour."""
    source = scene.source("poll", f"cell-{cell}-cyclic")
    first, second = scene.site.plcs(cell)[:2]
    times = regular(source.chance, scene.calendar.whole, 30 * MINUTE_US, 2 * SECOND_US)
    cycles = 30 * 60 * 10
    flows = source.udp(
        times,
        first.address,
        second.address,
        IO_PORT,
        src_port=IO_PORT,
        duration_us=source.chance.near(30 * MINUTE_US - 5 * SECOND_US, 1, len(times)),
        orig_bytes=source.chance.near(cycles * 48, 1, len(times)),
        resp_bytes=source.chance.near(cycles * 32, 1, len(times)),
        exchanges=source.chance.near(cycles, 1, len(times)),
    )
    return plain(flows)


def renewals(chance: Chance, window: Ints, length_us: int = SESSION_US) -> Ints:
    """(n + 1,) when connections that are held are renewed, from the window's start to its end."""
    start, end = window[0].tolist()
    times = np.arange(start + chance.number(0, length_us), end, length_us, dtype=np.int64)
    times += chance.below(4 * SECOND_US, len(times))
    return np.concatenate([[start], times, [end]]) if len(times) and times[-1] < end else np.array([start, end])


def _servers(scene: Scene) -> Iterator[Traffic]:
    """The SCADA servers hold connections: to each cell's gateway (OPC UA, encrypted), and to controllers."""
    for cell in scene.site.cells:
        for client in ("scada-1", "scada-2", "historian"):
            gateway = scene.address(f"cell-{cell}-gateway")
            yield _persistent(scene, "supervision", client, f"cell-{cell}-gateway", gateway, OPC_PORT, 2)
        if scene.site.protocol(cell) == "s7comm":  # TLS since the last retrofit: what is asked there no sensor reads
            for plc in scene.site.plcs(cell):
                yield _persistent(scene, "supervision", "scada-1", plc.name, plc.address, 102, 1)
    cell = scene.site.cell_of("modbus")
    source, plc = scene.source("supervision", "held"), scene.site.plcs(cell)[0]
    bounds = renewals(source.chance, scene.calendar.whole)
    said = conversation("modbus", ("read", "read-inputs"), first_point(cell, 1))
    period = SESSION_POLL_US * scene.site.size.slowness
    yield sessions(source, bounds, scene.address("scada-1"), plc.address, "modbus", said, period)


def _persistent(
    scene: Scene, kind: str, client: str, name: str, server: int, port: int, exchanges_per_s: int
) -> Traffic:
    """Encrypted connections that are held and renewed, with steady exchanges."""
    source = scene.source(kind, f"{client} {name}")
    bounds = renewals(source.chance, scene.calendar.whole)
    start, duration = bounds[:-1], np.diff(bounds) - 5_000
    exchanges = source.chance.near(duration // SECOND_US * exchanges_per_s, 2, len(start)) + 2
    flows = source.tcp(
        start,
        scene.address(client),
        server,
        port,
        service="ssl",
        duration_us=duration,
        orig_bytes=1_400 + exchanges * 92,
        resp_bytes=3_100 + exchanges * source.chance.near(260, 4, len(start)),
        exchanges=exchanges,
    )
    return plain(flows)


def _setpoints(scene: Scene) -> Iterator[Traffic]:
    """Who writes: scada-1 to all controllers of a cell but the last, the panel to the first two."""
    for cell in scene.site.cells:
        plcs, protocol = scene.site.plcs(cell), scene.site.protocol(cell)
        # Setpoints a shift: a few an hour on workdays, some when only one operator is there.
        by_day = ((scene.calendar.daily((6, 22), WORKDAYS), 2.0), (scene.calendar.daily((6, 22), WEEKEND), 0.6))
        rates = (*by_day, (scene.calendar.daily((22, 30), EVERY_DAY), 0.8))
        writers = [("scada-1", number) for number in range(len(plcs) - 1)]
        writers += [(f"cell-{cell}-panel", number) for number in range(min(2, len(plcs) - 1))]
        for writer, number in writers:
            source = scene.source("operator", f"{writer} writes {plcs[number].name}")
            times = np.concatenate([scattered(source.chance, windows, rate) for windows, rate in rates])
            said = writing(protocol, first_point(cell, number + 1))
            yield connections(source, np.sort(times), scene.address(writer), plcs[number].address, protocol, said)


def _historian(scene: Scene) -> Traffic:
    """The historian asks scada-1's database, and archives every quarter of an hour."""
    source = scene.source("historian", "queries")
    times = regular(source.chance, scene.calendar.whole, 2 * MINUTE_US, 2 * SECOND_US)
    count = len(times)
    queries = source.tcp(
        times,
        scene.address("historian"),
        scene.address("scada-1"),
        SQL_PORT,
        duration_us=source.chance.between(40_000, 220_000, count),
        orig_bytes=source.chance.near(1_800, 4, count),
        resp_bytes=source.chance.near(22_000, 30, count),
        exchanges=6,
    )
    source = scene.source("historian", "archive")
    times = regular(source.chance, scene.calendar.whole, 15 * MINUTE_US, 5 * SECOND_US)
    count = len(times)
    archive = source.tcp(
        times,
        scene.address("historian"),
        scene.address("backup"),
        445,
        service="gssapi,smb",
        duration_us=source.chance.between(700_000, 2_400_000, count),
        orig_bytes=source.chance.near(900_000, 40, count),
        resp_bytes=source.chance.near(9_000, 10, count),
        exchanges=30,
    )
    return plain(queries, archive)


def _monitoring(scene: Scene) -> Traffic:
    """scada-1 asks the cells' switches by SNMP, and pings routers and gateways."""
    parts, scada = [], scene.address("scada-1")
    for cell in scene.site.cells:
        source = scene.source("monitoring", f"cell-{cell}-snmp")
        times = regular(source.chance, scene.calendar.whole, 5 * MINUTE_US, 3 * SECOND_US)
        count = len(times)
        parts.append(
            source.udp(
                times,
                scada,
                scene.address(f"cell-{cell}-switch"),
                SNMP_PORT,
                service="snmp",
                duration_us=source.chance.between(20_000, 60_000, count),
                orig_bytes=430,
                resp_bytes=source.chance.near(1_240, 3, count),
                exchanges=10,
            )
        )
        for name in (f"cell-{cell}-router", f"cell-{cell}-gateway"):
            source = scene.source("monitoring", f"{name} ping")
            times = regular(source.chance, scene.calendar.whole, 10 * MINUTE_US, 2 * SECOND_US)
            parts.append(source.bare(times, scada, scene.address(name), ICMP, 56, 1))
    return plain(*parts)


def operators(scene: Scene) -> Iterator[Traffic]:
    """Operator stations show scada-1's pictures while somebody sits there: two by day, one by night and at weekends."""
    for shift, (hours, stations) in enumerate(
        zip(SHIFTS, (("op-1", "op-2"), ("op-3", "op-4"), ("op-5",)), strict=True)
    ):
        for number, station in enumerate(stations):
            days = EVERY_DAY if number == 0 else WORKDAYS
            yield _station(scene, station, scene.calendar.daily(hours, days), shift)


def _station(scene: Scene, station: str, windows: Ints, shift: int) -> Traffic:
    source = scene.source("operator", station)
    src, scada = scene.address(station), scene.address("scada-1")
    times = regular(source.chance, windows, 90 * SECOND_US, 20 * SECOND_US)
    pictures = source.tcp(
        times,
        src,
        scada,
        443,
        service="ssl",
        duration_us=source.chance.between(300_000, 9_000_000, len(times)),
        orig_bytes=source.chance.near(4_200, 40, len(times)),
        resp_bytes=source.chance.near(61_000, 60, len(times)),
        exchanges=source.chance.between(6, 24, len(times)),
    )
    times = scattered(source.chance, windows, 1.0 if shift < 2 else 0.4)
    trends = source.tcp(
        times,
        src,
        scene.address("historian"),
        SQL_PORT,
        duration_us=source.chance.between(200_000, 4_000_000, len(times)),
        orig_bytes=source.chance.near(2_600, 30, len(times)),
        resp_bytes=source.chance.near(340_000, 70, len(times)),
        exchanges=12,
    )
    # Nothing opens while nobody is logged on: the station connects once, at the start of the shift.
    times = windows[:, 0] + source.chance.between(20 * SECOND_US, 6 * MINUTE_US, len(windows))
    logons = source.tcp(
        times[times < windows[:, 1]],
        src,
        scada,
        3_389,
        service="rdp",
        duration_us=source.chance.between(HOUR_US // 6, HOUR_US // 2, int((times < windows[:, 1]).sum())),
        orig_bytes=180_000,
        resp_bytes=2_400_000,
        exchanges=1_500,
    )
    return plain(pictures, trends, logons)


def polled_later(scene: Scene, name: str, from_us: int, cell: int, number: int) -> Traffic:
    """A controller that is put in service: the panel polls it from then on, and scada-1 writes its setpoints."""
    window = np.array([[from_us, scene.calendar.end_us]], np.int64)
    protocol, panel = scene.site.protocol(cell), scene.address(f"cell-{cell}-panel")
    source = scene.source("poll", name)
    period = poll_period_us(scene, number)
    polls = connections(
        source,
        regular(source.chance, window, period, period // 20),
        panel,
        scene.address(name),
        protocol,
        polling(protocol, first_point(cell, number)),
    )
    source = scene.source("operator", f"scada-1 writes {name}")
    times = scattered(source.chance, window, 1.0)
    said = writing(protocol, first_point(cell, number))
    return joined([polls, connections(source, times, scene.address("scada-1"), scene.address(name), protocol, said)])
