"""The wheel holds everything the packages need: data files, locks and licences too."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.contract.tree import PACKAGES, ROOT, own_files, relative
from tests.patience import PATIENCE_S


@pytest.mark.slow
def test_the_wheel_is_whole(tmp_path: Path) -> None:
    ours = [path for path in own_files() if path.relative_to(ROOT).parts[0] in PACKAGES]
    for path in [*ours, ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "LICENSE", *ROOT.glob("requirements/*.in")]:
        copy = tmp_path / "source" / relative(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(tmp_path / "source")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert len(ours) > 50
    # Notes for whoever reads the source stay in the source.
    missing = [relative(path) for path in ours if relative(path) not in inside and path.name != "README.md"]
    assert not missing
