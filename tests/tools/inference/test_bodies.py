"""Large bodies are decoded and encoded beside the event loop, one at a time."""

import asyncio
import threading
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from pipeline.tools.inference import application as routes
from pipeline.tools.inference.application import application
from pipeline.tools.inference.bodies import LARGE_BYTES, LARGE_ROWS, Bodies
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.guard import Guarded
from tests.models import tiny
from tests.patience import PATIENCE_S
from tests.tools.inference.server import HOSTS, service, unheard, until
from tests.tools.triage.pages import ADDRESS

INFER = "/v2/models/igan/infer"
ROWS = tiny.rows(seed=3, count=40).matrix[np.arange(LARGE_ROWS) % 40]
ENTRY = {"name": "rows", "datatype": "FP32", "shape": list(ROWS.shape), "data": ROWS.ravel().tolist()}
LARGE = orjson.dumps({"inputs": [ENTRY]}).ljust(LARGE_BYTES)
SMALL = orjson.dumps({"inputs": [{**ENTRY, "shape": [1, ROWS.shape[1]], "data": ROWS[0].tolist()}]})


class Held:
    """A function that waits where it begins, and counts how often it is under way."""

    def __init__(self, function: Any, held: Any = lambda *_: True) -> None:
        self._function, self._held = function, held
        self.go, self.begun, self.now, self.most = threading.Event(), 0, 0, 0

    def __call__(self, *given: Any) -> Any:
        if self._held(*given):
            self.begun, self.now = self.begun + 1, self.now + 1
            self.most = max(self.most, self.now)
            assert self.go.wait(PATIENCE_S)
            self.now -= 1
        return self._function(*given)


def client_of(current: CurrentService) -> httpx.AsyncClient:
    app = application(current, Guarded(HOSTS, None, 10_000_000, 8), unheard())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS, timeout=PATIENCE_S)


@pytest.mark.parametrize("step", ["_decoded", "_answer"])
def test_a_probe_and_a_small_request_are_answered_while_a_large_one_is_held(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step == "_decoded":
        held = Held(routes._decoded, lambda _kind, body, *_: len(body) >= LARGE_BYTES)
    else:
        held = Held(routes._answer, lambda _kind, _model, wanted, _scored: len(wanted.rows) >= LARGE_ROWS)
    monkeypatch.setattr(routes, step, held)

    async def asked() -> None:
        made = service()
        async with client_of(CurrentService(made)) as client:
            large = asyncio.create_task(client.post(INFER, content=LARGE))
            await until(lambda: held.begun)
            assert (await client.get("/v2/health/live")).json() == {"live": True}
            assert (await client.post(INFER, content=SMALL)).status_code == 200
            assert not large.done()
            held.go.set()
            answer = (await large).json()
        assert [each["shape"] for each in answer["outputs"]] == [[len(ROWS)]] * 8
        made.close()

    asyncio.run(asked())


def test_of_large_bodies_one_is_decoded_at_a_time() -> None:
    held = Held(len)

    async def asked() -> None:
        bodies = Bodies()
        large = [asyncio.create_task(bodies.run(True, held, bytes(size))) for size in range(5)]
        await until(lambda: held.begun)
        assert await bodies.run(False, len, b"small") == 5
        held.go.set()
        assert await asyncio.gather(*large) == [0, 1, 2, 3, 4]

    asyncio.run(asked())
    assert held.begun == 5 and held.most == 1


@pytest.mark.parametrize("version", ["", f"/versions/{tiny.model().id}"])
def test_a_service_that_takes_the_others_place_meanwhile_scores(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(routes._decoded)
    monkeypatch.setattr(routes, "_decoded", held)

    async def asked() -> None:
        after = service()
        current = CurrentService(service())
        async with client_of(current) as client:
            large = asyncio.create_task(client.post(INFER.replace("/infer", f"{version}/infer"), content=LARGE))
            await until(lambda: held.begun)
            await current.swap(after)
            held.go.set()
            assert (await large).status_code == 200
        after.close()

    asyncio.run(asked())


def test_errors_of_a_large_body_are_those_of_a_small_one() -> None:
    async def asked(body: bytes) -> Any:
        made = service()
        async with client_of(CurrentService(made)) as client:
            answer = await client.post(INFER, content=body)
        made.close()
        return answer.status_code, answer.json()

    for data in ([1.5, None], [[1.5, 2], [3]], [1, 2, 3]):
        body = orjson.dumps({"inputs": [{**ENTRY, "data": data}]})
        small, large = asyncio.run(asked(body)), asyncio.run(asked(body.ljust(LARGE_BYTES)))
        assert small == large and small[0] == 400 and "rows.data: got" in small[1]["error"]
