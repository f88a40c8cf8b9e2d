"""Baselines by calendar: which one holds when, and that each knows its own flows and no others."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Misconfigured
from pipeline.featurize.feature_set import FeatureSet
from pipeline.featurize.feature_sets import named
from pipeline.featurize.partition import PartitionState, advance_partition
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.featurize.windows.calendars import ORDINARY, Calendars
from pipeline.settings import load_settings
from schemas.calendars import Calendar
from tests.contracts.facts import flows_facts
from tests.examples import examples
from tests.featurize.flows import SECOND, START_US, batch, flow_rows, matrix_of, saved_again

NIGHT = {"name": "night", "zone": "Europe/Stockholm", "days": ["fri", "sat"], "hours": ["22:00", "06:00"]}
WEEKEND = {"name": "weekend", "zone": "Europe/Stockholm", "days": ["sat", "sun"]}
OUTAGE = {"name": "outage", "zone": "Europe/Stockholm", "dates": [["2026-10-24T12:00", "2026-10-24T13:00"]]}


def _calendars(*tables: dict[str, Any]) -> Calendars:
    return Calendars([Calendar.model_validate(table) for table in tables])


def _at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("utc", "name"),
    [
        ("2026-10-23T19:59:59", ""),  # a Friday, 21:59 in Stockholm
        ("2026-10-23T20:00:00", "night"),
        ("2026-10-24T03:59:59", "night"),  # the part after midnight is Friday's
        ("2026-10-24T04:00:00", "weekend"),
        ("2026-10-24T10:00:00", "outage"),
        ("2026-10-24T11:00:00", "weekend"),
        ("2026-10-25T04:59:59", "night"),  # clocks went back at 01:00 UTC: 06:00 came an hour later
        ("2026-10-25T05:00:00", "weekend"),
        ("2026-10-25T22:59:59", "weekend"),
        ("2026-10-25T23:00:00", ""),
    ],
)
def test_what_holds_when(utc: str, name: str) -> None:
    calendars = _calendars(OUTAGE, NIGHT, WEEKEND)
    numbers = calendars.of("dam", np.array([_at(utc)]))
    assert numbers is not None and calendars.names[int(numbers[0])] == name


def test_sites_without_calendars_pay_nothing_and_years_beyond_all_have_no_name() -> None:
    calendars = _calendars({**WEEKEND, "sites": ["dam"]})
    assert calendars.of("mill", np.array([0])) is None
    assert calendars.of("dam", np.array([(1 << 62), 0])) is not None


@pytest.mark.parametrize("name", ["forebay-ics-1", "online", "full"])
def test_a_calendar_knows_its_own_flows_and_no_others(name: str) -> None:
    """Every other minute is `odd`: its features are those of a sensor that saw nothing else."""
    begin = datetime.fromtimestamp(START_US // 60_000_000 * 60, UTC).replace(tzinfo=None)
    minutes = [(begin + timedelta(minutes=minute)).isoformat() for minute in range(60)]
    calendars = _calendars({"name": "odd", "dates": list(pairwise(minutes))[::2]})
    pick = np.random.default_rng(4)
    rows = [
        {"at": 2.5 * number, "src_addr": f"10.0.0.{pick.integers(6)}", "dst_port": int(pick.integers(3))}
        for number in range(300)
    ]
    flows, feature_set = batch(rows), named(name)
    of = calendars.of("plant", flows.column("end_ts_us").to_numpy())
    assert of is not None and 100 < np.count_nonzero(of) < 200
    matrix = matrix_of(featurize_file_rows(flows, feature_set=feature_set, calendars=calendars, site="plant"))
    for number in (0, 1):
        alone = flows.filter(pa.array(of == number))
        assert np.array_equal(matrix[of == number], matrix_of(featurize_file_rows(alone, feature_set=feature_set)))


@settings(max_examples=examples(15), deadline=None)
@given(flow_rows(), st.lists(st.integers(1, 40), max_size=4), st.sampled_from(["forebay-ics-1", "full"]))
def test_cuts_and_restarts_change_nothing(rows: list[dict[str, Any]], cuts: list[int], name: str) -> None:
    feature_set, flows = named(name), batch(rows)
    assert _through(flows, sorted(set(cuts)), feature_set) == _through(flows, [], feature_set)


def _through(flows: pa.RecordBatch, cuts: list[int], feature_set: FeatureSet) -> dict[int, bytes]:
    """Each row's features, with the state saved and restored at every cut."""
    begin = datetime.fromtimestamp(START_US / 1e6, UTC).replace(second=0, microsecond=0, tzinfo=None)
    calendars = _calendars({"name": "first", "dates": [[begin.isoformat(), begin.replace(second=10).isoformat()]]})
    features: dict[int, bytes] = {}
    state = PartitionState.empty(feature_set)
    bounds = [0, *[cut for cut in cuts if cut < len(flows)], len(flows)]
    for first, last in pairwise(bounds):
        facts = flows_facts(ended=(("plant", "left"),) if last == len(flows) else ())
        state, [(rows, _)] = advance_partition(
            state, flows.slice(first, last - first), facts, 0, lambda _: SECOND, calendars=calendars
        )
        for offset, row in zip(rows.column("raw_offset").to_pylist(), matrix_of(rows), strict=True):
            features[offset] = row.tobytes()
        state = saved_again(state)
    return features


def test_what_is_no_longer_configured_is_forgotten() -> None:
    feature_set = named("forebay-ics-1")
    always = _calendars({"name": "always", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]})
    state = PartitionState.empty(feature_set)
    for calendars, names in ((always, {"always"}), (always, {"always"}), (Calendars(), set())):
        flows = batch([{"at": 1.0}, {"at": 2.0}])
        state, _ = advance_partition(state, flows, flows_facts(), 0, lambda _: 0, calendars=calendars)
        assert set(state.sensors["plant", "left"].windows) - {ORDINARY} == names
        state = saved_again(state)
        assert set(state.sensors["plant", "left"].windows) == {ORDINARY, *names}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"zone": "Atlantis"}, "time zone such as"),
        ({"zone": "../etc/passwd"}, "time zone such as"),
        ({"days": ["someday"]}, "mon"),
        ({"days": []}, "expected one of days, hours, dates"),
        ({"name": "Big:one"}, "pattern"),
        ({"hours": ["22:00:01", "23:00"]}, "hours and minutes"),
        ({"dates": [["2026-01-02T00:00", "2026-01-01T00:00"]]}, "expected an end after"),
        ({"dates": [["2026-01-01T00:00+01:00", "2026-01-02T00:00+01:00"]]}, "without an offset"),
        ({"colour": "blue"}, "got colour, which calendars have no field for"),
    ],
)
def test_a_bad_calendar_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured, match=said) as raised:
        load_settings(calendars=[{**WEEKEND, **change}])
    assert "FOREBAY_CALENDARS" in str(raised.value)


def test_calendars_pass_from_process_to_process(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = load_settings(calendars=[NIGHT, OUTAGE])
    monkeypatch.setenv("FOREBAY_CALENDARS", saved.variables()["FOREBAY_CALENDARS"])
    assert load_settings().calendars == saved.calendars
