"""Figures as the screens get them: what is not known is not there, and has a reason."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.tools.triage.figures.documents import ages, drift, sensor_figures, stage_documents
from pipeline.tools.triage.figures.hop_lag import HOPS, HopLag, lag_of
from pipeline.tools.triage.figures.readings import LATE, RECORDS, REJECTS, SCORED, SUSPECTS, UNUSUAL, Reading
from pipeline.tools.triage.figures.watch import NO_STAGES, Known, StageFigures, Watch

NOW_US = 1_678_443_600_000_000
MINUTE_US = 60_000_000
LEFT = ("plant", "left")
ROWS = {"rows_in": 10, "rows_out": 9, "rejected": 1, "errors": 0}


def stage(name: str, counts: dict[str, int], at_us: int = NOW_US, **changed: Any) -> StageFigures:
    """A stage that has counted this of plant/left."""
    given: dict[str, Any] = {"reasons": {}, "seen_us": {}, "since_us": NOW_US - 60 * MINUTE_US, **changed}
    worker = Reading(name, NOW_US - 60 * MINUTE_US, True, 2_000_000, dict(ROWS), {})
    return StageFigures(at_us, (worker,), counts={(figure, *LEFT): count for figure, count in counts.items()}, **given)


def plant(**changed: Any) -> Known:
    """All that can be known."""
    ingest = stage(
        "ingest",
        {RECORDS: 1_000, REJECTS: 4},
        reasons={LEFT: {"truncated": 1, "noise": 3}},
        seen_us={LEFT: NOW_US - 30_000_000},
    )
    score = stage("score", {SCORED: 1_000, UNUSUAL: 142, SUSPECTS: 5})
    lags = {(name, number): HopLag(None, 1) for name in HOPS for number in range(2)}
    lags["featurize", 1] = HopLag(NOW_US - 12_000_000, 3)
    known = {
        "at_us": NOW_US,
        "began_us": NOW_US - 30 * MINUTE_US,
        "stages": {"ingest": ingest, "featurize": stage("featurize", {LATE: 2}), "score": score},
        "lags": lags,
        "lags_at_us": NOW_US,
        "no_lags": "",
        "losses": {LEFT: loss()},
        "losses_at_us": NOW_US,
        "no_losses": "",
    }
    return Known(**{**known, **changed})


def loss(**changed: Any) -> dict[str, Any]:
    return {
        "missing_flows": 12,
        "missing_packets": 0,
        "exact": False,
        "exporters": 1,
        "exporters_unknown": 0,
        **changed,
    }


def of_left(known: Known, partition: int | None = 1, stored_us: int | None = NOW_US - 20 * MINUTE_US) -> dict[str, Any]:
    return sensor_figures(known, LEFT, partition, stored_us, NOW_US)


def test_all_of_a_sensor_that_is_known() -> None:
    assert of_left(plant()) == {
        "not_known": {},
        "records": 1_000,
        "rejects": 4,
        "late": 2,
        "counted_since_us": NOW_US - 60 * MINUTE_US,
        "reject_reasons": {"noise": 3, "truncated": 1},
        "scored": 1_000,
        "unusual_percent": 14.2,
        "lag_us": 12_000_000,
        "messages_behind": 3,
        "waits_for": "featurize",
        "lost_flows": 12,
        "lost_packets": 0,
        "lost_exact": False,
        "idle_us": 30_000_000,
        "idle_is": "about",
    }


def test_nothing_known_is_no_number_but_a_reason_for_each() -> None:
    found = of_left(Watch(None).known())
    assert set(found) == {"not_known", "idle_us", "idle_is"}
    assert set(found["not_known"]) == {"records", "rejects", "late", "unusual_percent", "lag", "lost"}
    assert all(NO_STAGES in why for why in found["not_known"].values())


def test_a_stage_that_says_nothing_leaves_its_own_figures_unknown() -> None:
    known = plant(problems=("featurize at 127.0.0.1:9472/metrics: no answer",))
    found = of_left(Known(**{**_fields(known), "stages": {"ingest": known.stages["ingest"]}}))
    assert found["rejects"] == 4
    assert "featurize at 127.0.0.1:9472" in found["not_known"]["late"]
    assert set(found["not_known"]) == {"late", "unusual_percent"}


def _fields(known: Known) -> dict[str, Any]:
    return {name: getattr(known, name) for name in Known.__dataclass_fields__}


def test_a_sensor_that_is_counted_among_others_has_no_count() -> None:
    ingest = stage("ingest", {})
    crowded = StageFigures(
        ingest.at_us, ingest.workers, ingest.since_us, {(RECORDS, "other", "other"): 7, (RECORDS, *LEFT): 3}, {}, {}
    )
    found = of_left(plant(stages={"ingest": crowded}))
    assert found["records"] == 3 and found["rejects"] == 0
    unseen = sensor_figures(plant(stages={"ingest": crowded}), ("plant", "right"), 0, NOW_US, NOW_US)
    assert "thousand" in unseen["not_known"]["records"]


def test_few_scored_rows_make_no_share() -> None:
    found = of_left(plant(stages={"score": stage("score", {SCORED: 9, UNUSUAL: 9})}))
    assert "unusual_percent" not in found and "under 200" in found["not_known"]["unusual_percent"]


@pytest.mark.parametrize(
    ("known", "stored_minutes", "expected"),
    [
        (plant(), 20, (30_000_000, "about")),
        (plant(stages={"ingest": stage("ingest", {})}), 20, (30 * MINUTE_US, "at_least")),
        (plant(stages={"ingest": stage("ingest", {})}), 120, (120 * MINUTE_US, "about")),
        (plant(stages={}), 20, (20 * MINUTE_US, "at_most")),
        (plant(stages={}), 120, (120 * MINUTE_US, "about")),
        (plant(stages={"ingest": stage("ingest", {}, NOW_US - MINUTE_US)}), 20, (20 * MINUTE_US, "at_most")),
    ],
)
def test_how_long_a_sensor_is_silent_is_said_as_well_as_it_is_known(
    known: Known, stored_minutes: int, expected: tuple[int, str]
) -> None:
    found = of_left(known, stored_us=NOW_US - stored_minutes * MINUTE_US)
    assert (found["idle_us"], found["idle_is"]) == expected


def test_the_lag_is_that_of_the_oldest_message_on_the_way() -> None:
    lags = {(name, 0): HopLag(None, 1) for name in HOPS}
    assert lag_of(0, lags, NOW_US) == (0, 0, "")  # marks of transactions are no messages
    assert lag_of(1, lags, NOW_US) is None
    lags["ingest", 0], lags["alert", 0] = HopLag(NOW_US - 5, 2), HopLag(NOW_US - 9, 4)
    assert lag_of(0, lags, NOW_US) == (9, 6, "alert")
    del lags["score", 0]
    assert lag_of(0, lags, NOW_US) is None


def test_loss_that_numbers_do_not_show_is_not_known() -> None:
    assert "sequence number" in of_left(plant(losses={}))["not_known"]["lost"]
    unclear = plant(losses={LEFT: loss(missing_flows=0, exporters_unknown=1)})
    assert "archive verify" in of_left(unclear)["not_known"]["lost"]
    none = of_left(plant(losses={LEFT: loss(missing_flows=0, exact=True)}))
    assert (none["lost_flows"], none["lost_exact"]) == (0, True)


def test_stages_say_what_they_do_and_kafka_what_they_have_not() -> None:
    known = plant()
    known = plant(stages={**known.stages, "featurize": stage("featurize", {}, NOW_US - MINUTE_US)})
    found = {each["stage"]: each for each in stage_documents(known)}
    assert list(found) == ["ingest", "featurize", "score", "alert"]
    assert found["ingest"]["answers"] and not found["featurize"]["answers"]
    assert found["ingest"]["rows_in"] == 10 and found["ingest"]["lag_us"] == 2_000_000
    assert (found["featurize"]["messages_behind"], found["featurize"]["waits_us"]) == (3, 12_000_000)
    assert found["score"]["messages_behind"] == 0
    assert found["alert"]["not_known"] == "alert was not read: no address that is asked is of it"
    assert "workers" not in found["alert"]


def test_rows_of_several_workers_are_counted_since_each_one_started() -> None:
    known = plant()
    [first] = known.stages["ingest"].workers
    workers = (first, replace(first, started_us=first.started_us + MINUTE_US))
    known = plant(stages={**known.stages, "ingest": replace(known.stages["ingest"], workers=workers)})
    ingest = next(each for each in stage_documents(known) if each["stage"] == "ingest")
    assert (ingest["last_started_us"] - ingest["started_us"], ingest["rows_in"]) == (MINUTE_US, 20)


def test_drift_is_a_share_against_what_is_expected() -> None:
    found = drift(plant())
    assert (found["unusual_percent"], found["expected_percent"], found["suspect_percent"]) == (14.2, 10.0, 0.5)
    assert found["worst"] == [{"site": "plant", "sensor": "left", "unusual_percent": 14.2}]
    assert "not_known" in drift(plant(stages={})) and "unusual_percent" not in drift(plant(stages={}))
    few = drift(plant(stages={"score": stage("score", {SCORED: 12})}))
    assert few["scored"] == 12 and "under 200" in few["not_known"]


def test_what_is_still_being_read_is_said() -> None:
    assert ages(Known())["reading"] is True
    assert ages(plant())["reading"] is False
    assert ages(Watch(None).known())["reading"] is False
