"""Which incidents a list shows, in which order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.incident_joining import joined
from pipeline.errors import Usage
from pipeline.tools.alerts.filters import KINDS, SORTS, Filter, filter_of, kind_of, ordered
from pipeline.tools.alerts.incidents import Document, document
from pipeline.tools.assets.known_devices import KnownDevice
from tests.contracts.test_incident_joining import SCANNER, SERVER, alert

DEVICES = {("plant", SERVER): KnownDevice(SERVER, "Boiler PLC")}


def incident(**changed: Any) -> Document:
    """The document of one alert."""
    technique = {"technique": {"uid": "T0846", "name": "a"}, "sub_technique": {"uid": "T0846.001", "name": "b"}}
    made = {**alert(1, first_us=100, last_us=200, **changed), "message": "it", "attacks": [technique]}
    return document(joined([made])[0], devices=DEVICES)


@pytest.mark.parametrize(
    ("asked", "takes"),
    [
        (Filter(), True),
        (Filter(site="plant", sensor="left", severity_id=3, state="ended"), True),
        (Filter(site="other"), False),
        (Filter(sensor="bottom"), False),
        (Filter(severity_id=4), False),
        (Filter(state="open"), False),
        (Filter(technique="t0846"), True),
        (Filter(technique="T0846.001"), True),
        (Filter(technique="T084"), False),
        (Filter(asset=SCANNER), True),
        (Filter(asset="boiler plc"), True),
        (Filter(asset="boiler"), False),
        (Filter(since_us=200, until_us=101), True),
        (Filter(since_us=201), False),
        (Filter(until_us=100), False),
    ],
)
def test_a_filter_takes_what_is_asked_for(asked: Filter, takes: bool) -> None:
    assert asked.takes(incident()) is takes


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"disposition": "page"}, "page"),
        ({}, "review"),
        ({"notice": True}, "notice"),
    ],
)
def test_an_incident_stands_in_one_part_of_the_list(changed: dict[str, Any], kind: str) -> None:
    made = incident(**changed)
    assert kind_of(made) == kind
    if kind != "notice":
        assert kind_of({**made, "suppressed": {"verdict_id": "x"}}) == "suppressed"
        assert kind_of({**made, "suppressed": {"verdict_id": "x"}, "settled": True}) == "settled"
    assert set(KINDS) >= {kind}


@given(
    st.sampled_from(SORTS),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 9)), max_size=12),
)
def test_the_order_is_the_one_asked_for(sort: str, down: bool, values: list[tuple[int, int, int]]) -> None:
    fields = [
        {"uid": str(at), "last_us": last, "first_us": last, "opened_us": last, "severity_id": grave, "flows": flows}
        for at, (last, grave, flows) in enumerate(values)
    ]
    name = "severity_id" if sort == "severity" else sort
    listed = [each[name] for each in ordered(fields, f"-{sort}" if down else sort)]
    assert listed == sorted(listed, reverse=down)
    assert ordered(fields[::-1], sort) == ordered(fields, sort)


@pytest.mark.parametrize("option", ["severity", "state"])
def test_what_cannot_be_meant_is_said_with_what_can(option: str) -> None:
    asked: dict[str, Any] = dict.fromkeys(
        ("site", "sensor", "severity", "state", "technique", "asset", "since_us", "until_us")
    )
    with pytest.raises(Usage, match=f"--{option}: got '.x1bx', expected"):
        filter_of(**{**asked, option: "\x1bx"})
    with pytest.raises(Usage, match="--sort: got 'x', expected one of last_us"):
        ordered([], "x")
