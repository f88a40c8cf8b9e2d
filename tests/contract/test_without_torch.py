"""All stages but retrain run where torch is not installed: every module outside retrain imports without it."""

import json
import subprocess
import sys

import pytest

from tests.contract.tree import ROOT, modules, within

NEEDS_TORCH = ("pipeline.retrain",)

IMPORT_ALL = """
import importlib, json, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "safetensors"}:
            raise ModuleNotFoundError(f"No module named {name!r} (not installed in a data-plane stage)", name=name)

sys.meta_path.insert(0, NoTorch())
imported = []
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
    imported.append(name)
assert "torch" not in sys.modules
print(json.dumps(imported))
"""


@pytest.mark.slow
def test_all_but_retrain_imports_without_torch() -> None:
    names = [module.name for module in modules("schemas", "pipeline", "loadtest")]
    wanted = [name for name in names if not within(name, *NEEDS_TORCH) and not name.endswith("__main__")]
    assert len(wanted) > 20 and "pipeline.runtime.wire.batches" in wanted, wanted
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps(wanted)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == wanted
