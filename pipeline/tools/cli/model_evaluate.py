"""`forebay model evaluate`: a model judged on labelled flows it was not trained on, or a whole protocol run."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import Usage
from pipeline.settings import load_settings
from pipeline.tools.cli.model_options import (
    Files,
    Labels,
    ModelName,
    Registry,
    Sensors,
    Site,
    captures_of,
    refusals,
    registry_of,
)
from pipeline.tools.cli.output import Json, emit, say

PANEL = "Protocols"

Protocol = Annotated[
    str | None,
    typer.Option(
        help="Run one: nsl-kdd-cv, nsl-kdd-test, unknowns, iiot, table, controls, cost, names, baselines.",
        rich_help_panel=PANEL,
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(help="Seeds, or runs of nsl-kdd-cv; each protocol has its own default.", min=1, rich_help_panel=PANEL),
]


def evaluate(
    model: ModelName = "",
    file: Files = None,
    labels: Labels = None,
    sensor: Sensors = None,
    site: Site = "westermo",
    from_us: Annotated[int | None, typer.Option(help="Only flows that start at or after this (epoch us).")] = None,
    train_on: Annotated[list[str] | None, typer.Option(help="Train a fresh model on this sensor ...")] = None,
    test_on: Annotated[list[str] | None, typer.Option(help="... and judge it on this one, never trained on.")] = None,
    alert_level: Annotated[float, typer.Option(help="With --train-on: nominal false positive rate.")] = 0.01,
    small: Annotated[bool, typer.Option("--small", help="With --train-on: train a small one.")] = False,
    registry: Registry = None,
    protocol: Protocol = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets.", rich_help_panel=PANEL)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to keep the fits in.", rich_help_panel=PANEL)] = None,
    models: Annotated[
        str, typer.Option(help="Detectors, comma-separated; all by default.", rich_help_panel=PANEL)
    ] = "",
    seeds: Seeds = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where --out was left.", rich_help_panel=PANEL)
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(help="Processes, one thread each; by default one a core.", min=1, rich_help_panel=PANEL),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="table: CSV or Parquet to train on.", rich_help_panel=PANEL)
    ] = None,
    test: Annotated[Path | None, typer.Option(help="table: CSV or Parquet to judge on.", rich_help_panel=PANEL)] = None,
    label: Annotated[str | None, typer.Option(help="table: column of the labels.", rich_help_panel=PANEL)] = None,
    normal: Annotated[str | None, typer.Option(help="table: label of normal records.", rich_help_panel=PANEL)] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(help="table: a column to leave out, such as an identifier.", rich_help_panel=PANEL),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a model on labelled flows it was not trained on, by default the plant's after the cut; or run a protocol.

    With --protocol, every fit is stored in --out as it finishes; `forebay model report` makes tables and pictures.
    """
    if protocol == "names":
        from pipeline.tools.cli.model_names import evaluate_names

        evaluate_names(model, registry, data, out, as_json)
        return
    if protocol == "baselines":
        from pipeline.tools.cli.model_baselines import evaluate_baselines

        evaluate_baselines(model, registry, data, out, as_json)
        return
    if protocol is not None:
        from pipeline.tools.cli.model_protocol import Asked, evaluate_protocol

        chosen = tuple(name.strip() for name in models.split(",") if name.strip())
        columns = tuple(drop or ())
        evaluate_protocol(
            Asked(protocol, data, out, chosen, seeds, resume, jobs, train, test, label, normal, columns), as_json
        )
        return
    judge_model(model, file, labels, sensor, site, from_us, train_on, test_on, alert_level, small, registry, as_json)


def judge_model(
    model: str,
    file: list[Path] | None,
    labels: list[Path] | None,
    sensor: list[str] | None,
    site: str,
    from_us: int | None,
    train_on: list[str] | None,
    test_on: list[str] | None,
    alert_level: float,
    small: bool,
    registry: str | None,
    as_json: bool,
) -> None:
    """Figures of one model on labelled flows."""
    from dataclasses import replace

    from loadtest.plants.westermo import traffic
    from models.igan.config import SMALL, IganConfig
    from models.serving import registry as models
    from pipeline.tools.offline import plant_models
    from pipeline.tools.offline.training_rows import Span

    after = Span(start_us=from_us or (traffic.CUT_US if file is None else 0))
    settings = load_settings()
    with refusals():
        if train_on and test_on:
            before = Span(end_us=traffic.TRAIN_END_US)
            report = plant_models.across(
                captures_of(site, train_on, None, None),
                captures_of(site, test_on, None, None),
                before,
                after,
                settings,
                replace(IganConfig(), alert_level=alert_level, **(SMALL if small else {})),
            )
        elif train_on or test_on:
            raise Usage("--train-on and --test-on go together")
        elif small:
            raise Usage("--small: got no --train-on, expected one: a model that is there is what it is")
        else:
            events = plant_models.events_of(traffic.events_after_cut()) if file is None else []
            loaded = models.load(model, registry_of(registry))
            report = plant_models.evaluate(loaded, captures_of(site, sensor, file, labels), after, settings, events)
    for name, figures in report["sensors"].items():
        say(
            f"{name}: AUROC {figures['auroc']:.4f}; recall {figures['recall']:.3f} at a realised false positive rate "
            f"of {figures['false_positive_rate']:.4f} (alert level {figures['alert_level']:.1e})",
            as_json,
        )
    for kind, count in report["events"].items():
        if count["of"]:
            say(f"{kind} events with a suspect of their own: {count['found']} of {count['of']}", as_json)
    for event in report["missed"]:
        say(f"  missed: {event['event']} at {event['start_us']}", as_json)
    emit(report)
