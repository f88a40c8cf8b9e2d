"""What comes now and then and is meant: engineers, a vendor's remote access, nightly and weekly jobs, maintenance."""

from collections.abc import Iterator

import numpy as np

from loadtest.plants.generated.calendar import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    WORKDAYS,
    WORKING_HOURS,
    scattered,
)
from loadtest.plants.generated.chance import Ints
from loadtest.plants.generated.control import first_point, polled_later
from loadtest.plants.generated.flows import Flows, Source, Traffic, plain
from loadtest.plants.generated.operations import (
    connections,
    conversation,
    downloading,
    identifying,
    mode_change,
    writing,
)
from loadtest.plants.generated.scene import BENIGN, Event, Scene

# Public, and nobody's host (AMT relays, RFC 7450): no address of a stranger is named here.
VENDOR = (192 << 24) + (52 << 16) + (193 << 8) + 17
TUESDAY, WEDNESDAY, THURSDAY, SATURDAY, SUNDAY = 1, 2, 3, 5, 6
NEW_DEVICE = "cell-1-plc-new"
_NEW_NUMBER = 9  # of the new device among its cell's controllers: its points lie beyond theirs


def people(scene: Scene) -> Iterator[Traffic]:
    """Everything that people start, or have planned."""
    yield from _engineering(scene)
    for start_us in scene.calendar.moments(13, (TUESDAY, THURSDAY)):
        yield from _vendor(scene, start_us)
    for start_us in scene.calendar.moments(2, range(7)):
        yield from _backup(scene, start_us)
    for start_us in scene.calendar.moments(3.5, (SUNDAY,)):
        yield from _weekly(scene, start_us)
    for start_us in scene.calendar.moments(18, (THURSDAY,))[:1]:
        yield from _maintenance(scene, start_us)
    for start_us in scene.calendar.moments(10, (WEDNESDAY,))[:1]:
        yield from _new_device(scene, start_us)
    for start_us in scene.calendar.moments(0, (SATURDAY,)):
        end_us = min(start_us + 2 * DAY_US, scene.calendar.end_us)
        scene.happens(Event("weekend", BENIGN, start_us, end_us, "One operator a shift, no engineers.", ()))


def remote_desktop(source: Source, times: Ints, src: int, dst: int, minutes: tuple[int, int] = (1, 20)) -> Flows:
    """Somebody works on another host's screen."""
    count = len(times)
    duration = source.chance.between(minutes[0] * MINUTE_US, minutes[1] * MINUTE_US, count)
    return source.tcp(
        times,
        src,
        dst,
        3_389,
        service="rdp",
        duration_us=duration,
        orig_bytes=duration // 2_000,
        resp_bytes=duration // 120,
        exchanges=duration // SECOND_US,
    )


def transfers(source: Source, times: Ints, src: int, dst: int, port: int, octets: Ints, service: str = "-") -> Flows:
    """Files are sent, 25 MB/s."""
    return source.tcp(
        times,
        src,
        dst,
        port,
        service=service,
        duration_us=octets // 25 + 400_000,
        orig_bytes=octets,
        resp_bytes=octets // 400 + 4_000,
        exchanges=octets // 60_000 + 8,
    )


def _engineering(scene: Scene) -> Iterator[Traffic]:
    """eng-1 identifies controllers, looks at values and writes some; eng-2 only looks; both use the servers."""
    hours = scene.calendar.daily(WORKING_HOURS, WORKDAYS)
    for cell in scene.site.cells:
        for number, plc in enumerate(scene.site.plcs(cell)):
            first, protocol = first_point(cell, number + 1), scene.site.protocol(cell)
            for name, what, said, per_hour in (
                ("eng-1", "identifies", identifying(protocol), 0.5),
                ("eng-1", "reads", conversation(protocol, ("read",) * 4, first), 0.8),
                ("eng-1", "writes", writing(protocol, first), 0.15 if number < 2 else 0.0),
                ("eng-2", "reads", conversation(protocol, ("read",) * 4, first), 0.3),
            ):
                source = scene.source("engineering", f"{name} {what} {plc.name}")
                times = scattered(source.chance, hours, per_hour)
                if len(times):
                    yield connections(source, times, scene.address(name), plc.address, protocol, said)
    for name in ("eng-1", "eng-2"):
        source = scene.source("engineering", f"{name} servers")
        times = scattered(source.chance, hours, 1.2)
        yield plain(remote_desktop(source, times, scene.address(name), scene.address("scada-1")))
        times = scattered(source.chance, hours, 0.4)
        switch = scene.address(f"cell-{scene.site.cell_of('s7comm')}-switch")
        duration = source.chance.between(20 * SECOND_US, 10 * MINUTE_US, len(times))
        yield plain(
            source.tcp(
                times,
                scene.address(name),
                switch,
                22,
                service="ssh",
                duration_us=duration,
                orig_bytes=3_000 + duration // 40_000,
                resp_bytes=4_000 + duration // 9_000,
                exchanges=20 + duration // (2 * SECOND_US),
            )
        )


def _vendor(scene: Scene, start_us: int) -> Iterator[Traffic]:
    """The vendor comes in through the jump host, and looks at the panel and the controllers of cell 1."""
    length_us = 45 * MINUTE_US
    if not scene.inside(start_us, start_us + length_us):
        return
    jump, cell = scene.address("jump"), scene.site.cell_of("modbus")
    what = "A vendor's remote access: from the Internet to the jump host, from there to cell 1."
    hosts = ("jump", f"cell-{cell}-panel", *(plc.name for plc in scene.site.plcs(cell)))
    number = scene.happens(Event("vendor", BENIGN, start_us, start_us + length_us, what, hosts))
    source = scene.source("vendor", f"tunnel {start_us}", number)
    once = np.array([start_us], np.int64)
    tunnel = source.tcp(
        once,
        VENDOR,
        jump,
        443,
        service="ssl",
        duration_us=length_us - SECOND_US,
        orig_bytes=source.chance.near(2_800_000, 40, 1),
        resp_bytes=source.chance.near(31_000_000, 40, 1),
        exchanges=5_200,
    )
    screen = source.tcp(
        once + 3 * MINUTE_US,
        jump,
        scene.address(f"cell-{cell}-panel"),
        5_900,
        duration_us=length_us - 6 * MINUTE_US,
        orig_bytes=source.chance.near(700_000, 30, 1),
        resp_bytes=source.chance.near(24_000_000, 30, 1),
        exchanges=4_000,
    )
    yield plain(tunnel, screen)
    window = np.array([[start_us + 5 * MINUTE_US, start_us + 40 * MINUTE_US]], np.int64)
    for number_of, plc in enumerate(scene.site.plcs(cell)):
        for said in (identifying("modbus"), conversation("modbus", ("read",) * 4, first_point(cell, number_of + 1))):
            times = scattered(source.chance, window, 5.0)
            yield connections(source, times, jump, plc.address, "modbus", said)


def _backup(scene: Scene, start_us: int) -> Iterator[Traffic]:
    """The backup server fetches each server's files, one server after another."""
    if not scene.inside(start_us, start_us + HOUR_US):
        return
    names = ("scada-1", "scada-2", "historian", "dc", "eng-1")
    what = "The nightly backup: the backup server fetches the files of servers, one after another."
    number = scene.happens(Event("backup", BENIGN, start_us, start_us + HOUR_US, what, ("backup", *names)))
    source = scene.source("backup", f"{start_us}", number)
    times = start_us + np.arange(len(names)) * 10 * MINUTE_US + source.chance.below(MINUTE_US, len(names))
    octets = source.chance.near(np.array([1_900, 900, 6_200, 700, 1_400]) * 1_000_000, 20, len(names))
    servers = np.array([scene.address(name) for name in names])
    flows = transfers(source, times, scene.address("backup"), 0, 445, octets, "gssapi,smb")
    # It asks, and they send.
    yield plain(
        flows._replace(
            dst=servers,
            orig_bytes=flows.resp_bytes,
            resp_bytes=flows.orig_bytes,
            orig_pkts=flows.resp_pkts,
            resp_pkts=flows.orig_pkts,
        )
    )


def _weekly(scene: Scene, start_us: int) -> Iterator[Traffic]:
    """The historian's week goes to the backup server."""
    if not scene.inside(start_us, start_us + HOUR_US):
        return
    what = "The weekly job: the historian sends its week to the backup server by rsync."
    number = scene.happens(Event("weekly", BENIGN, start_us, start_us + HOUR_US, what, ("historian", "backup")))
    source = scene.source("weekly", f"{start_us}", number)
    octets = source.chance.near(np.array([38_000_000_000]), 10, 1)
    once = np.array([start_us + SECOND_US], np.int64)
    yield plain(transfers(source, once, scene.address("historian"), scene.address("backup"), 873, octets))


def _maintenance(scene: Scene, start_us: int) -> Iterator[Traffic]:
    """eng-1 downloads programs to two controllers of each of the first two cells, and stops and starts them."""
    end_us = start_us + 2 * HOUR_US
    if not scene.inside(start_us, end_us):
        return
    plcs = [(scene.site.protocol(cell), plc) for cell in (1, 2) for plc in scene.site.plcs(cell)[:2]]
    what = "Announced maintenance: eng-1 identifies controllers, downloads programs and changes modes."
    hosts = ("eng-1", *(plc.name for _, plc in plcs))
    number = scene.happens(Event("maintenance", BENIGN, start_us, end_us, what, hosts))
    source = scene.source("engineering", "maintenance", number)
    src = scene.address("eng-1")
    for turn, (protocol, plc) in enumerate(plcs):
        at = np.array([start_us + (5 + 25 * turn) * MINUTE_US], np.int64)
        for minutes, said in (
            (0, identifying(protocol)),
            (4, downloading(protocol)),
            (9, mode_change(protocol, "stop", "start")),
            (14, identifying(protocol)),
        ):
            yield connections(source, at + minutes * MINUTE_US, src, plc.address, protocol, said)


def _new_device(scene: Scene, start_us: int) -> Iterator[Traffic]:
    """A controller is put in service: eng-1 identifies it and loads its program, then it is polled like the others."""
    in_service_us = start_us + 40 * MINUTE_US
    if not scene.inside(start_us, in_service_us):
        return
    plc, protocol, src = scene.host(NEW_DEVICE), scene.site.protocol(1), scene.address("eng-1")
    what = f"A controller, {scene.site.names_of(plc.address)}, is put in service; from the end on it is polled."
    hosts = ("eng-1", NEW_DEVICE, "cell-1-panel", "scada-1")
    number = scene.happens(Event("new-device", BENIGN, start_us, in_service_us, what, hosts))
    source = scene.source("engineering", "new device", number)
    for minutes, said in ((2, identifying(protocol)), (9, downloading(protocol)), (21, identifying(protocol))):
        at = np.array([start_us + minutes * MINUTE_US], np.int64)
        yield connections(source, at, src, plc.address, protocol, said)
    yield polled_later(scene, NEW_DEVICE, in_service_us, 1, _NEW_NUMBER)
