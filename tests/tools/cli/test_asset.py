"""`forebay asset` on files of flows and on an archive: what it prints, its documents, its errors."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.tools.assets import current
from pipeline.tools.cli.output import people
from tests import commands
from tests.archive.plant import feed, random_log, wire

MARKUP = "[bold red]=1"
HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202e[bold red]=1"


def _line(number: int, client: str, server: str, port: int, **more: Any) -> str:
    record = {
        "ts": 1_678_440_000.0 + number,
        "uid": f"C{number}",
        "id.orig_h": client,
        "id.orig_p": 40_000,
        "id.resp_h": server,
        "id.resp_p": port,
        "proto": "tcp",
        "duration": 0.5,
        "orig_bytes": 100,
        "resp_bytes": 200,
        "conn_state": "SF",
        "history": "ShADadFf",
        "orig_pkts": 4,
        "orig_ip_bytes": 300,
        "resp_pkts": 3,
        "resp_ip_bytes": 400,
        **more,
    }
    return json.dumps(record)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(people, "_width", 160)  # wide enough that no table is folded


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "conn.log"
    lines = [_line(number, "10.0.0.2", "10.0.0.20", 502) for number in range(12)]
    lines += [_line(20, "10.0.0.3", "10.0.0.53", 53, service=MARKUP)]
    lines += [_line(30, "10.9.9.9", "10.0.0.20", 80, conn_state="S0", resp_pkts=0, resp_bytes=0, resp_ip_bytes=0)]
    lines += [_line(8_000, "10.0.0.3", "10.0.0.53", 53)]
    path.write_text("\n".join(lines) + "\n")
    return path


Run = Callable[..., tuple[int, str, dict[str, Any]]]


@pytest.fixture
def forebay(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `forebay` as typed: its exit code, its words for people, its document."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> tuple[int, str, dict[str, Any]]:
        code, out, err = commands.forebay(*map(str, words))
        assert "\x1b" not in out + err and "\x9b" not in out + err and "\u202e" not in err
        return code, err, json.loads(out.splitlines()[-1]) if out.strip() else {}

    return run


def test_a_list_for_people(forebay: Run, flows: Path) -> None:
    code, err, document = forebay("asset", "list", "--flows", flows, "--site", "plant")
    lines = [line.split() for line in err.splitlines()]
    assert (
        code == 0 and ["10.0.0.20", "controller", "(medium)", "quiet", "2", "h", "13", "min", "502/tcp", "1"] in lines
    )
    assert "and 1 address that sent, were never answered and did not come back; --all lists them" in " ".join(
        err.split()
    )
    assert document["assets"] == 4 and document["unconfirmed"] == 1 and document["rows"] == 15
    assert document["roles"] == {"unknown": 2, "controller": 1, "names": 1}


def test_a_list_for_machines(forebay: Run, flows: Path) -> None:
    code, err, document = forebay("asset", "list", "--flows", flows, "--json", "--all")
    assert code == 0 and err == ""
    by_address = {each["address"]: each for each in document["assets"]}
    assert set(by_address) == {"10.0.0.2", "10.0.0.3", "10.0.0.20", "10.0.0.53", "10.9.9.9"}
    plc = by_address["10.0.0.20"]
    assert (plc["site"], plc["role"], plc["confidence"], plc["state"]) == ("default", "controller", "medium", "quiet")
    assert plc["serves"] == [{"service": "502/tcp", "with": 1, "flows": 12, "answered": 12, "bytes": 12 * 300}]
    assert not by_address["10.9.9.9"]["confirmed"]
    assert MARKUP in by_address["10.0.0.53"]["serves"][0]["service"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--role", "controller"], {"10.0.0.20"}),
        (["--quiet"], {"10.0.0.2", "10.0.0.20"}),
        (["--quiet", "--role", "names"], set()),
    ],
)
def test_what_is_asked_for(forebay: Run, flows: Path, options: list[str], expected: set[str]) -> None:
    _, _, document = forebay("asset", "list", "--flows", flows, "--json", *options)
    assert {each["address"] for each in document["assets"]} == expected


def test_a_role_there_is_none_of(forebay: Run, flows: Path) -> None:
    code, err, _ = forebay("asset", "list", "--flows", flows, "--role", "turbine")
    assert code == 2 and "--role: got 'turbine', expected one of gateway, engineering, controller" in err


def test_one_device(forebay: Run, flows: Path) -> None:
    code, err, document = forebay("asset", "show", "10.0.0.20", "--flows", flows, "--site", "plant")
    assert code == 0 and document["edges"] == 2
    assert err.startswith(
        "plant/10.0.0.20: controller, confidence medium: it answered 1 client in 12 flows by 502/tcp, as controllers do"
    )
    assert "quiet: not seen for 2 h 13 min of its sensor's time" in err
    answers = next(line.split() for line in err.splitlines() if line.startswith("answers"))
    assert answers[1:6] == ["10.0.0.2", "502/tcp", "12", "12", "3600"]


def test_a_device_with_hostile_names(forebay: Run, flows: Path) -> None:
    code, err, document = forebay("asset", "show", "10.0.0.53", "--flows", flows, "--json")
    assert code == 0 and err == "" and document["edges"][0]["service"] == f"53/tcp ({MARKUP})"
    code, err, _ = forebay("asset", "show", "10.0.0.53", "--flows", flows)
    assert code == 0 and MARKUP in err


@pytest.mark.parametrize("name", ["10.0.0.77", HOSTILE])
def test_a_device_there_is_none_of(forebay: Run, flows: Path, name: str) -> None:
    code, err, _ = forebay("asset", "show", name, "--flows", flows)
    assert code == 2 and "got no device of that address or name, expected one" in err


def test_an_export_is_a_file_of_text(forebay: Run, flows: Path, tmp_path: Path) -> None:
    out = tmp_path / "assets.csv"
    code, err, document = forebay("asset", "export", "--out", out, "--flows", flows, "--site", "plant")
    assert code == 0 and f"4 devices: {out}" in err and document["assets"] == 4
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["address"], row["role"]) for row in rows][1:3] == [
        ("10.0.0.3", "unknown"),
        ("10.0.0.20", "controller"),
    ]
    assert out.read_text().replace("\n", "").isprintable()


def test_an_export_that_cannot_be_written(forebay: Run, flows: Path, tmp_path: Path) -> None:
    code, err, _ = forebay("asset", "export", "--out", tmp_path, "--flows", flows)
    assert code == 1 and "expected a file that can be written; name another" in err


def test_a_file_without_flows(forebay: Run, tmp_path: Path) -> None:
    path = tmp_path / "empty.log"
    path.write_text("nothing that is a flow\n")
    code, err, _ = forebay("asset", "list", "--flows", path)
    assert code == 64 and "error: " in err


def test_an_archive(forebay: Run, tmp_path: Path) -> None:
    topics = wire(random_log(Random(4), 30, (("plant", "left"), ("other", "right"))), [])
    feed(PartitionArchive(tmp_path / "archive", 0, Limits(9), "w"), topics, Random(1))
    code, _, document = forebay("asset", "list", "--archive", tmp_path / "archive", "--closed", "--json", "--all")
    assert code == 0 and document["open_rows"] is None and document["rows"] > 0
    assert {each["site"] for each in document["assets"]} == {"plant", "other"}
    code, err, empty = forebay("asset", "list", "--archive", tmp_path / "archive", "--closed", "--site", "none")
    assert code == 0 and empty["rows"] == 0 and "no devices: none is listed before its first flow is archived" in err


def test_without_kafka_the_rest_is_listed_and_said(forebay: Run, tmp_path: Path) -> None:
    words = ("--archive", tmp_path, "--bootstrap", "127.0.0.1:9")
    code, err, document = forebay("asset", "list", *words)
    assert code == 0 and "not read: rows that came after the archive's last commit" in err and document["not_read"]


def test_a_wrong_file_of_names_is_refused_before_anything_is_asked_of_kafka(forebay: Run, tmp_path: Path) -> None:
    file = tmp_path / "names.csv"
    file.write_text(f"site,address,name,criticality\nplant,10.0.0.1,{HOSTILE},low\n")
    code, err, _ = forebay("asset", "import", file)
    assert code == 64 and "line 2: name: got" in err and "nothing was imported" in err
    code, err, document = forebay("asset", "import", tmp_path / "none.csv", "--json")
    assert code == 64 and "expected a CSV file that can be read; name another" in document["error"]


def test_names_need_kafka(forebay: Run, tmp_path: Path) -> None:
    file = tmp_path / "names.csv"
    file.write_text("address,name,criticality\n10.0.0.1,Pump,low\n")
    code, err, _ = forebay("asset", "import", file, "--site", "plant", "--bootstrap", "127.0.0.1:9")
    assert code == 69 and "127.0.0.1:9" in err


NAMES = "address,name,criticality,zone\n10.0.0.20,PLC 3,critical,Cell 1\n10.0.0.2,HMI north,,Control room\n"


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.csv"
    path.write_text(NAMES)
    return path


def test_who_asks_whom(forebay: Run, flows: Path, names: Path) -> None:
    code, err, document = forebay("asset", "edges", "--flows", flows, "--site", "plant", "--names", names)
    text = " ".join(err.split())
    assert code == 0 and document["edges"] == 2 and document["left_out"] == 1
    assert "HMI north (10.0.0.2) PLC 3 (10.0.0.20) 502/tcp 12 12 Control room to Cell 1 2023-03-10 09:20" in text
    assert "2 edges; known to be new within 24h: 0; of 2 it is not known (`says` in --json has the reason)" in text
    assert "known to cross zones: 1; of 1 it is not known, since a zone is unknown" in text
    assert "and 1 of addresses that never sent, or sent and were never answered; --all lists these too" in text
    _, _, document = forebay("asset", "edges", "--flows", flows, "--json", "--all")
    assert len(document["edges"]) == 3 and {each["crosses"] for each in document["edges"]} == {None}


def test_edges_that_are_asked_for(forebay: Run, flows: Path, names: Path) -> None:
    words = ("asset", "edges", "--flows", flows, "--site", "plant", "--names", names, "--json")
    _, _, document = forebay(*words, "--crossing")
    [edge] = document["edges"]
    assert (edge["client_zone"], edge["server_zone"], edge["crosses"], edge["new"]) == (
        "Control room",
        "Cell 1",
        True,
        None,
    )
    assert (
        edge["says"]
        == "first seen 2023-03-10 09:20:00Z; flows go back to 2023-03-10 09:20:00Z only, too short to call it new"
    )
    _, _, document = forebay(*words, "--new")
    assert document["edges"] == [] and document["new"] == 0
    code, err, _ = forebay(*words[:-1], "--new")
    assert code == 0 and "no edges: none is listed before its first flow is archived, or none is as asked for" in err
    code, err, _ = forebay(*words, "--since", "soon")
    assert code == 2 and "expected a number and s, m, h or d, as in 24h" in err
    _, err, _ = forebay("asset", "edges", "--flows", flows)
    assert "no zone is known: `forebay asset import` takes a column zone" in err


def test_a_list_of_a_zone(forebay: Run, flows: Path, names: Path) -> None:
    words = ("asset", "list", "--flows", flows, "--site", "plant", "--names", names, "--json")
    _, _, document = forebay(*words, "--zone", "Cell 1")
    assert [each["address"] for each in document["assets"]] == ["10.0.0.20"]
    _, _, document = forebay(*words, "--zone", "")
    assert {each["zone"] for each in document["assets"]} == {None} and len(document["assets"]) == 2


def test_a_map(forebay: Run, flows: Path, names: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.svg"
    words = ("asset", "map", "--flows", flows, "--names", names, "--site", "plant", "--out", out)
    code, err, document = forebay(*words)
    assert code == 0 and f"4 devices, 2 lines: {out}" in err and document["edges"] == 2
    assert "PLC 3" in out.read_text() and out.read_text().startswith("<svg ")
    _, _, document = forebay(*words, "--json")
    assert {device["name"] for device in document["devices"]} == {"PLC 3", "HMI north", None}
    assert document["left_out"]["unconfirmed"] == 1


def test_a_map_that_cannot_be(forebay: Run, flows: Path, tmp_path: Path) -> None:
    code, err, _ = forebay("asset", "map", "--flows", flows, "--out", tmp_path)
    assert code == 1 and "expected a file that can be written; name another" in err
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(NAMES + f"10.0.0.3,{HOSTILE},,\n")
    code, err, _ = forebay(
        "asset", "map", "--flows", flows, "--names", wrong, "--site", "plant", "--out", tmp_path / "x.svg"
    )
    assert code == 64 and "line 4: name: got" in err and not (tmp_path / "x.svg").exists()


def test_a_map_of_one_site_of_several(forebay: Run, tmp_path: Path) -> None:
    topics = wire(random_log(Random(4), 30, (("plant", "left"), ("other", "right"))), [])
    feed(PartitionArchive(tmp_path / "archive", 0, Limits(9), "w"), topics, Random(1))
    words = ("asset", "map", "--archive", tmp_path / "archive", "--closed", "--out", tmp_path / "map.svg")
    code, err, _ = forebay(*words)
    assert code == 2 and "got 2 sites (other, plant), expected one; say which with --site" in err
    code, _, document = forebay(*words, "--site", "plant")
    assert code == 0 and document["site"] == "plant"
    code, err, _ = forebay(*words, "--site", "none")
    assert code == 2 and "got 'none', of which there is no flow" in err
