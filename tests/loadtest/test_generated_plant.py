"""Files of a generated plant: three hours of a small one, with every attack."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from loadtest.plants.generated.attacks import ATTACKS
from loadtest.plants.generated.names import NAMES_FILE
from loadtest.plants.generated.plant import EVENTS_FILE, Plan, Plant, PlantError, plant_of, write_plant
from loadtest.plants.generated.site import dotted, mac_text
from pipeline.ingest.files.offline_rows import decode_file
from tests.commands import forebay
from tests.contract.tree import ROOT
from tests.ingest.records import MAX_FUTURE_US, SENT_US

HOURS_3 = Plan(days=0.125, seed=5, size="small")
EARLY = ("ssh-logins", "arp-mitm", "new-host-write")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Written:
    """A plant in a folder, and what ingest makes of its first sensor."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.folder = folder
        self.plant: Plant = plant_of(plan)
        self.facts = write_plant(self.plant, folder)
        self.document = json.loads((folder / EVENTS_FILE).read_text())
        self.decoded = decode_file(folder / "plant", ingest_ts_us=SENT_US, max_future_us=MAX_FUTURE_US)
        kind = self.decoded.flows["record_kind"]
        self.flows: pa.RecordBatch = self.decoded.flows.filter(pc.equal(kind, "end"))
        self.operations: pa.RecordBatch = self.decoded.flows.filter(pc.equal(kind, "ics"))

    def event(self, name: str) -> dict[str, Any]:
        [event] = [event for event in self.document["events"] if event["name"] == name and not event["early"]]
        return dict(event)

    def rows(self, name: str, batch: pa.RecordBatch | None = None) -> pa.RecordBatch:
        """The records of an event."""
        chosen = self.flows if batch is None else batch
        return chosen.filter(pc.is_in(chosen["sensor_uid"], pa.array(self.event(name)["uids"].get("plant", []))))

    def others(self, name: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        inside = pc.is_in(batch["sensor_uid"], pa.array(self.event(name)["uids"]["plant"]))
        return batch.filter(pc.invert(inside))

    def of_host(self, name: str) -> str:
        return dotted(self.plant.site.address(name))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(HOURS_3, tmp_path_factory.mktemp("generated"))


def between(batch: pa.RecordBatch, src: str, dst: str) -> pa.RecordBatch:
    return batch.filter(pc.and_(pc.equal(batch["src_addr"], src), pc.equal(batch["dst_addr"], dst)))


def total(batch: pa.RecordBatch, name: str) -> int:
    return int(pc.sum(batch[name]).as_py() or 0)


@pytest.mark.slow
def test_the_same_seed_makes_the_same_bytes(written: Written, tmp_path: Path) -> None:
    write_plant(plant_of(HOURS_3), tmp_path / "again")
    assert files(tmp_path / "again") == files(written.folder)
    write_plant(plant_of(Plan(days=0.125, seed=6, size="small")), tmp_path / "other")
    other = files(tmp_path / "other")
    assert set(other) == set(files(written.folder))
    same = {name for name, content in files(written.folder).items() if other[name] == content}
    assert {str(name) for name in same} == {NAMES_FILE}, "the devices are the same"


def test_ingest_takes_every_record(written: Written) -> None:
    records = written.facts["sensors"]["plant"]["records"]
    assert set(records) == {"conn", "modbus_detailed", "s7comm", "cip"}
    assert written.decoded.rejects.num_rows == 0 and not written.decoded.unread
    assert written.decoded.records == sum(records.values())
    assert not written.decoded.notes
    assert written.flows.num_rows == records["conn"]
    assert written.flows["src_mac"].null_count == 0
    assert sum(written.facts["sensors"]["plant"]["flows_by_kind"].values()) == records["conn"]


def test_every_operation_is_of_a_connection_and_inside_it(written: Written) -> None:
    spans = {
        uid: (start, end)
        for uid, start, end in zip(
            *(written.flows[name].to_pylist() for name in ("sensor_uid", "start_ts_us", "end_ts_us")), strict=True
        )
    }
    assert len(spans) == written.flows.num_rows, "no two connections have one uid"
    operations = (written.operations[name].to_pylist() for name in ("sensor_uid", "end_ts_us"))
    missing = 0
    for uid, at in zip(*operations, strict=True):
        if uid in spans:
            assert spans[uid][0] < at <= spans[uid][1]
        else:  # of a connection that still lasts
            missing += 1
    assert missing == 0


def test_every_attack_is_there_with_its_flows(written: Written) -> None:
    attacks = [event for event in written.document["events"] if event["kind"] == "attack"]
    assert {event["name"] for event in attacks} == set(ATTACKS) and len(attacks) == len(ATTACKS)
    every = [uid for event in written.document["events"] for uid in event["uids"].get("plant", [])]
    assert len(every) == len(set(every)), "a flow belongs to one event"
    assert set(every) <= set(written.flows["sensor_uid"].to_pylist())
    for event in attacks:
        rows = written.rows(event["name"])
        assert rows.num_rows == event["flows"]["plant"] == len(event["uids"]["plant"]) > 0
        assert pc.min(rows["start_ts_us"]).as_py() >= event["start_us"] >= HOURS_3.attacks_window[0]
        assert pc.max(rows["end_ts_us"]).as_py() <= event["end_us"] <= HOURS_3.attacks_window[1]
        assert event["what"] and event["hosts"]


def test_without_attacks_the_rest_is_the_same(written: Written, tmp_path: Path) -> None:
    write_plant(plant_of(Plan(days=0.125, seed=5, size="small", attacks=())), tmp_path)
    quiet, attacked = (
        {line for line in (folder / "plant" / "conn.log").read_text().splitlines() if not line.startswith("#")}
        for folder in (tmp_path, written.folder)
    )
    events = [event for event in written.document["events"] if event["kind"] == "attack"]
    uids = {uid for event in events for uid in event["uids"]["plant"]}
    left = {line for line in attacked if line.split("\t")[1] not in uids}
    assert left <= quiet
    changed = {line.split("\t")[1] for line in quiet - left}
    assert changed == set(written.event("arp-mitm")["uids"]["plant"])


def test_a_port_scan_is_of_one_host(written: Written) -> None:
    rows = written.rows("port-scan")
    assert len(rows["dst_port"].unique()) == rows.num_rows == 1_000
    assert len(rows["src_addr"].unique()) == len(rows["dst_addr"].unique()) == 1
    assert set(rows["conn_state"].to_pylist()) == {"REJ", "RSTO"}


def test_a_sweep_is_of_many_hosts_and_one_port(written: Written) -> None:
    rows = written.rows("host-sweep")
    assert len(rows["dst_addr"].unique()) == rows.num_rows > 700
    assert rows["dst_port"].unique().to_pylist() == [502]
    assert set(rows["conn_state"].to_pylist()) == {"S0", "REJ", "RSTO"}


def test_logins_come_in_series(written: Written) -> None:
    for name, port in (("ssh-logins", 22), ("rdp-logins", 3_389)):
        rows = written.rows(name)
        assert rows.num_rows == 120 and rows["dst_port"].unique().to_pylist() == [port]


def test_a_man_in_the_middle_shows_by_hardware_addresses(written: Written) -> None:
    rows = written.rows("arp-mitm")
    device = mac_text(written.plant.site.hosts["cell-1-intruder"].mac)
    plc = written.plant.site.plcs(1)[1]
    assert rows["dst_mac"].unique().to_pylist() == [device]
    assert rows["dst_addr"].unique().to_pylist() == [dotted(plc.address)]
    polls = between(written.others("arp-mitm", written.flows), written.of_host("cell-1-panel"), dotted(plc.address))
    assert polls["dst_mac"].unique().to_pylist() == [mac_text(plc.mac)]
    assert pc.max(polls["fwd_pkts"]).as_py() * 2 == pc.min(rows["fwd_pkts"]).as_py()
    assert total(written.rows("arp-mitm", written.operations), "ics_read_cnt") == 3 * rows.num_rows


@pytest.mark.parametrize("name", ["new-host-write", "unusual-write", "replayed-command"])
def test_one_write_in_one_connection(written: Written, name: str) -> None:
    rows = written.rows(name)
    assert rows.num_rows == 1 and total(written.rows(name, written.operations), "ics_write_cnt") == 1
    [src], [dst] = rows["src_addr"].to_pylist(), rows["dst_addr"].to_pylist()
    others = between(written.others(name, written.flows), src, dst)
    writes = total(between(written.others(name, written.operations), src, dst), "ics_write_cnt")
    if name == "new-host-write":
        assert others.num_rows == 0 and src not in written.others(name, written.flows)["src_addr"].to_pylist()
    else:
        assert others.num_rows > 30
        assert others["src_mac"].unique().to_pylist() != rows["src_mac"].to_pylist() or name == "unusual-write"
        assert (writes > 0) == (name == "replayed-command")


def test_programs_and_modes_change_by_who_never_did_it(written: Written) -> None:
    for name, least in (("program-download", 20), ("plc-stop", 1)):
        assert total(written.rows(name, written.operations), "ics_control_cnt") >= least
        assert written.rows(name).num_rows == 1
        [src], [dst] = (written.rows(name)[end].to_pylist() for end in ("src_addr", "dst_addr"))
        others = between(written.others(name, written.operations), src, dst)
        assert others.num_rows > 0 and total(others, "ics_control_cnt") == 0


def test_an_identification_sweep_asks_every_controller(written: Written) -> None:
    rows, site = written.rows("identification-sweep"), written.plant.site
    plcs = {dotted(plc.address) for cell in site.cells for plc in site.plcs(cell)}
    assert set(rows["dst_addr"].to_pylist()) == plcs and rows.num_rows == len(plcs)
    asked = {code for codes in written.rows("identification-sweep", written.operations)["ics_functions"].to_pylist()
             for code in (codes or [])[::2]}  # fmt: skip
    assert {43, 0x4401, 1} <= asked


def test_a_beacon_and_a_slow_scan_keep_their_time(written: Written) -> None:
    for name, period_us in (("beacon", 300_000_000), ("slow-scan", 600_000_000)):
        rows = written.rows(name)
        starts = sorted(rows["start_ts_us"].to_pylist())
        gaps = [later - earlier for earlier, later in pairwise(starts)]
        assert len(gaps) > 8 and all(abs(gap - period_us) < 61_000_000 for gap in gaps)
        assert len(rows["src_addr"].unique()) == 1
    assert len(written.rows("beacon")["dst_port"].unique()) == len(written.rows("beacon")["dst_addr"].unique()) == 1


def test_data_leave_and_a_flood_comes(written: Written) -> None:
    assert total(written.rows("exfiltration"), "fwd_bytes") > 1_400_000_000
    flood = written.rows("flood")
    assert flood.num_rows == 8_000 and len(flood["src_addr"].unique()) == 3_000
    assert flood["conn_state"].unique().to_pylist() == ["S0"] and len(flood["src_mac"].unique()) == 1


def test_early_attacks_come_first_and_by_other_devices(tmp_path: Path) -> None:
    plan = Plan(days=0.125, seed=5, size="small", early_attacks=EARLY)
    write_plant(plant_of(plan), tmp_path)
    events = json.loads((tmp_path / EVENTS_FILE).read_text())["events"]
    early = [event for event in events if event["early"]]
    assert sorted(event["name"] for event in early) == sorted(EARLY)
    for event in early:
        assert plan.early_window[0] <= event["start_us"] < event["end_us"] <= plan.attacks_window[0]
        assert event["uids"]["plant"]
        [later] = [other for other in events if other["name"] == event["name"] and not other["early"]]
        assert (event["hosts"] == later["hosts"]) == (event["name"] == "arp-mitm")


def test_the_page_names_every_attack() -> None:
    text = (ROOT / "docs/generated-plant.md").read_text(encoding="utf-8")
    missing = [name for name in ATTACKS if f"| `{name}` |" not in text]
    assert not missing


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"days": 0.01}, "--days: got 0.01, expected 0.042 (an hour) to 28"),
        ({"days": 29.0}, "--days: got 29"),
        ({"size": "huge"}, "--size: got huge, expected one of small, medium, large"),
        ({"sensors": 5}, "--sensors: got 5, expected 1 to 4: a medium plant has 4 segments"),
        ({"sensors": 0}, "--sensors: got 0"),
        ({"attacks": ("ssh-logins", "storm")}, "--attacks: got storm, expected all, none or some of port-scan, "),
        ({"early_attacks": ("storm",)}, "--early-attacks: got storm"),
        ({"attacks_from_days": 7.0}, "--attacks-from: got 7, expected less than --days 7"),
        ({"days": 0.045}, "--attacks: got 15 attacks for 43 minutes, expected at least 3 minutes for each"),
        ({"attacks_from_days": 0.0, "early_attacks": ("flood",)}, "--early-attacks: got 1 attack for 0 minutes"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlantError) as refused:
        Plan(**changes)
    assert said in str(refused.value)


def run(*words: str) -> tuple[int, dict[str, Any], str]:
    ended = forebay("load", "plant", *words)
    lines = ended.stdout.strip().splitlines()
    return ended.code, json.loads(lines[-1]) if lines else {}, ended.stderr


@pytest.mark.slow
def test_the_command_writes_the_same(written: Written, tmp_path: Path) -> None:
    options = ("--out", str(tmp_path / "plant"), "--days", "0.125", "--seed", "5", "--size", "small")
    code, document, shown = run(*options)
    assert code == 0 and "15 attack, 0 fault, 1 benign" in shown.replace("\n", " ")
    assert document["sensors"] == written.facts["sensors"] and document["events"]["attack"] == 15
    assert files(tmp_path / "plant") == files(written.folder)
    code, document, _ = run(*options, "--json")
    assert code == 2 and "which is not empty, expected a new or empty folder" in document["error"]


def test_the_command_refuses_an_attack_nobody_knows(tmp_path: Path) -> None:
    out = tmp_path / "plant"
    code, document, _ = run("--out", str(out), "--attacks", "flood,storm", "--json")
    assert code == 2 and document["error"].startswith("--attacks: got storm, expected all, none or some of ")
    assert not out.exists()
