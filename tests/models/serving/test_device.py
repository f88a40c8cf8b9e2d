"""Where a model scores, decided without torch where there is no driver for a CUDA device."""

import json
import subprocess
import sys

import pytest

from models.errors import RefusedModel
from models.serving import device
from models.serving.device import resolved
from tests.contract.tree import ROOT
from tests.patience import PATIENCE_S

ASK = """
import json, sys
import models.serving.device as device

device.DRIVER = "libno-such-driver.so.1"
print(json.dumps([device.resolved("auto"), "torch" in sys.modules]))
"""


def test_without_a_driver_auto_is_the_cpu_and_torch_is_not_loaded() -> None:
    run = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert json.loads(run.stdout) == ["cpu", False], run.stderr


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "DRIVER", "libno-such-driver.so.1")
    with pytest.raises(RefusedModel, match="choose cpu or auto"):
        resolved("cuda")
    with pytest.raises(RefusedModel, match="device tpu: expected auto, cpu or cuda"):
        resolved("tpu")
    assert resolved("cpu") == "cpu"
