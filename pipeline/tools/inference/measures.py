"""What the scoring server reports: the six of every stage, and what is its own (docs/metrics.md)."""

import time
from collections.abc import Callable, Sequence

from pipeline.runtime.telemetry import Telemetry
from pipeline.tools.inference.documents import ARROW, BINARY

STAGE = "serve"
BODIES = {"application/json": "json", "": "json", BINARY: "binary", ARROW: "arrow"}
# Why a request is refused, by what it is answered.
REASONS = {
    400: "malformed",
    401: "token",
    403: "web page",
    404: "unknown",
    405: "unknown",
    408: "slow",
    413: "too large",
    415: "kind",
    421: "host",
    429: "busy",
}


class Measures:
    """What the server and its services count."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry, self._stage = telemetry, telemetry.stage
        self._model: tuple[str, str] | None = None
        for reason in dict.fromkeys(REASONS.values()):
            self._stage.rejected(0, reason=reason)
        for body in dict.fromkeys(BODIES.values()):
            telemetry.count("forebay_serve_requests", 0, body=body)
        for outcome in ("swapped", "unusable"):
            telemetry.count("forebay_serve_promotions", 0, outcome=outcome)
        telemetry.histogram("forebay_serve_request_seconds")
        telemetry.histogram("forebay_serve_wait_seconds")
        telemetry.histogram("forebay_serve_batch_fill")

    def answered(self, status: int, kind: str, seconds: float | None) -> None:
        """A request with a body got this status, so long after it was read; None where it was refused before."""
        if status in REASONS:
            self._stage.rejected(1, reason=REASONS[status])
        elif status == 200 and seconds is not None:
            self._telemetry.count("forebay_serve_requests", body=BODIES.get(kind, "json"))
            self._telemetry.observe("forebay_serve_request_seconds", seconds)

    def taken(self, rows: int) -> None:
        """A request was taken in."""
        self._stage.rows_in(rows)

    def begun(self, waited_us: Sequence[int], fill: float) -> None:
        """A batch was begun: how long each of its requests waited, and its share of the most rows."""
        for each in waited_us:
            self._telemetry.observe("forebay_serve_wait_seconds", each / 1e6)
        self._telemetry.observe("forebay_serve_batch_fill", fill)

    def computed(self, rows: int, took_us: int) -> None:
        """A batch was computed."""
        self._stage.rows_out(rows)
        self._stage.batch(took_us / 1e6)

    def oldest(self, waits_us: int | None) -> None:
        """How long the oldest request has waited by now; None where none waits."""
        self._stage.waiting_since(None if waits_us is None else time.time_ns() // 1_000 - waits_us)

    def waiting_rows(self, function: Callable[[], float]) -> None:
        """Whom to ask, at a scrape, how many rows wait."""
        self._telemetry.gauge_function("forebay_serve_waiting_rows", function)

    def serves(self, model: str, device: str) -> None:
        """Which model scores from now on."""
        if self._model is not None:
            self._telemetry.gauge("forebay_model_info", 0, model=self._model[0], device=self._model[1])
        self._model = model, device
        self._telemetry.gauge("forebay_model_info", 1, model=model, device=device)

    def promoted(self, outcome: str) -> None:
        """A promotion was followed (`swapped`), or could not be (`unusable`)."""
        self._telemetry.count("forebay_serve_promotions", outcome=outcome)

    def error(self) -> None:
        """Something went wrong that is no request's fault."""
        self._stage.error()
