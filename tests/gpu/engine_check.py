"""What a GPU computes, and how fast: `python -m tests.gpu.engine_check [SECONDS] [--wheels FOLDER]`, in ten minutes.

1. The tests marked `gpu` of models/serving: scores as the kernel's, bits whatever bucket and slot.
2. `cuda` and `cuda-bf16`, 1,024 to 65,536 rows a call, SECONDS each (5), from pinned memory of Arrow to results.
3. Against the aims: 5,000,000 rows/s at a p99 below 4 ms, 16,384 rows a call.

It needs a CUDA device, torch with CUDA, and the packages of this project. Of a machine without network that has torch
and the usual packages for numbers and tests, `python -m tests.gpu.wheels FOLDER`, run where there is a network, brings
the others: --wheels FOLDER uses them for this run, and installs nothing.

The last line is one JSON document; exit 1 where something is missing, a test failed or an aim is not reached. It has
not been run: no device was at hand.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.serving.device import DRIVER, cuda_available
from tests.contract.tree import ROOT
from tests.gpu.wheels import BRINGS, OWN

ENGINES = ("cuda", "cuda-bf16")
SIZES = (1_024, 4_096, 16_384, 65_536)
AIM_ROWS, AIM_ROWS_PER_S, AIM_P99_MS = 16_384, 5_000_000, 4.0
TESTS = ("tests/models/serving/test_engines.py", "tests/models/serving/test_score.py")
TESTS_S = 300
LIMIT_S = 540
"""Nothing new is begun after so long: what was found until then is printed."""


def missed(timings: Iterable[dict[str, Any]]) -> list[str]:
    """The aims that no engine reaches."""
    aimed = [each for each in timings if each["rows_a_call"] == AIM_ROWS]
    best = max((each["rows_per_s"] for each in aimed if each["p99_ms"] < AIM_P99_MS), default=0)
    if best >= AIM_ROWS_PER_S:
        return []
    return [
        f"{AIM_ROWS:,} rows a call: got {best:,} rows/s at a p99 below {AIM_P99_MS} ms, expected {AIM_ROWS_PER_S:,}"
    ]


def passed(words: list[str], limit_s: float) -> int | None:
    """What the tests end with; None where they take longer: what is measured after them has its time all the same."""
    try:
        return subprocess.run(words, cwd=ROOT, stdout=sys.stderr, timeout=limit_s).returncode
    except subprocess.TimeoutExpired:
        return None


def lacking() -> str:
    """What is missing here, and what to do about it; empty where nothing is."""
    if find_spec("torch") is None:
        return "torch: got none, expected one with CUDA: pip install -r requirements/model.txt where there is a network"
    if not cuda_available():
        import torch

        if torch.version.cuda is None:
            return f"torch {torch.__version__}: got one without CUDA, expected one with it"
        return f"CUDA: got no device that torch {torch.__version__} can use, expected one and its driver ({DRIVER})"
    if large := [name for name in BRINGS if find_spec(name) is None]:
        return f"packages: got no {', '.join(large)}, expected those of requirements/dev.txt, installed before"
    if own := [name for name in OWN if not _installed(name)]:
        return (
            f"packages: got no {', '.join(own)}; run python -m tests.gpu.wheels FOLDER where there is a network, and "
            "--wheels FOLDER here"
        )
    return ""


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def unpacked(wheels: Path, folder: Path) -> str:
    """Install a folder's wheels into another one, for this process and those it starts; what went wrong, else empty."""
    files = sorted(map(str, wheels.glob("*.whl")))
    if not files:
        return f"--wheels {wheels}: got no wheel, expected those of python -m tests.gpu.wheels {wheels}"
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*words, *files], capture_output=True, text=True)
    if done.returncode:
        return f"--wheels {wheels}: {done.stderr.strip().splitlines()[-1]}; made for this Python and machine?"
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return ""


def measure(seconds: float, until_s: float) -> dict[str, Any]:
    """Both engines, each size for so long; what would begin after `until_s` is left out, and named."""
    import torch

    from models.errors import RefusedModel
    from models.serving import registry
    from models.serving.engines import engine_of
    from models.serving.parity import measured
    from models.serving.score import Scorer
    from pipeline.tools.inference.engine_timing import timed

    model = registry.load()
    document: dict[str, Any] = {"model": model.id, "gpu": torch.cuda.get_device_name(0), "torch": torch.__version__}
    document |= {"engines": [], "differences": {}, "refused": {}, "left_out": []}
    for name in ENGINES:
        try:
            engine = engine_of(name, model)
        except RefusedModel as error:  # the gate of half precision
            document["refused"][name] = str(error)
            continue
        found = measured(engine, model)
        document["differences"][name] = {"most": found.most, "largest": found.largest, "flips": found.flips}
        scorer = Scorer(model, engine=engine)
        for size in SIZES:
            if time.monotonic() > until_s:
                document["left_out"].append(f"{name}, {size:,} rows a call: no time was left")
                continue
            document["engines"] += [each.document() for each in timed(name, scorer, "westermo/bottom", [size], seconds)]
    return document


def checked(seconds: float) -> dict[str, Any]:
    """The tests, and what is measured."""
    until_s = time.monotonic() + LIMIT_S
    # Other versions of packages than the pinned ones warn of other things, and lack pytest's other plug-ins.
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-o", "addopts=", "-W", "ignore", *TESTS]
    tests = passed(words, TESTS_S)
    document = measure(seconds, until_s)
    return document | {"tests": tests, "missed": missed(document["engines"])}


def main() -> int:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=5.0, help="for how long each size is measured")
    parser.add_argument("--wheels", type=Path, help="a folder that python -m tests.gpu.wheels has filled")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forebay-wheels-") as folder:
        wrong = (unpacked(arguments.wheels, Path(folder)) if arguments.wheels is not None else "") or lacking()
        document: dict[str, Any] = {"error": f"{wrong}; not measured"} if wrong else checked(arguments.seconds)
    for each in document.get("engines", []):
        sys.stdout.write(f"{each['engine']:<10} {each['rows_a_call']:>7,} {each['rows_per_s']:>12,} rows/s ")
        sys.stdout.write(f"p50 {each['p50_ms']:.3f} ms, p99 {each['p99_ms']:.3f} ms\n")
    sys.stdout.write(json.dumps(document) + "\n")
    return int(bool(wrong) or document["tests"] != 0 or bool(document["missed"]))


if __name__ == "__main__":
    raise SystemExit(main())
