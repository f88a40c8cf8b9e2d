"""A sensor's history as a picture: its phases, which notices it names, whose incidents it shows."""

from pathlib import Path

import pytest

from pipeline.contracts.baseline import Phase
from pipeline.contracts.notices import ADMITTED, ANCHORED, CHANGED, LEARNT, STATUS
from pipeline.tools.sensors.histories import histories
from pipeline.tools.sensors.picture import MOST_NAMED, Incident, Span, draw, incidents_of, named, phases
from tests.tools.sensors.test_histories import BEGAN_US, HOUR_US, USE, notice, stored


def at(hours: float) -> int:
    return BEGAN_US + round(hours * HOUR_US)


def test_a_phase_lasts_until_the_next_began_and_the_last_until_the_last_notice() -> None:
    learnt, anchored = notice(LEARNT, 1, Phase.SETTLING, hours=2), notice(ANCHORED, 2, hours=6)
    later = notice(STATUS, 2, hours=9, since_us=at(6))
    (history,) = histories(stored(learnt, anchored, later)).values()
    assert phases(history) == [
        Span(Phase.LEARNING, at(0), at(2)),
        Span(Phase.SETTLING, at(2), at(6)),
        Span(Phase.ANCHORED, at(6), at(9)),
    ]


def test_a_sensor_that_still_learns_has_a_phase() -> None:
    (history,) = histories(stored(notice(STATUS, 0, Phase.LEARNING, hours=1, since_us=BEGAN_US))).values()
    assert phases(history) == [Span(Phase.LEARNING, at(0), at(1))]


def test_phases_are_named_before_what_became_usual() -> None:
    admitted = [notice(ADMITTED, 3 + number, hours=7 + number) for number in range(2 * MOST_NAMED)]
    notices = [notice(LEARNT, 1, hours=2), notice(ANCHORED, 2, hours=6), *admitted, notice(CHANGED, 99, hours=70)]
    chosen = named(notices)
    assert len(chosen) == MOST_NAMED and chosen[:2] == notices[:2] and chosen[-1] == notices[-1]
    assert chosen[2:-1] == admitted[-(MOST_NAMED - 3) :]


def alert(uid: str, sensor: str, hours: float, severity: int = 3, **about: object) -> dict[str, object]:
    times = {"first_ts_us": at(hours), "last_ts_us": at(hours + 1)}
    return {
        "finding_info": {"uid": uid},
        "severity_id": severity,
        "unmapped": {"site": "dam", "sensor": sensor, **times, **about},
    }


def test_an_incident_stands_as_its_last_revision_has_it() -> None:
    alerts = [
        alert("b", "gate", 3),
        alert("a", "gate", 2, 2),
        alert("c", "crest", 2),
        alert("a", "gate", 2, 4),
        alert("d", "gate", 1, notice={"kind": ANCHORED}),
    ]
    assert incidents_of(alerts, ("dam", "gate")) == [Incident(at(2), at(3), 4), Incident(at(3), at(4), 3)]


@pytest.mark.parametrize("ending", [".svg", ".png"])
def test_a_history_is_drawn_whatever_names_are_in_it(tmp_path: Path, ending: str) -> None:
    learnt = notice(LEARNT, 1, Phase.SETTLING, hours=2, sensor="$\\frac{$ <b>\x1b[31m")
    status = notice(STATUS, 1, Phase.SETTLING, hours=3, since_us=at(2), sensor=learnt.sensor)
    silent = notice(ADMITTED, 2, Phase.SETTLING, hours=2.5, since_us=at(2), sensor=learnt.sensor, relations=(USE,))
    (history,) = histories(stored(learnt, silent, status)).values()
    path = tmp_path / f"gate{ending}"
    draw(path, history, [Incident(at(2.1), at(2.2), 3)])
    assert path.stat().st_size > 5_000
    again = tmp_path / f"again{ending}"
    draw(again, history, [Incident(at(2.1), at(2.2), 3)])
    assert again.read_bytes() == path.read_bytes()
