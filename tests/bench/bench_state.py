"""What a save of state costs where state lies: a folder, and a bucket of moto's S3 server on loopback.

`python -m tests.bench.bench_state [SENSORS ...]`: that many sensors' parts, each changed since the last save. moto is a
Python process on the same cores and loopback has no latency: a real store is faster at the one and slower at the other.
"""

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from pipeline.runtime.state import parts
from pipeline.runtime.state.store import Store
from pipeline.runtime.storage.location import StorageLike, open_storage
from tests.crash import s3_server
from tests.runtime.storage.bucket import KEYS

PART_BYTES = 140_000
"""A sensor's windows at the default feature set (docs/operations.md, FOREBAY_MAX_SENSORS)."""
SAVES = 12
SENSORS = (1, 8, 64)


@contextmanager
def locations() -> Iterator[dict[str, StorageLike]]:
    """Where state may lie, by name."""
    os.environ.update(KEYS)
    with tempfile.TemporaryDirectory() as folder, s3_server.running(Path(folder) / "logs") as server:
        yield {"folder": Path(folder) / "state", "bucket": open_storage(server.bucket, "state")}


def save_ms(place: StorageLike, sensors: int) -> list[float]:
    """Milliseconds of each save after the first."""
    drawn, store = random.Random(1), Store(place, f"featurize/{sensors}")
    saved, took = None, []
    for _ in range(SAVES):
        changed = {f"plant/{number}": drawn.randbytes(PART_BYTES) for number in range(sensors)}
        started = time.perf_counter()
        saved = parts.put(store, b"rest", changed, lambda part: bytes(part), saved)  # type: ignore[call-overload]
        took.append((time.perf_counter() - started) * 1e3)
    return took[1:]


def main(sensors: list[int]) -> None:
    """Print a line of JSON for each number of sensors."""
    with locations() as known:
        for count in sensors:
            took = {name: sorted(save_ms(place, count)) for name, place in known.items()}
            document = {
                name: {"median_ms": round(statistics.median(each), 1), "most_ms": round(each[-1], 1)}
                for name, each in took.items()
            }
            sys.stdout.write(orjson.dumps({"sensors": count, **document}).decode() + "\n")


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or list(SENSORS))
