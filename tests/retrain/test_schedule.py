import sys
import time
from pathlib import Path

import pytest

from pipeline.retrain import schedule
from pipeline.retrain.trainer import Ended, Trainer
from pipeline.runtime.storage.location import open_storage
from tests.patience import PATIENCE_S
from tests.runtime.storage.bucket import bucket, endpoint

__all__ = ["bucket", "endpoint"]

DAY_US = 86_400_000_000
NOW_US = 1_800_000_000_000_000
LONG_S = 600  # what a training that will not stop takes


def test_without_a_record_the_first_training_is_a_whole_interval_away(tmp_path: Path) -> None:
    assert schedule.last_us(tmp_path, NOW_US) == NOW_US
    assert schedule.last_us(tmp_path, NOW_US + 5) == NOW_US, "a restart does not set it back"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"last_us": "x"}', b'{"last_us": 9999999999999999}'])
def test_a_record_that_makes_no_sense_counts_as_now(tmp_path: Path, content: bytes) -> None:
    (tmp_path / schedule.NAME).write_bytes(content)
    assert schedule.last_us(tmp_path, NOW_US) == NOW_US
    assert schedule.last_us(tmp_path, NOW_US + 5) == NOW_US


def trainer(folder: Path, script: str, now_us: int, every_s: float = 86_400) -> Trainer:
    return Trainer([sys.executable, "-c", script], {}, folder, every_s, now_us)


def ended(under_test: Trainer, now_us: int) -> Ended:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        result = under_test.tick(now_us)
        if result is not None:
            return result
        time.sleep(0.02)
    raise AssertionError("did not end")


def test_restarts_neither_train_each_time_nor_never(tmp_path: Path) -> None:
    starts = 0
    for hour in range(0, 72, 5):
        now_us = NOW_US + hour * 3_600_000_000
        under_test = trainer(tmp_path, "print('{}')", now_us)
        if under_test.due_us is not None and now_us >= under_test.due_us:
            starts += 1
            assert ended(under_test, now_us).exit_code == 0
        assert under_test.tick(now_us) is None
    assert starts == 2


def test_its_output_is_written_and_reported(tmp_path: Path) -> None:
    script = """print('noise'); print('{"candidate": "m"}'); raise SystemExit(1)"""
    under_test = trainer(tmp_path, script, NOW_US)
    assert ended(under_test, NOW_US + DAY_US) == Ended(1, {"candidate": "m"})
    assert (tmp_path / "last-candidate.json").read_bytes().endswith(b'{"candidate": "m"}\n')
    assert under_test.due_us == NOW_US + 2 * DAY_US


@pytest.mark.slow
def test_one_that_dies_without_a_word_is_not_tried_again_at_once(tmp_path: Path) -> None:
    under_test = trainer(tmp_path, "import os; os.abort()", NOW_US)
    assert ended(under_test, NOW_US + DAY_US) == Ended(-6, {})
    assert under_test.tick(NOW_US + DAY_US + 1) is None
    assert trainer(tmp_path, "", NOW_US + DAY_US + 2).due_us == NOW_US + 2 * DAY_US


def test_never_by_itself(tmp_path: Path) -> None:
    under_test = trainer(tmp_path, "", NOW_US, every_s=0)
    assert under_test.due_us is None
    assert under_test.tick(NOW_US + 10 * DAY_US) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_stopping_does_not_wait_for_one_that_will_not_stop(tmp_path: Path) -> None:
    script = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(tmp_path / 'started')!r}).touch(); time.sleep({LONG_S})"
    )
    under_test = trainer(tmp_path, script, NOW_US)
    under_test.tick(NOW_US + DAY_US)
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started = time.monotonic()
    under_test.stop()
    assert time.monotonic() - started < LONG_S


@pytest.mark.slow
def test_in_a_bucket_it_is_kept_as_well(bucket: str) -> None:
    under_test = Trainer([sys.executable, "-c", """print('{"candidate": "m"}')"""], {}, bucket, 86_400, NOW_US)
    assert ended(under_test, NOW_US + DAY_US) == Ended(0, {"candidate": "m"})
    assert schedule.last_us(bucket, NOW_US + DAY_US + 5) == NOW_US + DAY_US
    assert open_storage(bucket).read("last-candidate.json") == b'{"candidate": "m"}\n'


def test_another_training_runs_where_none_is_due_and_leaves_the_schedule_alone(tmp_path: Path) -> None:
    under_test = trainer(tmp_path, """print('{"candidate": "m"}')""", NOW_US)
    asked = iter([[sys.executable, "-c", """print('{"outcome": "refused"}')"""]])
    ends, deadline = list[Ended](), time.monotonic() + PATIENCE_S
    while not ends and time.monotonic() < deadline:
        result = under_test.tick(NOW_US + 1, lambda: next(asked, None))
        ends += [result] if result is not None else []
        time.sleep(0.02)
    assert ends == [Ended(0, {"outcome": "refused"}, scheduled=False)]
    assert not (tmp_path / "last-candidate.json").exists()
    assert under_test.due_us == NOW_US + DAY_US
    # The one that is due goes first, and nobody is asked for another while it runs.
    assert under_test.tick(NOW_US + DAY_US, lambda: pytest.fail("one is due")) is None
    assert ended(under_test, NOW_US + DAY_US).scheduled
