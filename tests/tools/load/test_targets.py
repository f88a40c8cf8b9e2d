import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Failed
from pipeline.settings import load_settings
from pipeline.tools.load import targets
from pipeline.tools.load.machine import machine
from pipeline.tools.load.resources import Resources
from pipeline.tools.load.targets import learning_for, local_target, running_target


@given(st.floats(0.001, 1e8))
def test_sensors_have_learnt_before_the_first_attack_of_any_run(event_span_s: float) -> None:
    learning = learning_for(event_span_s)  # its own validation refuses what is out of order
    if event_span_s > 10:
        assert learning.most_s <= learning.anchor_s <= event_span_s * 0.5


def test_what_a_process_uses_is_measured_from_the_start_on() -> None:
    resources = Resources({"here": os.getpid(), "gone": 2**22 + 1})
    resources.start()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        sum(range(1_000))
    used = resources.stop(100)
    assert set(used) == {"here"}
    assert 0.03 <= used["here"]["cpu_s"] < 30 and used["here"]["rss_max_mib"] > 10
    assert used["here"]["cpu_us_a_record"] == pytest.approx(used["here"]["cpu_s"] * 1e4, rel=0.2)


def test_a_report_names_its_machine() -> None:
    here = machine()
    assert here["cores"] >= 1 and here["forebay"] and here["load_before"] >= 0
    assert abs(here["started_us"] / 1e6 - time.time()) < 60


def test_a_system_that_does_not_run_here_has_no_processes(tmp_path: Path) -> None:
    settings = load_settings(bootstrap="kafka.invalid:9092", run_folder=tmp_path)
    assert running_target(settings).pids == {}
    assert running_target(settings).settings == settings


class NoProcesses:
    """Stages that are ready at once and end when asked."""

    def __init__(self, *_: object) -> None:
        return

    def start(self, stage: str, *_: str) -> SimpleNamespace:
        return SimpleNamespace(name=stage, process=SimpleNamespace(pid=0))

    def wait_ready(self, *_: object) -> None:
        return

    check = stop = wait_ready


@pytest.mark.parametrize(("ended_by", "stays"), [(KeyboardInterrupt(), False), (Failed("a stage died"), True)])
def test_a_system_of_its_own_is_removed_unless_it_failed(
    ended_by: BaseException, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Path] = []
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: str(tmp_path / prefix))
    (tmp_path / "forebay-load-").mkdir()
    broker = SimpleNamespace(bootstrap="127.0.0.1:9092", pid=0)
    monkeypatch.setattr(targets, "local", SimpleNamespace(start=lambda _folder: broker, stop=stopped.append))
    monkeypatch.setattr(targets, "topics", SimpleNamespace(create=lambda _settings: None))
    monkeypatch.setattr(targets, "Processes", NoProcesses)
    with pytest.raises(type(ended_by)), local_target(learning_for(1e6)):
        raise ended_by
    assert stopped == [tmp_path / "forebay-load-" / "broker"]
    assert (tmp_path / "forebay-load-").exists() is stays
