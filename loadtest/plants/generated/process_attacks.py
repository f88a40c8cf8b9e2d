"""Attacks on the process: commands by who never gave them, programs, modes, and a man in the middle."""

from collections.abc import Iterator

import numpy as np

from loadtest.plants.generated.control import first_point
from loadtest.plants.generated.flows import FINISHED, PASSED_ON, Traffic
from loadtest.plants.generated.operations import (
    Conversation,
    connections,
    downloading,
    identifying,
    mode_change,
    writing,
)
from loadtest.plants.generated.site import Host
from loadtest.plants.generated.staging import Stage

MITM_INTRUDER = "cell-1-intruder"
PANEL = "cell-1-panel"
_TWICE_US = 1_800  # what passing a packet on takes, over a connection


def new_host_write(stage: Stage) -> Iterator[Traffic]:
    """A host that nobody knows writes once."""
    writer, plc = stage.intruder(3), stage.scene.site.plcs(1)[0]
    yield _command(stage, "A host nobody knows writes once.", writer, plc, writing("modbus", first_point(1, 1)))


def unusual_write(stage: Stage) -> Iterator[Traffic]:
    """A panel writes to a controller that it only ever read."""
    plc = stage.scene.site.plcs(1)[2]
    what = f"{PANEL} writes to {plc.name}, which it only reads."
    yield _command(stage, what, PANEL, plc, writing("modbus", first_point(1, 3)))


def program_download(stage: Stage) -> Iterator[Traffic]:
    """A server that reads and writes values loads a program."""
    plc = stage.scene.site.plcs(2)[1]
    yield _command(stage, "scada-1, which never did, downloads a program.", "scada-1", plc, downloading("s7comm"))


def plc_stop(stage: Stage) -> Iterator[Traffic]:
    """A panel stops a controller."""
    plc = stage.scene.site.plcs(3)[0]
    yield _command(stage, "A panel stops a controller.", "cell-3-panel", plc, mode_change("enip", "stop"))


def replayed_command(stage: Stage) -> Iterator[Traffic]:
    """What the panel wrote is sent again under its address, by another device of the cell."""
    plc, device = stage.scene.site.plcs(1)[0], stage.scene.host(MITM_INTRUDER)
    what = f"A recorded write is sent under the address of {PANEL}, by another hardware address."
    said = writing("modbus", first_point(1, 1))
    yield _command(stage, what, PANEL, plc, said, device.mac)


def _command(stage: Stage, what: str, by: str, plc: Host, said: Conversation, src_mac: int = 0) -> Traffic:
    source = stage.begins(what, by, plc.name)
    at = np.array([stage.start_us], np.int64)
    return connections(source, at, stage.address(by), plc.address, plc.kind, said, src_mac)


def identification_sweep(stage: Stage) -> Iterator[Traffic]:
    """The second SCADA server asks every controller what it is."""
    site = stage.scene.site
    plcs = [plc for cell in site.cells for plc in site.plcs(cell)]
    source = stage.begins("scada-2 asks every controller what it is.", "scada-2")
    for time, plc in zip(stage.spread(len(plcs)).tolist(), plcs, strict=True):
        at = np.array([time], np.int64)
        yield connections(source, at, stage.address("scada-2"), plc.address, plc.kind, identifying(plc.kind))


def man_in_the_middle(stage: Stage, traffic: Traffic) -> Traffic:
    """A device of cell 1 has made itself the panel's way to a controller: ARP answers that no flow record shows.

    Zeek takes the hardware addresses from a connection's first packet, and sees every packet twice.
    """
    plc, device = stage.scene.site.plcs(1)[1], stage.scene.host(MITM_INTRUDER)
    what = f"By ARP a device of cell 1 is between {PANEL} and {plc.name}: it passes their packets on."
    number = stage.begins(what, PANEL, plc.name, MITM_INTRUDER).event
    flows = traffic.flows
    pair = (flows.src == stage.address(PANEL)) & (flows.dst == plc.address)
    during = pair & (flows.start_us >= stage.start_us) & (flows.end_us + _TWICE_US <= stage.end_us)
    during &= flows.state == FINISHED
    changed = flows._replace(
        dst_mac=np.where(during, device.mac, flows.dst_mac),
        state=np.where(during, PASSED_ON, flows.state),
        orig_pkts=np.where(during, 2 * flows.orig_pkts, flows.orig_pkts),
        resp_pkts=np.where(during, 2 * flows.resp_pkts, flows.resp_pkts),
        duration_us=flows.duration_us + np.where(during, _TWICE_US, 0),
        event=np.where(during, number, flows.event),
    )
    return traffic._replace(flows=changed)
