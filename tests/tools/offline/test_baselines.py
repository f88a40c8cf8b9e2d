"""The figures of baselines are counted rightly; and what sensors nobody knew must find by themselves."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.plants.generated.plant import Plan, plant_of, write_plant
from models.serving import registry
from models.serving.model import Model
from pipeline.alert.grouping import Grouping, load_grouping
from pipeline.contracts.baseline import Phase
from pipeline.settings import load_settings
from pipeline.tools.cli.model_baselines import hostile_packets, opening_rule
from pipeline.tools.offline.baselines import captures, figures
from pipeline.tools.offline.baselines.boiling_frog import frogs
from pipeline.tools.offline.baselines.captures import HARMLESS, Capture, HostilePackets, westermo
from pipeline.tools.offline.baselines.replayed import (
    Replayed,
    attack_kinds,
    attacks_of,
    clock_of,
    found,
    replay_capture,
)
from schemas.learning import Learning
from tests.featurize.baseline.plant import CONTROLLERS, poll, polls
from tests.featurize.flows import SECOND, START_US, batch
from tests.real_records import FOLDER, needs
from tests.tools.offline.test_flow_file import forebay

SETTINGS = load_settings()
S7_PLANT = "formats/zeek-tsv/4SICS-151020/conn.log"


@cache
def shipped() -> Model:
    return registry.load("")


@cache
def sensor(name: str) -> Capture:
    return westermo(name)


def test_a_short_capture_has_a_clock_of_its_own_and_says_so() -> None:
    assert clock_of(4 * 3_600_000_000) == ("default", Learning())
    name, learning = clock_of(1_000_000_000)
    assert (name, learning) == (
        "scaled",
        Learning(least_s=250, most_s=333, anchor_s=400, admit_s=400, shortest_block_s=10),
    )
    assert clock_of(0).learning == Learning(least_s=1, most_s=1, anchor_s=1, admit_s=1, shortest_block_s=1)


def test_flows_of_a_kind_with_a_minute_between_them_are_one_attack() -> None:
    kind = np.array(["a", "normal", "a", "b", "a"])
    start_us = np.array([0, 1, 50, 60, 200]) * SECOND
    end_us = np.array([5, 1, 139, 60, 201]) * SECOND
    assert [rows.tolist() for rows in attacks_of(kind, start_us, end_us, ("a",))] == [[0, 2], [4]]
    assert [rows.tolist() for rows in attacks_of(kind, start_us, end_us, ("a", "b"))] == [[0, 2, 3], [4]]
    assert attacks_of(kind, start_us, end_us, ("c",)) == []


def _capture(rows: list[dict[str, Any]], kinds: dict[int, str]) -> Capture:
    flows = batch([{**row, "source_record": number} for number, row in enumerate(rows)])
    return Capture("made", flows, np.array([kinds.get(number, "normal") for number in range(len(rows))], dtype="<U8"))


def _replayed() -> Replayed:
    """A plant that learnt; then a host that writes to a controller, and one that only a person would call an attack."""
    rows = polls(400)
    fresh = {"src_port": 50_000, "ics_proto": "modbus", "ics_functions": [5, 1], "ics_write_cnt": 1}
    rows += [poll(401, "10.0.0.66") | fresh, *polls(100, start_s=402), poll(503, "10.0.0.67") | fresh]
    rows += [poll(600, target=CONTROLLERS[1])]
    capture = _capture(rows, {400: "write", 501: "quiet"})
    learning = Learning(least_s=60, most_s=120, anchor_s=200, admit_s=200, shortest_block_s=5)
    return replay_capture(capture, learning, SETTINGS, shipped())


def test_a_capture_is_judged_as_live() -> None:
    replayed = _replayed()
    assert replayed.begins(Phase.SETTLING) is not None and replayed.begins(Phase.CHANGED) is None
    assert replayed.suspect.sum() == 2 and len(replayed.incidents) == 2
    assert replayed.kind[replayed.suspect].tolist() == ["write", "quiet"]
    assert found(replayed, ("write",), "write") == ("write", 1, 1, [0.0], 1)
    assert found(replayed, ("write",), "write", from_us=START_US + 402 * SECOND).attacks == 0
    assert found(replayed, ("nothing",), "nothing").attacks == 0
    assert replayed.false_incidents() == 0


def test_an_incident_without_a_labelled_flow_is_false() -> None:
    replayed = _replayed()
    unlabelled = np.where(replayed.kind == "quiet", "normal", replayed.kind)
    after = replace(replayed, kind=unlabelled)
    assert after.false_incidents() == 1
    assert (replayed.incidents_of(), after.incidents_of()) == ({"quiet": 1, "write": 1}, {"write": 1})


def test_an_attack_of_packets_is_that_of_the_flows_between_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    ends = '"id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2","id.resp_p":502,"proto":"tcp","conn_state":"SF"'
    path.write_text(
        "".join(
            f'{{"ts":{at},"uid":"C{at}",{ends},"id.orig_p":{port},"duration":1.0,"orig_bytes":1,"resp_bytes":1,'
            '"orig_pkts":1,"resp_pkts":1}\n'
            for at, port in ((1e9, 1_000), (1e9, 1_001), (1e9 + 60, 1_000))
        )
    )
    at = np.array([10**15 + 500_000])
    back = HostilePackets(at, np.array([0x0A000002]), np.array([0x0A000001]), np.array([502]), np.array([1_000]))
    assert captures.lemay("scan", path, back).kind.tolist() == ["scan", "normal", "normal"]
    late = HostilePackets(at + 90_000_000, back.source, back.destination, back.source_port, back.destination_port)
    assert set(captures.lemay("scan", path, late).kind.tolist()) == {"normal"}


def test_command_and_control_is_moved_behind_the_learning() -> None:
    rows = [poll(number * 3_600.0) for number in range(12)]
    capture = _capture(rows, dict.fromkeys((0, 3, 9), "C&C"))
    later = captures.with_later_control(capture)
    assert later.kinds().tolist() == ["normal"] * 7 + ["C&C"] + ["normal"] * 2
    assert later.first_us == START_US + 3_600 * SECOND


def test_a_generated_plant_is_labelled_by_its_events(tmp_path: Path) -> None:
    plan = Plan(0.25, 1, "small", attacks=("port-scan", "slow-scan"), attacks_from_days=0.1)
    plant = plant_of(plan)
    write_plant(plant, tmp_path)
    capture = captures.generated(tmp_path, plant.sensors[0])
    assert capture.flows.num_rows > 5_000 and 5.5 < capture.span_us / 3.6e9 <= 6
    assert attack_kinds(capture) == ["port-scan", "slow-scan"]
    rows = np.flatnonzero(capture.kinds() == "port-scan")
    [event] = [event for event in plant.events if event.name == "port-scan"]
    start_us = capture.flows.column("start_ts_us").to_numpy()[rows]
    assert len(rows) > 10 and (start_us >= event.start_us).all() and (start_us <= event.end_us).all()


def test_another_network_begins_where_the_one_before_ended() -> None:
    before = _capture(polls(300), {0: "write"})
    after = _capture([poll(at, "10.7.0.1", "10.7.0.2") for at in range(50)], {1: "quiet"})
    both = captures.replaced(before, after)
    assert both.flows.num_rows == 350 and both.span_us == 349 * SECOND
    assert both.kinds()[[0, 300, 301]].tolist() == ["write", "normal", "quiet"]
    assert len(set(both.flows.column("raw_offset").to_pylist())) == 350


@pytest.mark.slow
@needs("formats/argus/slips-test2-malicious.binetflow", "that a plant that changes is noticed within an hour")
def test_another_network_at_the_same_sensor_is_noticed_within_an_hour() -> None:
    before = captures.plain("4SICS", FOLDER / S7_PLANT)
    after = captures.plain("slips-2", FOLDER / "formats/argus/slips-test2-malicious.binetflow")
    each = figures.replacement(before, after, SETTINGS, shipped())
    assert each.noticed_h is not None and each.noticed_h <= 1
    assert each.learnt_h is not None and each.learnt_h <= 4
    assert each.incidents[1] == 0


def test_the_rule_that_was_used_is_said() -> None:
    assert opening_rule(load_grouping()).startswith("from 2 suspects on, or with one of: several hardware")
    assert "; a new use of one of 1 ports" in opening_rule(Grouping(opening_ports=(502,)))


def test_without_a_folder_of_captures_it_is_asked_for() -> None:
    code, _, stderr = forebay("model", "evaluate", "--protocol", "baselines")
    assert code == 2
    assert "--data" in stderr


@pytest.mark.slow
def test_one_attack_inside_learning_does_not_blind_a_sensor() -> None:
    """Calibrated by hand on that stretch, `left` finds 0 of 21 later scans and SSH logins."""
    left = sensor("left")
    inside = max(figures.attacks_inside(left, "SSH logins"), key=len)
    after = figures.with_attack(left, inside, "one SSH login", SETTINGS, shipped())
    scans, ssh = after.later[1:]
    assert (scans.found, ssh.found) == (scans.attacks, ssh.attacks) and after.found >= 21
    assert after.false == 0
    as_recorded = figures.with_attack(left, np.arange(left.flows.num_rows), "as recorded", SETTINGS, shipped())
    assert as_recorded.found >= 21


@pytest.mark.slow
def test_a_man_in_the_middle_is_found_though_one_was_learnt() -> None:
    bottom = sensor("bottom")
    inside = max(figures.attacks_inside(bottom, "man in the middle"), key=len)
    after = figures.with_attack(bottom, inside, "one man in the middle", SETTINGS, shipped())
    assert after.later[0].attacks == 10 and after.later[0].found >= 8
    assert max(after.later[0].seconds) < 10
    assert after.found >= 10 and after.false <= 1


@pytest.mark.slow
def test_who_creeps_to_an_attack_after_anchoring_is_shown_before_he_arrives() -> None:
    ramps = {frog.ramp: frog for frog in frogs(sensor("left"), "scan of several", SETTINGS)}
    early = ramps.pop("65 minutes, from the first minute")
    assert {frog.shown_percent for frog in ramps.values()} == {100.0} and len(ramps) == 3
    assert all(frog.first is not None and frog.first < 1 for name, frog in ramps.items() if "jump" not in name)
    assert early.shown_percent == 0, "who is patient before the baseline is anchored wins"


@pytest.mark.slow
@needs(S7_PLANT, "that a sensor of a plant nobody knew shows nothing for two hours and little afterwards")
def test_a_plant_never_seen_is_quiet() -> None:
    capture = captures.plain("4SICS", FOLDER / S7_PLANT)
    each = figures.network_figures(capture, SETTINGS, shipped())
    assert each.clock == "default" and each.learnt_h is not None and 2.0 <= each.learnt_h < 3.0
    assert each.suspects_percent is not None and each.suspects_percent <= 0.5
    assert each.incidents <= 2 and each.false <= 2


@pytest.mark.slow
@needs("lemay-modbus", "that a fake Modbus command is found within seconds")
def test_a_fake_command_is_found() -> None:
    path = FOLDER / "formats/argus/derived/lemay-fake-command.argus.csv"
    packets = hostile_packets(FOLDER / "lemay-modbus", captures.LEMAY["fake-command"])
    capture = captures.lemay("fake-command", path, packets)
    each = figures.network_figures(capture, SETTINGS, shipped())
    [attack] = each.attacks
    assert attack.found == attack.attacks == 1 and attack.seconds[0] < 10
    assert each.false == 0


def test_captures_are_found_in_a_folder(tmp_path: Path) -> None:
    argus = tmp_path / "formats/argus/slips-1.binetflow"
    argus.parent.mkdir(parents=True)
    header = "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,Label"
    argus.write_text(f"{header}\n1970/01/01 01:00:00.0,1.0,tcp,10.0.0.1,1,->,10.0.0.2,80,CON,,,4,400,200,\n")
    got = [capture.name for capture in captures.captures_in(tmp_path, lambda _folder, _name: pytest.fail("no packets"))]
    assert got == ["westermo-bottom", "westermo-left", "slips-1"]
    assert [kind for kind in np.unique(sensor("left").kinds()).tolist() if kind not in HARMLESS] == [
        *("SSH logins", "man in the middle", "scan of one host", "scan of several")
    ]


@pytest.mark.slow
@needs(S7_PLANT, "that a calibration which would show what is usual at a plant nobody knew is refused")
def test_a_fitted_calibration_is_refused_where_it_does_harm() -> None:
    capture = captures.plain("4SICS", FOLDER / S7_PLANT)
    fitted = figures.network_figures(capture, SETTINGS, shipped()).fitted
    assert fitted is not None and fitted.outcome == "refused"
    assert fitted.added_percent > 5 and fitted.suspects_percent[1] > fitted.suspects_percent[0]


@pytest.mark.slow
def test_a_fitted_calibration_loses_nothing() -> None:
    fitted = figures.network_figures(sensor("bottom"), SETTINGS, shipped()).fitted
    assert fitted is not None and fitted.added_percent < 0.5 and fitted.false == (0, 0)
    assert fitted.suspects_percent[1] <= fitted.suspects_percent[0] + 0.01
    assert all(each.after >= each.before for each in fitted.attacks)
