"""`forebay score serve`: scores for other systems, over HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli.model_options import ModelName, Registry, refusals, registry_of
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.triage.packages import packages

if TYPE_CHECKING:
    from models.serving.model import Model


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback with TLS and a token only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0: a free one.")] = 9485,
    engine: Annotated[str, typer.Option(help="kernel, torch, cuda, cuda-bf16 or onnx.")] = "kernel",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Engines, each in a thread of its own.")] = 1,
    budget_ms: Annotated[
        float | None,
        typer.Option(
            "--latency-budget-ms",
            help="How long a request may take where another engine is at work. [env: FOREBAY_LATENCY_BUDGET_MS]",
            show_default=False,
        ),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, with its chain, in PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, in PEM.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the token that requests must carry.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Score with the model that holds now by the promotions in Kafka.")
    ] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    model: ModelName = "",
    registry: Registry = None,
    as_json: Json = False,
) -> None:
    """Serve scores over the Open Inference Protocol v2 (HTTP) until Ctrl-C, one model, in batches.

    Rows of features in, scores out; windows, sensors' baselines and what a flow's fields contradict are not in it.

    Example: forebay score serve --engine kernel --threads 2
    """
    settings = load_settings(latency_budget_ms=budget_ms, bootstrap=bootstrap, topic_prefix=prefix)
    with packages("the server"):
        from pipeline.tools.http_server import Listening
        from pipeline.tools.inference.serving import Request
        from pipeline.tools.inference.serving import serve as run
    from models.serving import registry as models

    folder = registry_of(registry, settings)

    def load() -> "Model":
        return models.load(model or settings.model, folder)

    def started(url: str, at: int, name: str) -> None:
        say(f"scores of {name}: {url}/v2", quiet=as_json)
        emit({"url": url, "port": at, "model": name, "engine": engine})

    request = Request(Listening(host, port, tls_cert, tls_key), engine, threads, token_file, follow)
    with refusals():
        run(request, load, folder, settings, started)
