"""A scoring server in this process, on the tiny model."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from models.serving.engines import engine_of
from models.serving.score import Scorer
from pipeline.runtime.telemetry import Telemetry
from pipeline.settings import load_settings
from pipeline.tools.inference.application import application
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.guard import Guarded
from pipeline.tools.inference.measures import STAGE, Measures
from pipeline.tools.inference.scoring_service import ScoringService
from tests.models import tiny
from tests.tools.triage.pages import ADDRESS, TestClient

HOSTS = frozenset({"127.0.0.1"})


def unheard() -> Measures:
    """Measures that nobody asks for."""
    return Measures(Telemetry(STAGE, load_settings(metrics_port=-1)))


async def until(holds: Callable[[], object]) -> None:
    """Return once something holds."""
    while not holds():  # noqa: ASYNC110 - what is waited for knows of no event
        await asyncio.sleep(0.001)


def service(max_rows: int = 4_096, waiting: int = 8_192, budget_us: int = 5_000) -> ScoringService:
    """One kernel."""
    model = tiny.model()
    return ScoringService([Scorer(model, engine=engine_of("kernel", model))], max_rows, waiting, budget_us, unheard())


@contextmanager
def client_of(made: ScoringService, **guarded: Any) -> Iterator[TestClient]:
    """A client of a server with this service."""
    given = {"hosts": HOSTS, "token": None, "max_body_bytes": 1_000_000, "max_requests": 8, **guarded}
    app = application(CurrentService(made), Guarded(**given), unheard())
    try:
        with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
            yield client
    finally:
        made.close()
