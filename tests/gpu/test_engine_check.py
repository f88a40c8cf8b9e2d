"""The script for a machine with a GPU says what is missing there, knows its aims, and brings what it imports."""

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import torch

from tests.contract.tree import ROOT
from tests.gpu import engine_check
from tests.gpu.engine_check import AIM_ROWS, lacking, missed, passed, unpacked
from tests.gpu.wheels import BRINGS, OWN, pinned

# Imports what the script does where modules of other packages than those of argv cannot be found.
IMPORTED = """
import importlib.abc, sys
class Refused(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refused())
from tests.gpu import engine_check
import models.serving.engines, models.serving.parity, models.serving.registry, models.serving.score
import pipeline.tools.inference.engine_timing
import tests.conftest, tests.models.serving.test_engines, tests.models.serving.test_score
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="not proven: the script without a device")
def test_without_a_device_it_says_so_in_one_line() -> None:
    words = [sys.executable, "-m", "tests.gpu.engine_check"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert run.returncode == 1 and run.stdout.count("\n") == 1 and run.stderr == ""
    error = json.loads(run.stdout)["error"]
    assert "expected one" in error and error.endswith("; not measured")


def test_aims() -> None:
    fast = {"rows_a_call": AIM_ROWS, "rows_per_s": 6_000_000, "p99_ms": 3.0}
    assert missed([fast]) == []
    assert missed([{**fast, "p99_ms": 4.0}]) and missed([{**fast, "rows_per_s": 4_999_999}])
    assert missed([{**fast, "rows_a_call": 1_024}]) and missed([])


def test_tests_that_take_too_long_do_not_keep_it_from_measuring() -> None:
    assert passed([sys.executable, "-c", "import time; time.sleep(60)"], 0.2) is None
    assert passed([sys.executable, "-c", "raise SystemExit(5)"], 60) == 5


def test_what_is_missing_beside_a_device_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_check, "cuda_available", lambda: True)
    assert lacking() == ""
    monkeypatch.setattr(engine_check, "OWN", ("orjson", "no-such-package"))
    assert lacking().startswith("packages: got no no-such-package; run python -m tests.gpu.wheels FOLDER")
    monkeypatch.setattr(engine_check, "BRINGS", ("numpy", "no_such_module"))
    assert lacking().startswith("packages: got no no_such_module, expected those of requirements/dev.txt")


def test_a_folder_without_wheels_is_said(tmp_path: Path) -> None:
    assert "got no wheel, expected those of python -m tests.gpu.wheels" in unpacked(tmp_path, tmp_path / "site")
    (tmp_path / "damaged-1.0-py3-none-any.whl").write_bytes(b"no archive")
    assert "made for this Python and machine?" in unpacked(tmp_path, tmp_path / "site")


@pytest.mark.slow
def test_all_that_is_imported_is_brought_or_there() -> None:
    there = {name for brought in (*BRINGS, *OWN) for name in _needed(brought)} | {"forebay"}
    refused = [
        module
        for module, names in packages_distributions().items()
        if not there & {_normal(name) for name in names} and module not in sys.stdlib_module_names
    ]
    assert "typer" in refused and "duckdb" in refused
    words = [sys.executable, "-c", IMPORTED, *refused]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def test_what_is_brought_has_a_pin_with_hashes() -> None:
    pins = pinned(frozenset(OWN))
    assert all(re.search(rf"^{name}==\S+ .*\\\n    --hash=sha256:", pins, re.MULTILINE) for name in OWN)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """A distribution and what it needs, by name; what is not installed here needs nothing."""
    found = {name}
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return found
    for line in lines:
        other = _normal(re.split(r"[ ;<>=!~\[(]", line, maxsplit=1)[0])
        if "extra ==" not in line and other not in seen:
            found |= _needed(other, seen | found)
    return found
