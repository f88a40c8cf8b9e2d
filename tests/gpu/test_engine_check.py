"""The script for a machine with a GPU says so where there is none, and knows its aims."""

import json
import subprocess
import sys

import pytest
import torch

from tests.contract.tree import ROOT
from tests.gpu.engine_check import AIM_ROWS, missed, passed


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="not proven: the script without a device")
def test_without_a_device_it_says_that_nothing_was_measured() -> None:
    words = [sys.executable, "-m", "tests.gpu.engine_check"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert run.returncode == 1 and "not measured" in json.loads(run.stdout)["error"]


def test_aims() -> None:
    fast = {"rows_a_call": AIM_ROWS, "rows_per_s": 6_000_000, "p99_ms": 3.0}
    assert missed([fast]) == []
    assert missed([{**fast, "p99_ms": 4.0}]) and missed([{**fast, "rows_per_s": 4_999_999}])
    assert missed([{**fast, "rows_a_call": 1_024}]) and missed([])


def test_tests_that_take_too_long_do_not_keep_it_from_measuring() -> None:
    assert passed([sys.executable, "-c", "import time; time.sleep(60)"], 0.2) is None
    assert passed([sys.executable, "-c", "raise SystemExit(5)"], 60) == 5
