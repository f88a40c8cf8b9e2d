"""Requests for scores, from an event loop to engines in threads of their own, in batches."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.errors import Backpressure
from pipeline.score.batcher import Batcher, Limits

if TYPE_CHECKING:
    from models.serving.model import Model
    from models.serving.score import Scorer
    from models.serving.scored import Scored
    from pipeline.tools.inference.measures import Measures


@dataclass(frozen=True, slots=True)
class Job:
    """Rows that wait for their scores."""

    rows: npt.NDArray[np.float32]
    names: npt.NDArray[np.str_]
    number: npt.NDArray[np.int64]
    result: "asyncio.Future[Scored]"
    arrived_us: int = 0


def now_us() -> int:
    """Microseconds of a clock that does not go back."""
    return time.monotonic_ns() // 1_000


class ScoringService:
    """Engines behind one batcher. Its methods belong to one event loop.

    Parameters
    ----------
    scorers : one a thread; no two share a model in memory, since what is written in between is a model's
    max_rows, max_waiting_rows, budget_us : as the batcher's limits
    measures : counters of requests and batches
    """

    def __init__(
        self,
        scorers: Sequence["Scorer"],
        max_rows: int,
        max_waiting_rows: int,
        budget_us: int,
        measures: "Measures",
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._batcher: Batcher[Job] = Batcher(Limits(max_rows, max_waiting_rows, len(scorers), budget_us))
        self._free = list(scorers)
        self._threads = ThreadPoolExecutor(len(scorers), "engine")
        self._measures = measures
        self._clock = clock
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.model: Model = scorers[0].model
        self.device = scorers[0].device

    @property
    def limits(self) -> Limits:
        """What it keeps to."""
        return self._batcher.limits

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for an engine."""
        return self._batcher.waiting_rows

    async def score(
        self, rows: npt.NDArray[np.float32], names: npt.NDArray[np.str_], number: npt.NDArray[np.int64]
    ) -> "Scored":
        """Scores of rows (n, F), n at most a batch; Backpressure where too much waits already."""
        now = self._clock()
        job = Job(rows, names, number, asyncio.get_running_loop().create_future(), now)
        if not self._batcher.offer(job, len(rows), now):
            raise Backpressure(
                f"scoring: got {len(rows):,} rows more while {self._batcher.waiting_rows:,} wait, expected "
                f"{self.limits.max_waiting_rows:,} at most; send them again later",
                max(self._batcher.backlog_us() / 1e6, 0.05),
            )
        self._idle.clear()
        self._measures.taken(len(rows))
        self._dispatch()
        return await job.result

    async def drained(self) -> None:
        """Return once all that was taken in is answered."""
        await self._idle.wait()

    def close(self) -> None:
        """Begin nothing more, and end the threads. What still waits is not answered."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _dispatch(self) -> None:
        """Give engines what is due, and come back when something will be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        while batch := self._batcher.next_batch(self._clock()):
            scorer, started_us = self._free.pop(), self._clock()
            fill = sum(len(job.rows) for job in batch) / self.limits.max_rows
            self._measures.begun([started_us - job.arrived_us for job in batch], fill)
            work = loop.run_in_executor(self._threads, scored_together, scorer, batch)
            work.add_done_callback(
                lambda done, batch=batch, scorer=scorer, at=started_us: self._finish(done, batch, scorer, at)  # type: ignore[misc]
            )
        arrived_us = self._batcher.oldest_us
        self._measures.oldest(None if arrived_us is None else self._clock() - arrived_us)
        due_us = self._batcher.due_us()
        if due_us is not None:
            self._timer = loop.call_later(max(due_us - self._clock(), 0) / 1e6, self._dispatch)

    def _finish(
        self, done: "asyncio.Future[list[Scored]]", batch: list[Job], scorer: "Scorer", started_us: int
    ) -> None:
        self._free.append(scorer)
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or error is not None:
            self._batcher.failed()
        else:
            rows, took_us = sum(len(job.rows) for job in batch), self._clock() - started_us
            self._batcher.done(rows, took_us)
            self._measures.computed(rows, took_us)
        for index, job in enumerate(batch):
            if job.result.done():  # whoever asked is gone
                continue
            if done.cancelled():
                job.result.cancel()
            elif error is not None:
                job.result.set_exception(error)
            else:
                job.result.set_result(done.result()[index])
        if not (self._batcher.waiting_rows or self._batcher.working):
            self._idle.set()
        self._dispatch()


def scored_together(scorer: "Scorer", batch: Sequence[Job]) -> list["Scored"]:
    """Scores of several jobs, whose rows went through the engine together; each row's bits are as if alone."""
    from models.serving.scored import Scored

    known: dict[str, int] = {}
    numbers = []
    for job in batch:
        of_job = np.array([known.setdefault(str(name), len(known)) for name in job.names], np.int64)
        numbers.append(of_job[job.number])
    rows = batch[0].rows if len(batch) == 1 else np.concatenate([job.rows for job in batch])
    scored = scorer.score_of(rows, np.array(list(known)), np.concatenate(numbers))
    ends = np.cumsum([len(job.rows) for job in batch])
    return [
        Scored(**{field.name: getattr(scored, field.name)[end - len(job.rows) : end] for field in fields(Scored)})
        for job, end in zip(batch, ends, strict=True)
    ]
