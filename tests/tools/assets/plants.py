"""Small plants as rows of flows: what talks to whom, for a while."""

import random
from typing import Any

from hypothesis import strategies as st

SITES = ["plant", "other"]
SENSORS = ["left", "right"]
HOSTS = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.20", "fe80::1", "8.8.8.8", "9.9.9.9", "2001:4860::1"]
GROUPS = ["224.0.0.22", "10.0.0.255", "0.0.0.0"]  # noqa: S104
MACS = ["00:1b:1b:00:00:01", "00:1b:1b:00:00:02", "00:80:f4:00:00:03", "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:0e"]
STATES = ["S0", "S1", "SF", "REJ", "RSTO", "OTH", "SH"]
HOUR_S = 3_600


def talk(client: str, server: str, port: int, count: int, every_s: float = 60, at: float = 0, **more: Any) -> list[Any]:
    """A client that asks a server by TCP so many times."""
    row = {"src_addr": client, "dst_addr": server, "src_port": 40_000, "dst_port": port, **more}
    return [{**row, "at": at + number * every_s} for number in range(count)]


def asked(client: str, server: str, proto: str, functions: dict[int, int], port: int = 502, **more: Any) -> Any:
    """A flow in which industrial functions were asked, by code how often."""
    listed = [number for pair in sorted(functions.items()) for number in pair]
    [row] = talk(client, server, port, 1, ics_proto=proto, ics_functions=listed, **more)
    return row


def _row(pick: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {
        "site": pick.choice(SITES),
        "sensor": pick.choice(SENSORS),
        "at": pick.randrange(0, 40_000),
        "duration_us": pick.choice([0, 1_000, 90_000_000]),
        "record_kind": pick.choice(["end", "end", "end", "ics"]),
        "is_biflow": pick.random() < 0.7,
        "ip_proto": pick.choice([6, 6, 6, 17, 1, None]),
        "src_addr": pick.choice([*HOSTS, GROUPS[2]]),
        "dst_addr": pick.choice([*HOSTS, *GROUPS]),
        "src_port": pick.choice([None, 502, 1_050, 40_000, 50_000]),
        "dst_port": pick.choice([None, 53, 102, 502, 554, 3_389, 40_000, 44_818]),
        "src_mac": pick.choice([None, *MACS]),
        "dst_mac": pick.choice([None, *MACS]),
        "app_proto": pick.choice([None, "dns", "modbus", "rtsp"]),
        "conn_state": pick.choice(STATES),
        "history": pick.choice([None, "", "ShADadFf", "DR", "Dar", "^dA"]),
        "rev_pkts": pick.choice([0, 0, 2, 2**64 - 1]),
        "rev_bytes": pick.choice([0, 0, 200, 2**64 - 1]),
        "fwd_tcp_flags": pick.choice([None, 2, 4, 20, 24]),
        "rev_tcp_flags": pick.choice([None, 2, 4, 20, 24]),
    }
    if pick.random() < 0.4:
        row |= {"ics_proto": pick.choice(["modbus", "s7comm", "opcua"])}
        row |= {f"ics_{name}_cnt": pick.choice([None, 0, 3]) for name in ("read", "write", "control", "exception")}
        row["ics_functions"] = pick.choice([None, [], [3, 7], [3, 1, 90, 2], [26, 1]])
    return row


def _rows(count: int, seed: int) -> list[dict[str, Any]]:
    pick = random.Random(seed)
    return [_row(pick) for _ in range(count)]


def plant_rows(most: int = 60) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of few hosts, drawn by a seed: what can be null is, and values are as extreme as the schema allows."""
    return st.builds(_rows, st.integers(0, most), st.integers(0, 2**32))
