"""The scoring server at work: its engines, where it listens, and under which guard."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import Misconfigured
from pipeline.runtime.telemetry.logs import configure
from pipeline.settings import Settings
from pipeline.tools.http_server import LOOPBACK, Listening, listen, require_tls, server_of
from pipeline.tools.inference.application import application
from pipeline.tools.inference.guard import Guarded
from pipeline.tools.inference.scoring_service import ScoringService

if TYPE_CHECKING:
    from models.serving.model import Model
    from models.serving.score import Scorer

MAX_ROWS = 16_384
"""Of a batch, and so of a request."""
MAX_WAITING_ROWS = 8 * MAX_ROWS
MAX_BODY_BYTES = 32 * 1024 * 1024
"""A batch of 75 features has 5 MB, as JSON up to five times as much."""
MAX_REQUESTS = 64
LEAST_TOKEN = 16
MOST_TOKEN = 4_096


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be served, and where."""

    listening: Listening
    engine: str
    threads: int
    token_file: Path | None


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
    request: Request, load: "Callable[[], Model]", settings: Settings, started: Callable[[str, int, str], None]
) -> None:
    """Serve until SIGINT or SIGTERM. `started` is called with address, port and the model's id once it answers.

    load : a model anew: each engine has one of its own
    """
    configure(settings.log_level)
    require_tls(request.listening)
    token = token_of(request)
    scorers = [_warm(load(), request.engine) for _ in range(request.threads)]
    budget_us = round(settings.latency_budget_ms * 1_000)
    service = ScoringService(scorers, MAX_ROWS, MAX_WAITING_ROWS, budget_us)
    hosts = frozenset(LOOPBACK) if request.listening.local else None
    app = application(service, Guarded(hosts, token, MAX_BODY_BYTES, MAX_REQUESTS))
    listening = listen(request.listening)
    port = int(listening.getsockname()[1])
    server = server_of(app, request.listening, lambda: started(request.listening.url(port), port, service.model.id))
    try:
        server.run(sockets=[listening])
    finally:
        service.close()


def _warm(model: "Model", name: str) -> "Scorer":
    """A scorer that has scored with each of its calibrations: no request waits for what is made at the first one."""
    from models.serving.engine import engine_of
    from models.serving.score import Scorer

    scorer = Scorer(model, engine=engine_of(name, model))
    rows = np.zeros((1, len(model.features)), np.float32)
    for origin in model.origins:
        scorer.score_of(rows, np.array([origin]), np.zeros(1, np.int64))
    return scorer
