import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.uids import RAW_POSITION, incident_uid, raw_position_of


@pytest.mark.parametrize(
    ("member", "position"),
    [
        ([0, 5, 2], (0, 5, 2)),
        ([3, 2**63 - 1, 2**31 - 1, 77], (3, 2**63 - 1, 2**31 - 1)),
        ([0, 5, 2, None], (0, 5, 2)),
        ([True, 5, 2], None),
        ([0, 5.0, 2], None),
        ([0, "5", 2], None),
        ([0, -1, 2], None),
        ([2**31, 1, 2], None),
        ([0, 2**63, 2], None),
        ([0, 5], None),
        ((0, 5, 2), None),
        ("052", None),
        (None, None),
    ],
)
def test_a_raw_position_is_three_whole_numbers_in_bounds(member: object, position: tuple[int, int, int] | None) -> None:
    assert raw_position_of(member) == position
    assert len(RAW_POSITION) == 3


@given(st.text(), st.text(), st.text(), st.integers(0, 2**62), st.integers(0, 2**64 - 1))
def test_a_uid_is_the_hash_of_what_names_the_incident(
    site: str, sensor: str, key: str, end_us: int, record_id: int
) -> None:
    named = json.dumps([site, sensor, key, end_us, record_id], separators=(",", ":"), ensure_ascii=False)
    assert incident_uid(site, sensor, key, end_us, record_id) == hashlib.sha256(named.encode()).hexdigest()[:32]


def test_a_uid_does_not_change_from_version_to_version() -> None:
    assert incident_uid("dam", "weir", "10.0.0.1", 17, 2**64 - 1) == "27e43ccf2628b6d2c4fd0287d952d751"
