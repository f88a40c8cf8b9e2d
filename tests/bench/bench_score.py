"""What a core scores: `python -m tests.bench.bench_score [ROWS_A_MESSAGE [MESSAGES_A_GROUP]]`; last line: JSON."""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from models.igan.config import IganConfig
from models.serving import registry
from pipeline.contracts.promotions import PromotionLedger
from pipeline.runtime.wire.messages import write
from pipeline.score.group import Features, encoded, read
from pipeline.score.model_cache import ModelCache
from pipeline.score.route import route
from pipeline.score.scoring import score_batches
from tests.contracts.facts import at
from tests.score.small_model import facts, features, small_model

WIDTH = 75
REPEATS = 5


def best(work: Callable[[], Any]) -> tuple[float, Any]:
    """Shortest of a few runs in CPU seconds (another process's load does not count), and the result."""
    shortest, result = float("inf"), None
    for _ in range(REPEATS):
        started = time.process_time()
        result = work()
        shortest = min(shortest, time.process_time() - started)
    return shortest, result


def main() -> None:
    """One group of messages through each step, on one thread."""
    arguments = [int(argument) for argument in sys.argv[1:]]
    rows, messages = (arguments + [4096, 16][len(arguments) :])[:2]
    folder = Path(tempfile.mkdtemp(prefix="bench-score-"))
    model = small_model(0, width=WIDTH, config=IganConfig(alert_level=0.01))
    registry.save(model, folder)
    cache = ModelCache(model.id, folder, "cpu")
    batches = [features(rows, first_offset=number * rows, width=WIDTH, scale=1.0) for number in range(messages)]
    payloads = [write(batch, facts(number, 0, batch)) for number, batch in enumerate(batches)]
    total = rows * messages

    seconds: dict[str, float] = {}
    group: list[Features]
    seconds["decode"], group = best(lambda: [read(payload, at("features")) for payload in payloads])
    seconds["score"], scored = best(
        lambda: score_batches([features.batch for features in group], PromotionLedger(1), cache)
    )
    matrix = np.random.default_rng(0).exponential(1.0, (total, WIDTH)).astype(np.float32)
    times, origin = np.zeros(total, np.int64), np.full(total, "plant/tap")
    seconds["score: the network alone"], _ = best(lambda: cache.first.score(matrix, times, origin))
    seconds["route"], routed = best(lambda: [route(batch) for batch in scored])
    seconds["encode"], sent = best(
        lambda: [encoded(batch, message) for batch, message in zip(routed, group, strict=True)]
    )
    whole = sum(value for name, value in seconds.items() if ":" not in name)
    print(f"{messages} messages of {rows} rows, {WIDTH} features, one thread")
    for name, value in seconds.items():
        print(f"  {name:<26}{value * 1000:9.1f} ms   {total / value / 1e6:7.2f} M rows/s")
    print(f"  {'a group, all steps':<26}{whole * 1000:9.1f} ms   {total / whole / 1e6:7.2f} M rows/s")
    print(f"  sent {sum(len(value) for values in sent for value in values) / total:.0f} bytes a row")
    document = {name: round(total / value) for name, value in seconds.items()} | {
        "rows_per_second": round(total / whole)
    }
    document["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(orjson.dumps(document).decode())


if __name__ == "__main__":
    main()
