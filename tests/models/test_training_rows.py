import zipfile
from pathlib import Path

import numpy as np
import pytest

from loadtest.plants.westermo import traffic
from models.rows import Rows
from pipeline.errors import BadData, Usage
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.settings import load_settings
from pipeline.tools.offline.plant_models import captures, events_of
from pipeline.tools.offline.training_rows import (
    CLASS_OF,
    ColdStarts,
    Span,
    feature_set,
    provenance,
    read_labels,
    read_rows,
)

LEFT = traffic.zipped("left")
UNTIL_US = traffic.FIRST_FLOW_US + 400_000_000


@pytest.fixture(scope="module")
def rows() -> Rows:
    cold = ColdStarts(at_s=(100, 250), for_s=100)
    return read_rows(LEFT, "westermo", "left", load_settings(), Span(end_us=UNTIL_US), read_labels(LEFT), cold)


@pytest.mark.slow
def test_labels_are_joined_by_their_place_in_the_file(rows: Rows) -> None:
    source = list(traffic.rows("left"))
    for at in range(0, len(rows), 37):
        record = source[int(rows.source_record[at])]
        assert rows.label[at] == CLASS_OF[record["NST_M_Label"]]
        assert rows.end_ts_us[at] == traffic.epoch_us(record["end"])
        assert rows.start_ts_us[at] == traffic.epoch_us(record["start"])


@pytest.mark.slow
def test_only_flows_of_the_span_are_there_in_order_of_time(rows: Rows) -> None:
    expected = {
        number for number, record in enumerate(traffic.rows("left")) if traffic.epoch_us(record["end"]) < UNTIL_US
    }
    first = rows.take(rows.replay == 0)
    assert set(first.source_record.tolist()) == expected and len(first) == len(expected)
    assert (np.diff(first.end_ts_us) >= 0).all()
    assert set(rows.origin) == {"westermo/left"}


def test_a_cold_start_is_a_run_of_its_own(rows: Rows) -> None:
    assert set(rows.replay) == {0, 1, 2}
    again = rows.take(rows.replay == 1)
    assert again.start_ts_us.min() >= rows.start_ts_us.min() + 100_000_000
    assert again.end_ts_us.max() < rows.start_ts_us.min() + 200_000_000
    warm = rows.take((rows.replay == 0) & (rows.source_record == again.source_record[0]))
    assert not np.array_equal(warm.matrix[0], again.matrix[0])  # the same flow, but nothing is known before it


def test_without_labels_all_is_presumed_normal() -> None:
    quiet = read_rows(LEFT, "s", "x", load_settings(), Span(end_us=traffic.FIRST_FLOW_US + 60_000_000), None)
    assert set(quiet.label) == {"normal"} and set(quiet.replay) == {0}


@pytest.mark.slow
def test_a_span_without_flows_gives_no_rows() -> None:
    nothing = read_rows(LEFT, "s", "x", load_settings(), Span(end_us=0), read_labels(LEFT), ColdStarts())
    assert len(nothing) == 0 and nothing.matrix.shape == (0, FEATURE_SET.width)


def test_the_feature_set_is_told_as_it_is() -> None:
    feature_facts = feature_set()
    assert (feature_facts.name, feature_facts.hash, feature_facts.names) == (
        FEATURE_SET.name,
        FEATURE_SET.hash,
        FEATURE_SET.names,
    )
    assert [feature.log for feature in feature_facts.features] == [
        feature.scale == "log1p" for feature in FEATURE_SET.features
    ]


def test_files_without_labels_or_with_unknown_ones_are_refused(tmp_path: Path) -> None:
    bare, odd = tmp_path / "bare.csv", tmp_path / "odd.zip"
    bare.write_text("start,end\n1,2\n")
    with pytest.raises(BadData, match="no column NST_M_Label"):
        read_labels(bare)
    with zipfile.ZipFile(odd, "w") as archive:
        archive.writestr("odd.csv", "start,NST_M_Label\n1,Normal\n2,BAD-LUCK\n")
    with pytest.raises(BadData, match="BAD-LUCK"):
        read_labels(odd)


def test_files_sensors_and_labels_go_together() -> None:
    (capture,) = captures("s", ["left"], [LEFT], [])
    assert capture.labels == LEFT
    with pytest.raises(Usage, match="2 sensors"):
        captures("s", ["a", "b"], [LEFT], [])


def test_every_event_of_the_log_has_a_class() -> None:
    events = events_of(traffic.events_after_cut())
    assert sum(event.kind == "attack" for event in events) == 21
    assert sum(event.kind == "fault" for event in events) == 14
    assert {event.label for event in events if event.kind == "benign"} == {"login"}


def test_provenance_names_files_not_folders() -> None:
    (entry,) = provenance([LEFT])
    assert entry["name"] == "output_left.zip" and len(entry["sha256"]) == 64
