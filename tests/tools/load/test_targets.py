import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings import load_settings
from pipeline.tools.load.machine import machine
from pipeline.tools.load.resources import Resources
from pipeline.tools.load.targets import learning_for, running_target


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
