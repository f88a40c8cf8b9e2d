import numpy as np
import pytest

from models.lab.protocols.operations import Operations, days_between
from models.lab.protocols.trial import Trial
from models.lab.tables.table import Column, Table, one_by_one
from models.training.evaluate import Stretch
from tests.models.lab.protocols.small import Remembering, table

SECOND = 1_000_000


def plant() -> Table:
    """A record a second for two minutes: a scan at 10 to 20 s, a flood at 50 to 55 s."""
    at = np.arange(120)
    label = np.where((at >= 10) & (at <= 20), "scan", np.where((at >= 50) & (at <= 55), "flood", "normal"))
    return Table(
        "plant",
        (Column("size", "number"),),
        at[:, None].astype(np.float64),
        label,
        label,
        one_by_one(120),
        at * SECOND + SECOND,
    )


EVENTS = (
    Stretch("SCAN", "scan", "attack", 10 * SECOND, 20 * SECOND),
    Stretch("FLOOD", "flood", "attack", 50 * SECOND, 56 * SECOND),
    Stretch("ELSEWHERE", "scan", "attack", 100 * SECOND, 110 * SECOND),
)


def test_events_delay_and_false_alarms() -> None:
    score = np.zeros(120)
    score[[13, 15]] = 2.0  # in the scan: the first ends at 14 s
    score[[52]] = 0.5  # in the flood, below the threshold
    score[[1, 2, 70, 105]] = 3.0  # normal, three minutes' worth of two; the last inside an event without records
    figures = Operations(0.5, EVENTS).figures(plant(), score, {0.01: 1.0, 0.05: 0.2})
    by_event = {event["event"]: (event["found"], event["records"], event["delay_s"]) for event in figures["events"]}
    assert by_event == {"SCAN": (True, 10, 4.0), "FLOOD": (False, 6, None), "ELSEWHERE": (False, 0, None)}
    assert figures["nominal"] == 0.01 and figures["days"] == 0.5
    assert figures["false_alarms_per_day"] == 8 and figures["false_alarm_minutes_per_day"] == 4
    assert figures["by_nominal"]["0.05"]["found"] == 2 and figures["by_nominal"]["0.01"]["of"] == 3


def test_a_record_that_ends_just_after_an_event_counts() -> None:
    stretch = Stretch("SCAN", "scan", "attack", 20_500_000, 20_600_000)
    score = np.where(np.arange(120) == 20, 1.0, 0.0)  # ends at 21 s
    assert Operations(1, (stretch,)).figures(plant(), score, {0.01: 0.5})["events"][0]["found"]


def test_days() -> None:
    assert days_between(plant()) == pytest.approx(119 / 86_400)
    assert days_between(plant().take(np.array([3]))) == pytest.approx(1 / 86_400)


def test_a_trial_tells_them_of_the_tests_that_have_them() -> None:
    train, test = table(), plant()
    test = Table("plant", train.columns, np.ones((120, 4)), test.label, test.family, test.group, test.time_us)
    other = table(name="other", seed=1)
    trial = Trial(train, [test, other], "binary", {"plant": Operations(1.0, EVENTS)})
    student = trial.fit(Remembering(), 0)
    assert "more" not in trial.judge("other", student.predict(trial.unseen("other")), {0.01: 1.0})
    prediction = student.predict(trial.unseen("plant"))
    assert len(trial.judge("plant", prediction, {0.01: 1.0})["more"]["events"]) == 3
    assert "more" not in trial.judge("plant", prediction, {})  # without a threshold there are no alarms
