from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RefusedState, Usage
from pipeline.tools.cli.replay import event_us, times_us
from pipeline.tools.replay import history
from pipeline.tools.replay import request as requests
from pipeline.tools.replay.pace import Pace
from pipeline.tools.replay.request import ARCHIVE, Request, offsets_of, speed_of
from tests.contracts.facts import flows_facts
from tests.featurize.flows import batch

RANGES = st.dictionaries(st.integers(0, 99), st.tuples(st.integers(0, 10**12), st.integers(1, 10**6)), min_size=1)


@given(RANGES)
def test_offsets_are_what_was_typed(ranges: dict[int, tuple[int, int]]) -> None:
    text = ",".join(f"{partition}:{first}-{first + more}" for partition, (first, more) in ranges.items())
    assert offsets_of(text) == tuple(sorted((p, first, first + more) for p, (first, more) in ranges.items()))


@pytest.mark.parametrize("text", ["", "0", "0:5", "0:5-5", "0:9-3", "-1:0-3", "0:1-2,0:3-4", "a:b-c", "0:1-2,"])
def test_offsets_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(Usage, match="--offsets"):
        offsets_of(text)


@pytest.mark.parametrize("text", ["", "0", "-3", "nan", "inf", "fast"])
def test_a_speed_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="--speed"):
        speed_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2023-03-10T10:00:00Z", 1678442400), ("2023-03-10 11:00+01:00", 1678442400), ("1678442400.5", 1678442400.5)],
)
def test_times_as_people_type_them(text: str, expected: float) -> None:
    assert event_us(text, "--from") == round(expected * 1e6)


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-01", "1e400", "nan", "99999999999999999"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="--from"):
        event_us(text, "--from")


def test_nothing_between_from_and_to_is_refused() -> None:
    assert times_us("5", None) == (5_000_000, None) and times_us("5", "6") == (5_000_000, 6_000_000)
    for until in ("5", "4"):
        with pytest.raises(Usage, match="--to"):
            times_us("5", until)


def test_a_request_is_read_as_it_was_written(tmp_path: Path) -> None:
    request = Request("r", ARCHIVE, 1, 2, ((0, 1, 2),), "shipped", False, True, 2.0, 5, ((0, 9), (1, 4)))
    (tmp_path / requests.NAME).write_bytes(request.encode())
    assert requests.read(tmp_path) == request
    assert request.same_as(Request("r", ARCHIVE, 1, 2, ((0, 1, 2),), "shipped", False, True, 2.0, 5))
    for damaged in (b"", b"{}", b'{"offsets": 3, "ends": []}', request.encode()[:40]):
        (tmp_path / requests.NAME).write_bytes(damaged)
        with pytest.raises(RefusedState, match="request"):
            requests.read(tmp_path)
    assert requests.read(tmp_path / "nothing") is None


def test_a_step_is_due_by_event_time() -> None:
    pace = Pace(1_000.0)
    first, later = (history.FlowsStep(0, batch([{"at": at}]), flows_facts()) for at in (10.0, 10_010.0))
    assert pace.wait_s(first) == 0.0
    assert 9.0 < pace.wait_s(later) <= 10.0
    assert pace.wait_s(history.FlowsStep(0, batch([]), flows_facts())) == 0.0
    bounded = Pace(1_000.0, until_us=11_000_000 + latest_us(first))
    assert bounded.wait_s(first) == 0.0
    assert 0.0 < bounded.wait_s(later) < 0.1  # beyond what was asked for nobody waits


def latest_us(step: history.Step) -> int:
    return int(step.rows.column("end_ts_us").to_numpy().max())
