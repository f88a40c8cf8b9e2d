"""A model takes another's place while requests run: each is answered once, whole, by the model it was taken in for."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from models.serving.engines import engine_of
from models.serving.model import Model
from models.serving.score import Scorer
from models.serving.scored import Scored
from pipeline.tools.inference.application import application
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.guard import Guarded
from pipeline.tools.inference.scoring_service import ScoringService
from tests.score.small_model import WIDTH, small_model
from tests.tools.inference.server import HOSTS, unheard, until

INFER = "/v2/models/igan/infer"
MODELS = {model.id: model for model in (small_model(0), small_model(1), small_model(2))}
IDS = list(MODELS)
# A row is known by its first value: which model has scored it how often.
SCORED: Counter[tuple[str, float]] = Counter()

MAY_SCORE = threading.Event()
MAY_SCORE.set()


class Engine:
    """A scorer that notes which rows it has scored."""

    def __init__(self, model: Model) -> None:
        self._scorer = Scorer(model, engine=engine_of("kernel", model))
        self.model, self.device = model, "cpu"

    def score_of(self, matrix: Any, names: Any, number: Any) -> Scored:
        assert MAY_SCORE.wait(60)
        SCORED.update((self.model.id, float(first)) for first in matrix[:, 0])
        return self._scorer.score_of(matrix, names, number)


def service_of(model_id: str) -> ScoringService:
    engines: Any = [Engine(MODELS[model_id]), Engine(MODELS[model_id])]
    return ScoringService(engines, 256, 4_096, 3_000, unheard())


def rows_of(number: int) -> Any:
    """The rows of a request, like those of no other."""
    rows = np.random.default_rng(number).exponential(1.0, (1 + number % 7, WIDTH)).astype(np.float32)
    rows[:, 0] = number * 8 + np.arange(len(rows))
    return rows


async def ask(client: httpx.AsyncClient, number: int) -> Any:
    entry = {"name": "rows", "datatype": "FP32", "shape": list(rows_of(number).shape), "data": rows_of(number).tolist()}
    document = {"id": str(number), "inputs": [entry], "outputs": [{"name": "score"}, {"name": "suspect"}]}
    answer = await client.post(INFER, content=orjson.dumps(document))
    assert answer.status_code == 200, answer.text
    says = answer.json()
    assert says["id"] == str(number)
    return says


@contextmanager
def serving() -> Iterator[tuple[CurrentService, httpx.AsyncClient]]:
    SCORED.clear()
    current = CurrentService(service_of(IDS[0]))
    app = application(current, Guarded(HOSTS, None, 1_000_000, 1_000), unheard())
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=60)
    try:
        yield current, client
    finally:
        current.close()


def expect_whole(answers: dict[int, Any]) -> None:
    """Each request's rows were scored once, by one model, which the answer names, and the answer has its bits."""
    wanted: Counter[tuple[str, float]] = Counter()
    for number, says in answers.items():
        rows = rows_of(number)
        wanted.update((says["model_version"], float(first)) for first in rows[:, 0])
        scorer = Scorer(MODELS[says["model_version"]], "cpu")
        scored = scorer.score(rows, np.zeros(len(rows), np.int64), np.full(len(rows), "*"))
        got = {each["name"]: each["data"] for each in says["outputs"]}
        assert np.array(got["score"], np.float32).tobytes() == scored.score.tobytes()
        assert got["suspect"] == scored.suspect.tolist()
    assert wanted == SCORED


async def while_asked(
    client: httpx.AsyncClient, act: Callable[[Callable[[], int]], Any], clients: int = 12
) -> dict[int, Any]:
    """Answers of clients that ask one request after the other until `act`, told how many are answered, is done."""
    answers: dict[int, Any] = {}
    over = False

    async def asking(first: int) -> None:
        number = first
        while not over:
            answers[number] = await ask(client, number)
            number += clients

    running = [asyncio.ensure_future(asking(first)) for first in range(clients)]
    await act(lambda: len(answers))
    over = True
    await asyncio.gather(*running)
    return answers


@pytest.mark.slow
def test_swaps_under_load_lose_no_request_and_score_no_row_twice() -> None:
    async def run() -> dict[int, Any]:
        with serving() as (current, client):

            async def act(answered: Callable[[], int]) -> None:
                for model_id in (IDS[1], IDS[2], IDS[0], IDS[1]):
                    before = answered()
                    await until(lambda before=before: answered() >= before + 40)  # type: ignore[misc]
                    await current.swap(service_of(model_id))
                    assert (await client.get("/v2/models/igan")).json()["versions"] == [model_id]
                    own[10_000 + before] = await ask(client, 10_000 + before)
                    assert own[10_000 + before]["model_version"] == model_id

            return await while_asked(client, act)

    own: dict[int, Any] = {}
    answers = asyncio.run(run())
    assert {says["model_version"] for says in answers.values()} == set(IDS)
    expect_whole({**answers, **own})


def test_what_waits_is_scored_by_the_model_it_came_for() -> None:
    """Both engines of the first model are held: 58 requests wait as the other one comes, 60 come after it."""

    async def run() -> tuple[list[Any], list[Any]]:
        with serving() as (current, client):
            MAY_SCORE.clear()
            before = [asyncio.ensure_future(ask(client, number)) for number in range(60)]
            old = current.now
            await until(lambda: old.waiting_rows == sum(len(rows_of(number)) for number in range(2, 60)))
            swapping = asyncio.ensure_future(current.swap(service_of(IDS[1])))
            await until(lambda: current.now is not old)
            assert (await client.get(f"/v2/models/igan/versions/{IDS[0]}")).status_code == 404
            after = [asyncio.ensure_future(ask(client, number)) for number in range(60, 120)]
            await asyncio.sleep(0.05)
            assert not swapping.done() and not any(each.done() for each in before)
            MAY_SCORE.set()
            await swapping
            assert old.waiting_rows == 0
            return await asyncio.gather(*before), await asyncio.gather(*after)

    try:
        before, after = asyncio.run(run())
    finally:
        MAY_SCORE.set()
    assert [says["model_version"] for says in before] == [IDS[0]] * 60
    assert [says["model_version"] for says in after] == [IDS[1]] * 60
    expect_whole(dict(enumerate([*before, *after])))


def test_a_service_that_is_idle_is_drained_at_once() -> None:
    async def run() -> None:
        with serving() as (current, client):
            await asyncio.wait_for(current.swap(service_of(IDS[1])), 10)
            assert (await ask(client, 3))["model_version"] == IDS[1]

    asyncio.run(run())
