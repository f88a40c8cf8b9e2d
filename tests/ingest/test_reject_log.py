"""Which rejects get a line of the log, and that a flood of made-up names gets few."""

import json

from pipeline.ingest.reject_log import FORGET_S, MAX_KINDS, OTHER, REPEAT_S, RejectCount, RejectLog, reject_counts
from tests.ingest.records import ZEEK, decode


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def rejected(sensor: str = "gate", reason: str = "time", rows: int = 1, detail: str = "first") -> RejectCount:
    return RejectCount("dam", sensor, reason, rows, detail)


def test_the_first_at_once_then_a_count_once_a_minute_also_after_the_last_reject() -> None:
    clock = Clock()
    rejects = RejectLog(clock)
    assert rejects.due() == []
    rejects.add(rejected())
    assert rejects.due() == [rejected()]
    for _ in range(59):
        clock.now += 1.0
        rejects.add(rejected(rows=2, detail="later"))
        assert rejects.due() == []
    clock.now += 1.0
    assert rejects.due() == [rejected(rows=118, detail="later")]
    assert rejects.due() == []
    clock.now += 3 * REPEAT_S
    assert rejects.due() == []
    rejects.add(rejected(detail="much later"))
    assert rejects.due() == [rejected(detail="much later")]


def test_each_sensor_and_reason_has_a_line_of_its_own() -> None:
    rejects = RejectLog(Clock())
    rejects.add(rejected("weir", rows=3))
    rejects.add(rejected("gate"))
    rejects.add(rejected("gate", "address"))
    assert rejects.due() == [rejected("gate", "address"), rejected("gate"), rejected("weir", rows=3)]


def test_made_up_sensors_share_one_line_and_nothing_is_left_uncounted() -> None:
    clock = Clock()
    rejects = RejectLog(clock)
    lines: list[RejectCount] = []
    for number in range(20_000):
        rejects.add(rejected(f"made-up-{number}"))
        lines += rejects.due()
        clock.now += 0.01  # 200 s in all
    clock.now += REPEAT_S
    lines += rejects.due()
    others = [line for line in lines if line[:3] == OTHER]
    assert len(lines) - len(others) == MAX_KINDS and len(others) == 5
    assert sum(line.rows for line in lines) == 20_000


def test_kinds_that_have_been_idle_for_long_make_way() -> None:
    clock = Clock()
    rejects = RejectLog(clock)
    for number in range(MAX_KINDS):
        rejects.add(rejected(f"old-{number}"))
    assert len(rejects.due()) == MAX_KINDS
    clock.now += FORGET_S / 2
    rejects.add(rejected("old-0"))
    rejects.due()
    clock.now += FORGET_S / 2 + 1
    rejects.add(rejected("new"))
    rejects.add(rejected("old-0", detail="again"))
    assert rejects.due() == [rejected("new"), rejected("old-0", detail="again")]


def test_a_batch_is_counted_by_kind_with_the_first_of_each() -> None:
    lines = [b"broken", json.dumps({**ZEEK, "id.orig_p": 70_000}).encode(), b"too", json.dumps(ZEEK).encode()]
    counted = reject_counts(decode(lines, "zeek-conn+json").rejects)
    assert [each[:4] for each in counted] == [("plant", "sensor", "not_json", 2), ("plant", "sensor", "port_range", 1)]
    assert counted[0].detail.startswith("raw[3]@900/0: ") and "70000" in counted[1].detail
    assert reject_counts(decode(lines[3:], "zeek-conn+json").rejects) == []
