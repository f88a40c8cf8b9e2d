"""KDD'99's service names by protocol and port, as the kdd99 feature extractor gives them.

Facts from AI-IDS/kdd99_feature_extractor (438dba0), whose TCP ports follow IANA's registry; the codes of ICMP are
unverified, its file was not at hand. Ports from 49152 on are `private`, all others without a name `other` (RFC 6335,
section 6, calls the former dynamic). A TCP flow from port 20 is `ftp_data` whatever its destination port.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

_AUTH = (31, 56, 113, 222, 353, 370, 1615, 2139, 2147, 2334, 2392, 2478, 2821, 3113, 3207, 3710, 3799, 3810, 3833, 3871)
TCP_PORTS: dict[str, tuple[int, ...]] = {
    "IRC": (194, 529, 2218, 6665, 6666, 6668, 6669, 6697),
    "X11": tuple(range(6000, 6064)),
    "Z39_50": (210,),
    "aol": (531, 5190, 5191, 5192, 5193),
    "auth": (*_AUTH, 4032, 4129, 4373, 5067, 5635, 6268, 6269, 7004, 7847, 9002, 19194, 27999),
    "bgp": (179,),
    "courier": (165, 530),
    "csnet_ns": (105,),
    "ctf": (84,),
    "daytime": (13,),
    "discard": (9,),
    "domain": (53,),
    "echo": (7,),
    "efs": (520,),
    "exec": (512,),
    "finger": (79,),
    "ftp": (21,),
    "ftp_data": (20,),
    "gopher": (70,),
    "hostnames": (101,),
    "http": (80, 8008, 8080),
    "http_2784": (2784,),
    "http_443": (443,),
    "http_8001": (8001,),
    "icmp": (5813,),
    "imap4": (143, 993),
    "iso_tsap": (102, 309),
    "klogin": (543,),
    "kshell": (544,),
    "ldap": (389, 636),
    "link": (245,),
    "login": (513,),
    "mtp": (1911,),
    "name": (42,),
    "netbios_dgm": (138,),
    "netbios_ns": (137,),
    "netbios_ssn": (139,),
    "netstat": (15,),
    "nnsp": (433,),
    "nntp": (119, 563),
    "pop_2": (109,),
    "pop_3": (110,),
    "printer": (515,),
    "remote_job": (71, 72, 73, 74),
    "rje": (5, 77),
    "shell": (514,),
    "smtp": (25,),
    "sql_net": (66, 150),
    "ssh": (22,),
    "sunrpc": (111,),
    "supdup": (95,),
    "systat": (11,),
    "telnet": (23,),
    "time": (37,),
    "uucp": (540, 4031),
    "uucp_path": (117,),
    "vmnet": (175,),
    "whois": (43, 4321),
}
UDP_PORTS: dict[str, tuple[int, ...]] = {"domain_u": (53,), "tftp_u": (69,), "ntp_u": (123,)}
ICMP_TYPES = {0: "ecr_i", 5: "red_i", 8: "eco_i", 11: "tim_i"}
UNREACHABLE, UNREACHABLE_CODES = 3, {1: "urh_i", 3: "urp_i"}
FIRST_PRIVATE = 49_152
NAMES = ("other", "private", *TCP_PORTS, *UDP_PORTS, "eco_i", "ecr_i", "oth_i", "red_i", "tim_i", "urh_i", "urp_i")
_CODE = {name: code for code, name in enumerate(NAMES)}
_TCP, _UDP, _ICMP = 6, 17, 1

Ints = npt.NDArray[np.int64]


@cache
def _by_port(protocol: int) -> Ints:
    """(65537,) code of each destination port; the last is that of no port."""
    codes = np.zeros(65_537, np.int64)
    codes[FIRST_PRIVATE:65_536] = _CODE["private"]
    for name, ports in (TCP_PORTS if protocol == _TCP else UDP_PORTS).items():
        codes[list(ports)] = _CODE[name]
    return codes


@cache
def _by_icmp() -> Ints:
    """(256, 256) code of each ICMP type and code."""
    codes = np.full((256, 256), _CODE["oth_i"], np.int64)
    for kind, name in ICMP_TYPES.items():
        codes[kind] = _CODE[name]
    for code, name in UNREACHABLE_CODES.items():
        codes[UNREACHABLE, code] = _CODE[name]
    return codes


def extractor_services(
    protocol: Ints, src_port: npt.NDArray[np.int32], dst_port: Ints, icmp_type: Ints, icmp_code: Ints
) -> Ints:
    """(n,) index in NAMES of each flow's service; -1 in a port, type or code: unknown, which has no name of its own."""
    named = np.where(protocol == _UDP, _by_port(_UDP)[dst_port], 0)
    named = np.where(protocol == _TCP, _by_port(_TCP)[dst_port], named)
    named = np.where((protocol == _TCP) & (src_port == 20), _CODE["ftp_data"], named)
    known = (icmp_type >= 0) & (icmp_code >= 0)
    of_icmp = np.where(known, _by_icmp()[icmp_type, icmp_code], _CODE["oth_i"])
    return np.where(protocol == _ICMP, of_icmp, named)
