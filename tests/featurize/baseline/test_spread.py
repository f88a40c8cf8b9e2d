"""What sensors learn does not depend on which of them share a partition, and so a worker."""

from typing import Any

import pytest

from pipeline.contracts.notices import ANCHORED, Notice
from pipeline.featurize.partition import PartitionState, advance_partition
from tests.contracts.facts import flows_facts
from tests.featurize.baseline.plant import CONTROLLERS, HISTORIAN, LATENESS_US, QUICK, columns_of, poll, polls
from tests.featurize.flows import batch, saved_again

SENSORS = [f"tap-{number}" for number in range(4)]
BATCH_ROWS = 97


def _plant() -> list[dict[str, Any]]:
    """Four sensors in turn, each of which sees another host that comes late."""
    rows = [
        {**row, "at": row["at"] + number / 10, "sensor": sensor}
        for number, sensor in enumerate(SENSORS)
        for row in [*polls(300), *(poll(310.0 + at, HISTORIAN, CONTROLLERS[number]) for at in range(20))]
    ]
    return sorted(rows, key=lambda row: float(row["at"]))


def learnt(partitions: int, is_restarted: bool) -> tuple[dict[int, tuple[Any, ...]], list[Notice]]:
    """What baselines say of each flow, by its number in the plant, and their notices, by sensor and number."""
    columns: dict[int, tuple[Any, ...]] = {}
    notices: list[Notice] = []
    numbered = list(enumerate(_plant()))
    for partition in range(partitions):
        own = [(number, row) for number, row in numbered if SENSORS.index(row["sensor"]) % partitions == partition]
        flows, state = batch([row for _, row in own]), PartitionState.empty()
        for start in range(0, len(flows) + BATCH_ROWS, BATCH_ROWS):
            ended = tuple(("plant", sensor) for sensor in SENSORS) if start >= len(flows) else ()
            state, messages = advance_partition(
                state,
                flows.slice(min(start, len(flows)), BATCH_ROWS),
                flows_facts(ended=ended),
                start,
                lambda _site: LATENESS_US,
                learning_of=lambda _site: QUICK,
            )
            state = saved_again(state) if is_restarted else state
            for rows, facts in messages:
                columns |= {own[offset][0]: said for offset, said in columns_of(rows).items()}
                notices += facts.notices
    return columns, sorted(notices, key=lambda notice: (notice.sensor, notice.number, notice.at_us))


@pytest.mark.parametrize("partitions", [2, 4])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_one_two_or_four_workers_learn_the_same(partitions: int, is_restarted: bool) -> None:
    together = learnt(1, False)
    assert [notice.sensor for notice in together[1] if notice.kind == ANCHORED] == SENSORS
    assert len(together[0]) == len(_plant())
    assert learnt(partitions, is_restarted) == together
