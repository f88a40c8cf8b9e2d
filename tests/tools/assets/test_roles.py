"""Roles and why: each rule is met by what it is for and by nothing near it, and every number is that of the flows."""

import re
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given

from pipeline.errors import Misconfigured
from pipeline.ingest.formats.functions import all_functions
from pipeline.tools.assets import roles as module
from pipeline.tools.assets.devices import assets_of
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.roles import ALL_COUNTS, UNKNOWN, Guess, guess, read_roles, shipped
from pipeline.tools.assets.sightings import PUBLIC
from tests.featurize.flows import batch
from tests.tools.assets import oracle
from tests.tools.assets.plants import HOUR_S, asked, plant_rows, talk

TEXT = files("pipeline.tools.assets").joinpath("roles.toml").read_text(encoding="utf-8")
PLC, PLC2, HMI, ENG = "10.0.0.20", "10.0.0.21", "10.0.0.2", "10.0.0.9"
ROUTER = "00:0a:dc:00:00:01"


def guesses(*rows: Any) -> dict[str, Guess]:
    [assets] = assets_of(inventory_of([batch(list(rows))])).values()
    return {key: guess(device) for key, device in assets.devices.items()}


POLLS = [
    asked(HMI, plc, "modbus", {3: 5, 16: 1}, at=at, ics_read_cnt=5, ics_write_cnt=1)
    for plc in (PLC, PLC2)
    for at in (0, 60, 120)
]
EXAMPLES: dict[str, tuple[list[Any], str, str, str | None, str]] = {
    "hmi": (POLLS, HMI, "hmi", "high", "is answered by 2 devices by 502/tcp (modbus), and wrote to 2 devices"),
    "controller": (POLLS, PLC, "controller", "high", "answered 1 client in 3 flows by 502/tcp (modbus)"),
    "engineering": (
        [*POLLS, asked(ENG, PLC, "s7comm", {26: 1, 27: 24, 4: 3}, port=102)],
        ENG,
        "engineering",
        "high",
        "sent 25 requests that program or restart, to 1 device, by 102/tcp (s7comm)",
    ),
    "one download of a server that polls": (
        [
            *POLLS,
            *(asked(HMI, PLC, "s7comm", {4: 9_000}, port=102, at=at) for at in (1, 2)),
            asked(HMI, PLC, "s7comm", {27: 24}, port=102),
        ],
        HMI,
        "hmi",
        "high",
        "is answered by 2 devices by 502/tcp (modbus) and 102/tcp (s7comm), and wrote to 2 devices",
    ),
    "historian": (
        [asked(HMI, plc, "modbus", {3: 90}, ics_read_cnt=90) for plc in (PLC, PLC2)],
        HMI,
        "historian",
        "low",
        "read from 2 devices (180 requests) by 502/tcp (modbus) and wrote nothing",
    ),
    "historian with a database": (
        [
            *(asked(HMI, plc, "modbus", {3: 90}, ics_read_cnt=90) for plc in (PLC, PLC2)),
            *talk(ENG, HMI, 1433, 3),
        ],
        HMI,
        "historian",
        "medium",
        "read from 2 devices (180 requests), wrote nothing, and answered 1 client as a database by 1433/tcp",
    ),
    "who looks something up": (
        [asked(HMI, plc, "modbus", {3: 9}, ics_read_cnt=9) for plc in (PLC, PLC2)],
        HMI,
        UNKNOWN,
        None,
        "answered 0 flows and was answered in 2: nothing that only one role does",
    ),
    "controller by its port": (
        talk(HMI, PLC, 102, 12),
        PLC,
        "controller",
        "medium",
        "answered 1 client in 12 flows by 102/tcp, as controllers do; what was asked is not in the flows",
    ),
    "a port that was tried": (
        talk(HMI, PLC, 102, 2),
        PLC,
        UNKNOWN,
        None,
        "answered 2 flows and was answered in 0: nothing that only one role does",
    ),
    "hmi by ports": (
        [*talk(HMI, PLC, 102, 12), *talk(HMI, PLC2, 102, 12)],
        HMI,
        "hmi",
        "low",
        "is answered by 2 devices in 24 flows by 102/tcp; what it asks is not in the flows",
    ),
    "refused": (
        talk(HMI, PLC, 502, 50, conn_state="REJ"),
        PLC,
        UNKNOWN,
        None,
        "was in 50 flows, none of which was answered",
    ),
    "no ports": (
        talk(HMI, PLC, 502, 3) and [{**row, "src_port": None, "dst_port": None} for row in talk(HMI, PLC, 502, 3)],
        PLC,
        UNKNOWN,
        None,
        "was in 3 flows, of which the sensor gives no ports",
    ),
    "gateway": (
        [row for number in (1, 2, 3) for row in talk(f"10.1.0.{number}", PLC, 80, 2, src_mac=ROUTER)],
        ROUTER,
        "gateway",
        "high",
        "its hardware address sends for 3 addresses at a time",
    ),
    "way out": (
        [
            *(row for host in ("10.1.0.1", "10.1.0.2") for row in talk(host, PLC, 80, 2, src_mac=ROUTER)),
            *talk("8.8.8.8", PLC, 80, 2, src_mac=ROUTER),
        ],
        ROUTER,
        "gateway",
        "high",
        "its hardware address sends for 2 addresses inside and for public addresses",
    ),
    "camera": (
        talk(HMI, PLC, 554, 2, app_proto="rtsp"),
        PLC,
        "camera",
        "medium",
        "answered 1 client in 2 flows by 554/tcp (rtsp): moving pictures",
    ),
    "name server": (
        talk(HMI, PLC, 53, 2, ip_proto=17, app_proto="dns"),
        PLC,
        "names",
        "high",
        "answered 1 client in 2 flows by 53/udp (dns)",
    ),
    "time server": (
        talk(HMI, PLC, 123, 1, ip_proto=17),
        PLC,
        "time",
        "high",
        "answered 1 client in 1 flow by 123/udp",
    ),
    "remote access": (
        talk(HMI, PLC, 3389, 11),
        PLC,
        "remote",
        "low",
        "answered 1 client in 11 flows by 3389/tcp: its screen was used from elsewhere",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_role_and_why(name: str) -> None:
    rows, address, role, confidence, why = EXAMPLES[name]
    found = guesses(*rows)[address]
    assert (found.role, found.confidence, found.why) == (role, confidence, why)


def test_every_role_has_an_example() -> None:
    shown = {role for _, _, role, _, _ in EXAMPLES.values()}
    lacking = set(shipped().names) - shown
    # These differ from the name server's in the ports alone.
    assert lacking == {"addresses", "database", "printer", "files", "opcua"}


def test_what_else_is_met_is_named_beside_it() -> None:
    rows = [*talk(HMI, PLC, 53, 2, ip_proto=17), *talk(HMI, PLC, 123, 2, ip_proto=17)]
    assert guesses(*rows)[PLC].also == ("time",)


@given(plant_rows())
def test_numbers_in_sentences_are_those_of_the_rows(rows: list[dict[str, Any]]) -> None:
    # One sensor, one address a device: what the oracle counts row by row.
    rows = [{**row, "sensor": "left", "site": "plant", "src_mac": None, "dst_mac": None} for row in rows]
    if not rows:
        return
    flows = batch(rows)
    edges = oracle.edges(flows.to_pylist())
    [assets] = assets_of(inventory_of([flows])).values()
    for key, device in assets.devices.items():
        found = guess(device)
        served = [(at, edge) for at, edge in edges.items() if at[3] == key != at[2] and edge["answered"]]
        used = [(at, edge) for at, edge in edges.items() if at[2] == key != at[3] and edge["answered"]]
        numbers = [int(number.replace(",", "")) for number in re.findall(r"(?<![\w(/:])\d[\d,]*(?= [a-z])", found.why)]
        if found.role == "controller" and found.confidence == "high":
            of = [(at, edge) for at, edge in served if edge["ics"] in {"modbus", "s7comm"}]
            assert numbers == [len({at[2] for at, _ in of}), sum(edge["answered"] for _, edge in of)]
        elif found.role == "names":
            of = [(at, edge) for at, edge in served if edge["app"] == "dns" or (at[4] in {6, 17} and at[5] == 53)]
            assert numbers == [len({at[2] for at, _ in of}), sum(edge["answered"] for _, edge in of)]
        elif found.role == "hmi" and found.confidence == "high":
            of = [at[3] for at, edge in used if edge["ics"] in {"modbus", "s7comm"}]
            wrote = {at[3] for at, edge in edges.items() if at[2] == key != at[3] and edge["writes"]}
            assert numbers == [len(set(of)), len(wrote)]


@given(plant_rows())
def test_every_device_has_a_sentence(rows: list[dict[str, Any]]) -> None:
    for assets in assets_of(inventory_of([batch(rows)])).values():
        for device in assets.devices.values():
            found = guess(device)
            assert found.role in shipped().names and found.why and "$" not in found.why
            assert (found.role == UNKNOWN) == (found.confidence is None)


def test_a_hostile_name_of_a_protocol_is_cut() -> None:
    hostile = "\x1b[31m" + "x" * 1_000
    rows = [*talk(HMI, PLC, 53, 2, ip_proto=17, app_proto=hostile)]
    assert len(guesses(*rows)[PLC].why) < 120


def test_public_clients_are_one() -> None:
    rows = [row for number in range(9) for row in talk(f"8.8.{number}.8", PLC, 53, 1, ip_proto=17)]
    assert guesses(*rows)[PLC].why == "answered 1 client in 9 flows by 53/udp"
    assert PUBLIC not in guesses(*rows)


def test_programming_functions_are_in_the_table_of_functions() -> None:
    for proto, codes in shipped().programming.items():
        assert codes <= set(all_functions()[proto].access), proto


def test_every_count_is_used_or_documented() -> None:
    for name in ALL_COUNTS:
        assert re.search(rf"\b{name}\b", TEXT), f"roles.toml does not say what {name} counts"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("[services.controller]", "[services.controller", "got no TOML"),
        ("[programming]", "[programmed]", "'programming' is missing; compare with the shipped file"),
        ('confidence = "high"', 'confidence = "sure"', "got confidence 'sure', expected high, medium, low"),
        ("$carried_words inside", "$actor inside", r"got \['actor'\] in `says`, expected carried, carried_by"),
        ('count = "carried"', 'count = "karried"', "needs.carried: got count 'karried', expected answered_clients"),
        ('service = "camera"', 'service = "cam"', "got service 'cam', expected addresses, camera"),
    ],
)
def test_a_table_that_was_edited_wrongly_says_where(old: str, new: str, error: str) -> None:
    assert old in TEXT
    with pytest.raises(Misconfigured, match=rf"roles\.toml.*{error}"):
        read_roles(TEXT.replace(old, new, 1))


def test_reads_an_hour_are_by_the_hour() -> None:
    rows = [asked(HMI, plc, "modbus", {3: 90}, ics_read_cnt=90) for plc in (PLC, PLC2)]
    rows += [asked(HMI, PLC, "modbus", {3: 1}, ics_read_cnt=1, at=10 * HOUR_S)]
    assert guesses(*rows)[HMI].role == UNKNOWN and module.HOUR_US == HOUR_S * 1_000_000
