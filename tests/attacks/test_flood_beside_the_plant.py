"""A flood beside a plant at work does not make it a changed one, which would hide most evidence; it is shown."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.baseline import Phase, shown
from pipeline.contracts.notices import CHANGED
from pipeline.featurize.baseline.judge import COLUMNS
from tests.examples import examples
from tests.featurize.baseline.plant import CONTROLLERS, QUICK, lived, poll, polls

ANCHORED_S, HOUR_S = 400, 3_600
SLOW_TO_ADMIT = QUICK.model_copy(update={"admit_s": 12 * HOUR_S})
PHASE, EVIDENCE = COLUMNS.index("phase"), COLUMNS.index("evidence")

Flows = list[dict[str, Any]]


def flood(sources: int, hours: float, a_second: float, port: int, sweeps: bool, start_s: float = ANCHORED_S) -> Flows:
    """Flows of made-up sources, each with an address and a hardware address; sweeps: to hosts all over the network."""
    rows = []
    for number in range(int(hours * HOUR_S * a_second)):
        source = number % sources
        target = f"10.0.{number % 200}.{number % 251}" if sweeps else CONTROLLERS[number % len(CONTROLLERS)]
        rows.append(
            poll(
                start_s + number / a_second,
                f"10.9.{source // 250}.{source % 250}",
                target,
                src_mac=f"02:00:00:00:{source // 250:02x}:{source % 250:02x}",
                dst_port=port,
            )
        )
    return rows


def beside_the_plant(attack: Flows) -> Flows:
    """The plant, anchored before the attack, at work until after it."""
    until_s = attack[-1]["at"] + 60
    plant = [*polls(ANCHORED_S), *polls(until_s - ANCHORED_S, every_s=5.0, start_s=ANCHORED_S)]
    return sorted([*plant, *attack], key=lambda row: float(row["at"]))


def is_changed_and_hidden(rows: Flows) -> tuple[bool, float, int]:
    """Whether the plant counts as changed, and how much of the attack and how many of the plant's flows are shown."""
    columns, notices, _ = lived(rows, learning=SLOW_TO_ADMIT)
    said = [columns[number] for number in range(len(rows))]
    phase = np.array([each[PHASE] for each in said], np.uint8)
    is_shown = shown(phase, np.array([each[EVIDENCE] for each in said], np.uint32))
    is_attack = np.array([row["src_addr"].startswith("10.9.") for row in rows])
    changed = any(notice.kind == CHANGED for notice in notices) or bool((phase == Phase.CHANGED).any())
    return changed, float(is_shown[is_attack].mean()), int(is_shown[~is_attack].sum())


@pytest.mark.slow
@pytest.mark.parametrize("sources", [1, 10, 1_000])
@pytest.mark.parametrize("sweeps", [False, True])
def test_hours_of_a_flood_do_not_change_the_plant_and_are_shown(sources: int, sweeps: bool) -> None:
    rows = beside_the_plant(flood(sources, 3, 2.0, 502, sweeps))
    assert is_changed_and_hidden(rows) == (False, 1.0, 0)


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(12))
@given(
    st.integers(1, 1_000), st.floats(0.2, 1.5), st.floats(0.3, 4.0), st.sampled_from([22, 502, 4_840]), st.booleans()
)
def test_no_flood_changes_the_plant(sources: int, hours: float, a_second: float, port: int, sweeps: bool) -> None:
    assert is_changed_and_hidden(beside_the_plant(flood(sources, hours, a_second, port, sweeps)))[0] is False


@pytest.mark.slow
def test_a_flood_that_became_usual_is_not_the_plant_that_the_next_one_replaces() -> None:
    """Many hours of it were shown and became usual; then it stops, and another begins."""
    quick = QUICK.model_copy(update={"admit_s": 600})
    first = flood(100, 2, 2.0, 502, False)
    second = [row | {"src_addr": row["src_addr"].replace("10.9.", "10.10.")}
              for row in flood(100, 2, 2.0, 4_840, True, first[-1]["at"])]  # fmt: skip
    _, notices, _ = lived(beside_the_plant([*first, *second]), learning=quick)
    assert not [notice for notice in notices if notice.kind == CHANGED]


@pytest.mark.slow
def test_at_night_what_still_comes_is_the_plant() -> None:
    """Three of four controllers are not polled any more; two hours later a flood begins."""
    night = [poll(ANCHORED_S + number * 5.0, target=CONTROLLERS[0]) for number in range(3_000)]
    attack = flood(10, 1.5, 2.0, 502, True, ANCHORED_S + 2 * HOUR_S)
    rows = sorted([*polls(ANCHORED_S), *night, *attack], key=lambda row: float(row["at"]))
    assert is_changed_and_hidden(rows) == (False, 1.0, 0)
