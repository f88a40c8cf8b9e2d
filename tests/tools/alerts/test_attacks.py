"""What a verdict of attack asks of a baseline: one command a source, about the time in which it came."""

import pytest

from pipeline.contracts.baseline_commands import ATTACK, MAX_TEXT, BaselineCommand
from pipeline.contracts.notices import ATTACK as CALLED_ATTACK
from pipeline.contracts.notices import RELEARNT, UNDONE
from pipeline.contracts.verdicts import number_of
from pipeline.featurize.baseline.address_names import OUTSIDE_WORDS
from pipeline.tools.alerts.attacks import attack_commands, lifting_commands, says_for_baseline, sensors_of
from tests.contracts.verdict_records import document, given_on, uid_of
from tests.tools.sensors.test_commands import history
from tests.tools.sensors.test_histories import FIGURES, notice


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
    assert attack_commands([alert(source)]) == [expected]
    assert BaselineCommand.of(expected.document()) == expected


def test_each_source_is_meant_once_and_nobody_by_no_name() -> None:
    sources = [{"ip": "10.0.0.7"}, {"ip": "10.0.0.8"}, {"ip": "10.0.0.7"}, {}, {"name": "x" * (MAX_TEXT + 1)}]
    assert [command.address for command in attack_commands([alert(*sources)])] == ["10.0.0.7", "10.0.0.8"]


def test_what_a_verdict_barred_is_found_again_by_its_number() -> None:
    record = given_on(document(site="dam"), "tp", alerts=[{"sensor": "gate", "uid": uid_of(1)}])
    [command] = attack_commands([alert({"ip": "10.0.0.7"})], number_of(record))
    assert BaselineCommand.of(command.document()) == command and command.verdict == number_of(record)
    bar = notice(CALLED_ATTACK, 3, figures=FIGURES | {"verdict": number_of(record)})
    other = notice(CALLED_ATTACK, 4, figures=FIGURES | {"verdict": 7})
    assert [each.number for each in lifting_commands(record, history(bar, other))] == [3]
    assert lifting_commands(record, history(bar, other, notice(UNDONE, 5, figures=FIGURES | {"undone": 3}))) == []
    assert lifting_commands(record, history(bar, notice(RELEARNT, 5))) == []
    assert sensors_of(record) == [("dam", "gate")]


def test_what_follows_for_what_is_usual_is_said_where_a_verdict_speaks_of_flows() -> None:
    alerts = [{"sensor": "left", "uid": uid_of(1)}]
    assert "forebay sensor accept plant/left" in says_for_baseline(given_on(document(), "fp", alerts=alerts))
    for word in ("tp", "test", "duplicate", "maintenance"):
        assert says_for_baseline(given_on(document(), word, alerts=alerts)) == ""
