"""What flows show, counted row by row with plain Python: slow, and obviously right."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.contracts.public_addresses import is_public
from pipeline.contracts.services import EPHEMERAL, INDUSTRIAL_PORTS
from pipeline.tools.assets.sightings import HIGH_PORT, MAX_COUNT, NO_PORT, PUBLIC


@dataclass(frozen=True)
class Ask:
    """One flow as seen from who asks."""

    client: str
    server: str
    transport: int
    port: int
    answered: bool
    row: dict[str, Any]


def is_group(address: str) -> bool:
    if ":" in address and len(address) == 17 and address.count(":") == 5:
        return address == "00:00:00:00:00:00" or int(address[:2], 16) & 1 == 1
    if ":" in address:
        return address in {"::"} or address.startswith("ff")
    first, last = int(address.split(".")[0]), int(address.split(".")[-1])
    return address == "0.0.0.0" or 224 <= first <= 239 or last == 255  # noqa: S104


def called(address: str) -> str:
    return PUBLIC if is_public(address) else address


def ends(row: dict[str, Any]) -> tuple[str, str]:
    source = row["src_addr"]
    if source in {"0.0.0.0", "::", "00:00:00:00:00:00"} and row["src_mac"] is not None:  # noqa: S104
        source = row["src_mac"]
    return called(source), called(row["dst_addr"])


def _ephemeral(port: int) -> bool:
    return port >= EPHEMERAL and port not in INDUSTRIAL_PORTS


def _industrial(port: int) -> bool:
    return port in INDUSTRIAL_PORTS


def _turned(row: dict[str, Any], target: str) -> bool:
    src, dst = (NO_PORT if row[name] is None else row[name] for name in ("src_port", "dst_port"))
    opened = row["conn_state"] not in {"OTH", "SH"} if row["history"] is None else set(row["history"]) & set("SsHh")
    seen = row["is_biflow"] and row["ip_proto"] == 6 and opened
    answer = _ephemeral(dst) and src >= 0 and not _ephemeral(src)
    one_way = not row["is_biflow"] and _industrial(src) and not _industrial(dst)
    return ((answer and not seen) or one_way) and (target == PUBLIC or not is_group(target))


def _answered(row: dict[str, Any], turned: bool) -> bool:
    if row["record_kind"] == "ics":
        return False
    refusals = {"S0", "REJ", "RSTOS0", "SH"}
    flags = row["fwd_tcp_flags" if turned else "rev_tcp_flags"] or 0
    only_reset = flags & 4 and not flags & (8 | 2) and row["conn_state"] in refusals | {"OTH"}
    if turned:
        return not only_reset
    sent = row["rev_pkts"] > 0 or row["rev_bytes"] > 0
    return bool(sent and row["conn_state"] not in refusals and not only_reset)


def asks(rows: Iterable[dict[str, Any]]) -> list[Ask]:
    made = []
    for row in rows:
        source, target = ends(row)
        turned = _turned(row, target)
        client, server = (target, source) if turned else (source, target)
        port = row["src_port"] if turned else row["dst_port"]
        port = NO_PORT if port is None else HIGH_PORT if _ephemeral(port) else port
        transport = 256 + row["ether_type"] if row["ip_proto"] is None else row["ip_proto"]
        made.append(Ask(client, server, transport, port, _answered(row, turned), row))
    return made


def edges(rows: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """By site, sensor, client, server, transport and port: counts, times and names."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for ask in asks(rows):
        row = ask.row
        key = (row["site"], row["sensor"], ask.client, ask.server, ask.transport, ask.port)
        turned = (ask.client, ask.server) != ends(row)
        fwd, rev = min(row["fwd_bytes"], MAX_COUNT), min(row["rev_bytes"], MAX_COUNT)
        if ask.client == ask.server:
            turned = _turned(row, ask.server)
        at = found.setdefault(key, {"first_us": row["end_ts_us"], "last_us": 0, "app": "", "ics": ""})
        at["first_us"] = min(at["first_us"], row["start_ts_us"], row["end_ts_us"])
        at["last_us"] = max(at["last_us"], row["end_ts_us"])
        at["app"], at["ics"] = max(at["app"], row["app_proto"] or ""), max(at["ics"], row["ics_proto"] or "")
        numbers = {"flows": row["record_kind"] != "ics", "answered": ask.answered}
        numbers |= {"client_bytes": rev if turned else fwd, "server_bytes": fwd if turned else rev}
        numbers |= {f"{name}s": row[f"ics_{name}_cnt"] or 0 for name in ("read", "write", "control", "exception")}
        for name, number in numbers.items():
            at[name] = at.get(name, 0) + int(number)
    return found


def addresses(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """By site, sensor and address that sent: first, last, and in how many flows."""
    found: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    for row in rows:
        source, target = ends(row)
        sent = [source] + ([target] if row["rev_pkts"] > 0 or row["rev_bytes"] > 0 else [])
        for address in sent:
            if address != PUBLIC and is_group(address):
                continue
            key = (row["site"], row["sensor"], address)
            first, last, flows = found.get(key, (row["end_ts_us"], 0, 0))
            first = min(first, row["start_ts_us"], row["end_ts_us"])
            found[key] = first, max(last, row["end_ts_us"]), flows + (row["record_kind"] != "ics")
    return found
