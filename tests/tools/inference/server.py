"""A scoring server in this process, on the tiny model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models.serving.engine import engine_of
from models.serving.score import Scorer
from pipeline.tools.inference.application import application
from pipeline.tools.inference.guard import Guarded
from pipeline.tools.inference.scoring_service import ScoringService
from tests.models import tiny
from tests.tools.triage.pages import ADDRESS, TestClient

HOSTS = frozenset({"127.0.0.1"})


def service(max_rows: int = 4_096, waiting: int = 8_192, budget_us: int = 5_000) -> ScoringService:
    """One kernel."""
    model = tiny.model()
    return ScoringService([Scorer(model, engine=engine_of("kernel", model))], max_rows, waiting, budget_us)


@contextmanager
def client_of(made: ScoringService, **guarded: Any) -> Iterator[TestClient]:
    """A client of a server with this service."""
    given = {"hosts": HOSTS, "token": None, "max_body_bytes": 1_000_000, "max_requests": 8, **guarded}
    app = application(made, Guarded(**given))
    try:
        with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
            yield client
    finally:
        made.close()
