from dataclasses import replace

from pipeline.contracts.baseline import Phase
from pipeline.contracts.notices import STATUS
from pipeline.tools.doctor.silence import HOUR_US, MAX_NAMED, silence
from pipeline.tools.sensors.histories import GONE_US, QUIET_US, StoredNotice, histories
from tests.tools.sensors.test_histories import BEGAN_US, notice

NOW_US = BEGAN_US + 2 * GONE_US


def heard(**silent_us: int) -> list[StoredNotice]:
    status = notice(STATUS, 1, Phase.ANCHORED, hours=1, since_us=BEGAN_US)
    return [
        StoredNotice(replace(status, sensor=name), NOW_US - silent_for_us, 0)
        for name, silent_for_us in silent_us.items()
    ]


def test_who_was_heard_of_lately_is_not_silent() -> None:
    found = silence(histories(heard(left=0, right=QUIET_US)), NOW_US)
    assert (found.verdict, found.found) == ("ok", "2 sensors, none silent for 3 h")
    assert silence({}, NOW_US).verdict == "ok"


def test_the_silent_are_named_with_what_to_do() -> None:
    found = silence(histories(heard(left=HOUR_US, **{"we\x1b[2Jir": QUIET_US + 1})), NOW_US)
    assert found.verdict == "warn" and found.found == "1 of 2 sensors silent: dam/we\\x1b[2Jir"
    assert found.remedy and "3 h" in found.expected


def test_who_was_taken_away_is_not_missed() -> None:
    found = silence(histories(heard(left=0, old=GONE_US + 1)), NOW_US)
    assert found.verdict == "ok" and "1 were taken away" in found.found


def test_many_are_counted() -> None:
    found = silence(histories(heard(**{f"s{number}": QUIET_US + 1 for number in range(MAX_NAMED + 3)})), NOW_US)
    assert found.found.endswith("and 3 more")
