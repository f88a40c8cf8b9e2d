"""Requests that meet: held while an engine works, together in a batch, and begun in time by the clock alone."""

import asyncio
import threading
from typing import Any

import numpy as np

from models.serving.score import Scorer
from models.serving.scored import Scored
from pipeline.tools.inference.scoring_service import Job, ScoringService, scored_together
from tests.models import tiny
from tests.tools.inference.server import unheard, until

MATRIX = tiny.rows(seed=7, count=40).matrix
WAIT_S = 60


class Engine:
    """A scorer that notes its batches and finishes one when it may."""

    def __init__(self, batches: list[int], held: threading.Event) -> None:
        self._scorer = Scorer(tiny.model(), "cpu")
        self.device = "cpu"
        self.model, self._batches, self._held = self._scorer.model, batches, held

    def score_of(self, matrix: Any, names: Any, number: Any) -> Scored:
        self._batches.append(len(matrix))
        if len(matrix) == 1:  # the batch that keeps an engine at work
            assert self._held.wait(WAIT_S)
        return self._scorer.score_of(matrix, names, number)


def test_requests_that_wait_for_company_share_a_batch_and_are_begun_in_time() -> None:
    """The first one occupies its engine until all others are answered: only their deadline starts them."""
    batches: list[int] = []
    held = threading.Event()

    async def asked() -> list[Scored]:
        engines: Any = [Engine(batches, held), Engine(batches, held)]
        service = ScoringService(
            engines, max_rows=4_096, max_waiting_rows=8_192, budget_us=2_000_000, measures=unheard()
        )

        def ask(start: int, stop: int) -> Any:
            names, number = np.array(["plant/a"]), np.zeros(stop - start, np.int64)
            return asyncio.ensure_future(service.score(MATRIX[start:stop], names, number))

        try:
            await ask(0, 7)  # what a tile takes is known from here on
            first = ask(0, 1)
            await asyncio.sleep(0)
            others = [ask(1, 6), ask(6, 9), ask(9, 20)]
            answers: list[Scored] = await asyncio.wait_for(asyncio.gather(*others), WAIT_S)
            assert not first.done()
            held.set()
            return [await asyncio.wait_for(first, WAIT_S), *answers]
        finally:
            held.set()
            service.close()

    answers = asyncio.run(asked())
    assert batches == [7, 1, 19]
    wanted = Scorer(tiny.model(), "cpu").score(MATRIX, np.zeros(40, np.int64), np.full(40, "plant/a"))
    for answer, here in zip(answers, (slice(0, 1), slice(1, 6), slice(6, 9), slice(9, 20)), strict=True):
        assert np.array_equal(answer.score, wanted.score[here])


def test_once_it_is_closed_what_is_computed_is_answered_and_nothing_is_begun() -> None:
    """As where a server is ended while a model's last requests wait."""
    batches: list[int] = []
    held = threading.Event()

    async def asked() -> None:
        engines: Any = [Engine(batches, held)]
        service = ScoringService(engines, max_rows=40, max_waiting_rows=40, budget_us=1_000, measures=unheard())
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        asks = [service.score(MATRIX[:rows], np.array(["*"]), np.zeros(rows, np.int64)) for rows in (1, 5)]
        first, waiting = (asyncio.ensure_future(ask) for ask in asks)
        await until(lambda: batches and service.waiting_rows == 5)
        release = threading.Timer(0.01, held.set)
        release.start()
        service.close()
        assert len((await asyncio.wait_for(first, WAIT_S)).score) == 1
        release.join(WAIT_S)
        assert not waiting.done() and not errors
        waiting.cancel()

    asyncio.run(asked())
    assert batches == [1]


def test_jobs_of_several_origins_get_each_row_its_own() -> None:
    names = np.array(["plant/a", "plant/b", "elsewhere"])
    number = np.arange(20) % 3
    jobs: list[Any] = [
        Job(MATRIX[:20], names, number, None),  # type: ignore[arg-type]
        Job(MATRIX[20:], names[::-1], number, None),  # type: ignore[arg-type]
    ]
    scorer = Scorer(tiny.model(), "cpu")
    got = scored_together(scorer, jobs)
    for job, scored in zip(jobs, got, strict=True):
        wanted = scorer.score(job.rows, np.zeros(20, np.int64), job.names[job.number])
        assert np.array_equal(scored.score, wanted.score) and np.array_equal(scored.p_value, wanted.p_value)
