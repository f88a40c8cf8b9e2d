"""The scoring server at work: its engines, where it listens, and under which guard."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI

from pipeline.errors import Misconfigured
from pipeline.runtime.telemetry import Telemetry, configure, log, start
from pipeline.settings import Settings
from pipeline.tools.http_server import LOOPBACK, Listening, listen, require_tls, server_of
from pipeline.tools.inference.application import application
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.guard import Guarded
from pipeline.tools.inference.measures import STAGE, Measures
from pipeline.tools.inference.scoring_service import ScoringService

if TYPE_CHECKING:
    from models.serving.model import Model
    from models.serving.registry import Registry
    from models.serving.score import Scorer
    from pipeline.tools.inference.following import Following

MAX_ROWS = 16_384
"""Of a batch, and so of a request."""
MAX_WAITING_ROWS = 8 * MAX_ROWS
MAX_BODY_BYTES = 32 * 1024 * 1024
"""A batch of 75 features has 5 MB, as JSON up to five times as much."""
MAX_REQUESTS = 64
BEAT_EVERY_S = 10.0
LEAST_TOKEN = 16
MOST_TOKEN = 4_096


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be served, and where."""

    listening: Listening
    engine: str
    threads: int
    token_file: Path | None
    follow: bool = False
    """Whether promotions are followed, in Kafka."""


def token_of(request: Request) -> bytes | None:
    """The token that requests must carry; Misconfigured where others reach the server and there is none."""
    if request.token_file is None:
        if not request.listening.local:
            raise Misconfigured(
                f"--host {request.listening.host}: got an address that others reach, and no token, expected one; write "
                f"{LEAST_TOKEN} characters or more into a file, and give it as --token-file"
            )
        return None
    try:
        with request.token_file.open("rb") as file:
            token = file.read(MOST_TOKEN + 1).strip()
    except OSError as error:
        raise Misconfigured(f"--token-file {request.token_file}: got {error.strerror}, expected a file") from error
    if not LEAST_TOKEN <= len(token) <= MOST_TOKEN or not all(0x21 <= byte <= 0x7E for byte in token):
        raise Misconfigured(
            f"--token-file {request.token_file}: got {len(token)} bytes, expected {LEAST_TOKEN} to {MOST_TOKEN} "
            "printable ones without spaces; `openssl rand -hex 32` makes some"
        )
    return token


def serve(
    request: Request,
    load: "Callable[[], Model]",
    registry: "Registry",
    settings: Settings,
    started: Callable[[str, int, str], None],
) -> None:
    """Serve until SIGINT or SIGTERM. `started` is called with address, port and the model's id once it answers.

    load : a model anew: each engine has one of its own
    registry : where promoted models lie
    """
    configure(settings.log_level)
    require_tls(request.listening)
    token = token_of(request)
    telemetry = start(STAGE, settings)
    try:
        with ExitStack() as open_until_the_end:
            measures = Measures(telemetry)
            make = partial(service_of, request, round(settings.latency_budget_ms * 1_000), measures)
            following = _following(request, load, registry, settings, make, measures, open_until_the_end)
            current = CurrentService(make(load) if following is None else following.service())
            open_until_the_end.callback(lambda: current.close())
            measures.serves(current.now.model.id, current.now.device)
            measures.waiting_rows(lambda: current.now.waiting_rows)
            hosts = frozenset(LOOPBACK) if request.listening.local else None
            guarded = Guarded(hosts, token, MAX_BODY_BYTES, MAX_REQUESTS)
            beside: list[Callable[[], Coroutine[Any, Any, None]]] = [partial(_beat, telemetry)]
            if following is not None:
                beside.append(partial(following.follow, current))
            app = application(current, guarded, measures, partial(_with_tasks, beside))
            listening = listen(request.listening)
            port = int(listening.getsockname()[1])

            def answers() -> None:
                telemetry.ready()
                log(STAGE).info("ready", model=current.now.model.id, metrics_port=telemetry.metrics_port)
                started(request.listening.url(port), port, current.now.model.id)

            server_of(app, request.listening, answers).run(sockets=[listening])
    finally:
        telemetry.close()


def service_of(request: Request, budget_us: int, measures: Measures, load: "Callable[[], Model]") -> ScoringService:
    """A service of the model that `load` gives, its engines warm."""
    scorers = [_warm(load(), request.engine) for _ in range(request.threads)]
    return ScoringService(scorers, MAX_ROWS, MAX_WAITING_ROWS, budget_us, measures)


def _following(
    request: Request,
    load: "Callable[[], Model]",
    registry: "Registry",
    settings: Settings,
    make: "Callable[[Callable[[], Model]], ScoringService]",
    measures: Measures,
    open_until_the_end: ExitStack,
) -> "Following | None":
    """What follows promotions, having read all there are; None where that is not asked for."""
    if not request.follow:
        return None
    from pipeline.runtime.kafka import clients
    from pipeline.tools.inference.following import Following
    from pipeline.tools.promotion import PromotionReader, partition_count

    clients.require_broker(settings)
    reader = open_until_the_end.enter_context(PromotionReader(settings, partition_count(settings)))
    reader.refresh()
    return Following(reader, registry, load, make, measures)


async def _beat(telemetry: Telemetry) -> None:
    """Say that the loop turns, for ever."""
    while True:
        telemetry.beat()
        await asyncio.sleep(BEAT_EVERY_S)


@asynccontextmanager
async def _with_tasks(begun: Sequence[Callable[[], Coroutine[Any, Any, None]]], _app: FastAPI) -> AsyncIterator[None]:
    """Run what has no end while the application runs."""
    tasks = [asyncio.create_task(each()) for each in begun]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _warm(model: "Model", name: str) -> "Scorer":
    """A scorer that has scored with each of its calibrations: no request waits for what is made at the first one."""
    from models.serving.engines import engine_of
    from models.serving.score import Scorer

    scorer = Scorer(model, engine=engine_of(name, model))
    rows = np.zeros((1, len(model.features)), np.float32)
    for origin in model.origins:
        scorer.score_of(rows, np.array([origin]), np.zeros(1, np.int64))
    return scorer
