"""What a request for scores costs: `python -m tests.bench.bench_inference [SECONDS]`; the last line is JSON.

The shipped model on the kernel behind the protocol's application, asked in this process, without sockets: by processor
time of all its threads, a request at a time and sixteen at a time, as JSON, as the binary extension and as Arrow.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson

from models.serving import registry
from models.serving.engines import engine_of
from models.serving.score import Scorer
from pipeline.tools.inference.application import JSON_BYTES, application
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.documents import ARROW
from pipeline.tools.inference.engine_timing import usual_rows
from pipeline.tools.inference.guard import Guarded
from pipeline.tools.inference.scoring_service import ScoringService
from pipeline.tools.inference.serving import MAX_BODY_BYTES, MAX_REQUESTS, MAX_ROWS, MAX_WAITING_ROWS
from tests.tools.inference.arrow import batch_of, stream
from tests.tools.inference.server import unheard

SIZES = (1, 64, 1_024)
AT_ONCE = (1, 16)
INFER = "/v2/models/igan/infer"


def body_of(rows: Any, kind: str) -> tuple[bytes, dict[str, str]]:
    """A request's body and headers."""
    if kind == "arrow":
        return stream(batch_of(rows)), {"content-type": ARROW}
    entry: dict[str, Any] = {"name": "rows", "datatype": "FP32", "shape": list(rows.shape)}
    if kind == "json":
        return orjson.dumps({"inputs": [{**entry, "data": rows.ravel().tolist()}]}), {}
    entry["parameters"] = {"binary_data_size": rows.nbytes}
    head = orjson.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}})
    return head + rows.tobytes(), {JSON_BYTES: str(len(head)), "content-type": "application/octet-stream"}


async def timed(ask: Callable[[], Awaitable[Any]], at_once: int, seconds: float) -> tuple[int, float]:
    """Requests answered, and processor seconds."""
    await ask()
    done, started, until = 0, time.process_time(), time.monotonic() + seconds
    while done < 3 * at_once or time.monotonic() < until:
        for answer in await asyncio.gather(*(ask() for _ in range(at_once))):
            assert answer.status_code == 200, answer.text
        done += at_once
    return done, time.process_time() - started


async def measure(seconds: float) -> dict[str, Any]:
    """Every size, in each kind of body."""
    model, measures = registry.load(), unheard()
    service = ScoringService(
        [Scorer(model, engine=engine_of("kernel", model))], MAX_ROWS, MAX_WAITING_ROWS, 20_000, measures
    )
    app = application(CurrentService(service), Guarded(None, None, MAX_BODY_BYTES, MAX_REQUESTS), measures)
    document: dict[str, Any] = {"model": model.id}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://scores", timeout=600) as client:
        for size in SIZES:
            for kind in ("json", "bytes", "arrow"):
                body, headers = body_of(usual_rows(model, size), kind)
                for at_once in AT_ONCE:
                    done, cpu_s = await timed(
                        lambda body=body, headers=headers: client.post(INFER, content=body, headers=headers),  # type: ignore[misc]
                        at_once,
                        seconds,
                    )
                    name = f"{kind}_{size}_rows_{at_once}_at_once"
                    document[name] = {
                        "us_a_request": round(cpu_s / done * 1e6),
                        "rows_per_s": round(size * done / cpu_s),
                    }
    service.close()
    return document


def main() -> None:
    """Print a table for people and one JSON line."""
    document = asyncio.run(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0))
    for name, value in document.items():
        sys.stdout.write(f"{name:<32} {value}\n")
    sys.stdout.write(orjson.dumps(document).decode() + "\n")


if __name__ == "__main__":
    main()
