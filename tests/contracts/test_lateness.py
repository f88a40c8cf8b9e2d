"""A source's lateness in the headers of `raw`, and which of several that are stated holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.lateness import HOLD_US, NEVER_US, largest, of_live_source, takes_over
from pipeline.contracts.raw import GOFLOW2_JSON, ZEEK_JSON, ZEEK_TSV, SourceInfo, source_info_of
from schemas.intake import MAX_LATENESS_US

NAMES = b"dam", b"gate"


@given(st.none() | st.integers(0, MAX_LATENESS_US))
def test_what_headers_say_is_read(us: int | None) -> None:
    said = SourceInfo(ZEEK_JSON, (), "dam", "gate", time_zone="Europe/Vienna", lateness_us=us)
    headers = dict(said.headers)
    values = (headers.get(name) for name in ("content-type", "columns", "site", "sensor", "time-zone", "lateness-us"))
    assert source_info_of(*(value if isinstance(value, bytes) else None for value in values)) == said
    assert ("lateness-us" in headers) == (us is not None)


@pytest.mark.parametrize("value", [b"5m", b"-1", b"1.5", b" 1", "٣".encode(), b"86400000001", b"9" * 5_000])
def test_what_is_no_lateness_is_a_fault(value: bytes) -> None:
    source = source_info_of(ZEEK_JSON.encode(), None, *NAMES, None, value)
    assert (source.fault, source.lateness_us) == ("lateness", None) and source.got.startswith("header lateness-us b'")


def test_a_source_has_its_own_or_its_formats_or_none() -> None:
    assert of_live_source(0, ZEEK_JSON) == 0
    assert of_live_source(None, ZEEK_JSON) == of_live_source(None, ZEEK_TSV) == 300_000_000
    assert of_live_source(None, GOFLOW2_JSON) is None and of_live_source(7, GOFLOW2_JSON) == 7


def test_the_larger_holds_and_a_smaller_one_when_it_has_not_been_stated_for_an_hour() -> None:
    assert takes_over(0, 5, NEVER_US, 10), "where none was stated before"
    assert takes_over(5, 5, 10, 10) and takes_over(6, 5, 10, 10)
    assert not takes_over(4, 5, 10, 10 + HOLD_US) and takes_over(4, 5, 10, 11 + HOLD_US)
    assert largest([None, 3], 2) == 3 and largest([None, 1], 2) == 2 and largest([1], 2) == 1 and largest([], 2) == 2
