"""What verdicts suppress: the same again and nothing beyond, in each scope, in any order; checked against an oracle."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.judged_facts import beyond, judged_facts
from pipeline.contracts.suppression import Suppressions, outgrown, shown_suppression, suppressed
from pipeline.contracts.verdicts import Record, standing, undo_record
from tests.contracts.verdict_records import FIRST_US, HOUR_US, MAX_US, document, given_on, talk, uid_of
from tests.examples import examples

INCIDENT = {"kind": "incident"}
DAY_US = 24 * HOUR_US
LATER = {"first_us": FIRST_US + DAY_US}


def by(verdicts: list[Record], on: dict[str, Any]) -> Record | None:
    return Suppressions(standing(verdicts)).suppressed_by(on)


def of_scope(scope: dict[str, Any], **given: Any) -> Record:
    """A verdict with this scope on an incident that has nothing in common with the others but the site."""
    strange = document(99, talk("192.0.2.1", "192.0.2.2", 99), **{"class": "other"})
    return given_on(strange, scope=scope, **{"max_severity_id": 3, "from_us": 0, "expires_us": MAX_US, **given})


def test_the_same_again_is_suppressed_from_its_first_flow_until_the_verdict_expires() -> None:
    verdict = given_on(document(), scope=INCIDENT)
    assert by([verdict], document(2, **LATER)) == verdict
    assert by([verdict], document(2)) == verdict, "began at the same time"
    assert by([verdict], document(2, first_us=FIRST_US - 1)) is None, "before what was judged"
    assert by([verdict], document(2, first_us=verdict["expires_us"] - 1)) == verdict
    assert by([verdict], document(2, first_us=verdict["expires_us"])) is None
    assert shown_suppression(verdict)["verdict_id"] == verdict["id"]


@pytest.mark.parametrize(
    "changed",
    [
        {"site": "mill"},
        {"class": "mitm"},
        {"severity_id": 4},
        {"techniques": [{"uid": "T0846"}, {"uid": "T0855"}]},
        {"talks": [talk(), talk(target="10.0.0.21")]},
        {"talks": [talk(source="10.0.0.8")]},
        {"talks": [talk(port=102)]},
        {"talks": [talk(proto="udp")]},
        {"talks": [talk(source="10.0.0.20", target="10.0.0.7")]},
        {"talks": []},
        {"talks_left_out": 1},
        {"kind": "notice"},
    ],
)
def test_what_is_beyond_what_was_judged_is_not_suppressed(changed: dict[str, Any]) -> None:
    assert by([given_on(document(), scope=INCIDENT)], document(2, **LATER, **changed)) is None


@pytest.mark.parametrize("changed", [{"severity_id": 2}, {"techniques": []}, {"talks": [talk(flows=9_000)]}])
def test_what_is_less_is_the_same_again(changed: dict[str, Any]) -> None:
    assert by([given_on(document(), scope=INCIDENT)], document(2, **LATER, **changed))


def test_who_began_matters_only_where_the_sensor_knows_it() -> None:
    turned = talk("10.0.0.20", "10.0.0.7", directed=False)
    verdict = given_on(document(1, talk(directed=False)), scope=INCIDENT)
    assert by([verdict], document(2, turned)) == verdict
    assert by([given_on(document(), scope=INCIDENT)], document(2, turned)), "one way round it is what was judged"


def test_an_attack_is_never_suppressed_nor_is_the_same_as_it_by_what_was_said_before() -> None:
    fine, attack = given_on(document(), scope=INCIDENT), given_on(document(2, **LATER), "tp", at_us=2_000)
    again = document(3, first_us=FIRST_US + 2 * DAY_US)
    assert by([fine], again) == fine
    assert by([fine, attack], again) is None
    assert by([fine, attack], document(2, **LATER)) is None
    after_all = given_on(document(4, **LATER), scope=INCIDENT, at_us=3_000)
    assert by([fine, attack, after_all], again) == after_all, "the last one given decides"
    assert by([fine, attack, undo_record(attack, "bo", 4_000)], again) == fine


def test_an_undone_or_overruled_verdict_suppresses_nothing() -> None:
    verdict = given_on(document(), scope=INCIDENT)
    assert by([verdict, undo_record(verdict, "bo", 5_000)], document(2)) is None
    assert by([verdict, given_on(document(), "duplicate", at_us=2_000)], document(2)) is None


def test_an_incident_that_somebody_judged_is_settled_until_it_becomes_more() -> None:
    verdict = given_on(document(), scope={"kind": "asset", "address": "10.0.0.7"}, max_severity_id=5)
    rules = Suppressions(standing([verdict]))
    assert rules.settled(document()) and rules.suppressed_by(document()) is None
    grown = document(1, talk(), talk(target="10.0.0.21"))
    assert not rules.settled(grown)
    assert outgrown(grown, verdict) == ["new: 10.0.0.7 with 10.0.0.21 by 502/tcp"]
    assert rules.suppressed_by(grown) == verdict, "within the scope somebody gave"
    attack = given_on(document(), "tp")
    assert Suppressions(standing([verdict, attack])).suppressed_by(grown) is None


def test_what_an_incident_became_is_said() -> None:
    was = judged_facts(document())
    assert beyond(document(), was) == []
    assert beyond(document(severity_id=4, severity="High"), was) == ["is more severe: High"]
    assert beyond(document(techniques=[{"uid": "T0855"}]), was) == ["a new technique: T0855"]
    many = [talk(target=f"10.0.1.{n}") for n in range(9)]
    assert beyond(document(1, talk(), *many), was)[-1] == "6 more new conversations"
    large = judged_facts(document(1, talk(), talks_left_out=100))
    assert beyond(document(1, *many, talks_left_out=90), large) == [], "other ones of them are listed"
    assert beyond(document(1, talk(source="10.0.0.99"), talks_left_out=90), large)


ASSET = {"kind": "asset", "address": "10.0.0.7"}
EDGE = {"kind": "edge", "source": "10.0.0.7", "target": "10.0.0.20"}
SERVICE = {"kind": "service", "port": 502, "proto": "tcp"}
FUNCTION = {"kind": "function", "target": "10.0.0.20", "protocol": "modbus", "function": "16"}
TECHNIQUE = {"kind": "technique", "uid": "T0846"}
WINDOW = {"kind": "window", "from_us": FIRST_US, "to_us": FIRST_US + DAY_US}
WROTE = {"protocol": "modbus", "function": "16"}
READ = {"protocol": "modbus", "function": "3"}
OTHER = talk("10.0.0.8", "10.0.0.21", 102)


@pytest.mark.parametrize(
    ("scope", "inside", "outside"),
    [
        (ASSET, [{}, {"talks": [talk("10.0.0.9", "10.0.0.7")]}], [{"talks": [talk(), OTHER]}]),
        (
            ASSET,
            [{"talks_left_out": 5}],
            [{"talks_left_out": 5, "all_sources": False, "all_targets": False}, {"talks": []}],
        ),
        (EDGE, [{}, {"talks": [talk(), talk(port=80)]}], [{"talks": [talk(), OTHER]}, {"talks_left_out": 1}]),
        (EDGE, [], [{"talks": [talk("10.0.0.20", "10.0.0.7")]}]),
        (SERVICE, [{}, {"talks": [talk(), talk("10.0.0.8", "10.0.0.9")]}], [{"talks": [talk(port=503)]}]),
        (SERVICE | {"target": "10.0.0.20"}, [{}], [{"talks": [talk(target="10.0.0.21")]}]),
        (SERVICE | {"source": "10.0.0.7", "target": "10.0.0.20"}, [{}], [{"talks": [talk(source="10.0.0.8")]}]),
        (SERVICE | {"port": None}, [{"talks": [talk(port=None)]}], [{}]),
        (
            FUNCTION,
            [{"talks": [talk(functions=[WROTE])]}],
            [{}, {"talks": [talk(functions=[WROTE, {**WROTE, "function": "5"}])]}],
        ),
        (
            TECHNIQUE,
            [{}, {"techniques": [{"uid": "T0846.001"}]}],
            [{"techniques": []}, {"techniques": [{"uid": "T08461"}]}],
        ),
        (TECHNIQUE, [], [{"techniques": [{"uid": "T0846"}, {"uid": "T0855"}]}]),
        (WINDOW, [{}], [{"last_us": FIRST_US + DAY_US}, {"first_us": FIRST_US - 1}, {"first_us": FIRST_US + DAY_US}]),
        (WINDOW | {"address": "10.0.0.7"}, [{}], [{"talks": [OTHER]}]),
        (ASSET | {"sensor": "left"}, [{}], [{"sensors": ["left", "right"]}, {"sensors": ["right"]}]),
        (ASSET, [], [{"severity_id": 4}, {"site": "mill"}]),
    ],
)
def test_a_scope_holds_what_is_wholly_in_it(
    scope: dict[str, Any], inside: list[dict[str, Any]], outside: list[dict[str, Any]]
) -> None:
    verdict = of_scope(scope)
    for changed in inside:
        assert by([verdict], document(2, **changed)) == verdict, changed
    for changed in outside:
        assert by([verdict], document(2, **changed)) is None, changed


TECHNIQUES = [{"uid": "T0846"}, {"uid": "T0846.001"}, {"uid": "T1"}]
ADDRESSES = st.sampled_from(["10.0.0.7", "10.0.0.8", "10.0.0.20"])
PORTS = st.sampled_from([502, None])
TALKS = st.builds(talk, ADDRESSES, ADDRESSES, PORTS, directed=st.booleans(), functions=st.sampled_from([[], [WROTE]]))
DOCUMENTS = st.builds(
    lambda number, talks, given: document(number, *talks, **given),
    st.integers(1, 4),
    st.lists(TALKS, min_size=1, max_size=3),
    st.fixed_dictionaries(
        {
            "first_us": st.integers(FIRST_US, FIRST_US + 3),
            "severity_id": st.integers(2, 3),
            "site": st.sampled_from(["plant", "mill"]),
            "techniques": st.lists(
                st.sampled_from([{"uid": "T0846"}, {"uid": "T0846.001"}, {"uid": "T1"}]), max_size=2
            ),
            "talks_left_out": st.sampled_from([0, 0, 0, 4]),
        }
    ),
)
SCOPES = st.sampled_from(
    [None, INCIDENT, ASSET, EDGE, SERVICE, SERVICE | {"source": "10.0.0.8"}, FUNCTION, TECHNIQUE, WINDOW]
)


@st.composite
def verdicts(draw: st.DrawFn) -> list[Record]:
    made = []
    for _ in range(draw(st.integers(1, 6))):
        scope = draw(SCOPES)
        word = draw(st.sampled_from(["fp", "benign", "tp"]))
        more = {"expires_us": draw(st.integers(FIRST_US, FIRST_US + 4))} if scope and word != "tp" else {}
        made.append(
            given_on(
                draw(DOCUMENTS), word, scope=None if word == "tp" else scope, at_us=draw(st.integers(0, 5)), **more
            )
        )
        if draw(st.integers(0, 4)) == 0:
            made.append(undo_record(draw(st.sampled_from([each for each in made if each["undoes"] is None])), "bo", 9))
    return made


@settings(max_examples=examples(300))
@given(verdicts(), st.lists(DOCUMENTS, max_size=4), st.data())
def test_the_index_finds_what_comparing_all_with_all_finds_in_any_order(
    made: list[Record], documents: list[dict[str, Any]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(made + made[:2]))
    rules = Suppressions(standing(shuffled))
    holding = standing(made).holding()
    for on in documents:
        alone = [
            each
            for each in holding
            if (each["verdict_id"] == 2 and _same_by_itself(each, on)) or _suppresses_by_itself(each, on)
        ]
        own = standing(made).verdict_on([on["uid"]])
        expected = None
        if alone and not (own is not None and (own["verdict_id"] == 2 or not outgrown(on, own))):
            last = max(alone, key=lambda each: (each["at_us"], each["id"]))
            expected = None if last["verdict_id"] == 2 else last
        assert rules.suppressed_by(on) == expected
    assert suppressed(documents, standing(made)) == suppressed(documents, standing(shuffled))


def _suppresses_by_itself(verdict: Record, on: dict[str, Any]) -> bool:
    """Whether a verdict suppresses an incident that nobody judged, asked alone."""
    elsewhere = {**on, "uid": uid_of(77), "members": [{"uid": uid_of(77)}]}
    return by([verdict], elsewhere) is not None


def _same_by_itself(attack: Record, on: dict[str, Any]) -> bool:
    """Whether an incident is the same again as one that was judged an attack: a false one would suppress it."""
    number = {"verdict_id": 1, "verdict": "False Positive", "scope": INCIDENT, "from_us": 0, "expires_us": MAX_US}
    return _suppresses_by_itself({**attack, **number, "max_severity_id": 6}, on)


@pytest.mark.slow
def test_many_verdicts_and_incidents_are_not_compared_each_with_each() -> None:
    def ends(number: int) -> dict[str, Any]:
        return talk(f"10.0.{number % 200}.{number % 250}", f"10.1.{number % 99}.{number % 240}", number % 400)

    scopes = [INCIDENT, None, EDGE, SERVICE, TECHNIQUE | {"uid": "T9"}, WINDOW | {"to_us": FIRST_US + 1}]
    made = []
    for number in range(10_000):
        scope = scopes[number % len(scopes)] or {"kind": "asset", "address": f"10.0.{number % 200}.{number % 250}"}
        made.append(given_on(document(number, ends(number)), scope=scope, at_us=number))
    documents = [document(20_000 + number, ends(number), **LATER) for number in range(50_000)]
    began_s = time.process_time()
    found = suppressed(documents, standing(made))
    took_s = time.process_time() - began_s
    assert found and took_s < 60, took_s
