"""`forebay score bench`: how fast each engine scores here."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from pipeline.tools.cli.model_options import ModelName, Registry, refusals, registry_of
from pipeline.tools.cli.output import Json, emit, say
from pipeline.tools.cli.table import table

HEAD = ["engine", "rows a call", "rows/s", "rows/s of a CPU", "p50 ms", "p99 ms"]


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
        str, typer.Option(help="Whose calibration measures the rows: SITE/SENSOR or SITE; the pooled one by default.")
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
    from models.serving.engine import ENGINES, engine_of
    from models.serving.parity import measured
    from models.serving.score import Scorer
    from pipeline.tools.inference.engine_timing import ROWS_A_CALL, timed

    timings: list[dict[str, Any]] = []
    differences: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    with refusals():
        loaded = models.load(model, registry_of(registry))
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
    shown = [
        [each["engine"], each["rows_a_call"], f"{each['rows_per_s']:,}", f"{each['rows_per_cpu_s']:,}"]
        + [f"{each[name]:.3f}" for name in ("p50_ms", "p99_ms")]
        for each in timings
    ]
    say(table(HEAD, shown), as_json)
    for name, why in left_out.items():
        say(f"not measured: {name}: {why}", as_json)
    emit({"model": loaded.id, "origin": origin, "engines": timings, "differences": differences, "left_out": left_out})
