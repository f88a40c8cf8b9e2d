"""What a GPU computes and how fast: `python -m tests.gpu.engine_check [SECONDS]`, in ten minutes at most.

1. The tests marked `gpu` of models/serving: scores as the kernel's, bits whatever bucket and slot.
2. `cuda` and `cuda-bf16`, 1,024 to 65,536 rows a call, from pinned memory of Arrow to results.
3. Against the aims: 5,000,000 rows/s at a p99 below 4 ms, 16,384 rows a call.

The last line is one JSON document; exit 1 where a test failed or an aim is not reached. It has not been run: no device
was at hand.
"""

import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import orjson

from models.errors import RefusedModel
from models.serving import registry
from models.serving.device import cuda_available
from models.serving.engines import engine_of
from models.serving.parity import measured
from models.serving.score import Scorer
from pipeline.tools.inference.engine_timing import timed
from tests.contract.tree import ROOT

ENGINES = ("cuda", "cuda-bf16")
SIZES = (1_024, 4_096, 16_384, 65_536)
AIM_ROWS, AIM_ROWS_PER_S, AIM_P99_MS = 16_384, 5_000_000, 4.0
TESTS = ("tests/models/serving/test_engines.py", "tests/models/serving/test_score.py")
TESTS_S = 300


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


def measure(seconds: float) -> dict[str, Any]:
    """Both engines, each size for so long."""
    import torch

    model = registry.load()
    document: dict[str, Any] = {"model": model.id, "gpu": torch.cuda.get_device_name(0), "torch": torch.__version__}
    document |= {"engines": [], "differences": {}, "refused": {}}
    for name in ENGINES:
        try:
            engine = engine_of(name, model)
        except RefusedModel as error:  # the gate of half precision
            document["refused"][name] = str(error)
            continue
        found = measured(engine, model)
        document["differences"][name] = {"most": found.most, "largest": found.largest, "flips": found.flips}
        timings = timed(name, Scorer(model, engine=engine), "westermo/bottom", SIZES, seconds)
        document["engines"] += [each.document() for each in timings]
    return document


def main() -> int:
    """Print what was found."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    if not cuda_available():
        sys.stdout.write(orjson.dumps({"error": "no CUDA device torch can use; not measured"}).decode() + "\n")
        return 1
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *TESTS]
    tests = passed(words, TESTS_S)
    document = measure(seconds)
    document |= {"tests": tests, "missed": missed(document["engines"])}
    for each in document["engines"]:
        sys.stdout.write(f"{each['engine']:<10} {each['rows_a_call']:>7,} {each['rows_per_s']:>12,} rows/s ")
        sys.stdout.write(f"p50 {each['p50_ms']:.3f} ms, p99 {each['p99_ms']:.3f} ms\n")
    sys.stdout.write(orjson.dumps(document).decode() + "\n")
    return int(tests != 0 or bool(document["missed"]))


if __name__ == "__main__":
    raise SystemExit(main())
