import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from pipeline.errors import Misconfigured
from pipeline.runtime.telemetry import Telemetry, start
from pipeline.runtime.telemetry.endpoint import HANGS_AFTER_S
from pipeline.runtime.telemetry.metrics import MAX_LABEL_SETS
from pipeline.runtime.telemetry.telemetry import PORTS
from pipeline.settings import load_settings
from tests.patience import PATIENCE_S

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def telemetry(tmp_path: Path) -> Iterator[Telemetry]:
    started = start("score", load_settings(metrics_port=0, trace_file=tmp_path / "spans" / "score.jsonl"))
    yield started
    started.close()


def spans(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "spans" / "score.jsonl").read_bytes().splitlines()
    return [orjson.loads(line) for line in lines]


def get(telemetry: Telemetry, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{telemetry.metrics_port}{path}", timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_scrape_shows_what_was_counted(telemetry: Telemetry) -> None:
    telemetry.count("forebay_flows_accepted", 4096, site="westermo", sensor="left")
    telemetry.count("forebay_flows_accepted", 4, site="westermo", sensor="left")
    telemetry.count("forebay_rejects")
    telemetry.gauge("forebay_lag_messages", 7, partition="3")
    telemetry.observe("forebay_commit_seconds", 0.02)
    status, text = get(telemetry, "/metrics")
    assert status == 200
    for line in (
        'forebay_flows_accepted_total{sensor="left",site="westermo"} 4100.0',
        "forebay_rejects_total 1.0",
        'forebay_lag_messages{partition="3"} 7.0',
        'forebay_commit_seconds_bucket{le="0.025"} 1.0',
        "forebay_up 1.0",
    ):
        assert line in text.splitlines()


def test_hostile_label_values_stay_on_their_line(telemetry: Telemetry) -> None:
    telemetry.count("forebay_flows_accepted", 1, site='a"} 9\nforebay_up 0\n')
    _, text = get(telemetry, "/metrics")
    assert text.splitlines().count("forebay_up 1.0") == 1 and "forebay_up 0" not in text.splitlines()


def test_label_sets_are_bounded(telemetry: Telemetry) -> None:
    for number in range(MAX_LABEL_SETS + 500):
        telemetry.count("forebay_flows_accepted", 1, sensor=str(number))
    _, text = get(telemetry, "/metrics")
    samples = [line for line in text.splitlines() if line.startswith("forebay_flows_accepted_total{")]
    assert len(samples) == MAX_LABEL_SETS + 1
    assert 'forebay_flows_accepted_total{sensor="other"} 500.0' in samples


@pytest.mark.slow
def test_the_six_of_every_stage_are_there_before_the_first_row(tmp_path: Path) -> None:
    for stage in ("ingest", "featurize", "score", "alert", "archive", "retrain"):
        worker = start(stage, load_settings(metrics_port=0))
        _, text = get(worker, "/metrics")
        worker.close()
        for name in ("rows_in_total", "rows_out_total", "rejected_total", "errors_total"):
            assert f"forebay_{name}{{" in text, (stage, name)
        assert f'forebay_lag_seconds{{stage="{stage}"}} 0.0' in text
        assert f'forebay_batch_seconds_count{{stage="{stage}"}} 0.0' in text


def test_lag_is_the_age_of_the_oldest_message_when_it_is_scraped(telemetry: Telemetry) -> None:
    telemetry.stage.waiting_since(time.time_ns() // 1_000 - 5_000_000)
    assert telemetry.registry.get_sample_value("forebay_lag_seconds", {"stage": "score"}) == pytest.approx(5, abs=1)
    telemetry.stage.waiting_since(None)
    assert telemetry.registry.get_sample_value("forebay_lag_seconds", {"stage": "score"}) == 0


def test_lag_grows_while_kafka_is_away(telemetry: Telemetry) -> None:
    def lag_s() -> float | None:
        return telemetry.registry.get_sample_value("forebay_lag_seconds", {"stage": "score"})

    telemetry.stage.waiting_since(None)
    telemetry.kafka_answers(False, unanswered_s=70.0)
    assert lag_s() == pytest.approx(70, abs=1)
    telemetry.stage.waiting_since(time.time_ns() // 1_000 - 90_000_000)
    assert lag_s() == pytest.approx(90, abs=1), "a message at hand may be older"
    telemetry.kafka_answers(True)
    assert lag_s() == pytest.approx(90, abs=1)
    telemetry.stage.waiting_since(None)
    assert lag_s() == 0


def test_too_many_sensors_keep_their_stage(tmp_path: Path) -> None:
    ingest = start("ingest", load_settings(metrics_port=-1))
    for number in range(MAX_LABEL_SETS + 5):
        ingest.stage.rows_out(1, site="plant", sensor=str(number))
    other = {"stage": "ingest", "site": "other", "sensor": "other"}
    assert ingest.registry.get_sample_value("forebay_rows_out_total", other) == 6
    ingest.close()


def test_health_does_not_ask_kafka(telemetry: Telemetry) -> None:
    assert get(telemetry, "/livez")[0] == 200
    assert get(telemetry, "/readyz")[0] == 503
    assert get(telemetry, "/startupz")[0] == 503
    telemetry.ready()
    telemetry.beat()
    assert get(telemetry, "/readyz") == (200, "ready\n")
    assert get(telemetry, "/livez") == (200, "alive\n")
    telemetry.ready(False)
    assert get(telemetry, "/readyz")[0] == 503
    assert get(telemetry, "/startupz") == (200, "started\n")  # once is enough: a rebalance is no new start
    assert get(telemetry, "/")[0] == 404


def test_a_hung_loop_is_not_alive(telemetry: Telemetry) -> None:
    telemetry.beat()
    assert telemetry.health._last_beat is not None
    telemetry.health._last_beat -= HANGS_AFTER_S + 1
    assert get(telemetry, "/livez")[0] == 503


def test_a_client_that_says_nothing_holds_up_nobody(telemetry: Telemetry) -> None:
    assert telemetry.metrics_port is not None
    with socket.create_connection(("127.0.0.1", telemetry.metrics_port)):
        assert get(telemetry, "/metrics")[0] == 200
        telemetry.close()


def test_a_taken_port_is_a_setting_to_change(telemetry: Telemetry) -> None:
    assert telemetry.metrics_port is not None
    with pytest.raises(Misconfigured, match="FOREBAY_METRICS_PORT"):
        start("alert", load_settings(metrics_port=telemetry.metrics_port))


def test_a_span_continues_the_trace_and_is_written(telemetry: Telemetry, tmp_path: Path) -> None:
    links = [PARENT, b"nonsense", None] * 40
    with telemetry.span("process flows", parent=PARENT, links=links, **{"messaging.batch.message_count": 3}) as span:
        carried = span.traceparent
        span.set("forebay.rows", 12)
    (written,) = spans(tmp_path)
    assert written["stage"] == "forebay-score"
    assert written["trace_id"] == PARENT[3:35] == carried[3:35]
    assert written["parent_id"] == PARENT[36:52]
    assert written["span_id"] == carried[36:52]
    assert written["attributes"] == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.destination.name": "flows",
        "messaging.batch.message_count": 3,
        "forebay.rows": 12,
    }
    linked = written["links"]
    assert isinstance(linked, list) and 0 < len(linked) <= 32


def test_a_span_without_a_parent_starts_a_trace(telemetry: Telemetry, tmp_path: Path) -> None:
    with telemetry.span("receive raw", parent=b"\xff" * 55):
        pass
    (written,) = spans(tmp_path)
    assert written["parent_id"] is None and int(str(written["trace_id"]), 16)


def test_an_exception_is_recorded_and_raised_again(telemetry: Telemetry, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), telemetry.span("process flows"):
        _ = 1 / 0
    (written,) = spans(tmp_path)
    assert isinstance(written["attributes"], dict) and written["attributes"]["error.type"] == "ZeroDivisionError"


def test_rooms_share_a_span_file(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    stages = [start(stage, load_settings(trace_file=file)) for stage in ("ingest", "score", "alert")]
    for _ in range(50):
        for stage in stages:
            with stage.span(f"process {stage.stage}"):
                pass
    for stage in stages:
        stage.close()
    written = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert len(written) == 150
    assert {line["stage"] for line in written} == {"forebay-ingest", "forebay-score", "forebay-alert"}


def test_a_full_disk_ends_the_file_not_the_room(capfd: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("not proven: a full disk ends the trace file alone (this system has no /dev/full)")
    stage = start("score", load_settings(trace_file=full))
    for _ in range(10):
        with stage.span("process flows"):
            pass
    stage.close()
    output = capfd.readouterr()
    assert (output.err + output.out).count("trace_file_ended") == 1


def test_no_endpoint_unless_wanted() -> None:
    stage = start("score", load_settings(metrics_port=-1))
    assert stage.metrics_port is None
    stage.close()
    stage.close()


def test_by_default_each_stage_has_a_port_of_its_own_or_a_free_one() -> None:
    assert len(set(PORTS.values())) == len(PORTS)
    first, second = start("score", load_settings()), start("score", load_settings())
    try:
        assert first.metrics_port is not None and second.metrics_port is not None
        assert first.metrics_port != second.metrics_port
        assert get(first, "/metrics")[0] == get(second, "/metrics")[0] == 200
        assert start("send", load_settings()).metrics_port is None  # no stage: nobody scrapes it
    finally:
        first.close()
        second.close()


def test_where_spans_go_nowhere_a_message_still_carries_the_trace_on() -> None:
    telemetry = start("score", load_settings(metrics_port=-1))
    try:
        with telemetry.span("score features", PARENT, [PARENT], rows=4) as span:
            span.set("late", 2)
            assert span.traceparent.startswith(PARENT[:36]) and span.traceparent.endswith("-01")
            assert span.traceparent != PARENT
        with telemetry.span("score features") as one, telemetry.span("score features") as other:
            assert one.traceparent[3:35] != other.traceparent[3:35]
        with pytest.raises(ZeroDivisionError), telemetry.span("score features"):
            raise ZeroDivisionError
    finally:
        telemetry.close()
