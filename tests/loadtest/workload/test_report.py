"""What a watcher makes of messages, and what the report makes of that."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from confluent_kafka import KafkaError

from loadtest.workload.finished import Finished
from loadtest.workload.objectives import objective_of
from loadtest.workload.pictures import Chart, picture
from loadtest.workload.recording import PlantPart
from loadtest.workload.report import curves_of, lag_of, markdown, report_of
from loadtest.workload.scenario import LoadScenario
from loadtest.workload.schedule import Schedule, schedule_of
from loadtest.workload.sender import SentLoad
from loadtest.workload.streams import Stream, streams_of, tapes_of
from loadtest.workload.watcher import ALERTS, FEATURES, FLOWS, REJECTS, SCORED, SUSPECTS, Watch
from pipeline.runtime.wire.batches import encode

START_US = 1_760_000_000_000_000
SCENARIO = LoadScenario("scan", "a scan", PlantPart(from_hour=1, hours=1, attacks=("port-scan",)))
TAPES = tapes_of(SCENARIO, 3)
SECONDS = 10_000_000
SPEED = 360.0


def begun() -> tuple[list[Stream], Schedule, Watch]:
    schedule = schedule_of(START_US, SECONDS, SPEED)
    streams = streams_of(SCENARIO, TAPES, schedule.event_span_us, 3)
    return streams, schedule, Watch(SCENARIO, streams, schedule, warm_up_us=1_000_000)


def rows(schedule: Schedule, stream: Stream, numbers: np.ndarray, **changes: Any) -> bytes:
    """A message of flows or of archive, with the columns that a watcher reads."""
    count = len(numbers)
    columns = {
        "site": pa.array(["scan-1"] * count),
        "sensor": pa.array(["tap-1"] * count),
        "source_record": pa.array(numbers),
        "end_ts_us": pa.array(schedule.event_start_us + stream.event_us(numbers)),
        "raw_also": pa.array([None] * count, pa.list_(pa.int64())),
        "suspect": pa.array([False] * count),
        "phase": pa.array(np.full(count, 3, np.uint8)),
        **changes,
    }
    return encode(pa.record_batch(columns), {})


def alert(numbers: list[int], uid: str = "one", site: str = "scan-1", disposition: str = "review") -> bytes:
    members = [[0, 5, 0, number] for number in numbers]
    about = {"site": site, "sensor": "tap-1", "members": members, "disposition": disposition}
    return orjson.dumps({"finding_info": {"uid": uid}, "unmapped": about})


def all_numbers(stream: Stream, schedule: Schedule) -> np.ndarray:
    return np.arange(stream.sent_before(schedule.event_span_us))


def finished(watch: Watch, streams: list[Stream], schedule: Schedule, records: int) -> Finished:
    sent = SentLoad(records, records, records, 1, START_US, START_US + SECONDS, True)
    seen = watch.finish()
    acknowledged = [(START_US + at * 250_000, records * at // 40) for at in range(41)]
    return Finished(SCENARIO, streams, schedule, sent, seen, acknowledged, 1_000_000)


def test_latency_is_from_the_intended_send_time_and_the_warm_up_does_not_count() -> None:
    (stream,), schedule, watch = begun()
    numbers = all_numbers(stream, schedule)
    due = schedule.due_us(schedule.event_start_us + stream.event_us(numbers), 0)
    # All come at one moment: the later a record was due, the shorter it waited.
    now = START_US + SECONDS + 50_000
    watch.take(FLOWS, rows(schedule, stream, numbers), now)
    latency = watch.seen.latencies[FLOWS]
    assert latency.count == (due >= START_US + 1_000_000).sum() < len(numbers)
    assert latency.max_us <= now - START_US - 1_000_000
    median = np.median((now - due)[due >= START_US + 1_000_000])
    assert abs((latency.percentile_us(50) or 0) - median) < 30_000


def test_hops_between_stand_in_the_report_where_they_were_watched() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)
    before = report_of(finished(watch, streams, schedule, len(numbers)), [], {})
    assert list(before["latency_ms"]) == ["raw_to_flows", "raw_to_scored", "raw_to_alert"]
    for kind, later_us in ((FEATURES, 10_000), (SUSPECTS, 30_000)):
        watch.take(kind, rows(schedule, streams[0], numbers), START_US + SECONDS + later_us)
    document = report_of(finished(watch, streams, schedule, len(numbers)), [], {})
    latency = document["latency_ms"]
    assert list(latency) == ["raw_to_flows", "raw_to_features", "raw_to_scored", "raw_to_suspects", "raw_to_alert"]
    assert latency["raw_to_features"]["count"] == latency["raw_to_suspects"]["count"] > 0
    assert latency["raw_to_features"]["max"] < latency["raw_to_suspects"]["max"]
    assert document["out"]["rows"] == 0, "a row counts once it is scored"
    assert "| features |" in markdown(document) and "| suspects |" in markdown(document)


def test_nothing_is_lost_or_doubled_where_each_comes_once() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)
    half = len(numbers) // 2
    watch.take(SCORED, rows(schedule, streams[0], numbers[:half]), START_US + SECONDS)
    watch.take(SCORED, rows(schedule, streams[0], numbers[half:]), START_US + SECONDS)
    document = report_of(finished(watch, streams, schedule, len(numbers)), [objective_of("p99=20s")], {})
    assert document["ok"] and document["out"]["lost"] == document["out"]["doubled"] == 0
    assert document["resources"] == "not measured" and document["latency_ms"]["raw_to_alert"]["p50"] is None


def test_what_is_lost_doubled_rejected_and_merged_is_told_apart() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)
    merged = pa.array([[9, 0, 9, 1]] + [None] * 99, pa.list_(pa.int64()))
    watch.take(SCORED, rows(schedule, streams[0], numbers[:100], raw_also=merged), START_US + SECONDS)
    watch.take(SCORED, rows(schedule, streams[0], numbers[90:100]), START_US + SECONDS)
    watch.take(REJECTS, rows(schedule, streams[0], numbers[:7]), START_US + SECONDS)
    document = report_of(finished(watch, streams, schedule, 150), [], {})
    # 100 different rows, 2 records merged into one of them, 7 rejects.
    assert document["out"]["doubled"] == 10 and document["out"]["merged_records"] == 2
    assert document["out"]["rejected"] == 7 and document["out"]["lost"] == 150 - 109
    assert not document["ok"]


def test_of_a_run_that_was_stopped_nothing_is_called_lost() -> None:
    streams, schedule, watch = begun()
    run = finished(watch, streams, schedule, 500)
    run.sent.finished = False
    document = report_of(run, [], {})
    assert document["out"]["lost"] is None and not document["ok"]
    assert "Stopped before its end" in markdown(document) and "| lost | – |" in markdown(document)


def stopped(watch: Watch, streams: list[Stream], schedule: Schedule, records: int, after_us: int) -> Finished:
    run = finished(watch, streams, schedule, records)
    run.sent.finished, run.sent.ended_us, run.sent.last = False, START_US + after_us, {0: records - 1}
    return run


def test_a_run_that_was_stopped_sent_no_attack_that_was_not_due_yet() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)
    first = int(np.flatnonzero(streams[0].attacks(numbers) >= 0)[0])
    document = report_of(stopped(watch, streams, schedule, first, 5_900_000), [], {})
    assert [(each["sent"], each["found"], each["recall"]) for each in document["attacks"]] == [(0, 0, None)]
    assert document["seconds"] == 5.9 and document["planned_seconds"] == 10
    text = markdown(document)
    assert "for 5.9 of 10 s" in text and "| planned |" in text and "| port-scan | 0 | 0 | 0 | – |" in text
    # What came of the last is not known: an attack without an alert is no miss.
    (attack,) = report_of(stopped(watch, streams, schedule, first + 1, 5_900_000), [], {})["attacks"]
    assert attack["sent"] == 1 and attack["recall"] is None


def test_of_a_run_that_was_stopped_at_once_no_rate_is_said() -> None:
    streams, schedule, watch = begun()
    for after_us in (-400_000, 300_000):
        document = report_of(stopped(watch, streams, schedule, 1, after_us), [], {})
        assert document["sent"]["records_per_s"] is document["out"]["records_per_s"] is None
        assert document["lag_records"]["slope_per_s"] is None and document["seconds"] == max(0, after_us / 1e6)
        assert "| taken by Kafka | 1 | – |" in markdown(document)


def test_incidents_without_a_record_of_an_attack_are_counted_and_so_are_pages() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)
    attacks = streams[0].attacks(numbers)
    quiet, scan = int(numbers[attacks < 0][5]), int(numbers[attacks >= 0][0])
    watch.take(ALERTS, alert([quiet], "quiet"), START_US)
    watch.take(ALERTS, alert([quiet], "false page", disposition="page"), START_US)
    watch.take(ALERTS, alert([quiet], "later a scan"), START_US)
    watch.take(ALERTS, alert([quiet, scan], "later a scan", disposition="page"), START_US)
    run = finished(watch, streams, schedule, len(numbers))
    out = report_of(run, [], {})["out"]
    assert (out["incidents"], out["pages"]) == (3, 2) and out["learning_event_s"] is None
    assert out["without_attack"] == {"incidents": 2, "pages": 1}
    text = markdown(report_of(run, [], {}))
    assert "incidents: 3, pages among them: 2. Without a record of an attack: 2 incidents, 1 pages." in text
    assert "new to them" not in text
    text = markdown(report_of(replace(run, learning_s=(9_000, 12_000)), [], {}))
    assert "event time only, 2.5 to 3.3 hours: much" in text


def test_rates_that_compare_are_of_the_same_seconds() -> None:
    streams, schedule, watch = begun()
    run = finished(watch, streams, schedule, 40_000)
    run.seen.series = [(START_US + at * 250_000, at * 1_000) for at in range(41)]
    document = report_of(run, [], {})
    assert document["out"]["records_per_s"] == document["sent"]["records_per_s_after_warm_up"] == 4_000
    assert orjson.loads(orjson.dumps(document)) == document
    said = "In 9 s after the warm-up, until the last was sent: 4,000.0 records a second were scored or rejected"
    assert said in markdown(document)


def test_that_nothing_was_asked_for_that_others_worked_and_that_kafka_was_away_is_said() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)
    watch.take(SCORED, rows(schedule, streams[0], numbers), START_US + SECONDS)
    run = finished(watch, streams, schedule, len(numbers))
    text = markdown(report_of(run, [], {}))
    assert "No objective was asked for (--slo); nothing is lost or doubled." in text and "reached" not in text
    assert "All objectives hold; nothing" in markdown(report_of(run, [objective_of("p99=20s")], {}))
    run.sent.note(KafkaError(KafkaError._TRANSPORT))
    assert run.sent.kafka_away_us == 0
    run.sent.note(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    run.sent.kafka_away_us = START_US + 2_500_000
    here = {"cores": 2, "memory_gib": None, "load_before": 3.5, "python": "3.11", "forebay": "0.1.0", "started_us": 0}
    text = markdown(report_of(run, [], {}) | {"machine": here, "other_work_cores": 0.3})
    assert "Everything else on this machine took 0.30 cores meanwhile." in text
    assert "Kafka could not be reached at 2.5 s" in text


def test_rows_of_others_are_left_aside() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)[:50]
    others = pa.array(["else"] * 50)
    watch.take(SCORED, rows(schedule, streams[0], numbers, site=others), START_US)
    watch.take(ALERTS, alert([1], site="else"), START_US)
    assert watch.seen.records == 0 and not watch.seen.incidents


def test_an_attack_is_found_by_an_alert_that_holds_a_record_of_it() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)
    scan = numbers[streams[0].attacks(numbers) >= 0]
    due = schedule.due_us(schedule.event_start_us + streams[0].event_us(scan[:1]), 0)[0]
    quiet = int(numbers[streams[0].attacks(numbers) < 0][5])
    watch.take(SCORED, rows(schedule, streams[0], numbers), START_US + SECONDS)
    watch.take(ALERTS, alert([quiet], "quiet"), due + 100_000)
    watch.take(ALERTS, alert([quiet, int(scan[4])]), due + 700_000)
    watch.take(ALERTS, alert([int(scan[4]), int(scan[5])]), due + 900_000)
    (attack,) = report_of(finished(watch, streams, schedule, len(numbers)), [], {})["attacks"]
    assert attack == {
        **{"attack": "port-scan", "sent": 1, "while_learning": 0, "found": 1, "recall": 1.0},
        **{"delay_ms_median": 700.0, "delay_ms_max": 700.0},
    }
    # The quiet record was due in the warm-up.
    assert len(watch.seen.incidents) == 2 and watch.seen.latencies[ALERTS].count == 1


def test_an_attack_while_the_sensor_learns_is_no_miss() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)
    learning = pa.array(np.ones(len(numbers), np.uint8))
    watch.take(SCORED, rows(schedule, streams[0], numbers, phase=learning), START_US + SECONDS)
    (attack,) = report_of(finished(watch, streams, schedule, len(numbers)), [], {})["attacks"]
    assert attack["while_learning"] == 1 and attack["recall"] is None


def test_a_lag_that_grows_has_a_slope() -> None:
    streams, schedule, watch = begun()
    run = finished(watch, streams, schedule, 40_000)  # 4,000 a second are taken
    run.seen.series = [(START_US + at * 250_000, at * 750) for at in range(41)]  # 3,000 a second come out
    lag = lag_of(run)
    assert (
        lag.slope_per_s is not None
        and abs(lag.slope_per_s - 1_000) < 20
        and lag.records[0] == 0
        and lag.records[-1] == 10_000
    )
    assert abs(report_of(run, [], {})["out"]["records_per_s"] - 3_000) < 1


def test_of_few_values_a_lag_has_no_slope() -> None:
    streams, schedule, watch = begun()
    run = finished(watch, streams, schedule, 40_000)
    run.seen.series = [(START_US + at * 1_000_000, at * 3_000) for at in range(11)]
    document = report_of(run, [], {})["lag_records"]
    assert document["slope_per_s"] is None and document["slope_error_per_s"] is None and document["end"] == 10_000


def test_an_objective_that_was_not_measured_does_not_hold() -> None:
    streams, schedule, watch = begun()
    document = report_of(finished(watch, streams, schedule, 0), [objective_of("alerts:p99=1s")], {})
    assert document["objectives"] == [{"objective": "alerts p99 <= 1000 ms", "value_ms": None, "holds": False}]
    assert not document["ok"]


def test_the_markdown_says_all_of_it() -> None:
    streams, schedule, watch = begun()
    numbers = all_numbers(streams[0], schedule)
    watch.take(SCORED, rows(schedule, streams[0], numbers), START_US + SECONDS)
    used = {"score": {"cpu_s": 1.0, "cpu_us_a_record": 5.8, "rss_max_mib": 400}}
    run = finished(watch, streams, schedule, len(numbers))
    run.sent.behind.add(np.array([30_000] * 10))
    here = {"cores": 2, "memory_gib": None, "load_before": 3.5, "python": "3.11", "forebay": "0.1.0", "started_us": 0}
    text = markdown(report_of(run, [objective_of("p99=1ms")], used) | {"machine": here})
    assert "1970-01-01 00:00 UTC, 2 cores for the generator, – GiB, load 3.5 before the run" in text
    for said in ("# scan: a scan", "| lost | 0 |", "| port-scan |", "| score | 5.8 | 400 |", "NOT in order", "| NO |"):
        assert said in text
    assert "The generator itself fell behind its schedule: p99 30.0 ms" in text


def test_pictures_are_whole_whatever_is_drawn() -> None:
    streams, schedule, watch = begun()
    watch.take(SCORED, rows(schedule, streams[0], np.arange(900, 950)), START_US + SECONDS)
    curves = curves_of(watch.seen.latencies)
    text = picture([Chart("<b>", "x", "y", curves, log_y=True), Chart("one", "x", "y", {"p": [(1.0, 0.0)]})])
    assert text.count("<polyline") == 2 and "&lt;b&gt;" in text and "nan" not in text
    assert replace(schedule, speed=1.0).event_span_us == SECONDS
