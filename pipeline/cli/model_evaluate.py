"""`forebay model evaluate`: a model judged on labelled flows it was not trained on."""

from typing import Annotated

import typer

from pipeline.cli.model_options import (
    Files,
    Labels,
    ModelName,
    Registry,
    Sensors,
    Site,
    captures_of,
    refusals,
    registry_folder,
)
from pipeline.cli.output import Json, emit, say
from pipeline.errors import Usage
from pipeline.settings import load_settings


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
    registry: Registry = None,
    json: Json = False,
) -> None:
    """Judge a model on labelled flows it was not trained on: by default the plant's after the cut."""
    from dataclasses import replace

    from loadtest.plants.westermo import traffic
    from models import registry as models
    from models.igan.config import IganConfig
    from pipeline.offline import plant_models
    from pipeline.offline.training_rows import Span

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
                replace(IganConfig(), alert_level=alert_level),
            )
        elif train_on or test_on:
            raise Usage("--train-on and --test-on go together")
        else:
            events = plant_models.events_of(traffic.events_after_cut()) if file is None else []
            loaded = models.load(model, registry_folder(registry))
            report = plant_models.evaluate(loaded, captures_of(site, sensor, file, labels), after, settings, events)
    for name, figures in report["sensors"].items():
        say(
            f"{name}: AUROC {figures['auroc']:.4f}; recall {figures['recall']:.3f} at a realised false positive rate "
            f"of {figures['false_positive_rate']:.4f} (alert level {figures['alert_level']:.1e})",
            json,
        )
    for kind, count in report["events"].items():
        if count["of"]:
            say(f"{kind} events with a suspect of their own: {count['found']} of {count['of']}", json)
    for event in report["missed"]:
        say(f"  missed: {event['event']} at {event['start_us']}", json)
    emit(report)
