"""`forebay score bench`: how fast each engine scores here."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.errors import Usage
from pipeline.tools.cli.model_options import ModelName, Registry, refusals, registry_of
from pipeline.tools.cli.output import Json, emit, say
from pipeline.tools.cli.table import table

if TYPE_CHECKING:
    from models.serving.model import Model

APART_HEAD = ["engine", "score off by, 19 rows in 20", "furthest", "other verdicts", "rows compared"]
HEAD = ["engine", "rows a call", "calls", "rows/s", "rows/s of a CPU", "p50 ms", "p99 ms"]
ALL_CALLS = 100
"""Of so many calls or fewer the 99th percentile is the longest."""


def bench(
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine", help="kernel, torch, cuda, cuda-bf16 or onnx; may be repeated. By default all that run here."
        ),
    ] = None,
    rows: Annotated[
        list[int] | None,
        typer.Option(
            "--rows", min=1, max=1_000_000, help="Rows a call; may be repeated. By default 1, 64, 1,024 and 16,384."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, max=600, help="For each engine and number of rows.")] = 1.0,
    origin: Annotated[
        str, typer.Option(help="Which calibration of the model measures the rows: SITE/SENSOR, SITE, or * (pooled).")
    ] = "*",
    model: ModelName = "",
    registry: Registry = None,
    as_json: Json = False,
) -> None:
    """Time engines: rows a second, and how long a call takes, from rows in Arrow's memory to results.

    Each engine's scores are compared with the kernel's first. One thread, but for ONNX Runtime's and torch's own.

    Example: forebay score bench --engine kernel --rows 1024
    """
    from models.errors import RefusedModel
    from models.serving import registry as models
    from models.serving.engines import ENGINES, engine_of
    from models.serving.parity import measured
    from models.serving.score import Scorer
    from pipeline.tools.inference.engine_timing import ROWS_A_CALL, timed

    timings: list[dict[str, Any]] = []
    differences: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    with refusals():
        loaded = models.load(model, registry_of(registry))
        _require_origin(loaded, origin)
        for name in engine or ENGINES:
            try:
                made = engine_of(name, loaded)
            except RefusedModel as error:
                if engine:
                    raise
                left_out[name] = str(error)
                continue
            differences[name] = asdict(measured(made, loaded))
            scorer = Scorer(loaded, engine=made)
            timings += [each.document() for each in timed(name, scorer, origin, rows or ROWS_A_CALL, seconds)]
    say(_apart(differences), as_json)
    say(quiet=as_json)
    say(_speeds(timings), as_json)
    if any(each["calls"] <= ALL_CALLS for each in timings):
        say(f"p99 of {ALL_CALLS} calls or fewer is the longest call", as_json)
    for name, why in left_out.items():
        say(f"not measured: {name}: {why}", as_json)
    emit({"model": loaded.id, "origin": origin, "engines": timings, "differences": differences, "left_out": left_out})


def _require_origin(model: Model, origin: str) -> None:
    """Usage where the model has no such calibration."""
    if origin not in model.origins:
        expected = ", ".join(sorted(model.origins))
        raise Usage(f"--origin: got {origin}, expected a calibration of model {model.id}: {expected}")


def _apart(differences: dict[str, Any]) -> Table:
    """How far each engine's scores are from the kernel's, on the model's golden rows."""
    return table(
        APART_HEAD,
        [
            [name, f"{each['most']:.2g}", f"{each['largest']:.2g}", f"{each['flips']:.2%}", f"{each['rows']:,}"]
            for name, each in differences.items()
        ],
    )


def _speeds(timings: list[dict[str, Any]]) -> Table:
    """How fast each engine is, by rows a call."""
    shown = [
        [each["engine"], *(f"{each[name]:,}" for name in ("rows_a_call", "calls", "rows_per_s", "rows_per_cpu_s"))]
        + [f"{each[name]:.3f}" for name in ("p50_ms", "p99_ms")]
        for each in timings
    ]
    return table(HEAD, shown)
