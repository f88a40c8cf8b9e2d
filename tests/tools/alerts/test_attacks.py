"""What a verdict of attack asks of a baseline: one command a source, about the time in which it came."""

import pytest

from pipeline.contracts.baseline_commands import ATTACK, MAX_TEXT, BaselineCommand
from pipeline.featurize.baseline.address_names import OUTSIDE_WORDS
from pipeline.tools.alerts.attacks import attack_commands


def alert(*sources: dict[str, str]) -> dict[str, object]:
    about = {"site": "dam", "sensor": "gate", "first_ts_us": 7, "last_ts_us": 90}
    ends = [{"src_endpoint": source, "dst_endpoint": {"ip": "10.0.0.20"}} for source in sources]
    return {"unmapped": about, "evidences": ends}


@pytest.mark.parametrize(
    ("source", "noted"),
    [
        ({"ip": "10.0.0.7", "mac": "00:07:7c:00:00:10"}, "10.0.0.7"),
        ({"ip": "fe80::1"}, "fe80::1"),
        ({"ip": "8.8.8.8"}, OUTSIDE_WORDS),
        ({"name": "00:07:7c:00:00:10", "mac": "00:07:7c:00:00:10"}, "00:07:7c:00:00:10"),
    ],
)
def test_a_source_is_what_the_baseline_notes(source: dict[str, str], noted: str) -> None:
    expected = BaselineCommand(site="dam", sensor="gate", action=ATTACK, address=noted, first_us=7, last_us=90)
    assert attack_commands(alert(source)) == [expected]
    assert BaselineCommand.of(expected.document()) == expected


def test_each_source_is_meant_once_and_nobody_by_no_name() -> None:
    sources = [{"ip": "10.0.0.7"}, {"ip": "10.0.0.8"}, {"ip": "10.0.0.7"}, {}, {"name": "x" * (MAX_TEXT + 1)}]
    assert [command.address for command in attack_commands(alert(*sources))] == ["10.0.0.7", "10.0.0.8"]
