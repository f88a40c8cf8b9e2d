"""`forebay model`: train, ablate, evaluate, calibrate, promote; the registry's list, show, verify and export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.errors import RefusedState, Usage
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from models.model import Model
    from pipeline.offline.plant_models import Capture

app = typer.Typer(
    no_args_is_help=True, help="Models: train, ablate, evaluate, calibrate, list, show, verify, export, promote."
)

ModelName = Annotated[str, typer.Option("--model", help="A model's id, or its folder; the shipped one by default.")]
Files = Annotated[list[Path] | None, typer.Option("--file", help="Labelled flow records; the plant's by default.")]
Labels = Annotated[list[Path] | None, typer.Option("--labels", help="CSV with NST_M_Label; the files by default.")]
Sensors = Annotated[list[str] | None, typer.Option("--sensor", help="The sensor of each file, in the same order.")]
Site = Annotated[str, typer.Option("--site", help="Plant the files are from.")]
Registry = Annotated[Path | None, typer.Option("--registry", help="Folder of models. [env: FOREBAY_REGISTRY_URI]")]


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a refused model into our error with its exit code."""
    from models.errors import RefusedModel

    try:
        yield
    except RefusedModel as error:
        raise RefusedState(str(error)) from error


def registry_folder(given: Path | None) -> Path:
    """The registry: the option, else the setting."""
    return given or load_settings().registry_uri


def _captures(
    site: str, sensors: list[str] | None, files: list[Path] | None, labels: list[Path] | None
) -> tuple[Capture, ...]:
    """The files given, or the plant's own."""
    from loadtest.plants.westermo import traffic
    from pipeline.offline.plant_models import captures

    if files is None:
        chosen = sensors or list(traffic.SENSORS)
        unknown = sorted(set(chosen) - set(traffic.SENSORS))
        if unknown:
            raise Usage(f"--sensor: got {', '.join(unknown)}, expected {', '.join(traffic.SENSORS)}, or give --file")
        return captures(traffic.SITE, chosen, [traffic.zipped(sensor) for sensor in chosen], labels or [])
    return captures(site, sensors or [path.name.split(".")[0] for path in files], files, labels or [])


def _outline(model: Model) -> dict[str, Any]:
    """What people want to know of a model at once."""
    document = model.document
    return {
        "model": model.id,
        "parent": document["parent"],
        "feature_set": document["feature_set"],
        "feature_hash": document["feature_hash"],
        "classes": document["classes"],
        "calibration": {
            key: {name: entry[name] for name in ("n", "smallest_p_value", "alert_level")}
            for key, entry in document["calibration"].items()
        },
        "metrics": document["metrics"],
        "training": document["training"],
        "data": document["data"],
    }


def _print_calibration(model: Model, quiet: bool) -> None:
    for key, entry in model.document["calibration"].items():
        say(
            f"  {key:<24} {entry['n']:>7} quiet flows, smallest p-value {entry['smallest_p_value']:.1e}, "
            f"suspect at or below {entry['alert_level']:.1e}",
            quiet,
        )


@app.command()
def train(
    out: Annotated[Path | None, typer.Option("--out", help="Write the model here, not into the registry.")] = None,
    file: Files = None,
    labels: Labels = None,
    sensor: Sensors = None,
    site: Site = "westermo",
    until_us: Annotated[int | None, typer.Option(help="Only flows that end before this (epoch us).")] = None,
    augmentation: Annotated[str | None, typer.Option(help="Synthetic rows of rare classes: none, smote, gan.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    registry: Registry = None,
    json: Json = False,
) -> None:
    """Train a model on labelled flows: by default on the plant's, as the shipped one was."""
    from dataclasses import replace

    from loadtest.plants.westermo import traffic
    from models import registry as models
    from models.igan.config import AUGMENTATIONS, IganConfig
    from pipeline.offline import plant_models
    from pipeline.offline.training_rows import Span

    if augmentation is not None and augmentation not in AUGMENTATIONS:
        raise Usage(f"--augmentation: got {augmentation}, expected one of {', '.join(AUGMENTATIONS)}")
    config = IganConfig()
    if augmentation is not None:
        config = replace(config, augmentation=augmentation)
    if seed is not None:
        config = replace(config, seed=seed)
    chosen = _captures(site, sensor, file, labels)
    span = Span(end_us=until_us or (traffic.TRAIN_END_US if file is None else Span().end_us))
    say(f"training on {', '.join(f'{one.site}/{one.sensor}' for one in chosen)}; this takes a minute or two", json)
    with refusals():
        model = plant_models.train(chosen, span, load_settings(), config, "forebay model train")
        if out is None:
            folder = models.save(model, registry_folder(registry))
        else:
            models.write(model, out)
            folder = out
    say(f"model {model.id} in {folder}", json)
    _print_calibration(model, json)
    emit({"folder": str(folder), **_outline(model)})


@app.command()
def ablate(
    seeds: Annotated[int, typer.Option(help="How many seeds to compare on.")] = 3,
    sensor: Sensors = None,
    json: Json = False,
) -> None:
    """Whether synthetic rows of rare classes help: none, SMOTE and the GAN on the same encoders, on held-out time."""
    from loadtest.plants.westermo import traffic
    from models.ablate import ablate as compare
    from models.igan.config import IganConfig
    from pipeline.offline import plant_models
    from pipeline.offline.training_rows import Span, feature_set

    chosen = _captures(traffic.SITE, sensor, None, None)
    rows = plant_models.training_rows(chosen, Span(end_us=traffic.TRAIN_END_US), load_settings())
    report = compare(rows, feature_set(), IganConfig(), range(1, seeds + 1))
    for name, mean in report["mean_macro_f1"].items():
        runs = ", ".join(f"{run['macro_f1']:.3f}" for run in report["runs"][name])
        say(f"{name:<6} macro-F1 {mean:.3f} ({runs})", json)
    say(f"the rule ships: {report['ships']}", json)
    emit(report)


@app.command()
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
                _captures(site, train_on, None, None),
                _captures(site, test_on, None, None),
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
            report = plant_models.evaluate(loaded, _captures(site, sensor, file, labels), after, settings, events)
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


@app.command()
def calibrate(
    quiet: Annotated[Path, typer.Option("--quiet", help="Flow records of a stretch without attacks.")],
    site: Annotated[str, typer.Option("--site", help="Plant the stretch is from.")],
    sensor: Annotated[str | None, typer.Option("--sensor", help="Calibrate this sensor alone.")] = None,
    model: ModelName = "",
    alert_level: Annotated[float | None, typer.Option(help="Suspect at or below this p-value.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the model here, not into the registry.")] = None,
    registry: Registry = None,
    json: Json = False,
) -> None:
    """Make a version of a model that knows what is usual at a site, from a quiet stretch of its traffic."""
    from models import registry as models
    from models.recalibrate import recalibrate
    from pipeline.offline.training_rows import Span, feature_set, provenance, read_rows

    if alert_level is not None and not 0 < alert_level < 1:
        raise Usage(f"--alert-level: got {alert_level}, expected a share between 0 and 1")
    own = feature_set()
    origin = f"{site}/{sensor}" if sensor else site
    with refusals():
        loaded = models.load(model, registry_folder(registry))
        loaded.expect_features(own.name, own.hash)
        rows = read_rows(quiet, site, sensor or "quiet", load_settings(), Span(), None)
        (stretch,) = provenance([quiet])
        made = recalibrate(loaded, origin, rows.matrix, rows.end_ts_us, alert_level, stretch)
        if out is None:
            folder = models.save(made, registry_folder(registry))
        else:
            models.write(made, out)
            folder = out
    entry = made.document["calibration"][origin]
    say(f"model {made.id} (from {loaded.id}) in {folder}", json)
    _print_calibration(made, json)
    emit(
        {
            "folder": str(folder),
            "model": made.id,
            "parent": loaded.id,
            "origin": origin,
            **{name: entry[name] for name in ("n", "smallest_p_value", "alert_level")},
        }
    )


@app.command("list")
def list_(registry: Registry = None, json: Json = False) -> None:
    """The shipped model and those of the registry."""
    from models import registry as models

    folder = registry_folder(registry)
    with refusals():
        found = [("shipped", models.load())] if (models.SHIPPED / models.MANIFEST).is_file() else []
        found += [(str(folder / name), models.load(name, folder)) for name in models.list_models(folder)]
    for place, model in found:
        say(f"{model.id}  {model.document['feature_set']}  {place}", json)
    emit(
        {"models": [{"model": model.id, "parent": model.document["parent"], "place": place} for place, model in found]}
    )


@app.command()
def show(model: ModelName = "", registry: Registry = None, json: Json = False) -> None:
    """What a model was made of and how good it is, from its manifest."""
    from models import registry as models

    with refusals():
        loaded = models.load(model, registry_folder(registry))
    say(
        f"{loaded.id}: {', '.join(loaded.classes)}; {len(loaded.features)} features, {loaded.document['feature_set']}",
        json,
    )
    _print_calibration(loaded, json)
    emit(_outline(loaded))


@app.command()
def verify(model: ModelName = "", registry: Registry = None, json: Json = False) -> None:
    """Check a model's files: schema, digests, shapes, bounds."""
    from models import registry as models

    with refusals():
        facts = models.verify(model, registry_folder(registry))
    say(f"{facts['model']}: whole; {facts['parameters']} parameters in {facts['tensors']} tensors", json)
    emit(facts)


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="Folder to write manifest.json and weights.safetensors to.")],
    model: ModelName = "",
    registry: Registry = None,
    json: Json = False,
) -> None:
    """Copy a model's two files out of the registry, checked."""
    from models import registry as models

    with refusals():
        loaded = models.load(model, registry_folder(registry))
        models.write(loaded, out)
    say(f"{loaded.id} in {out}", json)
    emit({"model": loaded.id, "sha256": loaded.sha256, "folder": str(out)})


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="A model's id, or its folder.", metavar="MODEL")],
    at_us: Annotated[int | None, typer.Option(help="Event time from which it is to hold (epoch us).")] = None,
    margin: Annotated[float, typer.Option(help="Or so many seconds beyond what was scored.", min=0)] = 5.0,
    registry: Registry = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,
) -> None:
    """Let a model score from an event time on: score's workers vote, and it holds once all partitions have accepted it.

    Refused as too late, it is issued again with a later time, unless --at-us asks for a certain one. Exits 1 if it is
    refused or still undecided.
    """
    from models import registry as models
    from pipeline.cli.retrain import promoted
    from pipeline.kafka.clients import require_broker
    from pipeline.offline.training_rows import feature_set
    from pipeline.retrain.promotion import Target

    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix)
    folder = registry or settings.registry_uri
    own = feature_set()
    with refusals():
        loaded = models.load(model, folder)
        loaded.expect_features(own.name, own.hash)
        # Score looks for it in the registry, also where it came from elsewhere.
        models.save(loaded, folder)
    require_broker(settings)
    document = promoted(settings, Target(loaded.id, loaded.sha256, loaded.id), at_us, round(margin * 1e6), json)
    emit(document)
    if not document["decided"]:
        raise typer.Exit(1)
