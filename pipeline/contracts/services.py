"""Which end of a flow uses a service of the other, as far as its ports say it; and services in words."""

import numpy as np
import numpy.typing as npt

Ports = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

INDUSTRIAL_PORTS = (
    # S7, Modbus, Red Lion, Foundation Fieldbus, MQTT, Fox, PCWorx, EtherNet/IP, IEC 104, OPC UA, MELSEC, HART-IP,
    # OMRON, GE SRTP, DNP3, ProConOS, PROFINET, EtherCAT, BACnet, Siemens Spectrum, FL-net
    *(102, 502, 789, 1089, 1090, 1091, 1883, 1911, 1962, 2222, 2404, 4840, 4843, 5006, 5007, 5094, 8883, 9600),
    *(18245, 18246, 19999, 20000, 20547, 34962, 34963, 34964, 34980, 44818, 47808, 50020, 55000, 55003),
)
IS_INDUSTRIAL = np.isin(np.arange(65_536), INDUSTRIAL_PORTS)
"""(65536,) bool, by port."""

PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
"""IP protocols in words."""
ETHERTYPES = {0x0806: "arp", 0x88CC: "lldp", 0x8892: "profinet"}

EPHEMERAL = 32_768
"""Where Linux begins with ephemeral ports; Windows does at 49152 (RFC 6056, section 2.1 and 2.2)."""


def is_industrial(port: Ports) -> Mask:
    """(n,) whether ports are those of industrial protocols; -1, one that is not known, is none."""
    return IS_INDUSTRIAL[np.maximum(port, 0)] & (port >= 0)


def is_ephemeral(port: Ports) -> Mask:
    """(n,) whether ports are a client's: high ones that are no industrial protocol's."""
    return (port >= EPHEMERAL) & ~IS_INDUSTRIAL[np.maximum(port, 0)]


def is_answer(src_port: Ports, dst_port: Ports) -> Mask:
    """(n,) whether flows go from a service to who uses it: to an ephemeral port from another one."""
    return is_ephemeral(dst_port) & (src_port >= 0) & ~is_ephemeral(src_port)


def protocol_words(protocol: int) -> str:
    """An IP protocol in words: tcp, icmp, IP protocol 47."""
    return PROTOCOLS.get(protocol, f"IP protocol {protocol}")


def ethertype_words(ethertype: int) -> str:
    """A protocol of the link in words: arp, EtherType 0x88a4."""
    return ETHERTYPES.get(ethertype, f"EtherType 0x{ethertype:04x}")
