"""Analysts' verdicts in a comparison: what they label, which of them count, what of them is refused, and the gates."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from models.serving import registry
from models.training.recalibrate import recalibrate
from pipeline.errors import BadData
from pipeline.settings import Settings
from pipeline.tools.cli.model_backtest import Bounds, gate
from pipeline.tools.replay import run as runs
from pipeline.tools.replay import verdicts
from pipeline.tools.replay.compare import compare
from pipeline.tools.replay.page import page, rows, sources
from pipeline.tools.replay.request import ARCHIVE, Request
from tests.contracts.verdict_records import on_event as judge
from tests.tools.replay.plant import SITE, archived, raw_log, settings_in


class Runs(NamedTuple):
    """Replays `all` (the shipped model, to which the plant is strange) and `few` (calibrated on it), and incidents."""

    settings: Settings
    every: dict[str, dict[str, Any]]
    few: dict[str, dict[str, Any]]


def incidents_in(folder: Path) -> dict[str, dict[str, Any]]:
    events = map(orjson.loads, (folder / runs.INCIDENTS).read_bytes().splitlines())
    return {event["finding_info"]["uid"]: event for event in events}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    settings = settings_in(tmp_path_factory.mktemp("judged"), archive_rows_per_file=700)
    archived(settings, raw_log())
    runs.run(settings, Request("all", ARCHIVE))
    folder = settings.replay_uri / "all"
    table = pq.read_table(folder / "rows", columns=["features", "end_ts_us"]).combine_chunks()
    column = table.column("features").chunk(0)
    matrix = column.flatten().to_numpy().reshape(len(column), -1).copy()
    model = recalibrate(registry.load(), SITE, matrix, table.column("end_ts_us").to_numpy(), alert_level=0.05)
    registry.save(model, Path(settings.registry_uri))
    runs.run(settings, Request("few", ARCHIVE, model=model.id))
    return Runs(settings, incidents_in(folder), incidents_in(settings.replay_uri / "few"))


def written(path: Path, *records: dict[str, Any] | bytes) -> str:
    lines = (record if isinstance(record, bytes) else orjson.dumps(record) for record in records)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


@pytest.mark.slow
def test_a_confirmed_incident_labels_itself_and_its_flows(plant: Runs, tmp_path: Path) -> None:
    [*events] = plant.every.values()
    path = written(tmp_path / "v.jsonl", judge(events[0], "tp"), *(judge(event, "fp") for event in events[1:]))
    compared = compare(plant.settings, "all", "few", judgements=[path])
    first = compared["first"]
    named_flows = {tuple(member[:3]) for event in events for member in event["unmapped"]["members"]}
    assert first["labelled"] == len(named_flows)
    assert first["labelled_by"] == {"files": 0, "verdicts": len(named_flows)}
    assert first["recall"] == 1.0
    assert first["precision"] == pytest.approx(len(events[0]["unmapped"]["members"]) / len(named_flows))
    assert first["verdicts"] == {
        "confirmed": 1,
        "confirmed_found": 1,
        "false": len(events) - 1,
        "false_raised": len(events) - 1,
        "precision": 1 / len(events),
        "recall": 1.0,
    }
    second = compared["second"]["verdicts"]
    flows_in_few = {tuple(member[:3]) for event in plant.few.values() for member in event["unmapped"]["members"]}
    mine = {tuple(member[:3]) for member in events[0]["unmapped"]["members"]}
    assert second["confirmed_found"] == int(bool(mine & flows_in_few))
    assert compared["verdicts"] == {
        "sources": [path],
        "read": len(events),
        "overruled": 0,
        "withdrawn": 0,
        "unusable": 0,
        "problems": [],
        "judged": len(events),
        "outside": 0,
    }


def test_the_verdict_given_last_counts_and_a_duplicate_takes_it_back(plant: Runs, tmp_path: Path) -> None:
    event, other = list(plant.every.values())[:2]
    path = written(
        tmp_path / "v.jsonl",
        judge(event, "tp", 3),
        judge(event, "fp", 2),
        judge(other, "tp", 4),
        judge(other, "duplicate", 5),
    )
    read = verdicts.read(plant.settings, [path])
    assert {uid: judged.confirmed for uid, judged in read.judged.items()} == {event["finding_info"]["uid"]: True}
    assert (read.read, read.overruled, read.withdrawn) == (4, 2, 1)
    later = written(tmp_path / "later.jsonl", judge(event, "benign", 8))
    earlier = written(tmp_path / "earlier.jsonl", judge(event, "benign", 1))
    for file, confirmed in ((later, False), (earlier, True)):
        for order in ([path, file], [file, path]):
            [judged] = verdicts.read(plant.settings, order).judged.values()
            assert judged.confirmed is confirmed


def test_what_is_no_verdict_is_reported_with_its_line_and_stops_nothing(plant: Runs, tmp_path: Path) -> None:
    good = judge(next(iter(plant.every.values())), "tp")
    bad = {**good, "verdict_id": 3}
    impossible = {**good, "uid": "a" * 32, "members": [[0, -1, 0, None], "x"]}
    path = written(tmp_path / "v.jsonl", b"{", b"", bad, good, impossible, b"\xff\x1b[31m")
    read = verdicts.read(plant.settings, [path])
    assert list(read.judged) == sorted(["a" * 32, good["uid"]])
    assert [problem.removeprefix(path).split(":")[1] for problem in read.problems] == ["1", "3", "6", "5"]
    assert "verdict_id" in read.problems[1]
    assert all(problem.isascii() and problem.isprintable() for problem in read.problems)
    compared = compare(plant.settings, "all", "few", judgements=[path])
    assert compared["verdicts"]["unusable"] == 4
    assert compared["verdicts"]["outside"] == 1
    assert compared["first"]["verdicts"]["confirmed_found"] == 1
    with pytest.raises(BadData, match=r"no\.such"):
        verdicts.read(plant.settings, [str(tmp_path / "no.such")])


def test_a_flow_called_attack_and_normal_has_no_label(plant: Runs, tmp_path: Path) -> None:
    event = max(plant.every.values(), key=lambda each: len(each["unmapped"]["members"]))
    other = {**judge(event, "fp"), "uid": "b" * 32, "members": event["unmapped"]["members"][:3]}
    path = written(tmp_path / "v.jsonl", judge(event, "tp"), other)
    compared = compare(plant.settings, "all", "few", judgements=[path])
    assert compared["labels"]["conflicting"] == 3
    assert compared["first"]["labelled"] == len(event["unmapped"]["members"]) - 3
    # The incident that holds three of its flows stands for it: it is judged false and raised.
    [false] = [row for row in compared["judged"] if not row["confirmed"]]
    assert false["raised"][0] == event["finding_info"]["uid"]


def test_lost_incidents_have_reasons_a_person_can_check(plant: Runs, tmp_path: Path) -> None:
    path = written(tmp_path / "v.jsonl", *(judge(event, "tp") for event in plant.every.values()))
    compared = compare(plant.settings, "all", "few", judgements=[path])
    incidents = compared["incidents"]
    assert incidents["lost"] + incidents["changed"] > 0
    for incident in incidents["listed"]:
        assert "alert level 0.002" in incident["reason"]
        assert "alert level 0.05" in incident["reason"]
        suspects = f"{incident['suspects'][0]} of its {incident['flows']} flows were suspects in the first"
        assert suspects in incident["reason"]
        assert incident["lowest_p_value"][0] <= incident["alert_level"][0]
    assert sum(compared["second"]["timeline"]["incidents"]) == compared["second"]["incidents"]
    labels = dict(rows(compared))
    assert labels["confirmed incidents found"][0] == f"{len(plant.every)} of {len(plant.every)}"
    assert any("from verdicts" in line for line in sources(compared))


@pytest.mark.slow
def test_the_page_shows_verdicts_as_text(plant: Runs, tmp_path: Path) -> None:
    event = next(iter(plant.every.values()))
    path = written(tmp_path / "v.jsonl", judge(event, "tp", by="<i>eve</i>", note="<script>x</script>"))
    text = page(compare(plant.settings, "all", "few", judgements=[path]))
    assert "Judged by analysts" in text
    assert "&lt;i&gt;eve" in text
    for hostile in ("<i>eve", "<script>"):
        assert hostile not in text


@pytest.mark.slow
def test_gates_on_verdicts(plant: Runs, tmp_path: Path) -> None:
    events = list(plant.every.values())
    path = written(tmp_path / "v.jsonl", judge(events[0], "tp"), *(judge(event, "fp") for event in events[1:]))
    compared = compare(plant.settings, "few", "all", judgements=[path])
    assert gate(compared, Bounds(min_confirmed=1.0, max_false_verdicts=len(events) - 1)) == []
    [refused] = gate(compared, Bounds(max_false_verdicts=len(events) - 2))
    assert refused == f"incidents judged false: got {len(events) - 1}, expected at most {len(events) - 2}"
    without = compare(plant.settings, "few", "all")
    assert [reason.split(":")[0] for reason in gate(without, Bounds(min_confirmed=0.5, max_false_verdicts=0))] == [
        "confirmed incidents found",
        "incidents judged false",
    ]


def test_without_members_an_incident_is_known_by_its_uid(plant: Runs, tmp_path: Path) -> None:
    event = next(iter(plant.every.values()))
    record = {key: value for key, value in judge(event, "tp").items() if key not in ("members", "site", "sensor")}
    compared = compare(plant.settings, "all", "few", judgements=[written(tmp_path / "v.jsonl", record)])
    assert compared["first"]["verdicts"]["confirmed_found"] == 1
    assert "labelled" not in compared["first"]
    assert np.isfinite(compared["flows"]["largest_difference"])
