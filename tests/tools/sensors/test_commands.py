"""Commands of a person: what is meant is refused where it cannot be, and said before it is done."""

import pytest

from pipeline.contracts.baseline import Phase
from pipeline.contracts.baseline_commands import ACCEPT, ATTACK, RELEARN, UNDO, BaselineCommand
from pipeline.contracts.notices import ACCEPTED, ADMITTED, LEARNT, RELEARNT, STATUS, UNDONE, Notice
from pipeline.contracts.notices import ATTACK as CALLED_ATTACK
from pipeline.errors import Usage
from pipeline.featurize.baseline.address_names import OUTSIDE_WORDS
from pipeline.tools.sensors.commands import address_meant, intention, is_answer, require_undoable, service_meant
from pipeline.tools.sensors.histories import SensorHistory, histories
from schemas.learning import Learning
from tests.tools.sensors.test_histories import FIGURES, USE, notice, stored

LEARNING = Learning()


def history(*notices: Notice) -> SensorHistory:
    (made,) = histories(stored(*notices)).values()
    return made


def command(action: str, **facts: object) -> BaselineCommand:
    return BaselineCommand(site="dam", sensor="gate", action=action, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (None, ""),
        ("10.0.0.7", "10.0.0.7"),
        ("FE80:0::1", "fe80::1"),
        ("00:07:7C:00:00:10", "00:07:7c:00:00:10"),
        ("public", OUTSIDE_WORDS),
    ],
)
def test_an_address_is_what_notices_write(typed: str | None, meant: str) -> None:
    assert address_meant(typed) == meant


@pytest.mark.parametrize("typed", ["", "plc-1", "10.0.0", "8.8.8.8", "10.0.0.0/24", "\x1b[2J"])
def test_what_is_no_address_of_the_plant_is_refused(typed: str) -> None:
    with pytest.raises(Usage, match="--address: got") as refused:
        address_meant(typed)
    assert str(refused.value).isprintable()


def test_a_service_is_what_notices_write() -> None:
    assert [service_meant(typed) for typed in (None, "502/tcp", "IP protocol 47")] == ["", "502/tcp", "IP protocol 47"]
    for typed in ("", "502", "\x1b", "x" * 200):
        with pytest.raises(Usage, match="--service: got"):
            service_meant(typed)


def test_only_what_made_something_usual_can_be_undone() -> None:
    admitted, accepted = notice(ADMITTED, 2, relations=(USE,)), notice(ACCEPTED, 3)
    of_one = history(notice(LEARNT, 1), admitted, accepted)
    assert [require_undoable(of_one, number) for number in (2, 3)] == [admitted, accepted]
    undone = notice(UNDONE, 4, figures=FIGURES | {"undone": 3})
    for number, told in ((1, (admitted,)), (9, (admitted,)), (3, (admitted, accepted, undone))):
        with pytest.raises(Usage, match=rf"sensor undo {number}: got no notice.*expected one of: #2"):
            require_undoable(history(notice(LEARNT, 1), *told), number)
    with pytest.raises(Usage, match="expected one of: none"):
        require_undoable(history(admitted, notice(RELEARNT, 3)), 2)


def test_what_a_command_does_is_said_before() -> None:
    of_one = history(notice(LEARNT, 1), notice(ADMITTED, 2, figures=FIGURES | {"affected_relations": 2}))
    relearn = intention(of_one, command(RELEARN), LEARNING)
    assert relearn.startswith("dam/gate forgets what is usual there (96 kinds of flow, 13 relations)")
    assert "2 h 0 min" in relearn
    accept = intention(of_one, command(ACCEPT, address="10.0.0.7", service="502/tcp"), LEARNING)
    assert accept.startswith("all that 10.0.0.7 did or that was done to it by 502/tcp that came at dam/gate so far")
    undo = intention(of_one, command(UNDO, number=2), LEARNING)
    assert undo.startswith("dam/gate: 2 relations became usual after being shown: this is not usual any more")
    assert "6 h 0 min" in undo
    attack = intention(of_one, command(ATTACK, address="10.0.0.7", first_us=0, last_us=60_000_000), LEARNING)
    assert attack.startswith("what 10.0.0.7 did anew at dam/gate, or was done to it, from 1970-01-01 00:00:00Z to")
    barred = history(notice(CALLED_ATTACK, 2, figures=FIGURES | {"affected_relations": 2, "affected_kinds": 1}))
    assert intention(barred, command(UNDO, number=2), LEARNING) == (
        "dam/gate: a person called it an attack: shown for good, however often it comes back: 2 relations and "
        "1 kind of flow: this can become usual again by coming back"
    )


def test_an_answer_is_the_notice_that_comes_after_what_was_there() -> None:
    of_one = history(notice(ACCEPTED, 1), notice(LEARNT, 2, Phase.SETTLING))
    asked = command(ACCEPT)
    assert not is_answer(notice(ACCEPTED, 1), of_one, asked)
    assert not is_answer(notice(UNDONE, 3), of_one, asked)
    assert is_answer(notice(ACCEPTED, 3), of_one, asked)


def test_a_sensor_that_was_forgotten_numbers_anew() -> None:
    later = FIGURES | {"began_us": FIGURES["began_us"] + 50 * 86_400_000_000}
    before = [notice(LEARNT, 1), notice(ADMITTED, 8), notice(ACCEPTED, 9)]
    status = notice(STATUS, 0, hours=1_201, figures=later)
    admitted = notice(ADMITTED, 2, hours=1_203, figures=later)
    for after in ([status], [notice(LEARNT, 1, hours=1_202, figures=later), admitted]):
        again = history(*before, *after)
        assert is_answer(notice(ACCEPTED, len(after) + 1, hours=1_204, figures=later), again, command(ACCEPT))
        with pytest.raises(Usage, match="got no notice"):
            require_undoable(again, 9)
    assert require_undoable(again, 2) == admitted
    written_again = history(*before, notice(STATUS, 8))
    assert not is_answer(notice(ACCEPTED, 9), written_again, command(ACCEPT))
