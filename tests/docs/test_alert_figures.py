"""The figures of captures: who pages when, and how long after an attack's first flow."""

import numpy as np

from pipeline.contracts.baseline import Evidence
from pipeline.settings import load_settings
from tests.alert.suspects import START_US, scored
from tests.alert.test_evidence import shown
from tests.docs.alert_figures import HEAD, PAGE_OF_DOCS, TABLE, Attack, Watched, attacks, page_times, seconds_to_page

SECOND_US = 1_000_000


def test_a_page_counts_from_the_first_flow_that_it_holds_of_the_attack() -> None:
    attack = Attack(10 * SECOND_US, {"a": 12 * SECOND_US, "b": 11 * SECOND_US})
    assert seconds_to_page(attack, {}) is None
    assert seconds_to_page(attack, {"c": 10 * SECOND_US}) is None
    assert seconds_to_page(attack, {"a": 1 * SECOND_US}) == 2.0  # paged before, for something else
    assert seconds_to_page(attack, {"a": 15 * SECOND_US, "b": 13 * SECOND_US}) == 3.0


def test_an_incident_that_becomes_a_page_later_pages_then() -> None:
    rows = [shown(Evidence.STRANGE, at=at) for at in (0.0, 1.0)] + [shown(Evidence.NEW_WRITER, at=20.0)]
    [at_us] = page_times(scored(rows), load_settings()).values()
    assert at_us == START_US + 20 * SECOND_US
    assert page_times(scored(rows[:2]), load_settings()) == {}
    assert page_times(scored([{"suspect": False}]), load_settings()) == {}


def test_what_two_sensors_see_is_one_attack() -> None:
    seen = [
        Watched(
            scored([{"at": at}, {"at": at + 600}]),
            np.array(["scan of one host", kind]),
            [{"finding_info": {"uid": uid}, "unmapped": {"members": [[0, 0, 0, 0]]}}],
            {},
        )
        for uid, at, kind in (("left", 5.0, "normal"), ("right", 3.0, "scan of one host"))
    ]
    first, second = attacks(seen)
    assert first.start_us == START_US + 3 * SECOND_US - 1000
    assert first.alerts == {"left": START_US + 5 * SECOND_US, "right": START_US + 3 * SECOND_US}
    assert (second.start_us, second.alerts) == (START_US + 603 * SECOND_US - 1000, {})


def test_the_page_has_the_table() -> None:
    match = TABLE.search(PAGE_OF_DOCS.read_text(encoding="utf-8"))
    assert match is not None
    head, rule, *rows = match[0].splitlines()[1:-1]
    assert head == f"| {' | '.join(HEAD)} |"
    assert len(rows) >= 3 and all(row.count("|") == rule.count("|") for row in rows)
